"""Runs beside one another: those a notebook has just made, and longer ones recorded in the repository.

A recorded run is a folder, `docs/runs/NAME/`, with `run.json`:
    title, command, commit, machine     what it was, what was typed, with which code, and where
    minutes                             of training, as metrics.csv counts them
    start                               what it started from, in a word or two
    files                               metrics, and where it was listened to evaluation: names in the folder;
                                        sounds: texts, and voices, a list of names for each label, null where not said

`record` writes one from a run folder. What is shown of it is read from these files, and what is not in them is not
shown.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import soundfile

from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError
from tts_lab.evaluation.choice import best, choose
from tts_lab.evaluation.evaluation import BASE, Evaluation, steps
from tts_lab.evaluation.listening import evaluate
from tts_lab.notebook.markup import Html
from tts_lab.notebook.players import source
from tts_lab.training.metrics import read_metrics

WORDS = ("title", "command", "commit", "machine", "start")
SPEAKER = "the speaker"
FORMS = {
    "minutes": "{:.1f}", "likeness": "{:.2f}", "words misheard": "{:.1%}", "naturalness": "{:.2f}",
    "pitch off": "{:+.0f} %",
}  # fmt: skip
"""How `markup.table` writes the columns of `decision_rows` and `trap`."""


@dataclass(frozen=True)
class Recorded:
    """A run as its folder in the repository tells it."""

    folder: Path
    title: str
    command: str
    commit: str
    machine: str
    start: str
    minutes: float
    metrics: Path
    evaluation: Evaluation | None
    texts: list[str]
    sounds: dict[str, list[Path | None]]
    """For each voice a recording of each of `texts`."""


def recorded(folder: Path) -> list[Recorded]:
    """The runs recorded in the folders of `folder`, by name; none where nothing has been recorded.

    Raises:
        UserError: a run.json that lacks a field or names a file that is not there: every problem of every run.
    """
    found, problems = [], []
    for path in sorted(folder.glob("*/run.json")):
        try:
            found.append(_read(path))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{path} is not as tts_lab.notebook.runs describes ({type(error).__name__}: {error})")
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("these recorded runs cannot be shown:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return found


def record(run: Path, out: Path, title: str, command: str, start: str, machine: str, heard: int = 1) -> Path:
    """Write run folder `run`, once it is done and evaluated, as a recorded run into `out`; returns run.json.

    Metrics and evaluation are copied as they are; the commit is that which the run noted when it began. Of the speaker,
    the base voice and the checkpoint chosen (`tts_lab.evaluation.choice`, the last where none is), the first `heard`
    held-out texts and as many unseen sentences are kept, as FLAC: lossless, for a codec's hiss is not the voice's.

    Raises:
        UserError: the run has logged nothing.
    """
    rows = read_metrics(run / "metrics.csv")
    if not rows:
        raise UserError(f"{run / 'metrics.csv'} holds no logged step, so there is no run to record.")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "metrics.csv", out / "metrics.csv")
    files: dict[str, Any] = {"metrics": "metrics.csv"}
    if evaluation := Evaluation.load(run):
        shutil.copyfile(run / "evaluation.json", out / "evaluation.json")
        files |= {"evaluation": "evaluation.json", "sounds": _keep_sounds(evaluation, out, heard)}
    commit = json.loads((run / "environment.json").read_text(encoding="utf-8"))["commit"]
    content = {"title": title, "command": command, "commit": commit, "machine": machine, "start": start}
    content |= {"minutes": minutes_at(rows, rows[-1]["step"] + 1), "files": files}
    path = out / "run.json"
    write_atomically(path, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
    return path


def minutes_at(rows: Sequence[dict[str, Any]], step: int) -> float | None:
    """Minutes of training after so many steps, from rows of metrics.csv; None where it has not logged the time."""
    seconds = [row["seconds"] for row in rows if row["step"] < step and isinstance(row.get("seconds"), float)]
    return max(seconds) / 60 if seconds else None


def decision_rows(start: str, metrics: Path, evaluation: Evaluation | None) -> list[dict[str, Any]]:
    """A row for each checkpoint of a run that was listened to: what it cost, and what came of it. None: not measured.

    Where nobody has listened there is one row, of steps and minutes.
    """
    rows = read_metrics(metrics)
    heard = steps(evaluation.rows) if evaluation else [{"step": rows[-1]["step"] + 1}] if rows else []
    return [
        {"start": start, "steps": row["step"], "minutes": minutes_at(rows, row["step"]), **_figures(row)}
        for row in heard
    ]


def base_row(evaluation: Evaluation) -> dict[str, Any]:
    """The same of the base voice, which took no training here. Raises `UserError` if it was not evaluated."""
    row = next((row for row in evaluation.rows if row["kind"] == "base"), None)
    if row is None:
        raise UserError(f"the evaluation in {evaluation.folder} has no base voice: evaluate with --base.")
    return {"start": BASE, "steps": 0, "minutes": 0.0, **_figures(row)}


def human_row(evaluation: Evaluation) -> dict[str, Any]:
    """The same of the speaker's own clips, which have no steps."""
    return {"start": SPEAKER, "steps": None, "minutes": None, **_figures(evaluation.human)}


