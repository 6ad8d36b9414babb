"""The recordings of a folder: listed once, for a question to the disk for each of 200,000 lines is slow."""

import os
from collections.abc import Iterator
from pathlib import Path

from tts_lab.errors import UserError

AUDIO_SUFFIXES = (".wav", ".flac")


class Recordings:
    """Which files are in an audio folder and the folders below it, and which line of a manifest took each.

    The names are the most that reading a manifest keeps in memory: some 200 bytes a recording.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[str, dict[str, int | None]] = {}
        """Folder below to its files; each None until it is named, 0 once it is, and then the line that took it."""

        self._links: set[str] = set()
        """Files that are links, and folders below one: where they lead has to be looked up."""

    def names(self, below: str = "") -> list[str]:
        """Names of the recordings in one folder, in order; none if there is no such folder."""
        return sorted(name for name in self._list(below) if name.lower().endswith(AUDIO_SUFFIXES))

    def find(self, name: str) -> str | None:
        """The file that `name` means, relative to the folder: itself, or with one of the suffixes; None if none."""
        below, _, last = name.removeprefix("./").rpartition("/")
        files = self._list(below)
        stem, suffix = os.path.splitext(last)
        candidates = [last] if suffix.lower() in AUDIO_SUFFIXES else []
        for file in candidates + [(stem if candidates else last) + suffix for suffix in AUDIO_SUFFIXES]:
            if file in files:
                files[file] = files[file] or 0
                return f"{below}/{file}" if below else file
        return None

    def leads_out(self, file: str) -> str | None:
        """Where a found file really is, if a link in the folder leads out of it; None if it is inside.

        The folder itself may be a link: who named it meant where it leads.
        """
        if file not in self._links and file.rpartition("/")[0] not in self._links:
            return None
        real = (self.folder / file).resolve()
        return None if real.is_relative_to(self.folder.resolve()) else str(real)

    def taken(self, file: str) -> int | None:
        """The line that took a file, or one of its name with the other suffix; None if none did."""
        below, _, last = file.rpartition("/")
        files, stem = self._list(below), os.path.splitext(last)[0]
        return next((line for name in (last, stem + ".wav", stem + ".flac") if (line := files.get(name))), None)

    def take(self, file: str, line: int) -> None:
        below, _, last = file.rpartition("/")
        self._list(below)[last] = line

    def unnamed(self) -> Iterator[str]:
        """Recordings that nobody asked for, in the folder itself and in each folder below that was asked for."""
        for below in sorted(self._listed.keys() | {""}):
            files = self._list(below)
            named = {os.path.splitext(file)[0] for file, line in files.items() if line is not None}
            for name in self.names(below):
                if os.path.splitext(name)[0] not in named:
                    yield f"{below}/{name}" if below else name

    def _list(self, below: str) -> dict[str, int | None]:
        if below not in self._listed:
            try:
                if below and (self.folder / below).resolve() != self.folder.resolve() / below:
                    self._links.add(below)
                with os.scandir(self.folder / below) as entries:
                    self._listed[below] = files = {}
                    for entry in entries:
                        if entry.is_file():
                            files[entry.name] = None
                            if entry.is_symlink():
                                self._links.add(f"{below}/{entry.name}" if below else entry.name)
            except (OSError, ValueError) as error:  # a name may be too long for the disk, or hold a zero byte
                if isinstance(error, PermissionError):
                    raise UserError(f"{self.folder / below} cannot be read; check its permissions.") from error
                self._listed[below] = {}
        return self._listed[below]
