"""`evaluation.html`: every checkpoint of a run to be heard and compared on one page.

The page is one file, so that it can be sent to somebody with ears. Recordings are inside it as FLAC: it is half the
size of WAV and every browser plays it, and it is lossless, which MP3 and Opus are not, and a codec's hiss must not be
taken for the voice's. Where that would make the page heavier than `HEAVIEST`, its players point at the WAV files
beside it instead, and the page says so.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import soundfile

from tts_lab.analysis.words import plain_words
from tts_lab.corpus.wholefile import write_atomically
from tts_lab.evaluation.advice import Advice
from tts_lab.evaluation.choice import Judgement, choose
from tts_lab.evaluation.evaluation import Evaluation
from tts_lab.notebook.blind import MARKUP, SCRIPT, trials
from tts_lab.notebook.markup import cell, document, figure
from tts_lab.notebook.picture import Picture
from tts_lab.notebook.players import source

NAME = "evaluation.html"
HEAVIEST = 24_000_000
"""Bytes of recordings in the page; mail and browsers carry so much."""
SEED = 1234
STYLE = """
body { max-width: 76rem; } .best td { background: var(--note); } table.data td { white-space: nowrap; }
table.data td.why, table.data th:last-child { text-align: left; white-space: normal; }
table.grid { border-collapse: collapse; } .grid td, .grid th { padding: .3rem .5rem; vertical-align: top;
  text-align: left; font-size: .85rem; border-bottom: 1px solid var(--line); }
.grid th { font-weight: 400; min-width: 190px; } .grid th:first-child, .grid td:first-child { position: sticky;
  left: 0; background: var(--ground); z-index: 1; min-width: 8.5rem; font-weight: 600; }
