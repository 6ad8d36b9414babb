"""The look of all pictures: colours, a figure that a notebook shows, its panels and their titles.

Colours are Okabe and Ito's, which stay apart for every common kind of colour blindness, and every line has a label or
a marker of its own as well. Figures are made without pyplot: nothing is kept open, and a cell shows a figure exactly
when it is the cell's value.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0f7ac0", "#e08e00", "#009e73", "#d55e00", "#b8609a", "#8a8a8a"
WIDTH = 9.0  # inches; about 900 pixels, the width of a notebook's cell
KEPT = "colour"
"""The gid of a text whose colour means something, and stays on a dark page."""
_LIGHT, _DARK = ("#ffffff", "#222222"), ("#16181c", "#d7dade")


class Picture(Figure):
    """A figure that Jupyter shows as a PNG, whatever backend is set, and that can be drawn for a dark page."""

    def png(self, dark: bool = False, dpi: int = 110) -> bytes:
        """The picture as PNG. `dark` draws text and frames in light ink on dark; the data keep their colours."""
        ground, ink = _DARK if dark else _LIGHT
        self.set_facecolor(ground)
        for axes in self.axes:
            axes.set_facecolor(ground)
            axes.tick_params(colors=ink, which="both")
            for spine in axes.spines.values():
                spine.set_color(ink)
            if legend := axes.get_legend():
                legend.get_frame().set(facecolor=ground, edgecolor="none")
        for text in self.findobj(Text):
            if text.get_gid() != KEPT:
                text.set_color(ink)
        page = BytesIO()
        self.savefig(page, format="png", dpi=dpi, facecolor=ground)
        return page.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()


def sheet(rows: int, columns: int, height: float, **how) -> tuple[Picture, np.ndarray]:
    """A picture of rows x columns panels, `height` inches in all, and its axes as an array of that shape."""
    picture = Picture(figsize=(WIDTH, height), layout="constrained")
    axes = picture.subplots(rows, columns, squeeze=False, **how)
    for panel in axes.flat:
        panel.spines[["top", "right"]].set_visible(False)
    return picture, axes


def headline(panel: Axes, text: str, size: float = 10.5) -> None:
    """A panel's title, at its left."""
    panel.set_title(text, loc="left", fontsize=size, fontweight="bold")
