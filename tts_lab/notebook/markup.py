"""Pieces of a page: what a cell shows when its value is neither text nor a picture."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a page of words needs no matplotlib
    from tts_lab.notebook.picture import Picture

_HEAD = "padding:4px 16px 4px 0;border-bottom:1px solid;font-weight:600;vertical-align:bottom;"
_BODY = "padding:4px 16px 4px 0;vertical-align:top;"


CSS = """
:root { color-scheme: light dark; --ground: #fff; --ink: #222; --quiet: #666; --line: #ddd; --note: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181c; --ink: #d7dade; --quiet: #9aa0a8; --line: #343840; --note: #1f2329; } }
body { margin: 0 auto; padding: 2.5rem 1.25rem 5rem; max-width: 78rem; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 3rem 0 .6rem; }
.lead { font-size: 1.1rem; } .quiet, caption, small { color: var(--quiet); }
.note { background: var(--note); border-left: 3px solid var(--line); padding: .6rem .9rem; margin: .8rem 0; }
table.data { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; margin: .6rem 0; }
table.data th, table.data td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
table.data th:first-child, table.data td:first-child { text-align: left; padding-left: 0; }
table.data.words td, table.data.words th { text-align: left; } table.data .target td { font-style: italic; }
p, li { max-width: 62rem; }
img { max-width: 100%; height: auto; display: block; margin: .6rem 0; } summary { cursor: pointer; }
.wide { overflow-x: auto; } code { font-size: .92em; } footer { margin-top: 4rem; }
"""


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


def figure(picture: Picture, alt: str) -> str:
    """A picture inside the page, in both inks; the browser shows the one that suits the reader's setting."""
    light, dark = (b64encode(picture.png(dark)).decode() for dark in (False, True))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark}">'
        f'<img alt="{escape(alt, quote=True)}" src="data:image/png;base64,{light}"></picture>'
    )


def document(title: str, body: str, style: str = "") -> str:
    """A whole page that needs nothing else: `title` is text, `body` is markup, `style` is CSS added to the house's."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}{style}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )
