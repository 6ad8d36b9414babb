"""A file that is written whole or not at all, so that no reader ever sees half of one and no killed run leaves one."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tts_lab.errors import UserError


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


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """As `replacing`, in a folder that is made if it is not there.

    Raises `UserError` if the disk is full or the folder cannot be written; what was there before stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise UserError(
            f"{path} could not be written: {error.strerror or error}. What was already made is kept; "
            "make room or choose another folder, then run the same command to go on."
        ) from error


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write `data` under a temporary name and rename it, so that no reader ever sees half a file.

    Raises `UserError` as `writing` does.
    """
    with writing(path) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: Path, older_than: float = 3600.0) -> None:
    """Delete what killed runs left under temporary names; younger ones may belong to a run at work now."""
    for temporary in folder.glob(".*.tmp"):
        if time.time() - temporary.stat().st_mtime > older_than:
            temporary.unlink(missing_ok=True)
