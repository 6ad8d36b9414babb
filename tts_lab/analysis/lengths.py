"""The verdicts on mimic2's five plots: seconds against the length of the text.

The rules are those of https://github.com/MycroftAI/mimic2, README, "Visualizing your data": the average should rise
in a line ("vital to ensure a consistent speech rate"), the standard deviation "stay in a range no larger than 0.8",
the number of samples have a smooth distribution, a normal or an even one. What counts as a line and as smooth,
which the README leaves to the eye, is stated here.
"""

import numpy as np
import pandas as pd
from scipy.stats import chi2

from tts_lab.analysis.verdict import ENOUGH, Verdict, too_few

LINE = {"mean": 0.9, "median": 0.9, "mode": 0.8}
"""Least share of the variance over lengths that a line explains, lengths weighted by their clips. The mode, a vote of
few, is rougher. By characters Allison has 0.95, 0.95, 0.95, the Russian corpus 0.98, 0.98, 0.97; with every clip's
seconds times 0.7 to 1.4 and a second of silence more on average, 0.84, 0.85, 0.86 and 0.87, 0.82, 0.77."""
DEVIATION_SECONDS = 0.8
"""mimic2's."""
SAMPLES = 5
"""Clips of one length from which its own deviation says something."""
SURE = 0.95
"""How sure it must be (chi-squared) that a length is over 0.8 s: a deviation out of five clips is itself uncertain."""
TOO_WIDE_SHARE = 0.1
"""Share of such lengths that may be."""
BANDS = 10
COVERED = 0.6
"""Share of the range of lengths that must hold enough clips without a gap. A bell covers 0.8, an even spread 1."""


def length_verdicts(found: pd.DataFrame, x: str) -> list[Verdict]:
    """Of `statistics.by_length(table, x)`: mean, median, mode, deviation, samples, in this order."""
    return [*(_line(found, x, column) for column in LINE), _deviation(found, x), _samples(found, x)]


def line(found: pd.DataFrame, column: str) -> tuple[float, float, float]:
    """Slope (seconds a unit of length), intercept (seconds) and weighted R² of `column` over the lengths."""
    x, y, weight = found.index.to_numpy(float), found[column].to_numpy(float), found["count"].to_numpy(float)
    slope, intercept = np.polyfit(x, y, 1, w=np.sqrt(weight))  # polyfit squares its weights
    middle = np.average(y, weights=weight)
    total = np.sum(weight * (y - middle) ** 2)
    rest = np.sum(weight * (y - slope * x - intercept) ** 2)
    return float(slope), float(intercept), float(1 - rest / total) if total else 0.0


def pooled_deviation(found: pd.DataFrame) -> tuple[float, int]:
    """Standard deviation of seconds within a length, all lengths together, and its degrees of freedom."""
    several = found[found["count"] > 1]
    freedom = (several["count"] - 1).to_numpy()
    if not freedom.sum():
        return float("nan"), 0
    return float(np.sqrt(np.sum(freedom * several["deviation"] ** 2) / freedom.sum())), int(freedom.sum())


def _line(found: pd.DataFrame, x: str, column: str) -> Verdict:
    name = f"{column} seconds by {x}"
    rule = (
        f"The {column} rises in a line with the length of the text: a line explains at least {LINE[column]:.0%} "
        "of its variance, lengths weighted by their clips (mimic2 judges by eye)."
    )
    clips = int(found["count"].sum())
    if clips < ENOUGH or len(found) < ENOUGH // 2:
        return too_few(name, rule, clips)
    slope, intercept, explained = line(found, column)
    # What is off the line matters by how many clips it concerns, too.
    off = (found[column] - slope * found.index - intercept) * np.sqrt(found["count"])
    worst = off.abs().idxmax()
    said = intercept + slope * worst
    ok = explained >= LINE[column] and slope > 0
    words = (
        f"A line explains {explained:.0%} of it ({1000 * slope:.0f} ms a {x[:-1]}); farthest off, {worst} {x}: "
        f"{found[column][worst]:.1f} s where the line says {said:.1f}."
    )
    if not ok:
        words = f"No clear line: the same length of text takes now long, now short. {words}"
    numbers = {"explained": explained, "slope": slope, "intercept": intercept, "farthest": float(worst)}
    return Verdict(name, bool(ok), words, rule, numbers)


def _deviation(found: pd.DataFrame, x: str) -> Verdict:
    name = f"standard deviation by {x}"
    rule = (
        f"Seconds at one length differ by a standard deviation of at most {DEVIATION_SECONDS} s (mimic2): over all "
        f"lengths together, and surely more at no more than one of ten lengths that have {SAMPLES} clips."
    )
    spread, freedom = pooled_deviation(found)
    if freedom < ENOUGH:
        shared = int(found.loc[found["count"] > 1, "count"].sum())
        words = f"Too few to tell: {shared} clips share their length with another; it takes {2 * ENOUGH} or so."
        return Verdict(name, None, words, rule, {"clips": shared})
    enough = found[found["count"] >= SAMPLES]
    freedoms = enough["count"] - 1
    wide = enough[freedoms * (enough["deviation"] / DEVIATION_SECONDS) ** 2 > chi2.ppf(SURE, freedoms)]
    share = len(wide) / len(enough) if len(enough) else 0.0
    ok = spread <= DEVIATION_SECONDS and share <= TOO_WIDE_SHARE
    words = f"{spread:.2f} s within a length, all lengths together"
    if len(wide):
        words += (
            f"; surely over {DEVIATION_SECONDS} s at {len(wide)} of {len(enough)} lengths, most at "
            f"{wide['deviation'].idxmax()} {x} ({wide['deviation'].max():.1f} s)"
        )
    elif len(enough):
        words += f"; surely over {DEVIATION_SECONDS} s at none of {len(enough)} lengths"
    if not ok:
        words += ". Pace or silence changes from clip to clip; look at the clips off the line first"
    return Verdict(name, bool(ok), words + ".", rule, {"deviation": spread, "wide_share": share})


def _samples(found: pd.DataFrame, x: str) -> Verdict:
    name = f"samples by {x}"
    clips = int(found["count"].sum())
    least = max(SAMPLES, clips / 100)
    rule = (
        f"The number of clips rises and falls smoothly with the length, as a bell or evenly (mimic2): of {BANDS} equal "
        f"bands between shortest and longest, neighbours with at least {SAMPLES} clips and 1 % each make "
        f"{COVERED:.0%} of the range."
    )
    if clips < SAMPLES * BANDS:
        return too_few(name, rule, clips, SAMPLES * BANDS)
    lengths = found.index.to_numpy()
    counts, edges = np.histogram(lengths, bins=BANDS, weights=found["count"])
    fullest = int(counts.argmax())
    first = last = fullest
    while first and counts[first - 1] >= least:
        first -= 1
    while last < BANDS - 1 and counts[last + 1] >= least:
        last += 1
    covered = (last - first + 1) / BANDS
    low, high = int(np.ceil(edges[first])), int(edges[last + 1])
    beyond = int(counts[:first].sum() + counts[last + 1 :].sum())
    words = f"Well covered from {low} to {high} {x}"
    if beyond:
        words += f"; {beyond} clips lie beyond, up to {int(lengths.max())}"
    if covered < COVERED:
        words += ". Take out these few, or record more of them: a voice speaks badly at lengths it has hardly heard"
    numbers = {"covered": covered, "low": low, "high": high, "beyond": beyond}
    return Verdict(name, bool(covered >= COVERED), words + ".", rule, numbers)
