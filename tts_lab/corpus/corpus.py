"""The corpus folder: corpus.json and the cached clips beside it."""

import hashlib
import json
import math
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NotRequired

import numpy as np
import soxr
from annotated_types import Interval
from typing_extensions import TypedDict

from tts_lab.corpus.plain import Count, Inside, parse_json, typed
from tts_lab.corpus.wholefile import writing
from tts_lab.errors import UserError

FORMAT = 2


@dataclass
class Utterance:
    """One clip that training may use."""

    id: str
    text: str
    speaker: str | None
    audio: Inside
    """Path of a float32 mono .npy, relative to the corpus folder."""
    samples: Count
    """Its length at the corpus's sample rate."""
    phonemes: list[str]
    phoneme_ids: list[Count]
    split: Literal["train", "validation"]
    notes: list[str] = field(default_factory=list)
    """What was done to the recording, or is odd about it."""
    recording: str = ""
    """Path of the recording it was made from, relative to the corpus folder."""
    cut: list[float] | None = None
    """Begin and end of the part of the recording that was used, in seconds; None for all of it."""
    tags: dict[str, str] = field(default_factory=dict)
    """What `tts-lab analyze` calls it, by pitch, pace, monotony, noise, reverberation."""
    description: str = ""
    """The same in one sentence."""
    weight: Annotated[float, Interval(gt=0, lt=math.inf)] = 1.0
    """How often an epoch of training draws it: 0.5 is every second epoch on average, 2 twice in each."""
    source: str = ""
    """Name of its corpus where several were merged; how each was made is in `Corpus.manifest["sources"]`."""


@dataclass
class Quarantined:
    """One utterance set aside."""

    id: str
    where: str
    """File and line."""
    reason: str
    text: str = ""
    recording: str = ""
    """As in `Utterance`; empty if there is none."""


