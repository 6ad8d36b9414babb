"""The recordings of a folder: listed once, for a question to the disk for each of 200,000 lines is slow."""

import os
from collections.abc import Iterator
from pathlib import Path

AUDIO_SUFFIXES = (".wav", ".flac")


class Recordings:
    """Which files are in an audio folder and the folders below it, and which of them a manifest used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[str, dict[str, bool]] = {}

    def names(self, below: str = "") -> list[str]:
        """Names of the recordings in one folder, in order; none if there is no such folder."""
        return sorted(name for name in self._list(below) if name.lower().endswith(AUDIO_SUFFIXES))

    def find(self, name: str) -> str | None:
        """The file that `name` means, relative to the folder: itself, or with one of the suffixes; None if none.

        A file that is found counts as used.
        """
        below, _, last = name.removeprefix("./").rpartition("/")
        files = self._list(below)
        stem, suffix = os.path.splitext(last)
        candidates = [last] if suffix.lower() in AUDIO_SUFFIXES else []
        for file in candidates + [(stem if candidates else last) + suffix for suffix in AUDIO_SUFFIXES]:
            if file in files:
                files[file] = True
                return f"{below}/{file}" if below else file
        return None

    def unused(self) -> Iterator[str]:
        """Recordings that nobody asked for, in the folder itself and in each folder below that was asked for."""
        for below in sorted(self._listed.keys() | {""}):
            files = self._list(below)
            used = {os.path.splitext(file)[0] for file, taken in files.items() if taken}
            for name in self.names(below):
                if os.path.splitext(name)[0] not in used:
                    yield f"{below}/{name}" if below else name

    def _list(self, below: str) -> dict[str, bool]:
        if below not in self._listed:
            try:
                with os.scandir(self.folder / below) as entries:
                    self._listed[below] = {entry.name: False for entry in entries if entry.is_file()}
            except (FileNotFoundError, NotADirectoryError):
                self._listed[below] = {}
        return self._listed[below]
