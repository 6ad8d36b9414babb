"""One clip at a glance: its waveform over its spectrogram, the whole width of the picture, so that a slider fits."""

from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tts_lab.notebook import plots

WIDTH, HEIGHT = 640, 150
"""Pixels. Small: a page shows ten or fifty of them."""
COLOURS = 32
"""Enough for the eye, and a picture a third as heavy."""


def clip_picture(samples: np.ndarray, rate: int, cut: tuple[float, float] | None = None) -> bytes:
    """PNG of `samples`, float (T,), at `rate` hertz: from its left edge to its right, without margins.

    What `cut`, begin and end in seconds, leaves out is veiled.
    """
    seconds = len(samples) / rate
    picture = Figure(figsize=(WIDTH / 100, HEIGHT / 100), facecolor="white")
    for place, paint in (((0, 0.55, 1, 0.45), plots.waveform), ((0, 0, 1, 0.55), plots.spectrogram)):
        panel = picture.add_axes(place)
        paint(panel, samples, rate)
        panel.set(xlim=(0, seconds), xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
        for begin, end in ((0, cut[0]), (cut[1], seconds)) if cut else ():
            panel.axvspan(begin, end, color="#808080", alpha=0.7, linewidth=0)
    for second in range(1, int(seconds) + 1):
        panel.annotate(f"{second} s", (second, 0), (2, 2), textcoords="offset points", color="white", fontsize=7)
        panel.axvline(second, ymax=0.12, color="white", linewidth=0.6)
    picture.axes[0].set_ylim(-1, 1)
    page = BytesIO()
    picture.savefig(page, format="png", dpi=100)
    few = BytesIO()
    Image.open(page).convert("RGB").quantize(COLOURS).save(few, format="png", optimize=True)
    return few.getvalue()
