"""Pictures: each function takes data and returns one figure, wide enough for a notebook, readable without colour.

The look they share is in `picture`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from tts_lab.notebook.picture import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Picture, headline, sheet
from tts_lab.training.columns import COLUMNS
from tts_lab.training.columns import read_metrics as read_rows


def read_metrics(path: Path) -> pd.DataFrame:
    """A run's `metrics.csv`: one row a logged step, NaN where a column was not measured."""
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the run has logged nothing yet, or is elsewhere")
    return pd.DataFrame(read_rows(path), columns=COLUMNS).apply(pd.to_numeric).sort_values("step", kind="stable")


def _smooth(values: pd.Series, span: int) -> pd.Series:
    return values.ewm(span=span, adjust=True).mean()


def _curve(axes: Axes, metrics: pd.DataFrame, column: str, colour: str, label: str) -> None:
    """Every measurement faintly, and over it a moving average: adversarial losses are too noisy to read one by one."""
    data = metrics[["step", column]].dropna()
    axes.plot(data["step"], data[column], color=colour, alpha=0.25, linewidth=0.8)
    axes.plot(data["step"], _smooth(data[column], max(2, len(data) // 12)), color=colour, linewidth=2, label=label)


def _cap(axes: Axes, values: pd.DataFrame) -> None:
    """Leave single outliers, such as the first steps of a warm start, off the top, and say so."""
    usual = values.quantile(0.95).max() * 1.5
    if values.max().max() > 3 * usual > 0:
        axes.set_ylim(0, usual)
        told = f"up to {values.max().max():.3g}, off the top"
        axes.annotate(told, (0.02, 0.02), xycoords="axes fraction", fontsize=8)


def losses(metrics: pd.DataFrame) -> Picture:
    """Training and validation mel loss, and beside it the other terms of the loss that were measured."""
    others = {
        "kl": ("text against sound (KL)", GREEN),
        "source": ("pitch and voicing", ORANGE),
        "duration": ("duration", PURPLE),
        "adversarial": ("adversarial", RED),
        "feature": ("feature matching", GREY),
    }
    present = [name for name in others if name in metrics and (metrics[name].fillna(0) != 0).any()]
    picture, axes = sheet(1, 2, 3.2)
    left, right = axes[0]
    _curve(left, metrics, "mel", BLUE, "training")
    if "val_mel" in metrics and metrics["val_mel"].notna().any():
        validation = metrics[["step", "val_mel"]].dropna()
        left.plot(validation["step"], validation["val_mel"], "o--", color=ORANGE, label="validation", markersize=5)
    headline(left, "Mel loss: how far the sound is from the recording")
    headline(right, "The other terms of the loss")
    for name in present:
        label, colour = others[name]
        _curve(right, metrics, name, colour, label)
    for panel, columns in ((left, ["mel"]), (right, present)):
        _cap(panel, metrics[columns])
        panel.set_xlabel("step")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panel.grid(axis="y", alpha=0.25)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False)
    return picture


def learning_rate(metrics: pd.DataFrame) -> Picture:
    """The learning rates in force at each step: a schedule that is never applied shows as a flat line."""
    picture, axes = sheet(1, 1, 2.0)
    panel = axes[0, 0]
    for column, colour, label, line in (
        ("learning_rate_g", BLUE, "generator", "-"), ("learning_rate_d", RED, "discriminators", "--")
    ):  # fmt: skip
        if column in metrics and metrics[column].notna().any():
            data = metrics[["step", column]].dropna()
            panel.plot(data["step"], data[column], line, color=colour, linewidth=2, label=label)
    panel.set(xlabel="step", ylim=(0, None))
    headline(panel, "Learning rate")
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    panel.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    panel.grid(axis="y", alpha=0.25)
    panel.legend(frameon=False)
    return picture


def compared(runs: Mapping[str, pd.DataFrame], resumed: int | None = None) -> Picture:
    """The losses of several runs over one another; the first is broad and pale, so that a line on it can be seen.

    `resumed` is the step at which a run went on after it had ended, marked by a dotted line.
    """
    picture, axes = sheet(1, 2, 3.0)
    styles = [(BLUE, "-", 7, 0.3), (BLUE, "--", 1.6, 1.0), (ORANGE, "-", 1.6, 1.0)]
    terms = {"mel": "Mel loss", "kl": "Text against sound (KL)"}
    for panel, (column, title) in zip(axes[0], terms.items(), strict=True):
        for (label, metrics), (colour, line, width, alpha) in zip(runs.items(), styles, strict=False):
            data = metrics[["step", column]].dropna()
            panel.plot(
                data["step"], data[column], line, color=colour, linewidth=width, alpha=alpha, label=label,
                marker="o" if colour == ORANGE else None, markersize=3.5,
            )  # fmt: skip
        if resumed is not None:
            panel.axvline(resumed - 0.5, color=GREY, linestyle=":", linewidth=1.5, label="went on after it had ended")
        headline(panel, title)
        panel.set_xlabel("step")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panel.grid(axis="y", alpha=0.25)
    picture.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return picture


def starts(runs: Mapping[str, pd.DataFrame], clock: bool = False) -> Picture:
    """Several runs' losses, each in its colour: training as a line, validation as dots; mel loss, and KL.

    Over steps, or with `clock` over minutes of training.
    """
    picture, axes = sheet(1, 2, 3.2)
    colours = [BLUE, ORANGE, GREEN, PURPLE, RED, GREY]
    terms = {"mel": "Mel loss: how far the sound is from the recording", "kl": "Text against sound (KL)"}
    for panel, (column, title) in zip(axes[0], terms.items(), strict=True):
        for number, (label, metrics) in enumerate(runs.items()):
            along = metrics["seconds"] / 60 if clock else metrics["step"] + 1
            how = {"color": colours[number % len(colours)]}
            for name, style in ((column, {"linewidth": 1.6, "label": label}),
                                (f"val_{column}", {"linestyle": ":", "marker": "o", "markersize": 5})):  # fmt: skip
                known = metrics[name].notna() if name in metrics else []
                if np.any(known):
                    panel.plot(along[known], metrics.loc[known, name], **how, **style)
        headline(panel, title)
        if column == "kl":  # from scratch it begins at a hundred times what it comes to
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter(ScalarFormatter())
            panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel("minutes of training" if clock else "steps done")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=not clock))
        panel.grid(axis="y", alpha=0.25)
    picture.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return picture