.grid audio { width: 190px; height: 34px; display: block; } .grid small { display: block; max-width: 190px; }
#blind { border: 1px solid var(--line); padding: .2rem 1rem; } .pair { display: flex; gap: 2rem; flex-wrap: wrap; }
.pair div { font-size: 1.4rem; } #sentence { font-size: 1.1rem; } button { font: inherit; }
"""
FIGURES = {
    "wer": ("words misheard", "{:.1%}"),
    "cer": ("letters", "{:.1%}"),
    "mos": ("naturalness", "{:.2f}"),
    "similarity": ("likeness", "{:.2f}"),
    "pitch_delta": ("pitch off", "{:+.0f} %"),
    "rate_delta": ("rate off", "{:+.0f} %"),
    "frame_rate_share": ("buzz", "{:.0%}"),
}


def write_evaluation_page(
    evaluation: Evaluation,
    name: str,
    advice: Advice | None = None,
    picture: Picture | None = None,
    heaviest: int = HEAVIEST,
) -> Path:
    """Write `evaluation.html` into the folder of the evaluation, and return its path.

    Args:
        name: what was evaluated, for the headline.
        picture: the curves (`advice_plot`).
        heaviest: bytes of recordings that are put into the page.
    """
    judged = choose(evaluation.rows, evaluation.human, evaluation.spoken.words)
    recordings, inside = _recordings(evaluation, heaviest)
    parts = [
        _head(name, evaluation, judged, advice),
        "<h2>Figures</h2>" + _figures(evaluation, judged),
        _curves(advice, picture),
        _blind(evaluation),
        _listen(evaluation, judged, recordings),
        _foot(evaluation, inside),
    ]
    path = evaluation.folder / NAME
    write_atomically(path, document(f"{name}: checkpoints", "\n".join(parts), STYLE).encode())
    return path


def _recordings(evaluation: Evaluation, heaviest: int) -> tuple[dict[str, str], bool]:
    """The address of each recording for its `<audio>`, and whether it is the recording itself."""
    wavs = [wav for row in [evaluation.human, *evaluation.rows] for said in row["wavs"].values() for wav in said]
    coded, weight = {}, 0
    for wav in wavs:
        samples, rate = soundfile.read(evaluation.folder / wav, dtype="int16")
        page = BytesIO()
        soundfile.write(page, samples, rate, format="FLAC")
        coded[wav] = f"data:audio/flac;base64,{b64encode(page.getvalue()).decode()}"
        weight += len(coded[wav])
        if weight > heaviest:
            return {wav: source(evaluation.folder / wav, evaluation.folder) for wav in wavs}, False
    return coded, True


def _head(name: str, evaluation: Evaluation, judged: list[Judgement], advice: Advice | None) -> str:
    said = f'<p class="lead">{escape(advice.headline)} {escape(_sentence(advice.because))}</p>' if advice else ""
    warned = "".join(f"<p><b>Mind:</b> {escape(one)}.</p>" for one in advice.warnings) if advice else ""
    placed = sorted((one for one in judged if one.place), key=lambda one: one.place)
    best = "".join(f"<li><b>{escape(one.label)}</b>: {escape(one.reason)}</li>" for one in placed)
    listed = f"<ol>{best}</ol>" if best else "<p>No checkpoint passes; the table says why.</p>"
    count = sum(row["kind"] != "base" for row in evaluation.rows)
    return f"<h1>{escape(name)}: {count} checkpoints</h1>{said}{warned}<h2>The best few</h2>{listed}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _figures(evaluation: Evaluation, judged: list[Judgement]) -> str:
    """Figures a row, the speaker last, and why each is or is not among the best."""
    names = [title for title, _ in FIGURES.values()]
    lines = ["<tr>" + "".join(f"<th>{escape(name)}</th>" for name in ["voice", *names, "verdict"]) + "</tr>"]
    for row, one in zip(evaluation.rows, judged, strict=True):
        mark = f"★ {one.place} " if one.place else ""
        lines.append(_figure_row(mark + row["label"], row, one.reason, "best" if one.place else ""))
    lines.append(_figure_row("the speaker", evaluation.human, "her or his own held-out clips", "target"))
    words, clips = evaluation.spoken.words, len(evaluation.spoken.held_out)
    return (
        f'<div class="wide"><table class="data">{"".join(lines)}</table></div>'
        f'<p class="note">Words, letters, naturalness and likeness are of {len(evaluation.spoken.sentences)} sentences '
        f"nobody recorded, {words} words; pitch and rate compare {clips} held-out clips with the voice saying the same "
        "texts: above zero is higher and quicker than the speaker. Words are counted by Whisper, naturalness is "
        "predicted (DistillMOS, 1 to 5), likeness is the cosine of voice prints (Resemblyzer; one person's clips give "
        "0.8 and more, two persons' 0.67 and less). Buzz is the share of voiced frames whose pitch is the model's own "
        f"frame rate. One misheard word is {1 / words:.1%}. Figures choose what to hear first; the ear decides.</p>"
    )


def _figure_row(label: str, row: dict[str, Any], reason: str, kind: str) -> str:
    cells = "".join(f"<td>{cell(row.get(key), form)}</td>" for key, (_, form) in FIGURES.items())
    return f'<tr class="{kind}"><td>{escape(label)}</td>{cells}<td class="why">{escape(reason)}</td></tr>'


def _curves(advice: Advice | None, picture: Picture | None) -> str:
    parts = []
    if picture is not None:
        parts += [
            "<h2>Curves</h2>" + figure(picture, "validation mel and scores against steps"),
            '<p class="note">Green dashes: the speaker. Grey dots: the voice the run started from. Red: the limits of '
            "the rule. The upright line: the checkpoint that is advised.</p>",
        ]
    if advice is not None:
        listed = "".join(f"<li><b>{escape(one.signal)}</b>: {escape(one.told)}</li>" for one in advice.evidence)
        parts.append(f"<details><summary>What the advice rests on</summary><ul>{listed}</ul></details>")
    return "\n".join(parts)


def _blind(evaluation: Evaluation) -> str:
    """The comparison of two hidden voices; nothing where there is no second one."""
    voices = [number for number, row in enumerate(evaluation.rows, 1) if row["kind"] != "base"]
    if len(voices) < 2:
        voices = list(range(1, len(evaluation.rows) + 1))
    if len(voices) < 2:
        return ""
    sentences = [*evaluation.spoken.sentences, *evaluation.spoken.held_out]
    told = json.dumps([row["digest"] for row in evaluation.rows] + sentences)
    content = {
        "page": hashlib.sha256(told.encode()).hexdigest()[:16],
        "seed": SEED,
        "voices": {number: row["label"] for number, row in enumerate(evaluation.rows, 1)},
        "sentences": sentences,
        "trials": trials(voices, range(len(sentences)), SEED),
    }  # fmt: skip
    # In a form that cannot end the element it stands in.
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    return (
        "<h2>Which is better? Without knowing</h2><p>Two checkpoints say the same sentence; which they are is hidden "
        "until you ask for the tally. Press the keys 1, 2 or 0. Answers stay in this browser until they are saved.</p>"
        f'{MARKUP}<script id="trials" type="application/json">{data}</script>'
    )


def _listen(evaluation: Evaluation, judged: list[Judgement], recordings: dict[str, str]) -> str:
    """Both grids, and the script, which needs their players."""
    spoken = evaluation.spoken
    marks = {one.label: f"★ {one.place} " if one.place else "" for one in judged}
    unseen = [(number, marks[row["label"]], row) for number, row in enumerate(evaluation.rows, 1)]
    held_out = [(0, "", evaluation.human | {"label": "the speaker"}), *unseen]
    script = f"<script>{SCRIPT}</script>" if len(evaluation.rows) > 1 else ""
    return (
        "<h2>Sentences nobody recorded</h2>"
        + _grid(spoken.sentences, "sentences", unseen, recordings, 0)
        + "<h2>What the speaker says, and the voices after it</h2>"
        + _grid(spoken.held_out, "held_out", held_out, recordings, len(spoken.sentences))
        + script
    )


def _grid(texts: list[str], kind: str, rows: list[tuple], recordings: dict[str, str], first: int) -> str:
    """Voices down, sentences across. A player's id is its voice's and its sentence's number, `first` the first's."""
    lines = ["<tr><th></th>" + "".join(f"<th>{escape(text)}</th>" for text in texts) + "</tr>"]
    for voice, mark, row in rows:
        cells = []
        for number, (text, wav, heard) in enumerate(zip(texts, row["wavs"][kind], row["heard"][kind], strict=True)):
            wrong = plain_words(heard) != plain_words(text)
            told = f"<small>heard: {escape(heard or 'nothing')}</small>" if wrong else ""
            cells.append(
                f'<td><audio id="clip-{voice}-{first + number}" controls preload="none" src="{recordings[wav]}" '
                f'aria-label="{escape(row["label"], quote=True)}"></audio>{told}</td>'
            )
        lines.append(f"<tr><td>{escape(mark + row['label'])}</td>{''.join(cells)}</tr>")
    return f'<div class="wide"><table class="grid">{"".join(lines)}</table></div>'


def _foot(evaluation: Evaluation, inside: bool) -> str:
    model = evaluation.spoken.asr_model or "tiny.en, bundled with the eval extra"
    where = (
        "Recordings are inside this page, as FLAC: nothing is lost in them."
        if inside
        else "The recordings are too many to be inside this page: keep the folder “evaluation” beside it."
    )
    return (
        f'<footer class="quiet"><p>{where} Whisper model: {escape(model)}. Corpus {escape(evaluation.spoken.corpus)}. '
        f"Order of the blind trials: seed {SEED}.</p></footer>"
    )
