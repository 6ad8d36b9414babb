"""Two runs beside one another: what they were made with, and how they came along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.plain import read_yaml
from tts_lab.errors import UserError
from tts_lab.evaluation.evaluation import Evaluation, steps
from tts_lab.evaluation.lead import Lead, Points, best, lead, lead_by_time
from tts_lab.training.config import VALIDATED
from tts_lab.training.metrics import read_metrics
from tts_lab.training.record import OF_THE_MOMENT, stretches_of
from tts_lab.voices.best import HEARD as VAL_MOS

HEARD = {"wer": True, "cer": True, "mos": False, "similarity": False, "pitch_delta": True, "rate_delta": True}
"""Figures of an evaluation, and whether a smaller one is better; of the last two it is the size that counts."""
OWN_PLACE = ("run",)
"""Settings that say where a run lies, not what it is."""
DRAWN_BY = ("seed", "segment_frames", "batch_size", "buckets")
"""Settings that decide which segment of a clip a validation draws, and with which noise."""

Difference = tuple[str, Any, Any]
"""What, in the first, in the second."""


@dataclass(frozen=True)
class Curve:
    """One thing that both runs measured."""

    name: str
    smaller: bool
    """Whether a smaller value is better."""
    points: tuple[Points, Points]
    """Of each run: updates done, and the value then."""
    by_step: Lead
    by_time: Lead
    """Along seconds of training."""

    def told(self, names: tuple[str, str]) -> str:
        """Both bests, both values at the last common step, and who is ahead, in a few sentences."""
        bests = [best(points, self.smaller) for points in self.points]
        said = "best " + ", ".join(
            f"{value:.4g} at step {at:.0f} ({name})" for name, (at, value) in zip(names, bests, strict=True)
        )
        if self.by_step.moments:
            last = self.by_step.moments[-1]
            said += f". At step {last.at:.0f}: {last.first:.4g} and {last.second:.4g}"
        lines = [f"at the same step, {self.by_step.told(*names)}"]
        lines.append(f"after the same time of training, {self.by_time.told(*names)}")
        return ". ".join([said, *(line[0].upper() + line[1:] for line in lines)]) + "."

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        sides = {"best": [best(points, self.smaller) for points in self.points], "smaller is better": self.smaller}
        return sides | {
            name: {"ahead": one.ahead, "since": one.since, "changes": one.changes,
                   "moments": [[m.at, m.first, m.second] for m in one.moments]}
            for name, one in (("by step", self.by_step), ("by seconds", self.by_time))
        }  # fmt: skip


@dataclass(frozen=True)
class RunsCompared:
    """Everything in which two runs differ. Empty lists: nothing."""

    names: tuple[str, str]
    settings: list[Difference]
    environment: list[Difference]
    corpus: list[Difference]
    code: list[Difference]
    curves: list[Curve]
    notes: list[str] = field(default_factory=list)
    """What was not compared or is not quite comparable, and why."""

    def lines(self) -> list[str]:
        """All of it for a terminal, in two columns."""
        wide = [max(len(name), 24) for name in self.names]
        said = []
        for title, rows in (
            ("settings", self.settings), ("environment", self.environment), ("corpus", self.corpus), ("code", self.code)
        ):  # fmt: skip
            if not rows:
                said.append(f"{title}: no difference")
                continue
            said.append(f"{title}:")
            said.append(f"  {'':28} {self.names[0]:{wide[0]}} {self.names[1]}")
            said += [f"  {what:28} {_shown(a):{wide[0]}} {_shown(b)}" for what, a, b in rows]
        said += [f"{curve.name}: {curve.told(self.names)}" for curve in self.curves]
        return said + [f"mind: {note}" for note in self.notes]

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        differences = {
            name: [list(row) for row in getattr(self, name)] for name in ("settings", "environment", "corpus", "code")
        }
        curves = {curve.name: curve.to_dict() | {"told": curve.told(self.names)} for curve in self.curves}
        return {"runs": list(self.names), **differences, "curves": curves, "notes": self.notes}


def compare_runs(first: Path, second: Path) -> RunsCompared:
    """What differs between the runs in two folders, at work or done.

    Raises:
        UserError: one of them, or both, is not a run's folder.
    """
    folders = first, second
    problems = [
        f"{folder} is no run folder: it has neither metrics.csv nor config.yaml"
        for folder in dict.fromkeys(folders)
        if not (folder / "metrics.csv").is_file() and not (folder / "config.yaml").is_file()
    ]
    if first.resolve() == second.resolve():
        problems.append(f"{first} and {second} are the same folder")
    if problems:
        raise UserError("these cannot be compared:\n" + "\n".join(f"  - {problem}" for problem in problems))
    notes: list[str] = []
    names = _names(first, second)
    stretches = [stretches_of(folder) for folder in folders]
    made = [known[-1] if known else {} for known in stretches]
    for name, known in zip(names, stretches, strict=True):
        if not known:
            notes.append(f"{name} has no environment.json that can be read: its machine and code are not known")
        if len(known) > 1:
            turns = ", ".join(str(stretch.get("from_step")) for stretch in known)
            notes.append(f"{name} was made in {len(known)} stretches, from steps {turns}; the last is compared")
    settings = differences(*(_settings(folder, one) for folder, one in zip(folders, made, strict=True)), OWN_PLACE)
    corpus = _corpus(folders, made, notes)
    if drawn := [name for name, _, _ in settings if name in DRAWN_BY]:
        notes.append(
            f"{', '.join(drawn)} differ, so validations drew other segments and noise: small gaps mean nothing"
        )
    apart = ("packages", "corpus", "config", "commit", "dirty", "changes", "lock", *OF_THE_MOMENT)
    machine = differences(*made, apart)
    machine += [(f"package {n}", a, b) for n, a, b in differences(*(one.get("packages") or {} for one in made), ())]
    machine += [(f"lock, {n}", a, b) for n, a, b in differences(*(one.get("lock") or {} for one in made), ())]
    code = [row for name in ("commit", "dirty", "changes") if (row := _pair(name, *made))]
    return RunsCompared(names, settings, machine, corpus, code, _curves(folders, names, notes), notes)


def differences(first: dict[str, Any], second: dict[str, Any], apart: Sequence[str]) -> list[Difference]:
    """Entries of two mappings that differ, those of mappings within them as `outer.inner`; None where there is none.

    Args:
        apart: names to leave out.
    """
    found = []
    for name in dict.fromkeys([*first, *second]):
        a, b = first.get(name), second.get(name)
        if name in apart or a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            found += [(f"{name}.{inner}", x, y) for inner, x, y in differences(a, b, ())]
        else:
            found.append((name, a, b))
    return found


def _names(first: Path, second: Path) -> tuple[str, str]:
    """The folders' names, with as much before them as tells them apart."""
    a, b = first.resolve().parts, second.resolve().parts
    longest = max(len(a), len(b))
    count = next((n for n in range(1, longest + 1) if a[-n:] != b[-n:]), longest)
    return "/".join(a[-count:]), "/".join(b[-count:])


