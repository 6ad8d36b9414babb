"""Signs that a run goes wrong, read off the numbers it writes down anyway; each is told once, when it begins."""

from collections import deque
from collections.abc import Mapping
from math import isfinite

import numpy as np

DISCRIMINATORS = 6
"""One scale and five period discriminators (`tts_lab.vits.discriminators`)."""
BLIND = 0.5 * DISCRIMINATORS
"""Their loss when they say a half to everything (`tts_lab.evaluation.discrimination` derives it)."""
RIGHT = 0.1 * BLIND
"""Below this loss they are nearly always right."""
REJECTED = 0.95 * DISCRIMINATORS
"""Above this adversarial term, whose top is 1 a discriminator, they reject nearly all that the generator makes."""
LONG = 20
"""Logged rows in a row, after which what a discriminator does is no chance."""
BEFORE = 50
"""Logged rows that a value is compared with, and no spike is told before there are `LONG`."""
SPIKE = 10.0
"""Spreads above the median that make a spike: of normal noise, in which the spread is the standard deviation, it would
be the chance of 1 in 10**23; losses have heavier tails."""
LEAST = 0.05
"""Share of the median that a spread is at least, lest a loss that hardly moves has spikes all the time."""
SKIPPED, FORMED = 0.5, 0.25
"""Share of the sounds that an alignment skips, above which it is none, and below which it was one. Chosen, not
measured: a search that stands on one symbol skips nearly all the others."""
SAMPLINGS = 5
"""Samples after which an alignment should have formed."""
QUIET = 40.0
"""Decibels below the recordings at which speech is called silent; a whisper is some 20 below."""

SPIKING = ("mel", "kl", "duration", "adversarial", "feature", "grad_norm_g", "grad_norm_d")


class Signs:
    """What has been seen of a run, and what has been said of it."""

    def __init__(self) -> None:
        self.before = {name: deque(maxlen=BEFORE) for name in SPIKING}
        self.joined = False
        self.right = self.rejected = 0
        self.formed = False
        self.samplings = 0
        self.on: set[str] = set()

    def losses(self, row: Mapping[str, float]) -> list[str]:
        """What begins with a logged row of training terms: spikes, and discriminators that teach nothing."""
        said = []
        joined = bool(row.get("adversarial"))
        if joined != self.joined:  # what the generator is asked for is another thing from here on
            self.joined = joined
            for known in self.before.values():
                known.clear()
        for name in SPIKING:
            value = row.get(name)
            if not value or not isfinite(value):
                continue
            before = np.array(self.before[name])
            self.before[name].append(value)
            high = False
            if len(before) >= LONG:
                usual = float(np.median(before))
                # 1.4826 makes the median absolute deviation of normal noise its standard deviation.
                spread = max(1.4826 * float(np.median(np.abs(before - usual))), LEAST * abs(usual))
                high = value > usual + SPIKE * spread
            if self._begins(f"spike of {name}", high):
                said.append(
                    f"{name} jumped to {value:.4g}, from {usual:.4g} give or take {spread:.2g} over the last "
                    f"{len(before)} rows: one bad clip if it falls back at once, a learning rate too high if not"
                )
        self.right = self.right + 1 if row.get("loss_d", BLIND) < RIGHT else 0
        if self._begins("right", self.right >= LONG):
            said.append(
                f"the discriminators' loss is below {RIGHT:.1f} for {LONG} rows: they are right nearly always, and the "
                "generator learns from them only that it is wrong. Lower learning_rate_d, or let them join later"
            )
        self.rejected = self.rejected + 1 if row.get("adversarial", 0) > REJECTED else 0
        if self._begins("rejected", self.rejected >= LONG):
            said.append(
                f"the adversarial term is above {REJECTED:.1f} of {DISCRIMINATORS} for {LONG} rows: nothing that the "
                "generator makes is taken for real, so it learns nothing from it. Lower learning_rate_d"
            )
        return said

    def alignment(self, scores: Mapping[str, float]) -> list[str]:
        """What begins with the scores of a sampling (`tts_lab.training.alignments`)."""
        self.samplings += 1
        searched, free = scores["align_skipped"], scores["free_skipped"]
        said = []
        none = searched > SKIPPED and (self.formed or self.samplings >= SAMPLINGS)
        if self._begins("alignment", none):
            what = "has collapsed" if self.formed else f"has not formed in {self.samplings} samplings"
            said.append(
                f"the alignment {what}: {searched:.0%} of the sounds get no time. Look at the newest picture in "
                "alignments/; texts that do not fit their recordings, or long silences at their ends, do this"
            )
        if self._begins("durations", free > SKIPPED and searched < FORMED):
            said.append(
                f"freely spoken, {free:.0%} of the sounds get no time, though the search aligns them: the duration "
                "predictor is at fault"
            )
        self.formed = self.formed or searched < FORMED
        return said

    def loudness(self, spoken: Mapping[str, float], recorded: float) -> list[str]:
        """What begins with the loudness of samples, in dB, by name, beside that of recordings."""
        silent = [name for name, level in spoken.items() if level < recorded - QUIET]
        if not self._begins("silence", len(silent) * 2 > len(spoken)):
            return []
        return [
            f"{len(silent)} of {len(spoken)} samples are silent ({min(spoken.values()):.0f} dB and more, recordings "
            f"have {recorded:.0f} dB): the voice makes no sound. Listen to the samples of earlier steps and go back"
        ]

    def validation(self, row: Mapping[str, float]) -> list[str]:
        """What begins with the terms of a validation."""
        bad = [name for name, value in row.items() if not isfinite(value)]
        if not self._begins("validation", bool(bad)):
            return []
        return [f"{', '.join(bad)} is no number: a validation clip is spoilt, for the training terms are numbers"]

    def _begins(self, sign: str, now: bool) -> bool:
        """Whether the sign is there and was not."""
        begins = now and sign not in self.on
        (self.on.add if now else self.on.discard)(sign)
        return begins


def decibels(audio: np.ndarray) -> float:
    """Loudness of ``audio`` (samples,) as the level of its mean power, full scale being 0 dB; -120 for silence."""
    power = float(np.mean(np.square(audio, dtype=np.float64))) if len(audio) else 0.0
    return 10 * np.log10(max(power, 1e-12))
