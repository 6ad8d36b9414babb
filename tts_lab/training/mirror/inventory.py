"""What a mirror holds of a run: the list `mirror.json` that is written last, so that all it names is whole.

A checkpoint is stored under a name of its own content, never written over, and the one before it stays: should the
newest turn out damaged, there is another. Other files are stored by their names in the run folder.
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

from tts_lab.errors import UserError

NAME = "mirror.json"
FORMAT = "tts_lab/mirror/1"
GENERATIONS = 2
"""Of a checkpoint that is written again and again, as last.ckpt is: the newest, and the one before it."""


@dataclass(frozen=True)
class Kept:
    """A file of the run as the mirror holds it."""

    name: str
    """Path in the run folder."""
    stored: str
    """Path under the mirror's address."""
    bytes: int
    saved: int
    """When the run wrote it: nanoseconds since 1970."""
    sha256: str = ""
    """Of a checkpoint, 64 hex digits; other files may be newer than the list, and have none."""


@dataclass(frozen=True)
class Inventory:
    """All files of a mirror, in the order in which they came."""

    run: str
    """Which run (`tts_lab.training.loggers.identity`)."""
    files: tuple[Kept, ...] = ()

    @property
    def newest(self) -> Kept | None:
        """The checkpoint that the run wrote last, of those here."""
        return max((kept for kept in self.files if kept.sha256), key=lambda kept: kept.saved, default=None)

    def holds(self, name: str, size: int, saved: int) -> bool:
        """Whether the file of this name, of so many bytes and written then, is here."""
        return (name, size, saved) in self._held

    @cached_property
    def _held(self) -> set[tuple[str, int, int]]:
        return {(kept.name, kept.bytes, kept.saved) for kept in self.files}

    def with_file(self, new: Kept) -> "Inventory":
        """The same with one more. It takes the place of its name; a checkpoint, that of the oldest generation."""
        others = [kept for kept in self.files if kept.stored != new.stored]
        before = [kept for kept in others if kept.name == new.name]
        gone = before[: len(before) + 1 - GENERATIONS] if new.sha256 else before
        return replace(self, files=(*(kept for kept in others if kept not in gone), new))

    def rotated(self, names: set[str]) -> "Inventory":
        """Without the checkpoints the run no longer has: it has those of ``names``. The newest stays in any case."""
        newest = self.newest
        stay = (kept for kept in self.files if not kept.sha256 or kept.name in names or kept == newest)
        return replace(self, files=tuple(stay))

    def generations(self) -> list[list[Kept]]:
        """All files by name, the newest of each name first; the name of the newest checkpoint comes last of all."""
        names: dict[str, list[Kept]] = {}
        for kept in reversed(self.files):
            names.setdefault(kept.name, []).append(kept)
        return sorted(names.values(), key=lambda files: (bool(files[0].sha256), files[0].saved))

    def to_json(self) -> bytes:
        """As `parse` reads it."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()


def parse(data: bytes, url: str) -> Inventory:
    """The list that ``data``, read from ``url``, holds.

    Raises:
        UserError: it is no such list, or names a file outside the mirror or the run folder.
    """
    try:
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, this tts_lab reads {FORMAT!r}")
        files = tuple(_kept(**entry) for entry in content["files"])
        return Inventory(str(content["run"]), files)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{url} is not the list of a mirror ({type(error).__name__}: {error}): name another address as `mirror`, "
            "or delete that file and what is beside it, to begin anew"
        ) from error


def _kept(name: str, stored: str, bytes: int, saved: int, sha256: str) -> Kept:
    for path in (name, stored):
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or "\\" in path or any(part.startswith(".") for part in parts):
            raise ValueError(f"{path!r} is no path inside a run folder")
    return Kept(str(name), str(stored), int(bytes), int(saved), str(sha256))


def is_checkpoint(name: str) -> bool:
    """Whether a file of this name in a run folder is a checkpoint of it."""
    return PurePosixPath(name).match("checkpoints/*.ckpt") and name.count("/") == 1
