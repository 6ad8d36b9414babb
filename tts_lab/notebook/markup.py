"""Pieces of a page: what a cell shows when its value is neither text nor a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_HEAD = "padding:4px 16px 4px 0;border-bottom:1px solid;font-weight:600;vertical-align:bottom;"
_BODY = "padding:4px 16px 4px 0;vertical-align:top;"


@dataclass(frozen=True)
class Html:
    """A piece of a page. Jupyter shows it as such when it is a cell's last value; `str()` gives the markup."""

    markup: str

    def _repr_html_(self) -> str:
        return self.markup

    def __str__(self) -> str:
        return self.markup


def cell(value: object, form: str = "{}") -> str:
    """A value as text: `form` is how it is written, a dash stands for what was not measured."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else form.format(value)


def table(rows: Sequence[Mapping[str, object]], empty: str = "Nothing.", **forms: str) -> Html:
    """Rows as a table, in full: words to the left, numbers to the right. The first row's keys are the columns.

    `forms` says how a column's values are written, such as `wer="{:.1%}"`. Without rows, the sentence `empty` is shown
    in place of an empty frame, which a reader could take for a failure.
    """
    if not rows:
        return Html(f"<p>{escape(empty)}</p>")
    lines = []
    for number, row in enumerate([dict.fromkeys(rows[0]), *rows]):
        cells = []
        for name, first in rows[0].items():
            side = "right" if isinstance(first, int | float) and not isinstance(first, bool) else "left"
            style, text = (_HEAD, name) if number == 0 else (_BODY, cell(row[name], forms.get(name, "{}")))
            tag = "th" if number == 0 else "td"
            cells.append(f'<{tag} style="{style}text-align:{side}">{escape(text)}</{tag}>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return Html(f'<table style="border-collapse:collapse">{"".join(lines)}</table>')
