"""The corpus folder: corpus.json and the cached clips beside it."""

import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from tts_lab.errors import UserError

FORMAT = 2


@dataclass
class Utterance:
    """One clip that training may use."""

    id: str
    text: str
    speaker: str | None
    audio: str
    """Path of a float32 mono .npy, relative to the corpus folder."""
    samples: int
    """Its length at the corpus's sample rate."""
    phonemes: list[str]
    phoneme_ids: list[int]
    split: str
    """"train" or "validation"."""
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
    weight: float = 1.0
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
    """Every utterance of a prepared corpus, kept or quarantined, and how it was made."""

    folder: Path
    sample_rate: int
    utterances: list[Utterance]
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

    @property
    def seconds(self) -> float:
        """Seconds of kept audio."""
        return sum(utterance.samples for utterance in self.utterances) / self.sample_rate

    @property
    def fingerprint(self) -> str:
        """16 hex digits over everything that training reads: ids, audio, phoneme ids, split, speakers, weights."""
        parts = [self.sample_rate, sorted(self.speakers.items())]
        for u in self.utterances:
            parts.append([u.id, u.speaker, Path(u.audio).name, u.samples, u.phoneme_ids, u.split])
        if any(u.weight != 1 for u in self.utterances):
            parts.append([u.weight for u in self.utterances])
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:16]

    def symbol_counts(self) -> Counter[str]:
        """How often each phoneme occurs, symbols missing from the id map included."""
        return Counter(symbol for utterance in self.utterances for symbol in utterance.phonemes)

    def waveform(self, utterance: Utterance) -> np.ndarray:
        """Its audio, float32 (samples,), within [-1, 1]. Raises `UserError` if the file is gone or broken."""
        try:
            return np.load(self.folder / utterance.audio, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(
                f"{self.folder / utterance.audio}, the audio of {utterance.id}, cannot be read ({error}); "
                "delete it if it is there and run `tts-lab prepare` again."
            ) from error

    def resampled(self, rate: int, folder: Path) -> "Corpus":
        """The same clips at another sample rate, in another folder: to try things with a model of that rate."""
        (folder / "audio").mkdir(parents=True, exist_ok=True)
        clips = []
        for u in self.utterances:
            audio = np.clip(soxr.resample(self.waveform(u), self.sample_rate, rate), -1, 1)
            np.save(folder / u.audio, audio)
            recording = os.path.relpath(self.folder / u.recording, folder) if u.recording else ""
            clips.append(replace(u, samples=len(audio), recording=recording))
        settings = self.settings | {"sample_rate": rate}
        made = replace(self, folder=folder, sample_rate=rate, utterances=clips, settings=settings)
        made.save()
        return made

    def save(self) -> Path:
        """Write corpus.json, whole or not at all."""
        parts = {"format": FORMAT, "fingerprint": self.fingerprint, **vars(self)}
        del parts["folder"]
        path = self.folder / "corpus.json"
        body = ",\n".join(f"{json.dumps(name)}: {_json_lines(value)}" for name, value in parts.items())
        write_atomically(path, f"{{\n{body}\n}}\n".encode())
        return path

    @classmethod
    def load(cls, folder: Path | str) -> "Corpus":
        """Read a corpus folder (or its corpus.json). Raises `UserError` if it is not one."""
        path = Path(folder)
        path = path if path.name == "corpus.json" else path / "corpus.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"), object_hook=_shared)
            if content.pop("format") != FORMAT:
                raise UserError(f"{path} is of another version of tts-lab; run `tts-lab prepare` again.")
            content.pop("fingerprint")
            content["utterances"] = [Utterance(**fields) for fields in content["utterances"]]
            content["quarantined"] = [Quarantined(**fields) for fields in content["quarantined"]]
            return cls(folder=path.parent, **content)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(f"{path}: there is no corpus here. Make one with `tts-lab prepare`.") from error
        except (KeyError, TypeError, ValueError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise UserError(f"{path} is no corpus ({cause}); run `tts-lab prepare` again.") from error


def _shared(fields: dict[str, Any]) -> dict[str, Any]:
    """A record with each phoneme held once, not once an occurrence: a third of a large corpus's memory."""
    if isinstance(phonemes := fields.get("phonemes"), list):
        fields["phonemes"] = [sys.intern(symbol) for symbol in phonemes]
    return fields


def _json_lines(value: Any) -> str:
    """JSON with one record to a line, so that people and diffs can read it."""
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(json.dumps(vars(record), ensure_ascii=False) for record in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to, renamed to it at the end unless the caller deleted it.

    If anything is raised it is deleted.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.exists():
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write `data` under a temporary name and rename it, so that no reader ever sees half a file.

    Raises `UserError` if the disk is full or the folder cannot be written; what was there before stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(
            f"{path} could not be written: {error.strerror or error}. What was already made is kept; "
            "make room or choose another folder, then run the same command to go on."
        ) from error


def remove_leftovers(folder: Path, older_than: float = 3600.0) -> None:
    """Delete what killed runs left under temporary names; younger ones may belong to a run at work now."""
    for temporary in folder.glob(".*.tmp"):
        if time.time() - temporary.stat().st_mtime > older_than:
            temporary.unlink(missing_ok=True)
