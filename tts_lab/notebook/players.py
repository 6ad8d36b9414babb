"""Audio players for notebooks and for the report: plain `<audio>` elements that point at files, never at copies.

A recording stored inside a notebook is stored twice (base64 in the output, and the file it came from) and makes the
notebook too heavy to open. So a player holds a path, relative to the folder of the page it stands on. In a notebook
that folder is where the notebook is saved, which is not where it runs when the runner executes it: see `page_folder`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import soundfile

from tts_lab.errors import UserError
from tts_lab.notebook.markup import Html

# Set by the runner: it executes notebooks/NN.ipynb there and saves it somewhere else.
PAGE_FOLDER_VARIABLE = "TTS_LAB_PAGE_FOLDER"

# Chromium's slider gets what play button, time and volume leave of the width: 43 px of 230, enough to go to a word, and
# four voices still stand side by side on a laptop's screen. Its menu would leave a stub of 12; what it offers, the file
# and another speed, is at hand without it.
_CONTROLS = 'controls controlslist="nodownload noplaybackrate"'
_AUDIO = "width:230px;height:36px;vertical-align:middle"
_CELL = "text-align:left;vertical-align:top;padding:2px 10px 8px 0;border:0;background:none"
_CAPTION = "font-size:12px;opacity:.8;text-align:left"


def page_folder() -> Path:
    """The folder from which the page on screen is read: where the runner saves it, or the notebook's own folder."""
    return Path(os.environ.get(PAGE_FOLDER_VARIABLE) or Path.cwd())


def source(path: Path, page: Path | None = None) -> str:
    """The address of `path` as seen from a page in folder `page`: relative and percent-encoded.

    Relative, because JupyterLab serves files under the folder it was started in and rewrites relative addresses in
    outputs to its own file service; the same address works in a page opened from disk.
    """
    relative = os.path.relpath(Path(path).resolve(), Path(page or page_folder()).resolve())
    return quote(Path(relative).as_posix())


def player(path: Path, label: str = "", page: Path | None = None) -> Html:
    """One player under its label and its length in seconds.

    Raises UserError if the file does not exist or is not audio that soundfile reads.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no recording at {path}, so it cannot be played. Run the step that makes it first.")
    try:
        seconds = soundfile.info(path).duration
    except soundfile.LibsndfileError as problem:
        raise UserError(f"{path} cannot be played: {problem.error_string.rstrip('.')}. Make it again.") from problem
    label = label or path.stem
    # preload="none": a grid of a hundred players must not fetch a hundred files when the page opens.
    return Html(
        f'<div style="{_CAPTION}">{escape(label)} · {seconds:.1f} s</div><audio {_CONTROLS} preload="none" '
        f'src="{source(path, page)}" aria-label="{escape(label, quote=True)}" style="{_AUDIO}"></audio>'
    )


def grid(sentences: Sequence[str], columns: Mapping[str, Sequence[Path | None]], page: Path | None = None) -> Html:
    """Sentences down, voices across, so that the same words are heard side by side.

    `columns` maps a voice's label to one recording for each sentence, in the same order; None where that voice has not
    said that sentence. Raises UserError where a column has another length than `sentences`.
    """
    uneven = [f"{label!r} has {len(paths)}" for label, paths in columns.items() if len(paths) != len(sentences)]
    if uneven:
        raise UserError(
            f"A grid of players needs one recording for each of the {len(sentences)} sentences: {', '.join(uneven)}. "
            "Give None where a voice has not said a sentence."
        )
    lines = ['<div style="overflow-x:auto"><table class="players" style="border-collapse:collapse;border:0">']
    for number, sentence in enumerate(sentences):
        lines.append(
            f'<tr style="background:none"><th colspan="{len(columns) + 1}" '
            f'style="text-align:left;padding:10px 0 2px;border:0;font-weight:600">{escape(sentence)}</th></tr>'
        )
        lines.append('<tr style="background:none">')
        for label, paths in columns.items():
            path = paths[number]
            silent = f'<div style="{_CAPTION}">{escape(label)} · not said</div>'
            lines.append(f'<td style="{_CELL}">{player(path, label, page) if path else silent}</td>')
        # A long sentence widens this cell, and not those of the players: they stay side by side.
        lines.append(f'<td style="{_CELL};width:100%"></td></tr>')
    return Html("\n".join([*lines, "</table></div>"]))


def row(columns: Mapping[str, Path], caption: str = "", page: Path | None = None) -> Html:
    """One sentence: a player for each label, side by side."""
    return grid([caption], {label: [path] for label, path in columns.items()}, page)