@dataclass
class Corpus:
    """Every utterance of a prepared corpus, kept or quarantined, and how it was made.

    One that was loaded or saved reads its utterances from corpus.json when they are asked for: all of them at once by
    `utterances`, one after another by `stream`, which holds no more than one.
    """

    folder: Path
    sample_rate: int
    utterances: list[Utterance]
    """Held in memory from when they are first asked for, so that they can be changed."""
    quarantined: list[Quarantined]
    speakers: dict[str, int]
    """Name to id, by name; empty if the manifest names none. More than one make a multi-speaker voice."""
    frontend: dict[str, Any]
    settings: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    """Layout, why, notes: how the source was read. Of several that were merged, also `sources`: name, path, speaker,
    weight and audio settings of each."""
    tags: dict[str, str] = field(default_factory=dict)
    """As of an utterance, for all of them together."""
    description: str = ""

    @property
    def train(self) -> list[Utterance]:
        return [utterance for utterance in self.utterances if utterance.split == "train"]

    @property
    def validation(self) -> list[Utterance]:
        return [utterance for utterance in self.utterances if utterance.split == "validation"]

    def __getattr__(self, name: str) -> Any:
        # Only what is not there comes here: the utterances, until somebody wants all of them.
        if name != "utterances" or "_stored" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        self.utterances = list(self._stored)
        return self.utterances

    def __getstate__(self) -> dict[str, Any]:
        return {part.name: getattr(self, part.name) for part in fields(self)}  # an open file does not travel

    def stream(self) -> Iterator[Utterance]:
        """The utterances one after another; where nobody asked for `utterances` yet, from the disk."""
        return iter(self.utterances if "utterances" in vars(self) else self._stored)

    def amounts(self) -> dict[str, tuple[int, float]]:
        """Clips and seconds of each split: {"train": (315, 871.5), "validation": (34, 95.1)}."""
        clips, samples = Counter(train=0, validation=0), Counter()
        for u in self.stream():
            clips[u.split] += 1
            samples[u.split] += u.samples
        return {split: (count, samples[split] / self.sample_rate) for split, count in clips.items()}

    @property
    def seconds(self) -> float:
        """Seconds of kept audio."""
        return sum(utterance.samples for utterance in self.stream()) / self.sample_rate

    @property
    def fingerprint(self) -> str:
        """16 hex digits over everything that training reads: ids, audio, phoneme ids, split, speakers, weights."""
        stored = None if "utterances" in vars(self) else self._stored
        if stored and stored.fingerprint:
            return stored.fingerprint
        fingerprint = _Fingerprint(self)
        for utterance in self.stream():
            fingerprint.add(utterance)
        if stored:
            stored.fingerprint = str(fingerprint)
        return str(fingerprint)

    def symbol_counts(self) -> Counter[str]:
        """How often each phoneme occurs, symbols missing from the id map included."""
        return Counter(symbol for utterance in self.stream() for symbol in utterance.phonemes)

    def waveform(self, utterance: Utterance) -> np.ndarray:
        """Its audio, float32 (samples,), within [-1, 1]. Raises `UserError` if the file is gone or broken."""
        path = self.folder / utterance.audio
        try:
            # Mapped, a header that lies about its length is found out before there is memory for it.
            audio = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(audio, np.ndarray) or audio.dtype != np.float32 or audio.shape != (utterance.samples,):
                raise ValueError(f"it is not {utterance.samples} samples in float32")
            return np.array(audio)
        except Exception as error:  # numpy reads the header as Python, and that fails in many ways
            raise UserError(
                f"{path}, the audio of {utterance.id}, cannot be read ({' '.join(str(error).split())[:200]}); "
                "delete it if it is there and run `tts-lab prepare` again."
            ) from error

    def resampled(self, rate: int, folder: Path) -> "Corpus":
        """The same clips at another sample rate, in another folder: to try things with a model of that rate."""
        (folder / "audio").mkdir(parents=True, exist_ok=True)

        def clips() -> Iterator[Utterance]:
            for u in self.stream():
                audio = np.clip(soxr.resample(self.waveform(u), self.sample_rate, rate), -1, 1)
                np.save(folder / u.audio, audio)
                recording = os.path.relpath(self.folder / u.recording, folder) if u.recording else ""
                yield replace(u, samples=len(audio), recording=recording)

        settings = self.settings | {"sample_rate": rate}
        made = replace(self, folder=folder, sample_rate=rate, utterances=[], settings=settings)
        made.save(clips())
        return made

    def save(self, utterances: Iterable[Utterance] | None = None) -> Path:
        """Write corpus.json, whole or not at all; with `utterances`, these in place of those that it has.

        They are written as they come, and read from there when they are asked for again.
        """
        path = self.folder / "corpus.json"
        fingerprint, begin, comma = _Fingerprint(self), 0, b""
        with writing(path) as temporary, temporary.open("wb") as file:
            file.write(f'{{\n"format": {FORMAT},\n"fingerprint": "'.encode())
            place = file.tell()
            file.write(f'{fingerprint}",\n"sample_rate": {json.dumps(self.sample_rate)},\n'.encode() + _UTTERANCES)
            begin = file.tell()
            for utterance in self.stream() if utterances is None else utterances:
                fingerprint.add(utterance)
                file.write(comma + json.dumps(vars(utterance), ensure_ascii=False).encode())
                comma = b",\n"
            if comma:
                file.write(b"\n")
            end = file.tell()
            rest = {part.name: getattr(self, part.name) for part in fields(self)[3:]}
            file.write(b"]" + "".join(f",\n{json.dumps(k)}: {_json_lines(v)}" for k, v in rest.items()).encode())
            file.write(b"\n}\n")
            file.seek(place)
            file.write(str(fingerprint).encode())
        if utterances is not None:
            vars(self).pop("utterances", None)
        self._stored = _Stored(path.open("rb"), begin, end, str(fingerprint))
        return path

    @classmethod
    def load(cls, folder: Path | str) -> "Corpus":
        """Read a corpus folder (or its corpus.json). Raises `UserError` if it is not one."""
        path = Path(folder)
        path = path if path.name == "corpus.json" else path / "corpus.json"
        try:
            return cls._read(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(f"{path}: there is no corpus here. Make one with `tts-lab prepare`.") from error
        except (UserError, ValueError) as error:
            raise UserError(f"{path} is no corpus ({error}); run `tts-lab prepare` again.") from error

    @classmethod
    def _read(cls, path: Path) -> "Corpus":
        """The utterances are read and let go, one by one; all the rest is kept."""
        file, rest, begin, speakers = path.open("rb"), bytearray(), 0, set()
        for line in file:
            rest += line
            if line == _UTTERANCES:
                _check_format(parse_json(rest + b"]}"))
                begin = end = len(rest)
                for line in file:
                    if line.startswith(b"]"):
                        rest += line
                        break
                    speakers.add(_utterance(line).speaker)
                    end += len(line)
        content = parse_json(rest)
        _check_format(content)
        corpus = cls(path.parent, **typed(_Content, content, "its parts"))
        speakers |= {utterance.speaker for utterance in corpus.utterances}
        if unknown := speakers - {None} - corpus.speakers.keys():
            raise ValueError(f"an utterance is of {sorted(unknown)[0]!r}, who is none of its speakers")
        if begin:  # else somebody's editor has put it into other lines
            del corpus.utterances
            corpus._stored = _Stored(file, begin, end)
        return corpus


_UTTERANCES = b'"utterances": [\n'


class _Content(TypedDict):
    """Everything in a corpus.json but its format and its fingerprint, which is found anew."""

    sample_rate: Annotated[int, Interval(ge=1, lt=1 << 20)]
    utterances: list[Utterance]
    quarantined: list[Quarantined]
    speakers: dict[str, Count]
    frontend: dict[str, Any]
    settings: dict[str, Any]
    manifest: NotRequired[dict[str, Any]]
    tags: NotRequired[dict[str, str]]
    description: NotRequired[str]


def _check_format(content: Any) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("it is of another version of tts-lab")


class _Stored:
    """The utterances in one corpus.json, a line each. The file stays open, so that they are what they were when it is
    replaced by another."""

    def __init__(self, file: IO[bytes], begin: int, end: int, fingerprint: str = "") -> None:
        self.file, self.begin, self.end = file, begin, end
        self.fingerprint = fingerprint
        """Empty until it is asked for."""

    def __iter__(self) -> Iterator[Utterance]:
        at, half = self.begin, b""
        while at < self.end:
            block = os.pread(self.file.fileno(), min(1 << 18, self.end - at), at)
            if not block:
                raise UserError(f"{self.file.name} was cut short while it was read; run the same command again.")
            at += len(block)
            *lines, half = (half + block).split(b"\n")
            yield from map(_utterance, lines)


def _utterance(line: bytes) -> Utterance:
    utterance = typed(Utterance, parse_json(line.rstrip(b",\n")), "an utterance")
    # Each phoneme is held once, not once an occurrence: a third of the memory of many.
    utterance.phonemes = [sys.intern(symbol) for symbol in utterance.phonemes]
    return utterance


class _Fingerprint:
    """The digest of a corpus whose utterances come one by one."""

    def __init__(self, corpus: Corpus) -> None:
        parts = [corpus.sample_rate, sorted(corpus.speakers.items())]
        self._hash = hashlib.sha256(json.dumps(parts, ensure_ascii=False)[:-1].encode())
        self._weights = array("d")

    def add(self, u: Utterance) -> None:
        parts = [u.id, u.speaker, Path(u.audio).name, u.samples, u.phoneme_ids, u.split]
        self._hash.update(f", {json.dumps(parts, ensure_ascii=False)}".encode())
        self._weights.append(u.weight)

    def __str__(self) -> str:
        whole = self._hash.copy()
        if any(weight != 1 for weight in self._weights):
            whole.update(f", {json.dumps(self._weights.tolist())}".encode())
        whole.update(b"]")
        return whole.hexdigest()[:16]


def _json_lines(value: Any) -> str:
    """JSON with one record to a line, so that people and diffs can read it."""
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(json.dumps(vars(record), ensure_ascii=False) for record in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)
