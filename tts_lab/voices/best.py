"""The checkpoints that a run keeps as its best: by which measure, and what their names say of it."""

import re
from typing import Literal

HEARD = "val_mos"
"""How natural the voice sounds; the other measures are terms of a loss."""
NAME = re.compile(r"^best-step=\d+-(\w+)=(-?\d+\.\d+)\.ckpt$")
"""Of such a checkpoint: the measure, and its value."""


def name_format(measure: str) -> str:
    """The name without its ending, as Lightning's ``ModelCheckpoint`` fills it in."""
    return f"best-{{step}}-{{{measure}:.4f}}"


def direction(measure: str) -> Literal["min", "max"]:
    """Which values of a measure are the better ones."""
    return "max" if measure == HEARD else "min"