def graphs(metrics: pd.DataFrame) -> Picture:
    """What a lazy device did for each step: graphs compiled and steps traced so far, and the time the step took."""
    data = metrics[metrics["graphs_compiled"].notna()]
    picture, axes = sheet(1, 2, 3.0)
    left, right = axes[0]
    left.step(data["step"], data["steps_traced"], where="post", color=ORANGE, linestyle="--", label="steps traced")
    left.step(data["step"], data["graphs_compiled"], where="post", color=BLUE, linewidth=2, label="graphs compiled")
    left.set(ylim=(0, None))
    left.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    left.legend(frameon=False, loc="lower right")
    right.bar(data["step"], data["host_seconds"], color=BLUE, width=0.7)
    right.set_yscale("log")
    right.set_ylabel("seconds")
    headline(left, "So far, validation included")
    headline(right, "How long the host was busy with the step")
    for panel in (left, right):
        panel.set_xlabel("step")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panel.grid(axis="y", alpha=0.25)
    return picture


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    """Samples (T,) float32 in -1..1, channels averaged, and the sample rate in hertz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate


def _decibels(samples: np.ndarray, rate: int) -> np.ndarray:
    """(frequencies, frames) in dB below the loudest, frames of 32 ms every 8 ms, Hann window."""
    window, hop = int(0.032 * rate), int(0.008 * rate)
    padded = np.pad(samples, window // 2 if len(samples) >= window else window)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)).T
    return 20 * np.log10(np.maximum(power / max(power.max(), 1e-9), 1e-5))


def waveform(panel: Axes, samples: np.ndarray, rate: int) -> None:
    """Draw the envelope of `samples` (T,), not every sample: a panel is a few hundred pixels wide."""
    edges = np.linspace(0, len(samples), 400, dtype=int)[:-1]
    low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
    panel.fill_between(edges / rate, low, high, color=BLUE, linewidth=0.4)


def spectrogram(panel: Axes, samples: np.ndarray, rate: int) -> None:
    """Draw `samples` (T,) in decibels, seconds across and kHz up."""
    panel.imshow(
        _decibels(samples, rate), origin="lower", aspect="auto", cmap="magma", vmin=-80, vmax=0,
        extent=(0, len(samples) / rate, 0, rate / 2000), interpolation="nearest",
    )  # fmt: skip


def sounds(recordings: Mapping[str, Path]) -> Picture:
    """Waveform above, spectrogram below, one column a recording, all on one scale so that columns can be compared."""
    picture, axes = sheet(2, len(recordings), 3.8, sharex=True, sharey="row", height_ratios=[1, 2])
    read = {label: read_mono(path) for label, path in recordings.items()}
    longest = max(len(samples) / rate for samples, rate in read.values())
    top = max(rate for _, rate in read.values()) / 2000
    for column, (label, (samples, rate)) in enumerate(read.items()):
        wave, spectrum = axes[:, column]
        waveform(wave, samples, rate)
        headline(wave, label)
        wave.set_ylim(-1, 1)
        spectrogram(spectrum, samples, rate)
        spectrum.set(xlim=(0, longest), ylim=(0, top), xlabel="seconds")
    axes[1, 0].set_ylabel("kHz")
    return picture


def trimming(before: Path, after: np.ndarray, rate: int) -> Picture:
    """A recording as it was found and as it was prepared, on one clock. `after` is float32 (T,) at `rate` hertz."""
    found, found_rate = read_mono(before)
    step = 0.005
    # Place the second under the first: the shift at which their loudness curves agree best.
    curves = [
        np.abs(x[: len(x) // n * n]).reshape(-1, n).max(axis=1)
        for x, n in ((found, int(step * found_rate)), (after, int(step * rate)))
    ]
    shift = (np.argmax(np.correlate(curves[0], curves[1], "full")) - len(curves[1]) + 1) * step
    picture, axes = sheet(2, 1, 3.0, sharex=True, sharey=True)
    start, end = max(0.0, shift), shift + len(after) / rate
    for panel, samples, hertz, offset, title in (
        (axes[0, 0], found, found_rate, 0.0, "As recorded; what is cut off is shaded"),
        (axes[1, 0], after, rate, start, "As prepared"),
    ):
        panel.plot(offset + np.arange(len(samples)) / hertz, samples, color=BLUE, linewidth=0.4)
        headline(panel, title)
    axes[0, 0].axvspan(0, start, color=ORANGE, alpha=0.3, linewidth=0)
    axes[0, 0].axvspan(end, max(end, len(found) / found_rate), color=ORANGE, alpha=0.3, linewidth=0)
    axes[1, 0].set_xlabel("seconds")
    return picture


def durations(seconds: Mapping[str, Sequence[float]]) -> Picture:
    """A stacked histogram of clip lengths; one colour for each label (training, validation, quarantined)."""
    named = {label: list(values) for label, values in seconds.items() if len(values)}
    longest = max((max(values) for values in named.values()), default=1.0)
    picture, axes = sheet(1, 1, 2.6)
    panel = axes[0, 0]
    panel.hist(
        list(named.values()), bins=np.linspace(0, longest, 25), stacked=True, color=[BLUE, ORANGE, RED][: len(named)],
        label=[f"{label}: {len(values)} clips, {sum(values) / 60:.1f} min" for label, values in named.items()],
        edgecolor="white", linewidth=0.5,
    )  # fmt: skip
    panel.set(xlabel="seconds", ylabel="clips")
    panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    headline(panel, "How long the clips are")
    panel.legend(frameon=False)
    return picture


def padding(lengths: Sequence[int], shapes: Sequence[int]) -> Picture:
    """Clips in order of length under the fixed shapes that hold them: the orange between the two is padding.

    `lengths` are frames of each clip, `shapes` the number of frames of each planned shape.
    """
    ordered, steps = np.sort(np.asarray(lengths)), np.sort(np.asarray(shapes))
    held = steps[np.minimum(np.searchsorted(steps, ordered), len(steps) - 1)]
    clips = np.arange(len(ordered))
    waste = 1 - ordered.sum() / held.sum()
    picture, axes = sheet(1, 1, 2.6)
    panel = axes[0, 0]
    panel.fill_between(clips, ordered, held, step="mid", color=ORANGE, alpha=0.6, linewidth=0, label="padding")
    panel.fill_between(clips, 0, ordered, step="mid", color=BLUE, alpha=0.8, linewidth=0, label="speech")
    panel.set(xlabel="clips, shortest first", ylabel="frames", xlim=(0, len(ordered) - 1), ylim=(0, None))
    headline(panel, f"{len(steps)} fixed shapes; {waste:.1%} of what is computed is padding")
    panel.legend(frameon=False, loc="upper left")
    return picture


def pitch(hertz: Mapping[str, Sequence[float]], target: str) -> Picture:
    """One dot a sentence, one line a voice: median pitch in hertz. The dashed line is the median of label `target`."""
    picture, axes = sheet(1, 1, 0.8 + 0.42 * len(hertz))
    panel = axes[0, 0]
    goal = float(np.median(hertz[target]))
    panel.axvline(goal, color=GREEN, linestyle="--", linewidth=1.5)
    for line, (label, values) in enumerate(hertz.items()):
        colour = GREEN if label == target else BLUE
        panel.plot(values, [line] * len(values), "o", color=colour, alpha=0.35, markersize=6, markeredgewidth=0)
        panel.plot(np.median(values), line, "|", color=colour, markersize=20, markeredgewidth=3)
        panel.annotate(f"{np.median(values):.0f}", (1.0, line), xycoords=("axes fraction", "data"), va="center")
    panel.set_yticks(range(len(hertz)), list(hertz))
    panel.set(ylim=(len(hertz) - 0.5, -0.5), xlabel="median pitch of a sentence, Hz")
    headline(panel, "Pitch before and after")
    return picture


def scores(table: Sequence[Mapping], human: Mapping | None = None) -> Picture:
    """The four measures, one panel each, one bar a voice; the dashed line is the human speaker where measured.

    `table` rows and `human` hold label, similarity, wer, mos, pitch_hz; a missing or None value leaves its bar out.
    """
    panels = {
        "similarity": ("Same speaker?\n(cosine; more is closer)", "{:.2f}"),
        "wer": ("Words misheard\n(fewer is better)", "{:.1%}"),
        "mos": ("Naturalness\n(predicted, 1 to 5)", "{:.2f}"),
        "pitch_hz": ("Median pitch\n(Hz)", "{:.0f}"),
    }
    picture, axes = sheet(1, 4, 1.0 + 0.34 * max(len(table), 2), sharey=True)
    labels = [row["label"] for row in table]
    for panel, (name, (title, form)) in zip(axes[0], panels.items(), strict=True):
        values = [row.get(name) for row in table]
        panel.barh(range(len(table)), [0 if v is None else v for v in values], color=BLUE, height=0.6)
        reference = (human or {}).get(name)
        top = max([v for v in values if v is not None] + [reference or 0]) or 1
        for line, value in enumerate(values):
            text = "–" if value is None else form.format(value)
            panel.annotate(text, (1.0, line), xycoords=("axes fraction", "data"), va="center", ha="right")
        if reference is not None:
            panel.axvline(reference, color=GREEN, linestyle="--", linewidth=1.5)
        panel.set(xlim=(0, top * 1.45), ylim=(len(table) - 0.5, -0.5), xticks=[])
        headline(panel, title, 9)
        panel.spines["bottom"].set_visible(False)
        panel.tick_params(left=False)
    axes[0, 0].set_yticks(range(len(table)), labels)
    return picture
