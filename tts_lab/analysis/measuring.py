"""Every recording of a corpus measured, in processes or on a cluster, and never twice.

What is measured is written down at once, in `analysis/measures.jsonl` of the corpus folder, under the hash of the
recording's bytes: a run that was killed, a corpus that grew, a clip that was moved or mended costs only what is new.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import soundfile
from rich.console import Console

from tts_lab.analysis.measures import VERSION, Measures, measure
from tts_lab.corpus.audio import Unusable, decode
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.pool import in_pool
from tts_lab.corpus.report import Progress
from tts_lab.corpus.settings import AudioSettings
from tts_lab.errors import UserError

JOURNAL = Path("analysis/measures.jsonl")
"""Inside the corpus folder."""
ANYTHING = AudioSettings(max_seconds=60, clipped_share=1.0, silence_dbfs=-math.inf)
"""Clipped and silent recordings are measured too; ten minutes and more in one file (ten times `max_seconds`) are
not, so that no single recording decides the memory."""

Ears = Callable[[Sequence[Path]], list[str]]
"""Paths to transcripts, as `tts_lab.evaluation.metrics.transcribe`, or a `functools.partial` of it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one recording."""

    measures: Measures | None
    heard: str | None = None
    """What speech recognition heard; None where nobody listened."""
    problem: str = ""
    """Why it could not be measured: cause and fix."""


class Part(NamedTuple):
    """What is measured for one utterance."""

    path: Path
    cut: tuple[float, float] | None = None
    """Begin and end in seconds of the part that review left of it."""


def measure_file(path: Path | str, cut: tuple[float, float] | None = None) -> Measured:
    """Decode and measure one recording, or its seconds `cut`, begin and end."""
    try:
        audio, rate, _ = decode(Path(path).read_bytes(), ANYTHING, cut)
    except OSError as error:
        return Measured(None, problem=f"{path} cannot be read ({error.strerror}); bring it back or prepare again")
    except Unusable as reason:
        return Measured(None, problem=str(reason))
    return Measured(measure(audio, rate))


def measure_all(
    corpus: Corpus,
    *,
    jobs: int | None = None,
    executor: Executor | None = None,
    ears: Ears | None = None,
    console: Console | None = None,
) -> dict[str, Measured]:
    """Measure every recording of `corpus`, kept and quarantined alike: id to what was found.

    `jobs` processes measure (all cores by default; 1 works in this process). With `executor`, any
    `concurrent.futures.Executor` such as Dask's `Client.get_executor()`, the work goes there: its machines must see
    the recordings under the same paths. `ears` listens to what is kept, in this process. Progress and the time left
    go to `console`. Raises `UserError` if a worker dies or the journal cannot be written; what was done by then stays.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"Nothing can be measured with {jobs} jobs; give 1 or more, or leave it out for all cores.")
    console = console or Console()
    journal = _Journal(corpus.folder / JOURNAL)
    paths = {
        u.id: Part((corpus.folder / u.recording).resolve(), u.cut and tuple(u.cut))
        for u in corpus.utterances
        if u.recording
    }
    kept = list(paths)
    for q in corpus.quarantined:
        if q.recording and q.id not in paths:
            paths[q.id] = Part((corpus.folder / q.recording).resolve())
    keys: dict[str, str | None] = {}
    with Progress(console, len(paths), "measured") as progress:
        new = _unmeasured(paths, keys, journal, progress)
        for key, measured in in_pool(_work, new, jobs=jobs, executor=executor, preload=(__name__,)):
            journal.add(_line(key, measured))
            progress.advance()
    if ears is not None:
        _listen(ears, {id: paths[id] for id in kept if keys[id]}, keys, journal, console)
    return {id: journal.found(key, ears) if key else measure_file(*paths[id]) for id, key in keys.items()}


def _unmeasured(
    paths: dict[str, Part], keys: dict[str, str | None], journal: "_Journal", progress: Progress
) -> Iterator[tuple[str, Part]]:
    """Hash one recording after another, filling `keys` (None: unreadable), and give those that are not known."""
    given: set[str] = set()
    for id, path in paths.items():
        keys[id] = key = _key(path)
        if key is None or key in journal.measured or key in given:
            progress.advance()
            continue
        given.add(key)
        yield key, path


