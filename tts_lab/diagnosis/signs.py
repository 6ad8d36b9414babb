"""What in a run's figures shows a trouble. Each sign is one question: a sentence with the figures, or None.

The limits are this project's own judgement, set so that its recorded good runs show none of the signs.
"""

import numpy as np

from tts_lab.diagnosis.evidence import Evidence, number
from tts_lab.evaluation.advice import curve
from tts_lab.evaluation.choice import failings, limits
from tts_lab.evaluation.discrimination import discrimination
from tts_lab.evaluation.evaluation import steps
from tts_lab.frontend import coverage

LOSSES = ("loss_g", "loss_d", "mel", "kl", "duration", "grad_norm_g", "grad_norm_d", "val_mel", "val_kl")
FEWEST = 20
"""Logged steps below which nothing is said of how a curve goes."""
RISEN = {"mel": 1.5, "kl": 2.0}
"""Times its own lowest level that a loss must stand at the end to be called diverging."""
SPIKE = 10.0
"""Times the usual gradient norm."""
WAITING, STALL = 0.2, 0.25
"""Share of the time that goes by in waiting for data: all the time, and now and then."""
CORE_BYTES = 16 * 2**30
"""Device memory of a NeuronCore of trn1."""


def not_a_number(e: Evidence) -> str | None:
    for name in LOSSES:
        for step, value in curve(e.rows, name):
            if not np.isfinite(value):
                return f"{name} is {value} at step {step}, of {e.step}"
    return None


def diverges(e: Evidence) -> str | None:
    for name, times in RISEN.items():
        values = e.values(name)
        if len(values) < FEWEST:
            continue
        levels = [float(np.median(part)) for part in np.array_split(values, 5)]
        if levels[-1] > times * min(levels[:-1]) > 0:
            return f"{name} had come down to {min(levels[:-1]):.3g} and stands at {levels[-1]:.3g} at step {e.step}"
    return None


