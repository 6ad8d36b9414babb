"""Pictures of an analysis: mimic2's five plots, what is spread how, and the sounds; each titled with its verdict.

Every function takes an `Analysis`, and most a second one, `before`, drawn pale behind it: the corpus before its
clean-up. A verdict is a sign and a colour, so that it can be told without the colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tts_lab.analysis.analysis import Analysis
from tts_lab.analysis.coverage import RARE, is_sound
from tts_lab.analysis.lengths import DEVIATION_SECONDS, LINE, SAMPLES, line
from tts_lab.analysis.sound import CLEAN, END_SILENCE, LONG, NOISY, PAUSE, ROOM_SECONDS, SHORT
from tts_lab.analysis.statistics import rates
from tts_lab.analysis.table import kept
from tts_lab.analysis.verdict import Verdict
from tts_lab.notebook.picture import BLUE, GREEN, GREY, KEPT, ORANGE, RED, Picture, headline, sheet

SIGNS = {"good": ("✓", GREEN), "bad": ("✗", RED), "unknown": ("?", GREY)}
PALE = 0.35
BINS = 30


def lengths(analysis: Analysis, x: str = "characters", before: Analysis | None = None) -> Picture:
    """Mean, median, mode and deviation of seconds, and the number of clips, by `x`: "characters" or "phonemes"."""
    picture, axes = sheet(1, 5, 2.7)
    found = getattr(analysis.statistics, x)
    old = None if before is None else getattr(before.statistics, x)
    columns = [*LINE, "deviation", "count"]
    titles = ["mean s", "median s", "mode s", "deviation s", "clips"]
    names = [f"{column} seconds by {x}" for column in LINE] + [f"standard deviation by {x}", f"samples by {x}"]
    for panel, column, title, name in zip(axes[0], columns, titles, names, strict=True):
        _judged(panel, title, analysis.verdict(name), 9.5)
        if old is not None:
            panel.plot(old.index, old[column], ".", color=ORANGE, alpha=PALE, markersize=4, markeredgewidth=0)
        panel.plot(found.index, found[column], "o", color=BLUE, alpha=0.7, markersize=3, markeredgewidth=0)
        panel.set_ylim(0, None)
        if column in LINE and len(found) > 2:
            slope, start, _ = line(found, column)
            ends = np.array([found.index.min(), found.index.max()])
            panel.plot(ends, start + slope * ends, color=GREY, linestyle="--", linewidth=1)
        _light(panel, x)
    axes[0, 3].axhline(DEVIATION_SECONDS, color=RED, linestyle="--", linewidth=1)
    axes[0, 3].set_ylim(0, max(1.05, axes[0, 3].get_ylim()[1]))
    axes[0, 4].yaxis.set_major_locator(MaxNLocator(5, integer=True))
    # Lengths that are too few to judge their deviation are drawn small.
    few = found[found["count"] < SAMPLES]
    axes[0, 3].plot(few.index, few["deviation"], "o", color="white", markersize=1.6, markeredgewidth=0)
    _say(picture, [analysis.verdict(name) for name in names], before is not None)
    return picture


def speech(analysis: Analysis, before: Analysis | None = None) -> Picture:
    """How durations, lengths of text and speaking rate are spread over the kept clips."""
    panels = [
        ("seconds", "Duration", "seconds", "durations", [SHORT, LONG]),
        ("characters", "Length of text", "characters", None, []),
        ("phonemes_a_second", "Speaking rate", "phonemes a second", "speaking rate", []),
        ("characters_a_second", "Speaking rate", "characters a second", None, []),
    ]
    return _spreads(analysis, before, panels, 1)


def silences(analysis: Analysis, before: Analysis | None = None) -> Picture:
    """Silence before, after and within the speech of the recordings, in seconds, clips on a logarithmic scale."""
    panels = [
        ("lead_silence", "Before the speech", "seconds", "silence at the ends", [END_SILENCE]),
        ("trail_silence", "After the speech", "seconds", "silence at the ends", [END_SILENCE]),
        ("longest_pause", "Longest pause inside", "seconds", "pauses inside", [PAUSE]),
    ]
    picture = _spreads(analysis, before, panels, 1)
    for panel in picture.axes:
        panel.set_yscale("symlog", linthresh=1)
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_xlim(0, None)
    return picture


def sound(analysis: Analysis, before: Analysis | None = None) -> Picture:
    """Level, noise, band, room, pitch and melody of the recordings."""
    voice = analysis.verdict("bandwidth").numbers.get("voice", 0) / 1000
    panels = [
        ("loudness", "Loudness", "LUFS", "loudness", []),
        ("snr", "Speech over noise", "dB", "noise", [NOISY, CLEAN]),
        ("bandwidth", "Bandwidth", "kHz", "bandwidth", [voice]),
        ("reverberation", "Reverberation", "seconds for 60 dB", "reverberation", [ROOM_SECONDS]),
        ("pitch", "Median pitch", "Hz", "pitch", []),
        ("pitch_deviation", "Melody: deviation of pitch", "semitones", None, []),
    ]
    return _spreads(analysis, before, panels, 2)


def symbols(analysis: Analysis) -> Picture:
    """How many clips hold each sound, the most frequent first; those in fewer than ten are hatched."""
    found = analysis.statistics.symbols
    found = found[[is_sound(symbol) for symbol in found.index]].sort_values("clips", ascending=False, kind="stable")
    picture, axes = sheet(1, 1, 2.8)
    panel = axes[0, 0]
    rare = found["clips"] < RARE
    place = np.arange(len(found))
    panel.bar(place[~rare], found["clips"][~rare], color=BLUE, width=0.75)
    panel.bar(place[rare], found["clips"][rare], color=ORANGE, width=0.75, hatch="///", edgecolor="white", linewidth=0)
    panel.axhline(RARE, color=RED, linestyle="--", linewidth=1)
    panel.set_yscale("log")
    panel.set(xlim=(-0.7, len(found) - 0.3), ylim=(0.7, None), ylabel="clips")
    panel.set_xticks(place, list(found.index))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.tick_params(axis="x", length=0)
    _judged(panel, "Clips that hold each sound", analysis.verdict("sounds rare"))
    _say(picture, [analysis.verdict(name) for name in ("sounds missing", "sounds rare")])
    return picture


def pace(before: Analysis, after: Analysis) -> Picture:
    """Seconds against phonemes, a dot a clip, before and after the clean-up: what is off the line was odd."""
    picture, axes = sheet(1, 2, 3.2, sharex=True, sharey=True)
    for panel, title, one in zip(axes[0], ("before", "after"), (before, after), strict=True):
        clips = kept(one.table)
        gone = ~clips.index.isin(kept(after.table).index)
        panel.plot(clips["phonemes"], clips["seconds"], "o", color=BLUE, alpha=0.4, markersize=3.5, markeredgewidth=0)
        panel.plot(clips["phonemes"][gone], clips["seconds"][gone], "x", color=RED, markersize=5)
        _judged(panel, f"{title}: {len(clips)} clips, {one.minutes:.1f} min", one.verdict("speaking rate"))
        panel.set_xlabel("phonemes")
        panel.grid(alpha=0.25)
    axes[0, 0].set_ylabel("seconds")
    if (gone_any := ~kept(before.table).index.isin(kept(after.table).index)).any():
        axes[0, 0].plot([], [], "x", color=RED, label=f"taken out: {int(gone_any.sum())}")
        axes[0, 0].legend(frameon=False, loc="upper left")
    return picture


def figures(analysis: Analysis, before: Analysis | None = None) -> dict[str, Picture]:
    """Every picture of an analysis by a name that suits a file."""
    drawn = {
        "characters": lengths(analysis, "characters", before),
        "phonemes": lengths(analysis, "phonemes", before),
        "speech": speech(analysis, before),
        "silences": silences(analysis, before),
        "sound": sound(analysis, before),
        "symbols": symbols(analysis),
    }
    return drawn if before is None else drawn | {"pace": pace(before, analysis)}


def _judged(panel: Axes, title: str, verdict: Verdict | None, size: float = 10.5) -> None:
    """A title with the verdict's sign before it, in its colour, which a dark page keeps."""
    headline(panel, title if verdict is None else f"     {title}", size)
    if verdict is not None:
        sign, colour = SIGNS[verdict.mark]
        panel.annotate(
            sign, (0, 1), xytext=(2, 5), xycoords="axes fraction", textcoords="offset points", color=colour,
            fontsize=size + 2, fontweight="bold", gid=KEPT, annotation_clip=False,
        )  # fmt: skip