def trap(start: str, run: Path, at: Sequence[int], clips: int) -> list[dict[str, Any]]:
    """The run's sample clips after `at` steps, with the recording shown and without, each measured beside it.

    Raises:
        UserError: the run made no such samples.
    """
    samples = run / "samples"
    if not (samples / "texts.json").is_file():
        raise UserError(f"{samples} holds no samples: train with sample_clips above 0.")
    said = json.loads((samples / "texts.json").read_text(encoding="utf-8"))["clips"][:clips]
    texts, real = [clip["text"] for clip in said], [samples / f"real-{number}.wav" for number in range(len(said))]
    rows = []
    for step in at:
        for kind, name in (("forced", "is shown the recording"), ("free", "speaks on its own")):
            wavs = [samples / f"step-{step}" / f"{kind}-{number}.wav" for number in range(len(said))]
            heard = evaluate(name, wavs, texts, real).to_dict()
            figures = {name: value for name, value in _figures(heard).items() if name != "pitch off"}
            rows.append({"start": start, "steps": step, "the voice": name, **figures, "pitch, Hz": heard["pitch_hz"]})
    return rows


def voiced(evaluation: Evaluation, label: str, said: str = "held_out", first: int | None = None) -> list[Path]:
    """Recordings of a voice, by its label, or of the speaker; `said` is held_out or sentences."""
    row = next((row for row in evaluation.rows if row["label"] == label), evaluation.human)
    if row is evaluation.human and label != SPEAKER:
        known = ", ".join(row["label"] for row in evaluation.rows)
        raise UserError(f"the evaluation in {evaluation.folder} has no voice {label!r}; it has {known}.")
    return [evaluation.folder / wav for wav in row["wavs"].get(said, [])[:first]]


def listening(longer: Sequence[Recorded]) -> tuple[list[str], dict[str, list[Path | None]]]:
    """What recorded runs say, as `players.grid` takes it: voices down, each run's under its title, and texts across.

    The speaker and the base voice stand there once, as the first run that has them kept them.
    """
    voices: dict[str, dict[str, Path | None]] = {}
    for run in longer:
        for label, wavs in run.sounds.items():
            name = label if label in (SPEAKER, BASE) else f"{run.title}, {label}"
            voices.setdefault(name, dict(zip(run.texts, wavs, strict=True)))
    texts = dict.fromkeys(text for run in longer for text in run.texts)
    return list(voices), {text: [said.get(text) for said in voices.values()] for text in texts}


def image(path: Path, alt: str) -> Html:
    """A picture that lies in a file, by its path, as players do with recordings."""
    if not path.is_file():
        raise UserError(f"There is no picture at {path}. Run the step that makes it first.")
    return Html(f'<img src="{source(path)}" alt="{escape(alt, quote=True)}" style="max-width:100%">')


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    columns = {"likeness": "similarity", "words misheard": "wer", "naturalness": "mos", "pitch off": "pitch_delta"}
    return {name: row.get(column) for name, column in columns.items()}


def _read(path: Path) -> Recorded:
    content, folder = json.loads(path.read_text(encoding="utf-8")), path.parent
    files, words = content["files"], {name: content[name] for name in WORDS}
    sounds = files.get("sounds", {"texts": [], "voices": {}})
    named = [name for voice in sounds["voices"].values() for name in voice if name]
    named += [files[name] for name in ("metrics", "evaluation") if name in files]
    gone = [name for name in named if not (folder / name).is_file()]
    if gone:
        raise UserError(f"{path} names files that are not beside it: {', '.join(gone)}")
    return Recorded(
        folder, **words, minutes=float(content["minutes"]), metrics=folder / files["metrics"],
        evaluation=Evaluation.load(folder) if "evaluation" in files else None, texts=sounds["texts"],
        sounds={voice: [folder / n if n else None for n in names] for voice, names in sounds["voices"].items()},
    )  # fmt: skip


def _keep_sounds(evaluation: Evaluation, out: Path, heard: int) -> dict[str, Any]:
    """Copy the few recordings that are kept; what `files.sounds` says of them."""
    spoken, rows = evaluation.spoken, evaluation.rows
    chosen = best(choose(rows, evaluation.human, spoken.words))
    taken = chosen.label if chosen else next((row["label"] for row in reversed(steps(rows))), None)
    labels = [SPEAKER, *[row["label"] for row in rows if row["kind"] == "base" or row["label"] == taken]]
    voices = {}
    for number, label in enumerate(labels):
        pair = [voiced(evaluation, label, said, heard) for said in ("held_out", "sentences")]
        voices[label] = []
        for wav in [*pair[0], *(pair[1] or [None] * heard)]:
            name = f"{number}-{len(voices[label])}.flac" if wav else None
            if wav:
                samples, rate = soundfile.read(wav, dtype="int16")
                soundfile.write(out / name, samples, rate, subtype="PCM_16")
            voices[label].append(name)
    return {"texts": [*spoken.held_out[:heard], *spoken.sentences[:heard]], "voices": voices}