def spikes(e: Evidence) -> str | None:
    norms = e.values("grad_norm_g")
    norms = norms[len(norms) // 10 :]  # the first steps are always rough
    if len(norms) < FEWEST:
        return None
    usual, high = float(np.median(norms)), float(norms.max())
    if high < SPIKE * usual:
        return None
    count = int((norms > SPIKE * usual).sum())
    clip = e.config.get("clip")
    return f"the gradient norm is {usual:.3g} as a rule, {high:.3g} at worst, {count} times over; clip is {clip}"


def overfits(e: Evidence) -> str | None:
    return e.advised("overfitting")


def bad_judge(e: Evidence) -> str | None:
    judge = discrimination(e.rows)
    return judge.told if judge.word in ("blind", "constant", "overpowering") else None


def rate_gone(e: Evidence) -> str | None:
    end = number(e.config, "max_steps")
    return e.advised("learning rate") if end and e.step < 0.9 * end else None  # near its end it is meant to be


def slow(e: Evidence) -> str | None:
    mel, rates = e.values("mel"), e.values("learning_rate_g")
    if len(mel) < FEWEST or not len(rates):
        return None
    first, last = (float(np.median(part)) for part in (mel[: len(mel) // 5], mel[-(len(mel) // 5) :]))
    if last < 0.97 * first or (last < 0.9 and rates.max() >= 1e-5) or last > RISEN["mel"] * first:
        return None
    return f"mel went from {first:.3g} to {last:.3g} in {e.step} steps; the highest learning rate was {rates.max():.1e}"


def waits(e: Evidence) -> str | None:
    share = e.late("data_wait")
    if share is None or share < WAITING:
        return None
    return f"{share:.0%} of the time goes by in waiting for the next batch; workers is {e.config.get('workers', '?')}"


def stalls(e: Evidence) -> str | None:
    shares = e.values("data_wait")
    if len(shares) < FEWEST or np.median(shares) >= WAITING / 2:
        return None
    long = shares[len(shares) // 10 :] > STALL
    if long.sum() < max(2, 0.02 * len(shares)):
        return None
    return f"data is there as a rule ({np.median(shares):.0%} waiting), but {long.sum()} logged times not: up to " \
           f"{shares.max():.0%}"  # fmt: skip


def slows_down(e: Evidence) -> str | None:
    speed = e.values("steps_per_second")
    if len(speed) < FEWEST:
        return None
    early, late = (
        float(np.median(part)) for part in (speed[len(speed) // 10 : len(speed) // 3], speed[-len(speed) // 5 :])
    )
    return f"from {early:.2f} to {late:.2f} steps a second" if late < 0.6 * early else None


def stuck_alignment(e: Evidence) -> str | None:
    skipped = e.values("align_skipped")
    if len(skipped) < 4:
        return None
    late, first = e.late("align_skipped", 2), float(skipped[0])
    if late < 0.25 or late < 0.8 * first:
        return None
    return f"the alignment ran through {first:.0%} of the sounds at first and does through {late:.0%} still " \
           f"({len(skipped)} times looked at)"  # fmt: skip


def skips(e: Evidence) -> str | None:
    free, own = e.late("free_skipped", 2), e.late("align_skipped", 2)
    if free is not None and free > 0.1 and free > 2 * (own or 0.0):
        return f"speaking freely it skips {free:.0%} of the sounds; aligned with recordings it skips {own or 0:.0%}"
    return _failing(e, "misheard")


def buzzes(e: Evidence) -> str | None:
    return _failing(e, "buzz")


def mispronounces(e: Evidence) -> str | None:
    known = e.corpus.frontend.get("phoneme_id_map") if e.corpus else None
    if not isinstance(known, dict):
        return None
    found = coverage(e.corpus.symbol_counts(), known)
    return found.sentence("the id map") if found.unknown else None


def likeness_lost(e: Evidence) -> str | None:
    heard = steps(e.evaluation.rows) if e.evaluation else []
    if len(heard) < 2:
        return None
    most = max(heard, key=lambda row: row["similarity"])
    if heard[-1]["similarity"] > most["similarity"] - 0.05:
        return None
    return f"likeness to the speaker was {most['similarity']:.2f} at step {most['step']} and is " \
           f"{heard[-1]['similarity']:.2f} at step {heard[-1]['step']}"  # fmt: skip


def unbalanced(e: Evidence) -> str | None:
    seconds = e.drawn_seconds
    if len(seconds) < 2:
        return None
    (most, long), (least, short) = seconds.most_common()[0], seconds.most_common()[-1]
    if long < 5 * short:
        return None
    return f"an epoch draws {long / 60:.1f} minutes of {most} and {short / 60:.1f} of {least}"


def little_data(e: Evidence) -> str | None:
    minutes = sum(e.train_seconds.values()) / 60
    few = number(e.corpus.settings, "few_minutes", 5) if e.corpus else 0
    return f"the training clips are {minutes:.1f} minutes in all" if 0 < minutes < few else None


def much_quarantined(e: Evidence) -> str | None:
    if e.corpus is None or not e.corpus.quarantined:
        return None
    bad, kept = len(e.corpus.quarantined), sum(count for count, _ in e.corpus.amounts().values())
    if bad < 0.1 * (bad + kept):
        return None
    return f"{bad} of {bad + kept} recordings are quarantined; the first: {e.corpus.quarantined[0].reason}"


def unsaved(e: Evidence) -> str | None:
    every = number(e.config, "checkpoint_every")
    if not every or e.checkpoints or e.step < every + number(e.config, "log_every", 10):
        return None
    return f"{e.step} steps are logged and no checkpoint is there; checkpoint_every is {every}"


def recompiles(e: Evidence) -> str | None:
    return _grows(e, "graphs_compiled", "graphs had been compiled")


def falls_back(e: Evidence) -> str | None:
    return _grows(e, "fallbacks", "operations had fallen back to the host")


def traces(e: Evidence) -> str | None:
    return _grows(e, "steps_traced", "steps had been traced")


def device_nan(e: Evidence) -> str | None:
    return _counted(e, "numerical_errors", "executions that gave not-a-number")


def device_errors(e: Evidence) -> str | None:
    return _counted(e, "other_errors", "executions that failed")


def ecc(e: Evidence) -> str | None:
    return _counted(e, "ecc_uncorrected", "memory errors that nothing could mend")


def device_full(e: Evidence) -> str | None:
    used, limit = e.values("device_bytes"), CORE_BYTES * (number(e.config, "neuron_cores") or 1)
    if not len(used) or used.max() < 0.9 * limit:
        return None
    return f"{used.max() / 2**30:.1f} of {limit / 2**30:.0f} GiB of device memory are in use"


def idle_core(e: Evidence) -> str | None:
    busy, waiting = e.late("core_utilization"), e.late("data_wait") or 0.0
    if busy is None or busy > 50 or waiting > WAITING:
        return None
    return f"the NeuronCore is busy {busy:.0f} % of the time, and data is not what it waits for ({waiting:.0%})"


def _grows(e: Evidence, column: str, what: str) -> str | None:
    """A counter that still moves in the second half of a run, when every shape has long been seen."""
    points = [(step, value) for step, value in curve(e.rows, column) if np.isfinite(value)]
    if len(points) < 6:
        return None
    (middle, before), (end, after) = points[len(points) // 2], points[-1]
    if after <= before:
        return None
    return f"{before:.0f} {what} by step {middle}, {after:.0f} by step {end}"


def _counted(e: Evidence, column: str, what: str) -> str | None:
    values = e.values(column)
    return f"{values.max():.0f} {what} were counted" if len(values) and values.max() > 0 else None


def _failing(e: Evidence, word: str) -> str | None:
    """What the last evaluated checkpoint fails of the rule for choosing, where `word` stands in it."""
    heard = steps(e.evaluation.rows) if e.evaluation else []
    if not heard:
        return None
    base = [row for row in e.evaluation.rows if row["kind"] == "base"]
    failed = failings(heard[-1], limits(base + heard, e.evaluation.human, e.evaluation.spoken.words))
    told = "; ".join(why for why in failed if word in why)
    return f"step {heard[-1]['step']}: {told}" if told else None
