"""What the discriminators' loss tells, and what it does not.

The loss is that of least squares (Mao et al. 2017, "Least squares generative adversarial networks", equation 9, with
a = 0 and b = c = 1), as HiFi-GAN uses it: for each discriminator the mean of (1 - D(real))² + D(generated)², summed
over the six of VITS. That gives it landmarks: a discriminator that cannot tell real from generated does best with
D = 1/2 everywhere, which costs 1/4 + 1/4: 3.0 for six. One that says 0, or 1, to everything costs
1: 6.0, where untrained ones begin. One that is always right costs 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tts_lab.training.signs import BLIND, DISCRIMINATORS, RIGHT

CONSTANT = 1.0 * DISCRIMINATORS
"""Their loss when they say 0, or 1, to everything; `BLIND`: a half."""
SAME = 0.02
"""Share within which the loss must lie about a landmark, and scatter, to be called stuck on it."""
FEWEST = 10
"""Logged steps with discriminators before anything is said of them."""


@dataclass(frozen=True)
class Discrimination:
    """How the discriminators do at the end of a run."""

    word: str
    """off, unknown, working, blind, constant or overpowering"""
    loss: float | None
    """Median of the last third of their loss."""
    told: str


def discrimination(rows: Sequence[dict[str, Any]]) -> Discrimination:
    """Read `loss_d` in rows of metrics.csv. It never says that a voice is good, only that its judge is no use."""
    values = np.array([row["loss_d"] for row in rows if isinstance(row.get("loss_d"), float)])
    if not values.size:
        return Discrimination("off", None, "no discriminators took part, so there is nothing to read of theirs")
    if values.size < FEWEST:
        return Discrimination("unknown", float(np.median(values)), f"{values.size} logged steps are too few to judge")
    late = values[-max(FEWEST // 2, values.size // 3) :]
    level, spread = float(np.median(late)), float(np.std(late))
    said = f"the discriminators' loss is {level:.2f} at the end"
    stuck = spread < SAME * level
    if level < RIGHT:
        return Discrimination(
            "overpowering", level,
            f"{said}: they tell real from generated nearly always ({RIGHT:.1f} and less), and the generator learns "
            "from them only that it is wrong. Lower learning_rate_d, or let them join later.",
        )  # fmt: skip
    for word, landmark, meaning in (
        ("blind", BLIND, "what they score when they cannot tell real from generated and say a half to everything"),
        ("constant", CONSTANT, "what they score when they say the same, 0 or 1, to everything, as before training"),
    ):
        if stuck and abs(level - landmark) < SAME * landmark:
            return Discrimination(
                word, level,
                f"{said} and does not move: {landmark:.1f} is {meaning}. They teach nothing. Look at grad_norm_d, and "
                "raise learning_rate_d or restart them.",
            )  # fmt: skip
    return Discrimination("working", level, f"{said}, between right always (0) and a guess ({BLIND:.1f}): they work")
