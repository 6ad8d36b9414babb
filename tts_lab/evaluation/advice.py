"""Go on, stop, or take an earlier checkpoint: what a run's own figures say.

Three signals decide. The validation mel says whether the sound of clips that are not trained on still gets nearer to
the recordings; it is measured often and for nothing, but with the true alignment and the true pitch given, so it is
blind to misread words and to a voice that cannot speak on its own. The validation MOS (`keep_by: val_mos`) hears the
voice speak on its own, and is deaf to which words. The evaluations (`tts-lab evaluate`) hear the
voice speak freely: words, naturalness, likeness. Where there are evaluations they have the last word; without them
the advice is called weak.

The adversarial losses decide nothing (`ADVERSARIAL`). They are read for one thing: whether the discriminators still
work (`tts_lab.evaluation.discrimination`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tts_lab.errors import UserError
from tts_lab.evaluation.choice import WER_ALWAYS, best, choose, failings, limits
from tts_lab.evaluation.discrimination import Discrimination, discrimination
from tts_lab.evaluation.evaluation import Evaluation, steps
from tts_lab.evaluation.trend import trend
from tts_lab.training.metrics import read_metrics

GO_ON, STOP, TAKE = "go on", "stop", "take an earlier checkpoint"
ADVERSARIAL = (
    "loss_g, loss_d, adversarial and feature are not read for this: generator and discriminators move each other's "
    "goal, so these rise while a voice gets better and fall while it gets worse (authors of HiFi-GAN, "
    "jik876/hifi-gan issue 59; VITS, jaywalnut310/vits issue 14)"
)
LIKER, CLEARER, MORE_NATURAL = 0.01, 0.02, 0.05
"""What counts as better from one evaluation to the next: cosine, share of words, points of opinion. Twenty sentences
tell no finer differences."""
RECOVERING = 0.05
"""A word error rate above its limit that fell by so much since the evaluation before is coming back by itself."""
PATIENCE = 2
"""Evaluations in a row that bring nothing better than an earlier one, before that one is taken."""
RATE_GONE = 0.02
"""Share of the highest learning rate below which a run no longer learns."""


@dataclass(frozen=True)
class Evidence:
    """One thing that was looked at."""

    signal: str
    told: str


@dataclass(frozen=True)
class Advice:
    """What to do with a run now."""

    verdict: str
    """go on, stop, or take an earlier checkpoint"""
    step: int | None
    """The checkpoint to use: with "go on" the best so far. None where no kept checkpoint is any good."""
    file: str | None
    """It, relative to the run folder; None where it was not kept."""
    strong: bool
    """Whether evaluations stand behind it."""
    because: str
    evidence: list[Evidence] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        said = {GO_ON: "Go on.", STOP: "Stop here.", TAKE: "Stop, and take an earlier checkpoint."}[self.verdict]
        if self.step is not None:
            kept = f" ({self.file})" if self.file else ", which was not kept"
            said += f" {'Best so far' if self.verdict == GO_ON else 'Take'}: step {self.step}{kept}."
        elif self.verdict != GO_ON:
            said += " No checkpoint of this run is worth taking."
        return said if self.strong else f"{said} Weak advice: nobody has listened; run `tts-lab evaluate`."

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return asdict(self) | {"headline": self.headline}


def advise(run: Path, evaluation: Evaluation | None = None) -> Advice:
    """Advice on the run in a folder, from its metrics.csv, its checkpoints and `evaluation`, if it has been made.

    Raises:
        UserError: the folder holds no run that has logged anything.
    """
    rows = read_metrics(run / "metrics.csv")
    if not rows:
        raise UserError(f"{run / 'metrics.csv'} holds no logged step: name the folder of a run that has begun.")
    kept = sorted((run / "checkpoints").glob("*.ckpt"))
    return advise_on(rows, evaluation, [f"checkpoints/{path.name}" for path in kept])


def advise_on(rows: Sequence[dict[str, Any]], evaluation: Evaluation | None, kept: Sequence[str] = ()) -> Advice:
    """Advice from rows of metrics.csv (`read_metrics`), an evaluation if there is one, and names of kept files."""
    sound = _Sound(rows)
    judge = discrimination(rows)
    heard = steps(evaluation.rows) if evaluation else []
    if heard:
        verdict, step, file, because, listening = _from_hearing(evaluation, heard, sound)
    else:
        verdict, step, because = _from_sound(sound)
        file, listening = _kept(kept, step, sound.last), []
    evidence = [*sound.evidence(), *listening, Evidence("discriminators", judge.told)]
    evidence += [*sound.rate_evidence(), Evidence("adversarial losses", ADVERSARIAL)]
    warnings = _warnings(judge, sound, verdict)
    if heard and heard[-1]["step"] < sound.last:
        warnings.append(
            f"the run is at step {sound.last}, the last one heard is step {heard[-1]['step']}: evaluate again"
        )
    return Advice(verdict, step, file, bool(heard), because, evidence, warnings)


class _Sound:
    """What metrics.csv says: validation mel and MOS, training mel, learning rate; steps are counted in updates done."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.last = max(row["step"] for row in rows) + 1
        self.validated, self.trained = curve(rows, "val_mel"), curve(rows, "mel")
        self.rates = [rate for _, rate in curve(rows, "learning_rate_g")]
        self.validation = trend(*_columns(self.validated))
        self.lowest = min(self.validated, key=lambda point: point[1])[0] if self.validated else None
        # The lowest point is low by chance too, so it does not count itself.
        behind = trend(*_columns(self.validated), after=self.lowest or 0)
        self.rises = "rises" in (self.validation.word, behind.word)
        late = [point for point in self.trained if point[0] >= (self.lowest or 0)]
        self.training = trend(*_columns(late), after=0)
        self.overfits = self.rises and self.training.change < 0
        self.judged = curve(rows, "val_mos")
        self.naturalness = trend(*_columns(self.judged))
        self.most_natural = max(self.judged, key=lambda point: point[1])[0] if self.judged else None

    def evidence(self) -> list[Evidence]:
        found = []
        if self.judged:
            said = f"{self.naturalness.word}: {self.naturalness}; highest at step {self.most_natural}"
            found.append(Evidence("validation MOS", f"{said} ({max(v for _, v in self.judged):.2f})"))
        if not self.validated:
            return [*found, Evidence("validation mel", "none was logged: lower validate_every")]
        said = f"{self.validation.word}: {self.validation}; lowest at step {self.lowest}"
        found.append(Evidence("validation mel", f"{said} ({min(v for _, v in self.validated):.4f})"))
        if self.overfits:
            told = (
                f"the training mel went {self.training.change:+.4f} over the same steps: the clips are learnt by heart"
            )
            found.append(Evidence("overfitting", told))
        return found

    @property
    def rate_gone(self) -> bool:
        return len(self.rates) > 1 and self.rates[-1] < RATE_GONE * max(self.rates)

    def rate_evidence(self) -> list[Evidence]:
        if not self.rate_gone:
            return []
        told = (
            f"it has come down to {self.rates[-1]:.1e}, from {max(self.rates):.1e}: as it is, this run learns no more. "
            "To go on, raise max_steps, which stretches the schedule, or start a run from the checkpoint."
        )
        return [Evidence("learning rate", told)]


