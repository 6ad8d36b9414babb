"""`report.html`: the whole way from recordings to a voice on one page, with figures and players.

The page reads what the notebooks left in the workspace and nothing else: `run.json` (the runner), `corpus/corpus.json`,
`run/metrics.csv` and `evaluation.json`. Pictures are inside the page, recordings are files beside it, so the workspace
can be moved or served as it is. A part whose file is missing says so instead of leaving a hole.

`evaluation.json`:
    scores      one row a voice: label, step or null, wer, mos, similarity, pitch_hz, seconds_per_word, and wavs,
                one for each of `sentences`, relative to the workspace; pitches, one for each of them, may be given
    sentences   the unseen sentences every voice says
    human       the speaker's held-out clips, scored the same way; their wavs say `held_out.sentences`
    held_out    optional: sentences, and wavs, a list for each label, of the sentences the human clips say
    parity      optional: rows of phonemes, difference (torch against ONNX Runtime)
    voice       the exported file's name
    credits     optional: lines for the foot of the page: whose voice, which licence
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError
from tts_lab.notebook import players, plots
from tts_lab.notebook.comparison import COLUMNS
from tts_lab.notebook.markup import cell, document, figure

FIRST = 4  # sentences shown at once; the others fold away


def write_report(workspace: Path) -> Path:
    """Write `workspace/report.html` from what the notebooks left there, and return its path.

    Raises UserError if there is no evaluation.json: a report without a voice would report nothing.
    """
    evaluation = _read(workspace / "evaluation.json")
    if evaluation is None:
        raise UserError(f"{workspace} has no evaluation.json, so there is nothing to report. Run notebook 08 first.")
    parts = [
        _head(workspace, evaluation),
        _scores(evaluation),
        _listen(workspace, evaluation),
        _pictures(workspace, evaluation),
        _training(workspace, evaluation),
        _corpus(workspace),
        _provenance(workspace, evaluation),
    ]
    path = workspace / "report.html"
    write_atomically(path, document(evaluation.get("voice", "a voice"), "\n".join(parts)).encode())
    return path


def _read(path: Path) -> dict | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _table(header: list[str], rows: list[list[str]], kind: str = "", target: int | None = None) -> str:
    """A table of text; the row numbered `target` is set apart."""
    lines = ["<tr>" + "".join(f"<th>{escape(name)}</th>" for name in header) + "</tr>"]
    for number, row in enumerate(rows):
        mark = ' class="target"' if number == target else ""
        lines.append(f"<tr{mark}>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>")
    return f'<div class="wide"><table class="data {kind}">' + "\n".join(lines) + "</table></div>"


def _note(text: str) -> str:
    return f'<p class="note"><b>What to look for.</b> {text}</p>'


def _head(workspace: Path, evaluation: dict) -> str:
    base, last, human = evaluation["scores"][0], evaluation["scores"][-1], evaluation["human"]
    sentence = (
        f"median pitch went from {cell(base['pitch_hz'], '{:.0f}')} to {cell(last['pitch_hz'], '{:.0f}')} Hz "
        f"(the speaker: {cell(human['pitch_hz'], '{:.0f}')} Hz), likeness to the speaker from "
        f"{cell(base['similarity'], '{:.2f}')} to {cell(last['similarity'], '{:.2f}')}, words misheard from "
        f"{cell(base['wer'], '{:.1%}')} to {cell(last['wer'], '{:.1%}')}, predicted naturalness from "
        f"{cell(base['mos'], '{:.2f}')} to {cell(last['mos'], '{:.2f}')} (the speaker: {cell(human['mos'], '{:.2f}')})."
    )
    run = _read(workspace / "run.json")
    told = ""
    if run:
        minutes = sum(book["seconds"] for book in run["notebooks"]) / 60
        told = f'<p class="quiet">{escape(run["started"])} · {escape(run["machine"])} · {minutes:.1f} min</p>'
    return (
        f"<h1>{escape(evaluation.get('voice', 'A voice'))}</h1>\n{told}\n"
        f'<p class="lead">From {escape(base["label"])} to {escape(last["label"])}: {sentence}</p>'
    )


def _scores(evaluation: dict) -> str:
    human = evaluation["human"]
    rows = [[cell(row.get(key), form) for key, (_, form) in COLUMNS.items()] for row in [*evaluation["scores"], human]]
    header = [name for name, _ in COLUMNS.values()]
    return (
        "<h2>Before and after</h2>"
        + _table(header, rows, target=len(rows) - 1)
        + figure(plots.scores(evaluation["scores"], human), "the same figures as bars")
        + _note(
            "The first row is the voice training started from, the last is the speaker, on clips kept out of "
            "training. Pitch and likeness should move towards the last row. Words misheard may rise at first and "
            "should come back. Likeness is the cosine between voice prints (Resemblyzer): clips of one speaker "
            "give 0.8 and more, two speakers 0.67 and less. Naturalness is predicted (DistillMOS), not voted. Words "
            "are counted by Whisper tiny.en, which hears badly under two seconds. With "
            f"{len(evaluation['sentences'])} sentences a difference of one or two misheard words is chance."
        )
    )


def _listen(workspace: Path, evaluation: dict) -> str:
    parts = ["<h2>Listen</h2>"]
    if held := evaluation.get("held_out"):
        parts += [
            "<h3>What the speaker says, and the voices after it</h3>",
            _grid(workspace, held["sentences"], held["wavs"]),
            _note(
                "The speaker's own clip first; it was kept out of training. Then the base voice: another person, the "
                "same words. Then each checkpoint. Timbre moves first; rhythm stays the base voice's longest."
            ),
        ]
    parts += [
        "<h3>Sentences nobody recorded</h3>",
        _grid(workspace, evaluation["sentences"], {score["label"]: score["wavs"] for score in evaluation["scores"]}),
        _note("Swallowed or repeated words, a buzz on vowels, a hiss on s and sh, clicks at the end of a sentence."),
    ]
    return "\n".join(parts)


def _grid(workspace: Path, sentences: list[str], wavs: dict[str, list[str]]) -> str:
    """Players for the first sentences, and the others folded away."""
    columns = {label: [workspace / wav for wav in said] for label, said in wavs.items()}
    columns = {label: [path if path.is_file() else None for path in said] for label, said in columns.items()}

    def some(chosen: slice) -> str:
        shown = {label: said[chosen] for label, said in columns.items()}
        return str(players.grid(sentences[chosen], shown, page=workspace))

    if len(sentences) <= FIRST:
        return some(slice(None))
    more = f"<details><summary>{len(sentences) - FIRST} more</summary>{some(slice(FIRST, None))}</details>"
    return some(slice(FIRST)) + more


def _pictures(workspace: Path, evaluation: dict) -> str:
    parts = ["<h2>Look</h2>"]
    human, scores = evaluation["human"], evaluation["scores"]
    if human.get("pitches") and all(score.get("pitches") for score in scores):
        hertz = {row["label"]: [p for p in row["pitches"] if p] for row in [human, *scores]}
        parts += [
            figure(plots.pitch(hertz, human["label"]), "median pitch of each sentence, a line for each voice"),
            _note("The dots of the last line should lie about the dashed line, the speaker's median."),
        ]
    first, last = scores[0], scores[-1]
    columns = {row["label"]: workspace / row["wavs"][0] for row in (first, last)}
    if all(wav.is_file() for wav in columns.values()):
        parts += [
            f"<p>“{escape(evaluation['sentences'][0])}”</p>",
            figure(plots.sounds(columns), "waveforms and spectrograms of one sentence"),
            _note(
                "Bright level bars are the voice's harmonics: further apart means a higher pitch. Between words it "
                "should be dark; an even grey veil is noise. A corpus recorded at 16 kHz holds nothing above 8 kHz."
            ),
        ]
    return "\n".join(parts)


def _training(workspace: Path, evaluation: dict) -> str:
    path = workspace / "run" / "metrics.csv"
    if not path.is_file():
        return '<h2>Training</h2><p class="quiet">No run/metrics.csv in this workspace.</p>'
    metrics = plots.read_metrics(path)
    return (
        f"<h2>Training: {max(score.get('step') or 0 for score in evaluation['scores'])} steps</h2>"
        + figure(plots.losses(metrics), "loss curves")
        + _note(
            "The validation dots should fall with the training curve. If they turn up while training falls, the model "
            "learns the clips by heart: more speech helps, more steps do not. Judge by ear as well: the mel loss "
            "cannot hear a misread word."
        )
        + figure(plots.learning_rate(metrics), "learning rate at each step")
        + _note("The rate warms up and falls. A flat line means that the schedule is not applied.")
    )


def _corpus(workspace: Path) -> str:
    if not (workspace / "corpus" / "corpus.json").is_file():
        return '<h2>The recordings</h2><p class="quiet">No corpus/corpus.json in this workspace.</p>'
    corpus = Corpus.load(workspace / "corpus")
    train, validation, out = len(corpus.train), len(corpus.validation), corpus.quarantined
    seconds = {
        name: [clip.samples / corpus.sample_rate for clip in clips]
        for name, clips in (("training", corpus.train), ("validation", corpus.validation))
    }
    set_aside = (
        _table(["set aside", "why", "where"], [[item.id, item.reason, item.where] for item in out], "words")
        if out
        else "<p>No clip was set aside.</p>"
    )
    return (
        f"<h2>The recordings: {train + validation} clips kept, {len(out)} set aside</h2>"
        f"<p>{corpus.seconds / 60:.1f} minutes; {train} clips to train on, {validation} kept out of training.</p>"
        + figure(plots.durations(seconds), "histogram of clip lengths")
        + set_aside
        + _note("One hump, no clip far off to the right. Every clip is counted here or listed with its reason.")
    )


def _provenance(workspace: Path, evaluation: dict) -> str:
    parts = ["<h2>What was run on what</h2>"]
    run = _read(workspace / "run.json")
    if run:
        books = [
            [book["name"], f"{book['seconds'] / 60:.1f} min", "ran through" if book["ok"] else "stopped"]
            for book in run["notebooks"]
        ]
        versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
        parts += [
            f"<p>{escape(run['machine'])}. Commit <code>{escape(run['commit'])}</code>. {escape(versions)}.</p>",
            _table(["notebook", "took", ""], books),
        ]
    if parity := evaluation.get("parity"):
        rows = [[str(row["phonemes"]), f"{row['difference']:.1e}"] for row in parity]
        parts.append(_table(["phonemes", "largest difference, PyTorch against ONNX Runtime"], rows))
    parts.append(
        '<p class="note">Everything on this page was made on the machine named here. Nothing on it was run on a '
        "Trainium; where a notebook tells a time or a price for one, that is a forecast.</p>"
    )
    credits = "".join(f"<li>{escape(line)}</li>" for line in evaluation.get("credits", []))
    parts.append(f'<footer class="quiet"><ul>{credits}</ul></footer>' if credits else "")
    return "\n".join(parts)
