"""Whether a noisy curve falls, rises or lies flat at its end."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CHANCE = 0.05
"""A slope that scatter alone would give so often is not called one (Student's t, two-sided)."""
MATTERS = 0.003
"""Share of its own level that a curve must move within the window; less is nothing one could hear."""
REST = 0.02
"""A curve is flat only if its change is known to be within this share of its level; else nothing is known of it."""
FEWEST, LONGEST = 4, 20
"""Points; a line through three says nothing about noise."""


@dataclass(frozen=True)
class Trend:
    """A straight line through the last points of a curve (least squares), and how sure its slope is."""

    word: str
    """falls, rises, flat, or unclear where points are too few or too scattered."""
    change: float
    """From the first to the last point of the line, in the curve's own unit."""
    noise: float
    """Half the 95 % interval of that change, from how the points lie about the line; nan with too few points."""
    points: int
    first: float
    last: float
    """Where on the x-axis the window begins and ends."""

    def __str__(self) -> str:
        if np.isnan(self.noise):
            return f"{self.points} points, too few to tell"
        return f"{self.change:+.4f} from step {self.first:.0f} to {self.last:.0f}, give or take {self.noise:.4f}"


def trend(steps: Sequence[float], values: Sequence[float], after: float | None = None) -> Trend:
    """The trend of the last half of a curve, of `FEWEST` to `LONGEST` points; or of every point behind `after`.

    The change is weighed against the scatter about the line, not against a fixed number: what is a clear fall in a
    smooth curve is nothing in a rough one.
    """
    x, y = np.asarray(steps, float), np.asarray(values, float)
    if after is None:
        window = min(LONGEST, max(FEWEST, len(x) // 2))
        x, y = x[-window:], y[-window:]
    else:
        x, y = x[x > after], y[x > after]
    if len(x) < FEWEST or x[0] == x[-1]:
        change, ends = (y[-1] - y[0], (x[0], x[-1])) if len(x) else (0.0, (0.0, 0.0))
        return Trend("unclear", float(change), float("nan"), len(x), *map(float, ends))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a line without scatter divides by zero, and is as sure as can be
        line = stats.linregress(x, y)
    length, level = x[-1] - x[0], abs(y.mean())
    change = line.slope * length
    noise = stats.t.ppf(1 - CHANCE / 2, len(x) - 2) * line.stderr * length
    if abs(change) > noise and abs(change) > MATTERS * level:
        word = "falls" if change < 0 else "rises"
    else:
        word = "flat" if abs(change) + noise < REST * level else "unclear"
    return Trend(word, float(change), float(noise), len(x), float(x[0]), float(x[-1]))