def _from_sound(sound: _Sound) -> tuple[str, int | None, str]:
    """Verdict, step and why, from the validations alone: a MOS, of free speech, before the mel."""
    if sound.naturalness.word == "rises":
        return GO_ON, sound.most_natural, "the validation MOS still rises"
    if sound.naturalness.word == "falls":
        return TAKE, sound.most_natural, f"the validation MOS has fallen since step {sound.most_natural}"
    if not sound.validated:
        return GO_ON, None, "there is neither a validation mel nor an evaluation to go by"
    if sound.rises:
        return TAKE, sound.lowest, f"the validation mel has risen since step {sound.lowest}"
    if sound.validation.word == "flat":
        return STOP, sound.lowest, "the validation mel has come to rest: its last points lie flat within their noise"
    if sound.validation.word == "falls":
        return GO_ON, sound.lowest, _FALLS
    return GO_ON, sound.lowest, f"the validation mel says nothing clear yet ({sound.validation})"


def _from_hearing(
    evaluation: Evaluation, heard: list[dict[str, Any]], sound: _Sound
) -> tuple[str, int | None, str | None, str, list[Evidence]]:
    """Verdict, step, file, why and evidence, from at least one evaluated checkpoint."""
    rows = [row for row in evaluation.rows if row["kind"] == "base"] + heard
    words, human = evaluation.spoken.words, evaluation.human
    limit, first = limits(rows, human, words), best(choose(rows, human, words))
    chosen = next((row for row in heard if first and row["label"] == first.label), None)
    last, before = heard[-1], heard[-2] if len(heard) > 1 else None
    since = [row for row in heard if chosen and row["step"] > chosen["step"]]
    failed = failings(last, limit)
    falling = sound.validation.word == "falls"
    step, file = (chosen["step"], next(iter(chosen["files"]), None)) if chosen else (None, None)
    told = [Evidence(f"step {row['step']}", _figures(row)) for row in heard]
    told.append(Evidence("limits", f"{limit.wer:.1%} of words misheard, naturalness {limit.mos:.2f}: {limit.because}"))

    def say(verdict: str, because: str):
        return verdict, step, file, because, told

    coming_back = before is not None and before["wer"] - last["wer"] > RECOVERING
    if failed and not coming_back:
        collapsed = last["wer"] > WER_ALWAYS or any("buzzes" in why for why in failed)
        if chosen and (collapsed or len(since) >= PATIENCE):
            return say(TAKE, f"step {last['step']} has lost what step {step} had: {'; '.join(failed)}")
        # A voice from scratch that has never spoken has nothing to lose yet.
        if collapsed and any(row["wer"] <= WER_ALWAYS for row in rows):
            return say(STOP, f"the voice has collapsed at step {last['step']}: {'; '.join(failed)}")
    if failed and coming_back:
        went = f"the words come back: {before['wer']:.1%} were misheard at step {before['step']}, {last['wer']:.1%} now"
        return say(GO_ON, went)
    if sound.overfits and chosen:
        why = "the validation mel rises while the training mel falls"
        if chosen is last:
            return say(STOP, f"{why}, and step {step} is the best heard so far")
        return say(TAKE, f"{why}, and step {step} was the best to the ear")
    if chosen is None:
        gains = _gains(before, last)
        if gains or falling:
            return say(GO_ON, f"no checkpoint passes yet ({'; '.join(failed)}), but {' and '.join(gains) or _FALLS}")
        return say(STOP, f"no checkpoint passes and nothing improves: {'; '.join(failed)}")
    if len(since) >= PATIENCE:
        return say(TAKE, f"{len(since)} later evaluations brought nothing better than step {step}")
    if since:
        if falling:
            return say(GO_ON, f"step {last['step']} is no better than step {step}, but {_FALLS}")
        return say(TAKE, f"step {last['step']} is no better than step {step}, and the validation mel does not fall")
    gains = _gains(before, last)
    if gains or falling:
        return say(GO_ON, f"the last checkpoint is the best, and {' and '.join(gains) or _FALLS}")
    if before is None:
        return say(GO_ON, "there is one evaluation only, so nothing to compare it with; keep more checkpoints")
    return say(STOP, f"the last checkpoint is the best, but no better than step {before['step']} to the ear, and the "
                     "validation mel does not fall")  # fmt: skip


