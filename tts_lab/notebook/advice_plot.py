"""The evidence for an advice as one picture: the curves, the limits, and the checkpoint that is advised."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tts_lab.evaluation.advice import Advice, curve
from tts_lab.evaluation.choice import limits
from tts_lab.evaluation.evaluation import Evaluation, steps
from tts_lab.notebook.picture import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Picture, headline, sheet
from tts_lab.training.metrics import read_metrics


def advice_plot(run: Path, evaluation: Evaluation | None, advice: Advice | None) -> Picture:
    """Mel losses of a run folder, and where it was evaluated what was heard, a dot for each checkpoint.

    Green dashes are the speaker's own clips, grey dots the voice the run started from, red a limit of the rule
    (`tts_lab.evaluation.choice`). The thin upright line is the checkpoint that is advised.
    """
    return evidence_plot(read_metrics(run / "metrics.csv"), evaluation, advice)


def evidence_plot(rows: Sequence[dict[str, Any]], evaluation: Evaluation | None, advice: Advice | None) -> Picture:
    """`advice_plot` from rows of metrics.csv and an evaluation, either of which may be missing."""
    heard = steps(evaluation.rows) if evaluation else []
    judged = curve(rows, "val_mos")
    picture, axes = sheet(2, 3, 5.2) if heard else sheet(1, 2 if judged else 1, 3.0)
    panels = list(axes.flat)
    _mel(panels[0], rows)
    if judged and not heard:
        headline(panels[1], "MOS of free speech, validation", 9)
        panels[1].plot(*zip(*judged, strict=True), color=ORANGE, marker="o", markersize=4)
    if heard:
        _heard(panels[1:], evaluation, heard)
    for panel in panels:
        if advice is not None and advice.step is not None:
            panel.axvline(advice.step, color=BLUE, linewidth=1, alpha=0.6)
        panel.set_xlabel("step")
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.grid(axis="y", alpha=0.25)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize=8)
    return picture


def _mel(panel: Axes, rows: Sequence[dict[str, Any]]) -> None:
    headline(panel, "Mel loss: sound, words given", 9)
    for name, colour, label, style in (
        ("mel", GREY, "training", {"linewidth": 0.8, "alpha": 0.7}),
        ("val_mel", ORANGE, "validation", {"marker": "o", "markersize": 4}),
    ):
        if points := curve(rows, name):
            panel.plot(*zip(*points, strict=True), color=colour, label=label, **style)
    values = [value for name in ("mel", "val_mel") for _, value in curve(rows, name)]
    if values and (top := 2 * sorted(values)[len(values) // 2]) < max(values):
        panel.set_ylim(0.9 * min(values), top)  # the first steps of a warm start are far off


def _heard(panels: Sequence[Axes], evaluation: Evaluation, heard: Sequence[dict[str, Any]]) -> None:
    base = next((row for row in evaluation.rows if row["kind"] == "base"), {})
    rows = ([base] if base else []) + list(heard)
    limit, human = limits(rows, evaluation.human, evaluation.spoken.words), evaluation.human
    for panel, name, title, least in (
        (panels[0], "wer", "Words misheard", limit.wer),
        (panels[1], "similarity", "Likeness to the speaker", None),
        (panels[2], "mos", "Naturalness (predicted)", limit.mos),
        (panels[4], "frame_rate_share", "Buzz: pitch at the frame rate", limit.buzz),
    ):
        headline(panel, title, 9)
        _line(panel, heard, name, BLUE)
        for value, colour, style in ((human.get(name), GREEN, "--"), (base.get(name), GREY, ":"), (least, RED, "-.")):
            if value is not None:
                panel.axhline(value, color=colour, linestyle=style, linewidth=1.3)
        if name in ("wer", "frame_rate_share"):
            panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            panel.set_ylim(bottom=0)
    headline(panels[3], "Off the speaker, same texts", 9)
    _line(panels[3], heard, "pitch_delta", PURPLE, "pitch")
    _line(panels[3], heard, "rate_delta", ORANGE, "rate")
    panels[3].axhline(0, color=GREEN, linestyle="--", linewidth=1.3)
    panels[3].yaxis.set_major_formatter(PercentFormatter(100, decimals=0))


def _line(panel: Axes, rows: Sequence[dict[str, Any]], name: str, colour: str, label: str | None = None) -> None:
    points = [(row["step"], row[name]) for row in rows if row[name] is not None]
    if points:
        panel.plot(*zip(*points, strict=True), "o-", color=colour, markersize=4, label=label)
