"""Files that are whole or absent."""

import os
import time
from pathlib import Path

from tts_lab.errors import UserError


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write `data` under a temporary name and rename it, so that no reader ever sees half a file.

    Raises `UserError` if the disk is full or the folder cannot be written; what was there before stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"{path} could not be written: {error.strerror or error}. What was already made is kept; "
            "make room or choose another folder, then run the same command to go on."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path, older_than: float = 3600.0) -> None:
    """Delete what killed runs left under temporary names; younger ones may be another run's, at work right now."""
    for temporary in folder.glob(".*.tmp"):
        if time.time() - temporary.stat().st_mtime > older_than:
            temporary.unlink(missing_ok=True)