_FALLS = "the validation mel still falls"


def _gains(before: dict[str, Any] | None, last: dict[str, Any]) -> list[str]:
    """What got better from one evaluation to the next, in words."""
    if before is None:
        return []
    found = []
    if last["similarity"] - before["similarity"] > LIKER:
        found.append(f"likeness rose from {before['similarity']:.2f} to {last['similarity']:.2f}")
    if before["wer"] - last["wer"] > CLEARER:
        found.append(f"misheard words fell from {before['wer']:.1%} to {last['wer']:.1%}")
    if last["mos"] - before["mos"] > MORE_NATURAL:
        found.append(f"naturalness rose from {before['mos']:.2f} to {last['mos']:.2f}")
    return found


def _figures(row: dict[str, Any]) -> str:
    pitch = "no pitch" if row["pitch_delta"] is None else f"pitch {row['pitch_delta']:+.0f} %"
    return (
        f"{row['wer']:.1%} of words misheard, naturalness {row['mos']:.2f}, likeness {row['similarity']:.2f}, {pitch}"
    )


def _warnings(judge: Discrimination, sound: _Sound, verdict: str) -> list[str]:
    found = [judge.told] if judge.word in ("blind", "constant", "overpowering") else []
    if verdict == GO_ON and sound.rate_gone:
        found.append("the learning rate has run out: going on needs a longer schedule")
    return found


def _kept(names: Sequence[str], step: int | None, last: int) -> str | None:
    """The kept file of a step, told by its name: step-100.ckpt, best-step=100-val_mel=0.51.ckpt, last.ckpt."""
    for name in names:
        parts = Path(name).stem.replace("=", "-").split("-")
        if f"{step}" in parts[parts.index("step") + 1 :][:1] if "step" in parts else step == last:
            return name
    return None


def curve(rows: Sequence[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    """Points of a column of metrics.csv, as (updates done, value): its rows count the updates before them."""
    return [(row["step"] + 1, row[name]) for row in rows if isinstance(row.get(name), float)]


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