def _settings(folder: Path, made: dict[str, Any]) -> dict[str, Any]:
    """As resolved when the run began; of a run of an older version, what its config.yaml says."""
    if "config" in made:
        return made["config"]
    try:
        return read_yaml(folder / "config.yaml")
    except UserError:
        return {}


def _corpus(folders: tuple[Path, Path], made: list[dict[str, Any]], notes: list[str]) -> list[Difference]:
    """What differs in the corpora, by the records and by the copies that the run folders keep."""
    known = [one.get("corpus") for one in made]
    if all(known) and known[0]["fingerprint"] == known[1]["fingerprint"]:
        return []  # another folder with the same content is the same corpus
    clips: list[dict[str, list[str]] | None] = []
    for number, folder in enumerate(folders):
        try:
            corpus = Corpus.load(folder)
            clips.append({split: [] for split in ("train", "validation")})
            for utterance in corpus.stream():
                clips[-1].setdefault(utterance.split, []).append(utterance.id)
            known[number] = known[number] or {"fingerprint": corpus.fingerprint}
        except UserError as error:
            clips.append(None)
            notes.append(f"its corpus is not known: {error}")
    found = differences(*(one or {} for one in known), ())
    if not found or None in clips:
        return found
    for split in ("train", "validation"):
        ours, theirs = (set(one[split]) for one in clips)
        found.append((f"{split} clips only here", len(ours - theirs), len(theirs - ours)))
    if set(clips[0]["validation"]) != set(clips[1]["validation"]):
        notes.append("the validation clips are not the same: values of the validation terms are of different speech")
    return found


def _curves(folders: tuple[Path, Path], names: tuple[str, str], notes: list[str]) -> list[Curve]:
    rows = [read_metrics(folder / "metrics.csv") for folder in folders]
    clocks = [_clock(one) for one in rows]
    curves, lacking = [], []
    for name in (*VALIDATED, VAL_MOS):
        points = [[(row["step"] + 1, row[name]) for row in one if _measured(row.get(name))] for one in rows]
        if name in VALIDATED or any(points):  # naturalness is measured where a run is kept by it
            (curves if all(points) else lacking).append((name, name in VALIDATED, points))
    heard, problems = [], []
    for name, folder in zip(names, folders, strict=True):
        try:
            heard.append(Evaluation.load(folder))
        except UserError as error:
            heard.append(None)
            problems.append(str(error))
        else:
            if heard[-1] is None:
                problems.append(f"{name} was not evaluated (`tts-lab evaluate`)")
    if all(heard) and heard[0].spoken != heard[1].spoken:
        problems.append("the evaluations said other sentences, or were heard by other ears: their figures stay apart")
    elif all(heard):
        for name, smaller in HEARD.items():
            size = abs if name.endswith("_delta") else float
            points = [
                [(row["step"], size(row[name])) for row in steps(one.rows) if _measured(row.get(name))] for one in heard
            ]
            if all(points):
                curves.append((name, smaller, points))
    for name, _, points in lacking:
        without = [who for who, known in zip(names, points, strict=True) if not known]
        problems.append(f"{' and '.join(without)} did not measure {name}")
    if problems:
        what = "" if curves else "these runs have no curve in common: "
        notes.append(what + "; ".join(problems))
    return [
        Curve(
            name, smaller, tuple(points), lead(*points, smaller),
            lead_by_time(*(_timed(known, clock) for known, clock in zip(points, clocks, strict=True)), smaller),
        )
        for name, smaller, points in curves
    ]  # fmt: skip


def _measured(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _clock(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Updates done, and seconds of training until then."""
    return [(row["step"] + 1, row["seconds"]) for row in rows if isinstance(row.get("seconds"), float)]


def _timed(points: Points, clock: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """The points along seconds of training; those from before the clock's first entry are left out."""
    timed = []
    for step, value in points:
        passed = [seconds for done, seconds in clock if done <= step]
        if passed:
            timed.append((max(passed), value))
    return timed


def _pair(name: str, first: dict[str, Any], second: dict[str, Any]) -> Difference | None:
    a, b = first.get(name), second.get(name)
    return None if a == b else (name, a, b)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "–" if value is None else str(value)
