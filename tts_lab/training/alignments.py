"""Alignments of a run's validation clips: their scores, and a picture in which to see what the scores mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tts_lab.analysis.alignment import compare, flaws, frames_of, score, sounds
from tts_lab.corpus.wholefile import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, RED = "#0f7ac0", "#e08e00", "#b00020"
LABELS = 70  # sounds a panel can name legibly; of more, every second or third is named


@dataclass(frozen=True)
class Aligned:
    """A clip as its recording was aligned, and as its text was spoken freely."""

    text: str
    symbols: list[str]
    """What each phoneme id stands for."""
    recorded: np.ndarray
    """Frames of each id ``(T,)``, by monotonic alignment search."""
    spoken: np.ndarray
    """The same as the model predicted them."""


def mean_scores(clips: Sequence[Aligned]) -> dict[str, float]:
    """The columns ``ALIGNMENT`` of metrics.csv: means over ``clips``."""
    rows = []
    for clip in clips:
        row = {f"align_{name}": value for name, value in asdict(score(clip.recorded, clip.symbols)).items()}
        row |= {f"free_{name}": value for name, value in asdict(score(clip.spoken, clip.symbols)).items()}
        pace = compare(clip.recorded, clip.spoken, clip.symbols)
        rows.append(row | {"rate_ratio": pace.rate_ratio, "duration_correlation": pace.correlation})
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def picture(clips: Sequence[Aligned], seconds: float) -> np.ndarray:
    """A panel a clip: its sounds from below upwards over time, as recorded and as spoken freely.

    Args:
        seconds: of a frame.

    Returns:
        Pixels, uint8 ``(height, width, 3)``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    most = max(len(sounds(clip.symbols)) for clip in clips)
    width, height = 5.2 * len(clips), 2.0 + 0.13 * min(most, LABELS)
    figure = Figure(figsize=(width, height), dpi=100)
    # Margins in inches; a layout that finds them draws the figure twice.
    edges = {"left": 0.4 / width, "right": 1 - 0.15 / width, "bottom": 1.1 / height, "top": 1 - 0.65 / height}
    figure.subplots_adjust(**edges, wspace=0.1)
    canvas = FigureCanvasAgg(figure)
    for panel, clip in zip(figure.subplots(1, len(clips), squeeze=False)[0], clips, strict=True):
        _draw(panel, clip, seconds)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    marked = Patch(color=RED, label="red: a sound skipped; red and bold: stretched; dotted: all sounds of one length")
    figure.legend(
        [*handles, marked], [*labels, marked.get_label()], loc="lower left", frameon=False, fontsize=9
    )  # fmt: skip
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write ``pixels``, uint8 ``(height, width, 3)``, whole or not at all."""
    from matplotlib.image import imsave

    page = BytesIO()
    imsave(page, pixels, format="png")
    write_atomically(path, page.getvalue())


def _draw(panel: Axes, clip: Aligned, seconds: float) -> None:
    spans = sounds(clip.symbols)
    rows = np.arange(len(spans))
    for durations, colour, height, label in (
        (clip.recorded, BLUE, 0.9, "recording, aligned"),
        (clip.spoken, ORANGE, 0.4, "spoken freely"),
    ):
        lengths = frames_of(durations, spans) * seconds
        panel.barh(rows, lengths, left=np.cumsum(lengths) - lengths, height=height, color=colour, label=label)
    whole = clip.recorded.sum() * seconds
    panel.plot([0, whole], [-0.5, len(spans) - 0.5], color="#8a8a8a", linestyle=":", linewidth=1)
    panel.set(xlim=(0, max(whole, clip.spoken.sum() * seconds)), ylim=(-0.5, len(spans) - 0.5), xlabel="seconds")
    shown = rows[:: -(-len(spans) // LABELS)]
    panel.set_yticks(shown, [spans[row].name.replace(" ", "␣") for row in shown], fontsize=7)
    skipped, stretched = flaws(clip.recorded, spans)
    for row, tick in zip(shown, panel.get_yticklabels(), strict=True):
        if skipped[row] or stretched[row]:
            tick.set(color=RED, fontweight="bold" if stretched[row] else "normal")
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)

    own, free = score(clip.recorded, clip.symbols), score(clip.spoken, clip.symbols)
    pace = compare(clip.recorded, clip.spoken, clip.symbols)
    text = clip.text if len(clip.text) <= 60 else f"{clip.text[:59]}…"
    panel.set_title(
        f"{text}\n"
        f"recording: diagonal {own.diagonality:.2f}, skipped {own.skipped:.0%}, stretched {own.stretched:.0%}, "
        f"end {own.end:.0%}\n"
        f"free: {pace.rate_ratio:.2f} times as fast, durations correlate {pace.correlation:.2f}, "
        f"skipped {free.skipped:.0%}",
        loc="left", fontsize=8,
    )  # fmt: skip
