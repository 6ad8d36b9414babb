"""What a manifest says once it is read: rows to use, problems set aside, and how it was understood."""

from dataclasses import dataclass, field
from pathlib import Path, PurePath

AUDIO_SUFFIXES = (".wav", ".flac")


@dataclass(frozen=True)
class Row:
    """One utterance as the manifest names it; its audio file exists."""

    id: str
    text: str
    audio: Path
    where: str
    """File and line, for messages."""
    speaker: str | None = None
    cut: tuple[float, float] | None = None
    """Seconds of the recording to use, if not all of it."""
    review: tuple[str, ...] = ()
    """What a person decided about it, in words."""


@dataclass(frozen=True)
class Problem:
    """One utterance that cannot be used."""

    where: str
    id: str
    reason: str
    """Cause and fix, in a sentence."""


@dataclass
class Manifest:
    """What was found: `rows` to be read, `problems` set aside, and how the layout was told (`why`)."""

    layout: str
    """"segments", "id|text", "id|speaker|text" or "folder"."""
    why: str
    audio_dir: Path
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was tolerated: a byte-order mark, extra columns, a header line."""
    _seen: dict[str, str] = field(default_factory=dict, repr=False)

    def refuse(self, where: str, id: str, reason: str) -> None:
        """Set one line aside."""
        self.problems.append(Problem(where, id.strip()[:60] or "?", reason))

    def add(self, where: str, name: str, text: str, speaker: str | None = None) -> None:
        """Take one line in, or set it aside with what stands in its way.

        `name` is the audio file inside `audio_dir`, with or without its suffix; without it, it is the id.
        """
        text, path = " ".join(text.split()), PurePath(name)
        key = str(path.with_suffix("")) if path.suffix.lower() in AUDIO_SUFFIXES else name
        earlier = self._seen.get(key)
        self._seen.setdefault(key, where)
        audio, reason = None, ""
        if not name:
            reason = "the id is empty; it must name the audio file"
        elif path.is_absolute() or ".." in path.parts:
            reason = f"the path leaves the audio folder {self.audio_dir}; name a file inside it"
        elif earlier is not None:
            reason = f"the id was already used ({earlier}), and that one is kept; give each line its own id"
        elif not text:
            reason = "the text is empty; write what is said, or remove the line"
        elif speaker == "":
            reason = "the speaker is empty; name one on every line, or leave the column out"
        elif (audio := self._find(name, key)) is None:
            reason = f"no audio file: neither {key}.wav nor {key}.flac is in {self.audio_dir}"
        if audio is None:
            self.refuse(where, key, reason)
        else:
            self.rows.append(Row(key, text, audio, where, speaker))

    def _find(self, name: str, key: str) -> Path | None:
        names = [name, *(key + suffix for suffix in AUDIO_SUFFIXES)] if name != key else []
        names = names or [key + suffix for suffix in AUDIO_SUFFIXES]
        return next((self.audio_dir / file for file in names if (self.audio_dir / file).is_file()), None)
