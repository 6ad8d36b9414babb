"""What a manifest says: entries as a layout reads them, checked one by one into rows to use and problems set aside."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tts_lab.corpus.recordings import AUDIO_SUFFIXES, Recordings
from tts_lab.corpus.settings import AudioSettings
from tts_lab.corpus.spool import Spool
from tts_lab.corpus.textfile import UNREADABLE, TextFile, not_utf8

_SEPARATOR = re.compile(r"[/\\]")
_ABSOLUTE = re.compile(r"/|\\\\|[A-Za-z]:[/\\]")
"""How a path begins that does: of this system, of a network, of a drive."""
_HALVES = re.compile("[\ud800-\udfff]")
CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]")
"""Control characters that are no white space, and a byte-order mark in the middle of a file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One utterance as the manifest names it; its audio file exists."""

    id: str
    text: str
    folder: Path
    """The audio folder; one object for all rows of it."""
    file: str
    """Path of the recording inside it."""
    where: str
    """File and line, for messages."""
    speaker: str | None = None
    phoneme_ids: tuple[int, ...] | None = None
    """What the voice hears, where the manifest says it itself; the text is then only read by people."""
    weight: float = 1.0
    """How often an epoch draws the clip, against 1."""
    cut: tuple[float, float] | None = None
    """Seconds of the recording to use, if not all of it."""
    review: tuple[str, ...] = ()
    """What a person decided about it, in words."""
    settings: AudioSettings | None = None
    """How its recording is made a clip, where corpora of their own settings were merged."""
    source: str = ""
    """The name of its corpus, where several were merged."""

    @property
    def audio(self) -> Path:
        return self.folder / self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One utterance that cannot be used."""

    where: str
    id: str
    reason: str
    """Cause and fix, in a sentence."""
    kind: str = ""
    """The sort of cause in two words, to count by."""


class Entry(NamedTuple):
    """One line (or file) of a manifest as its layout understood it, nothing checked yet."""

    path: Path
    line: int
    """0 where a whole file is one utterance."""
    name: str
    """The audio file inside the audio folder, with or without its suffix."""
    text: str = ""
    speaker: str | None = None
    phoneme_ids: str | None = None
    """Numbers with white space between."""
    problem: str = ""
    """What made the line unreadable."""
    kind: str = ""
    fields: Sequence[str] = ()
    """All that the line holds, to write it again."""
    id: str | None = None
    """Where it is not `name` without its suffix."""
    label: str = ""
    """How messages call the file, where its bare name is not enough."""

    @property
    def where(self) -> str:
        """File and line, for messages."""
        name = self.label or self.path.name
        return f"{name} line {self.line}" if self.line else name


@dataclass
class Layout:
    """How a source is to be read: its form, the reason, and its entries, which are read as they are asked for."""

    name: str
    why: str
    recordings: Recordings
    entries: Iterable[Entry]
    notes: list[str] = field(default_factory=list)
    """What was tolerated; may grow while the entries are read."""
    write: Callable[[Entry], str] | None = None
    """An entry as a line of the manifest; None where there is no manifest to write."""
    head: str = ""
    """The line that a manifest of this layout starts with."""
    header: int = 0
    """Line of a header that the layout does not want."""
    file: TextFile | None = None
    """The manifest, where it is one file."""
    delimited: bool = False
    """Fields cannot hold a `|`."""
    complete: bool = False
    """Recordings without text are entries already."""


