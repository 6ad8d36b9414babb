"""The curves of two runs over each other, each with its best marked."""

from __future__ import annotations

from math import ceil

from matplotlib.ticker import MaxNLocator

from tts_lab.evaluation.compared import Curve, RunsCompared
from tts_lab.evaluation.lead import best
from tts_lab.notebook.picture import BLUE, ORANGE, Picture, headline, sheet

TITLES = {
    "val_mel": "Validation mel loss", "val_kl": "Validation KL", "val_duration": "Validation duration loss",
    "val_mos": "Naturalness (predicted), while training",
    "wer": "Words misheard", "cer": "Characters misheard", "mos": "Naturalness (predicted)",
    "similarity": "Likeness to the speaker", "pitch_delta": "Pitch off, %", "rate_delta": "Rate off, %",
}  # fmt: skip
STYLES = ((BLUE, "o-"), (ORANGE, "s--"))  # told apart without colour too


def compared_plot(compared: RunsCompared) -> Picture:
    """A panel for each curve that both runs have, over steps; a ring marks each run's best.

    Panels say above them whether lower or higher is better.
    """
    count = max(1, len(compared.curves))
    columns = min(3, count)
    picture, axes = sheet(ceil(count / columns), columns, 2.8 * ceil(count / columns) + 0.4)
    panels = list(axes.flat)
    for panel in panels[len(compared.curves) :]:
        panel.set_axis_off()
    if not compared.curves:
        panels[0].text(0.5, 0.5, "no curve in common", ha="center", va="center")
        return picture
    for panel, curve in zip(panels, compared.curves, strict=False):
        _draw(panel, curve, compared.names)
    picture.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return picture


def _draw(panel, curve: Curve, names: tuple[str, str]) -> None:
    for points, name, (colour, style) in zip(curve.points, names, STYLES, strict=True):
        panel.plot(*zip(*points, strict=True), style, color=colour, label=name, markersize=4, linewidth=1.6)
        found = best(points, curve.smaller)
        if found:
            panel.plot(*found, "o", color=colour, markersize=11, fillstyle="none", markeredgewidth=1.5)
    better = "lower" if curve.smaller else "higher"
    headline(panel, f"{TITLES.get(curve.name, curve.name)} ({better} is better)", 9)
    panel.set_xlabel("steps done")
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.grid(axis="y", alpha=0.25)
