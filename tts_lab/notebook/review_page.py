"""The clips to be reviewed as a page for a browser: for people who have ears and no kernel.

A folder with `index.html`, pictures and copies of the recordings; nothing is fetched from anywhere else, so it can be
zipped and sent. What is decided on it stays in that browser and comes back as the file `review.jsonl`: put it into the
corpus folder, or add it to the one there (`cat`), and `tts-lab prepare` follows it.
"""

from __future__ import annotations

import hashlib
import json
import math
from base64 import b64encode
from html import escape
from pathlib import Path
from shutil import copyfile

import pandas as pd
import soundfile

from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.decisions import NAME, Decisions
from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError
from tts_lab.notebook import plots
from tts_lab.notebook.clip_picture import HEIGHT, WIDTH, clip_picture
from tts_lab.notebook.markup import document
from tts_lab.notebook.players import player
from tts_lab.notebook.review_list import Clip, review_list, told, why
from tts_lab.notebook.review_script import SCRIPT

STYLE = """
.clip { border-top: 1px solid var(--line); padding: .8rem 0; } .clip h2 { font-size: 1rem; margin: 0; }
.clip textarea { width: 100%; max-width: 640px; box-sizing: border-box; font: inherit; display: block; }
.clip input[type=number] { width: 5.5em; } .clip .state { font-weight: 600; } .decided { opacity: .6; }
.picture { position: relative; max-width: 640px; touch-action: none; cursor: col-resize; }
.picture img { width: 100%; margin: .3rem 0; } .veil { position: absolute; top: 0; bottom: 0; background: #777b; }
.bar { position: sticky; top: 0; background: var(--ground); padding: .6rem 0; border-bottom: 1px solid var(--line);
  z-index: 1; }
"""
FOLDER = "clips"


def write_review_page(table: pd.DataFrame, folder: Path | str, corpus: Corpus, count: int = 50) -> Path:
    """Write the `count` worst clips of a ranked `table` to `folder`/index.html, and return its path.

    What was already decided about the corpus is on the page too. Raises `UserError` if the table is not ranked or the
    folder cannot be written; a recording that cannot be read is told on the page.
    """
    folder = Path(folder)
    decisions = Decisions.load(corpus.folder)
    clips = review_list(table, decisions)[: max(0, count)]
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        parts = [_clip(clip, folder, told(clip.standing(decisions))) for clip in clips]
    except OSError as error:
        cause = f"the page could not be written ({error.strerror})"
        raise UserError(f"{folder}: {cause}; choose another folder, or make room.") from error
    body = (
        f"<h1>{len(clips)} clips to review</h1><p>The worst first. Listen, look, decide; then save the decisions and "
        f"put the file <code>{NAME}</code> into the corpus folder, where <code>tts-lab prepare</code> follows it. To "
        "cut, drag over the picture from where it should begin to where it should end. Decisions stay in this browser "
        'until they are saved.</p><div class="bar"><span id="count"></span> <button id="save">save decisions</button>'
        "</div>\n"
        + "\n".join(parts)
        + f'\n<script id="clips" type="application/json">{_json(clips, corpus, decisions)}</script>'
        + f"\n<script>{SCRIPT}</script>"
    )
    path = folder / "index.html"
    write_atomically(path, document("Clips to review", body, STYLE).encode())
    return path


def clip_markup(clip: Clip, state: str, *, picture: bytes | str, audio: str = "", controls: str = "") -> str:
    """One clip: what is odd, picture (PNG, or its address), player (markup) and what stands about it."""
    if isinstance(picture, bytes):
        picture = f"data:image/png;base64,{b64encode(picture).decode()}" if picture else ""
    # Both measures are given, so that the page does not jump while its pictures load.
    image = f'<img alt="waveform and spectrogram" width="{WIDTH}" height="{HEIGHT}" src="{picture}">' if picture else ""
    text = controls or f"<p>“{escape(clip.text)}”</p>"
    return (
        f'<section class="clip" data-id="{escape(clip.id, quote=True)}"><h2>{escape(clip.id)}</h2>'
        f'<div class="quiet">{escape(clip.figures)}</div>{why(clip)}<div class="picture">{image}</div>'
        f'{audio}{text}<p class="state">{escape(state)}</p></section>'
    )


def _clip(clip: Clip, folder: Path, state: str) -> str:
    """One clip's section; its picture and recording go into the folder."""
    # Named by the id, which may hold anything, so that the page can be written again over an earlier one.
    name = f"{FOLDER}/{hashlib.sha256(clip.id.encode()).hexdigest()[:12]}"
    picture, audio, seconds = "", '<p class="state">There is no recording for this line.</p>', 0.0
    if clip.recording is not None:
        try:
            samples, rate = plots.read_mono(clip.recording)
            seconds = len(samples) / rate
        except (OSError, soundfile.SoundFileError) as error:
            audio = f'<p class="state">{escape(f"{clip.recording.name} cannot be read: {error}")}</p>'
    if seconds:
        picture, copy = f"{name}.png", folder / f"{name}{clip.recording.suffix.lower()}"
        (folder / picture).write_bytes(clip_picture(samples, rate))
        copyfile(clip.recording, copy)
        audio = str(player(copy, clip.recording.name, page=folder))
    return clip_markup(clip, state, picture=picture, audio=audio, controls=_controls(clip, seconds))


def _controls(clip: Clip, seconds: float) -> str:
    # A line break straight after <textarea> would be swallowed, one inside it kept.
    limits = f'type="number" min="0" max="{math.ceil(seconds * 100) / 100}" step="0.01"'
    cut = (
        f' <label>from <input class="begin" {limits}></label> <label>to <input class="end" {limits}> s</label> '
        '<button class="hear">hear cut</button> <button class="cut">cut</button>'
    )
    return (
        f'<textarea rows="2" aria-label="text">\n{escape(clip.text)}</textarea><div><button class="keep">keep</button> '
        f'<button class="text">fix text</button>{cut if seconds else ""} <button class="reject">reject</button> '
        '<input class="reason" aria-label="why it is rejected" placeholder="why it is rejected"> '
        '<button class="undo">undo</button></div>'
    )


def _json(clips: list[Clip], corpus: Corpus, decisions: Decisions) -> str:
    """What the script needs, in a form that cannot end the element it stands in."""
    content = {
        "corpus": hashlib.sha256(str(corpus.folder.resolve()).encode()).hexdigest()[:16],
        "made": [json.loads(decision.line()) for decision in decisions.made],
        "clips": {clip.id: {"text": clip.text, "recording": clip.recording.name if clip.recording else ""}
                  for clip in clips},
    }  # fmt: skip
    return json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
