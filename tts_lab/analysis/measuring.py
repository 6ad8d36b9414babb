"""Every recording of a corpus measured, in processes or on a cluster, and never twice.

What is measured is written down at once, in `analysis/measures.jsonl` of the corpus folder, under the hash of the
recording's bytes: a run that was killed, a corpus that grew, a clip that was moved or mended costs only what is new.
"""

import hashlib
import json
import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
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
) -> "Measurements":
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
    numbers: dict[str, int | None] = {}
    with Progress(console, sum(1 for _ in _parts(corpus)), "measured") as progress:
        new = _unmeasured(corpus, numbers, journal, progress)
        for key, measured in in_pool(_work, new, jobs=jobs, executor=executor, preload=(__name__,)):
            journal.add(_line(key, measured))
            progress.advance()
    if ears is not None:
        _listen(ears, corpus, numbers, journal, console)
    unreadable = {id: measure_file(*part) for id, part, _ in _parts(corpus) if numbers.get(id, 0) is None}
    return Measurements(numbers, journal, None if ears is None else _name(ears), unreadable)


class Measurements(Mapping[str, Measured]):
    """Id to what was found, in the order of the corpus; each read from the journal when it is asked for."""

    def __init__(
        self, numbers: dict[str, int | None], journal: "_Journal", ears: str | None, unreadable: dict[str, Measured]
    ) -> None:
        self._numbers, self._journal, self._ears, self._unreadable = numbers, journal, ears, unreadable

    def __getitem__(self, id: str) -> Measured:
        number = self._numbers[id]
        return self._unreadable[id] if number is None else self._journal.found(number, self._ears)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def _parts(corpus: Corpus) -> Iterator[tuple[str, Part, bool]]:
    """Id, recording and whether it is kept, of every utterance that has a recording; of each id the first."""
    aside = {q.id: q.recording for q in reversed(corpus.quarantined) if q.recording}
    for u in corpus.stream():
        if u.recording:
            aside.pop(u.id, None)
            yield u.id, Part(corpus.folder / u.recording, u.cut and tuple(u.cut)), True
    for id in dict.fromkeys(q.id for q in corpus.quarantined if q.id in aside):
        yield id, Part(corpus.folder / aside[id]), False


def _unmeasured(
    corpus: Corpus, numbers: dict[str, int | None], journal: "_Journal", progress: Progress
) -> Iterator[tuple[str, Part]]:
    """Hash one recording after another, filling `numbers` (None: unreadable), and give those that are not known."""
    for id, part, _ in _parts(corpus):
        part = part._replace(path=part.path.resolve())
        key = _key(part)
        numbers[id] = number = None if key is None else journal.number(key)
        if number is None or journal.places[number] != UNKNOWN:
            progress.advance()
            continue
        journal.places[number] = GIVEN
        yield key, part


def _work(rows: Sequence[tuple[str, Part]]) -> list[tuple[str, Measured]]:
    return [(key, measure_file(*part)) for key, part in rows]


def _listen(ears: Ears, corpus: Corpus, numbers: dict[str, int | None], journal: "_Journal", console: Console) -> None:
    name = _name(ears)
    left = {numbers[id] for id, _, kept in _parts(corpus) if kept} - {None}
    with Progress(console, len(left), "listened to") as progress:
        for id, part, kept in _parts(corpus):
            if not kept or (number := numbers[id]) not in left:
                continue
            left.remove(number)
            measured = journal.found(number, name)
            if measured.heard is None and measured.measures is not None:
                heard = _hear(ears, part._replace(path=part.path.resolve()))
                journal.add({"key": _key(part), "ears": name, "heard": heard})
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


UNKNOWN, GIVEN = -1, -2
"""In place of where a recording's measures are: there are none, or they are being made."""


class _Journal:
    """The lines written so far, and the file that the next ones go to. In memory is only where each line begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers: dict[str, int] = {}
        """Key of a recording to its number, in the order in which they came."""
        self.places = array("q")
        """Of each number, where in the file its measures are, or `UNKNOWN` or `GIVEN`."""
        self._heard: dict[str, dict[int, int]] = {}
        """What listened, to the number of a recording, to where what it heard is."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file, self.lines = path.open("ab", buffering=0), path.open("rb")
            line, at = b"\n", 0
            for line in self.lines:
                self._read(line, at)
                at += len(line)
            if not line.endswith(b"\n"):  # killed in the middle of a line: it stays, unread, on a line of its own
                self.file.write(b"\n")
        except OSError as error:
            raise self._refusal(error) from error

    def number(self, key: str) -> int:
        """Of the recording with that hash; a new one if it has none."""
        if (number := self._numbers.get(key)) is None:
            self._numbers[key] = number = len(self.places)
            self.places.append(UNKNOWN)
        return number

    def add(self, record: dict[str, Any]) -> None:
        """One line in one write, so that a killed run, or a second one beside this, breaks none but the last."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            if self.file.write(line) != len(line):
                raise OSError("the disk is full")
        except OSError as error:
            raise self._refusal(error) from error
        self._take(record, self.file.tell() - len(line))

    def found(self, number: int, ears: str | None) -> Measured:
        """What is known of a recording, and what `ears` heard in it."""
        record = self._record(self.places[number])
        place = self._heard.get(ears, {}).get(number) if ears is not None else None
        return _measured(record, None if place is None else self._record(place)["heard"])

    def _record(self, place: int) -> dict[str, Any]:
        self.lines.seek(place)
        return json.loads(self.lines.readline())

    def _read(self, line: bytes, at: int) -> None:
        try:
            self._take(json.loads(line), at)
        except (ValueError, KeyError, TypeError):
            return  # half a line, or one of a later version: measured again

    def _take(self, record: dict[str, Any], at: int) -> None:
        if "ears" in record:
            self._heard.setdefault(record["ears"], {})[self.number(record["key"])] = at
        elif record["version"] == VERSION:
            _measured(record)  # whether it can be read
            self.places[self.number(record["key"])] = at

    def _refusal(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path} cannot be written ({error.strerror or error}): what is measured is kept there. Make room, "
            "or see to the rights of the folder, and run it again to go on."
        )


def _measured(record: dict[str, Any], heard: str | None = None) -> Measured:
    numbers = record["measures"]
    return Measured(numbers and _measures(numbers), heard, record["problem"])