def _light(panel: Axes, label: str) -> None:
    panel.set_xlabel(label)
    panel.grid(axis="y", alpha=0.25)
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.tick_params(labelsize=8)


def _say(picture: Picture, verdicts: Sequence[Verdict], compared: bool = False) -> None:
    """Under the panels, the words of what is not good; over them, which colour is which."""
    said = [f"{SIGNS[one.mark][0]} {one.name}: {one.words}" for one in verdicts if one.ok is False]
    if said:
        words = "\n".join(fill(line, 140, subsequent_indent="     ") for line in said)
        picture.supxlabel(words, x=0.01, ha="left", fontsize=8.5, linespacing=1.4)
        picture.set_figheight(picture.get_figheight() + 0.2 * (words.count("\n") + 1))
    if compared:
        panel = picture.axes[0]
        panel.plot([], [], "o", color=BLUE, label="after")
        panel.plot([], [], "o", color=ORANGE, alpha=PALE, label="before")
        picture.legend(*panel.get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)


def _spreads(
    analysis: Analysis,
    before: Analysis | None,
    panels: Sequence[tuple[str, str, str, str | None, list[float]]],
    rows: int,
) -> Picture:
    """A histogram for each (column, title, unit, verdict's name, limits to mark)."""
    columns = len(panels) // rows
    picture, axes = sheet(rows, columns, (2.3 if before is None else 2.6) * rows)
    tables = [None if one is None else _clips(one) for one in (analysis, before)]
    for panel, (column, title, unit, name, limits) in zip(axes.flat, panels, strict=True):
        values, old = (np.zeros(0) if table is None else _finite(table[column]) for table in tables)
        scale = 1000.0 if column == "bandwidth" else 1.0
        both = np.concatenate([values, old]) / scale
        _judged(panel, title, None if name is None else analysis.verdict(name), 9.5)
        _light(panel, unit)
        if not len(both):
            panel.annotate("not measured", (0.5, 0.5), xycoords="axes fraction", ha="center")
            continue
        low, high = both.min(), both.max()
        if column == "bandwidth":  # of interest is how much of the voice's band is filled
            low, high = 0.0, max(high, *limits)
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        if before is not None:
            panel.hist(old / scale, bins=edges, color=ORANGE, alpha=PALE)
        panel.hist(values / scale, bins=edges, color=BLUE, histtype="stepfilled", alpha=0.75)
        for limit in limits:
            # A limit far away from everything would squeeze the picture: it is kept only where it can be seen.
            if low - 0.6 * (high - low) <= limit <= high + 0.6 * (high - low):
                panel.axvline(limit, color=RED, linestyle="--", linewidth=1)
        panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for row in axes:
        row[0].set_ylabel("clips")
    names = dict.fromkeys(name for *_, name, _ in panels if name is not None)
    _say(picture, [analysis.verdict(name) for name in names], before is not None)
    return picture


def _clips(analysis: Analysis) -> pd.DataFrame:
    clips = kept(analysis.table)
    return clips.assign(**rates(clips))


def _finite(values: pd.Series) -> np.ndarray:
    numbers = values.to_numpy(dtype=float)
    return numbers[np.isfinite(numbers)]
