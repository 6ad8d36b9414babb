"""What one process of `prepare` does with a handful of rows. Imports no torch, so starting it is cheap."""

import hashlib
import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from tts_lab.corpus.plain import Count, read_json, typed
from tts_lab.corpus.rows import Row
from tts_lab.corpus.settings import AudioSettings
from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError

VERSION = 1
"""Raise it when the making of a clip changes, so that clips of older versions are not used."""

MOST_BYTES = 512 << 20
"""Of a recording, which is read whole: over ten times the longest clip of studio quality."""


@dataclass
class Outcome:
    """What became of one row."""

    row: Row
    reason: str | None = None
    audio: str = ""
    samples: int = 0
    notes: list[str] = field(default_factory=list)
    phonemes: list[str] = field(default_factory=list)
    phoneme_ids: list[int] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    cached: bool = False


@dataclass(frozen=True)
class _Job:
    settings: AudioSettings
    """Of rows that have none of their own."""
    frontend: Any
    folder: Path
    """The corpus folder; clips go into its folder `audio`."""


_job: _Job


def start_worker(settings: AudioSettings, frontend: Any, folder: Path) -> None:
    """Keep what every row of this process needs."""
    global _job
    _job = _Job(settings, frontend, Path(folder))


def work(rows: list[tuple[int, Row]]) -> list[tuple[int, Outcome]]:
    """What becomes of each numbered row, with its number."""
    return [(number, _outcome(row)) for number, row in rows]


def _outcome(row: Row) -> Outcome:
    outcome = Outcome(row)
    _encode(outcome)
    _prepare_audio(outcome)
    return outcome


def _encode(outcome: Outcome) -> None:
    if outcome.row.phoneme_ids is not None:
        _take_ids(outcome, outcome.row.phoneme_ids)
        return
    try:
        encoding = _job.frontend.encode(outcome.row.text)
    except UserError as error:
        outcome.reason = str(error)
        return
    outcome.phonemes, outcome.phoneme_ids, outcome.missing = encoding.phonemes, encoding.ids, encoding.missing
    if not encoding.ids:
        outcome.reason = "the text has nothing to pronounce; write out what is said"


def _take_ids(outcome: Outcome, ids: tuple[int, ...]) -> None:
    """The ids that the manifest gives, in place of the front end's, if the voice has a symbol for each."""
    symbols = _job.frontend.num_symbols
    if (largest := max(ids)) >= symbols:
        outcome.reason = (
            f"phoneme_ids holds {largest}, and the voice has {symbols} symbols (0 to {symbols - 1}): "
            "the ids were made for another voice; make them again, or leave the column out"
        )
        return
    outcome.phoneme_ids, outcome.phonemes = list(ids), _job.frontend.decode(ids)
    if not outcome.phonemes:
        outcome.reason = "phoneme_ids holds nothing to pronounce; leave the column out, or make the ids again"


def _prepare_audio(outcome: Outcome) -> None:
    """Make the clip, or find it made. Beside each .npy lies a .json that is written last: it says "done"."""
    try:
        if (size := outcome.row.audio.stat().st_size) > MOST_BYTES:
            outcome.reason = outcome.reason or (
                f"the file has {size >> 20} MB, and no clip has over {MOST_BYTES >> 20}; cut it at sentence ends"
            )
            return
        data = outcome.row.audio.read_bytes()
    except OSError as error:
        outcome.reason = outcome.reason or f"the file cannot be read ({error.strerror}); check its permissions"
        return
    # Clips that are not cut keep the names they always had.
    cut = "cut {} {} ".format(*outcome.row.cut).encode() if outcome.row.cut else b""
    settings = outcome.row.settings or _job.settings
    salt = json.dumps({"version": VERSION, **asdict(settings)}, sort_keys=True).encode()
    name = hashlib.sha256(salt + cut + data).hexdigest()[:24]
    record_path = _job.folder / "audio" / f"{name}.json"
    record = _read_record(record_path)
    outcome.cached = record is not None
    if record is None:
        record = _make(data, record_path, settings, outcome.row.cut)
    outcome.audio = f"audio/{name}.npy"
    outcome.samples, outcome.notes = record["samples"], record["notes"]
    outcome.reason = outcome.reason or record["reason"]


class _Record(TypedDict):
    reason: str | None
    samples: Count
    notes: list[str]


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = typed(_Record, read_json(path), path)
    except UserError:  # not there, or half a one of a killed run
        return None
    return record if record["reason"] or path.with_suffix(".npy").exists() else None


def _make(data: bytes, path: Path, settings: AudioSettings, cut: tuple[float, float] | None) -> dict[str, Any]:
    from tts_lab.corpus.audio import Unusable, make_clip  # scipy and soxr: only workers pay for them

    record: dict[str, Any] = {"reason": None, "samples": 0, "notes": []}
    try:
        clip = make_clip(data, settings, cut)
    except Unusable as reason:
        record["reason"] = str(reason)
    else:
        buffer = io.BytesIO()
        np.save(buffer, clip.audio)
        write_atomically(path.with_suffix(".npy"), buffer.getbuffer())
        record |= {"samples": len(clip.audio), "notes": clip.notes}
    write_atomically(path, json.dumps(record).encode())
    return record