def _work(rows: Sequence[tuple[str, Part]]) -> list[tuple[str, Measured]]:
    return [(key, measure_file(*part)) for key, part in rows]


def _listen(
    ears: Ears, paths: dict[str, Part], keys: dict[str, str | None], journal: "_Journal", console: Console
) -> None:
    by_key = {keys[id]: path for id, path in paths.items()}
    with Progress(console, len(by_key), "listened to") as progress:
        for key, path in by_key.items():
            measured = journal.found(key, ears)
            if measured.heard is None and measured.measures is not None:
                journal.add({"key": key, "ears": _name(ears), "heard": _hear(ears, path)})
            progress.advance()


def _hear(ears: Ears, part: Part) -> str:
    if part.cut is None:
        return ears([part.path])[0]
    rate = soundfile.info(part.path).samplerate
    first, last = (round(second * rate) for second in part.cut)
    with TemporaryDirectory() as folder:  # ears take files
        soundfile.write(wav := Path(folder, "part.wav"), *soundfile.read(part.path, start=first, stop=last))
        return ears([wav])[0]


def _name(ears: Ears) -> str:
    """What listened, settings included: another model's transcripts are not these."""
    if isinstance(ears, partial):
        return f"{_name(ears.func)}{ears.args}{sorted(ears.keywords.items())}"
    return f"{ears.__module__}.{ears.__qualname__}"


def _key(part: Part) -> str | None:
    try:
        with part.path.open("rb") as file:
            key = hashlib.file_digest(file, "sha256").hexdigest()[:24]
            return key + "-{:g}-{:g}".format(*part.cut) if part.cut else key
    except OSError:
        return None


def _line(key: str, measured: Measured) -> dict[str, Any]:
    numbers = None
    if measured.measures is not None:
        numbers = {name: _plain(value) for name, value in asdict(measured.measures).items()}
    return {"key": key, "version": VERSION, "measures": numbers, "problem": measured.problem}


def _plain(value: Any) -> Any:
    """JSON has no NaN; it becomes null."""
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _measures(numbers: dict[str, Any]) -> Measures:
    timbre = tuple(_number(part) for part in numbers.pop("timbre"))
    return Measures(timbre=timbre, **{name: _number(value) for name, value in numbers.items()})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


class _Journal:
    """The lines written so far, and the file that the next ones go to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.measured: dict[str, Measured] = {}
        self.heard: dict[tuple[str, str], str] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = path.open("ab", buffering=0)
            with path.open("rb") as lines:
                line = b"\n"
                for line in lines:
                    self._read(line)
            if not line.endswith(b"\n"):  # killed in the middle of a line: it stays, unread, on a line of its own
                self.file.write(b"\n")
        except OSError as error:
            raise self._refusal(error) from error

    def add(self, record: dict[str, Any]) -> None:
        """One line in one write, so that a killed run, or a second one beside this, breaks none but the last."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            if self.file.write(line) != len(line):
                raise OSError("the disk is full")
        except OSError as error:
            raise self._refusal(error) from error
        self._take(record)

    def found(self, key: str, ears: Ears | None) -> Measured:
        """What is known of the recording with that hash, and what `ears` heard in it."""
        measured = self.measured[key]
        heard = self.heard.get((key, _name(ears))) if ears is not None else None
        return replace(measured, heard=heard)

    def _read(self, line: bytes) -> None:
        try:
            self._take(json.loads(line))
        except (ValueError, KeyError, TypeError):
            return  # half a line, or one of a later version: measured again

    def _take(self, record: dict[str, Any]) -> None:
        if "ears" in record:
            self.heard[record["key"], record["ears"]] = record["heard"]
        elif record["version"] == VERSION:
            numbers = record["measures"]
            self.measured[record["key"]] = Measured(numbers and _measures(dict(numbers)), problem=record["problem"])

    def _refusal(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path} cannot be written ({error.strerror or error}): what is measured is kept there. Make room, "
            "or see to the rights of the folder, and run it again to go on."
        )