class Check:
    """Entry to row, or to the problem that stands in its way; what passed takes its recording."""

    def __init__(self, recordings: Recordings) -> None:
        self.recordings = recordings
        self._ids: dict[str, str] = {}
        """Ids that are no file names, to where they are."""

    def __call__(self, entry: Entry) -> Row | Problem:
        path = PurePosixPath(entry.name)
        stem = str(path.with_suffix("")) if path.suffix.lower() in AUDIO_SUFFIXES else entry.name
        key, text, where = entry.id or stem, " ".join(entry.text.split()), entry.where
        outside = leaves(entry.name)
        file = self.recordings.find(entry.name) if entry.name and not outside else None
        kind, reason = (entry.kind, entry.problem) if entry.problem else self._unreadable(entry, text)
        ids = None
        if reason:
            pass
        elif not entry.name:
            kind, reason = "empty id", "the id is empty; it must name the audio file"
        elif outside:
            reason = f"the path leaves the audio folder {self.recordings.folder}; name a file inside it"
            kind = "path outside"
        elif earlier := self._earlier(entry, file, key):
            reason = f"the id was already used ({earlier}), and that one is kept; give each line its own id"
            kind = "duplicate id"
        elif not text:
            kind, reason = "empty text", "the text is empty; write what is said, or remove the line"
        elif entry.speaker == "":
            kind, reason = "empty speaker", "the speaker is empty; name one on every line, or leave the column out"
        elif entry.phoneme_ids is not None and (ids := _numbers(entry.phoneme_ids)) is None:
            shown = entry.phoneme_ids[:40]
            reason = f"phoneme_ids is {shown!r} and must be whole numbers with spaces between"
            kind = "phoneme ids"
        elif file and (target := self.recordings.leads_out(file)):
            reason = f"it is a link that leaves the audio folder, to {target}; copy the recording into the folder"
            kind = "path outside"
        elif file is None:
            reason = f"no audio file: neither {stem}.wav nor {stem}.flac is in {self.recordings.folder}"
            kind = "missing audio"
        if reason or file is None:
            shown = key.encode(errors="backslashreplace").decode().strip()[:60]
            return Problem(where, shown or "?", reason, kind)
        self.recordings.take(file, entry.line)
        if entry.id:
            self._ids[key] = where
        return Row(key, text, self.recordings.folder, file, where, entry.speaker, ids)

    def _earlier(self, entry: Entry, file: str | None, key: str) -> str | None:
        """Where the id or the recording was used before."""
        if line := self.recordings.taken(file) if file else None:
            return entry._replace(line=line).where
        return self._ids.get(key) if entry.id else None

    @staticmethod
    def _unreadable(entry: Entry, text: str) -> tuple[str, str]:
        """Kind and reason, if there are characters that nobody can read."""
        read = f"{entry.name} {text} {entry.speaker or ''}"
        whole = read + "".join(entry.fields)
        if not whole.isascii() and (bad := _HALVES.search(whole)):
            if UNREADABLE.match(bad[0]):
                return "encoding", not_utf8(bad[0])
            return "lost letter", f"U+{ord(bad[0]):04X} is half a character; write the whole one"
        if bad := CONTROLS.search(read):
            return "control character", f"U+{ord(bad[0]):04X} is a control character; delete it"
        if "\ufffd" in text:
            return "lost letter", "U+FFFD stands where a conversion lost a letter; write the letter"
        return "", ""


def leaves(name: str) -> bool:
    """Whether a manifest's name of a recording, as any system writes paths, is of a place outside its folder."""
    # Not by pathlib, which remembers every part of every path it has seen.
    return bool(_ABSOLUTE.match(name)) or ".." in _SEPARATOR.split(name)


def _numbers(text: str) -> tuple[int, ...] | None:
    parts = text.split()
    return tuple(map(int, parts)) if parts and all(part.isdecimal() and part.isascii() for part in parts) else None


@dataclass
class Manifest:
    """What was found: `rows` to be read, `problems` set aside, and how the layout was told (`why`)."""

    layout: str
    """"segments", "id|text", "id|speaker|text", "folder" and so on."""
    why: str
    audio_dir: Path
    rows: Sequence[Row] = field(default_factory=Spool)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was tolerated: a byte-order mark, extra columns, a header line."""
    sources: list[dict[str, Any]] = field(default_factory=list)
    """Name, path, speaker, weight and audio settings of each corpus, where several were merged."""
