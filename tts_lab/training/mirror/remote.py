"""An address that fsspec writes to, `s3://bucket/prefix` or any other, as a place of whole files."""

import hashlib
import io
import posixpath
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tts_lab.errors import UserError
from tts_lab.training.mirror import inventory
from tts_lab.training.mirror.inventory import Inventory, Kept

BLOCK = 1 << 23
"""Bytes copied at a time."""
LIST_BYTES = 1 << 26
"""Of a list, at most: a million files."""
PART = ".part-"
"""What is half written has a name that begins so, and ends in its writer's id."""
WRITER = "writer.txt"
"""The id of the process that came last. Only who comes writes it, so a process that is followed cannot undo that."""


def problems(url: str | None, run: Path) -> list[str]:
    """Why a run cannot be mirrored to ``url``, a sentence each, as far as can be told without the network."""
    from fsspec import get_filesystem_class
    from fsspec.core import split_protocol

    if url is None:
        return []
    protocol, path = split_protocol(url)
    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        return [f"mirror {url}: {error}; for s3:// it is the extra aws: `pip install 'tts-lab[aws]'`"]
    except ValueError as error:
        return [f"mirror {url}: {error}; s3://BUCKET/PREFIX or a folder will do"]
    if protocol in (None, "file", "local") and Path(path).absolute().is_relative_to(run.absolute()):
        return [f"mirror {url} is in the run folder {run} itself: name a place that outlives it"]
    return []


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Makes whatever fails in it a `UserError`: each file system has errors of its own."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"mirror {url} cannot be used: {reason(error)}. The bucket or folder must exist, and be readable and "
            "writable from here (for s3:// by the AWS_ variables or the instance's role: list, get, put and delete); "
            "without `mirror` the run trains on this machine alone"
        ) from error


def reason(error: BaseException) -> str:
    """What an error says, in one line."""
    said = str(error).strip().splitlines()
    return said[0] if said else type(error).__name__


class Remote:
    """The place. Its methods raise what the file system raises: OSError, or an error of its network library."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.url = url.rstrip("/")
        # Another machine may have written since the last look: nothing is answered from memory.
        self.fs, root = url_to_fs(self.url, use_listings_cache=False, skip_instance_cache=True)
        self.root = root.rstrip("/")
        self.writer = uuid.uuid4().hex

    def read(self) -> Inventory | None:
        """The list, if there is one. Raises UserError if it cannot be made sense of."""
        try:
            data = self.fs.cat_file(self._path(inventory.NAME), end=LIST_BYTES)
        except FileNotFoundError:
            return None
        return inventory.parse(data, f"{self.url}/{inventory.NAME}")

    def write(self, listed: Inventory) -> None:
        """Replace the list."""
        self.replace(io.BytesIO(listed.to_json()), inventory.NAME)

    def claim(self, listed: Inventory) -> None:
        """Be the one who writes there from now on, and take away what others left half written or without a name."""
        self.write(listed)
        self.replace(io.BytesIO(self.writer.encode()), WRITER)
        named = {posixpath.basename(kept.stored) for kept in listed.files}
        for path in [*self._list(self.root), *self._list(self._path("checkpoints"))]:
            name = posixpath.basename(path)
            if name.startswith(PART) or name.endswith(".ckpt") and name not in named:
                self.fs.rm_file(path)

    def is_ours(self) -> bool:
        """Whether nobody has claimed it since."""
        try:
            return self.fs.cat_file(self._path(WRITER)).decode() == self.writer
        except FileNotFoundError:
            return False

    def is_empty(self) -> bool:
        """Whether nothing is there but, maybe, what a first attempt left half written."""
        paths = [path for path in self._list(self.root) if path.rstrip("/") != self.root]
        return all(posixpath.basename(path).startswith(PART) for path in paths)

    def add(self, file: BinaryIO, stored: str) -> None:
        """Write what nothing names yet; cut short, it stays there and means nothing."""
        path = self._path(stored)
        if "s3" not in self.fs.protocol:  # s3fs would make the bucket of a mistyped name
            self.fs.makedirs(posixpath.dirname(path), exist_ok=True)
        with self.fs.open(path, "wb") as target:
            shutil.copyfileobj(file, target, BLOCK)

    def replace(self, file: BinaryIO, stored: str) -> None:
        """Write under another name and move it there, so that whoever reads finds the old or the new."""
        self.add(file, f"{PART}{self.writer}")
        path = self._path(stored)
        if "s3" not in self.fs.protocol:
            self.fs.makedirs(posixpath.dirname(path), exist_ok=True)
        self.fs.mv(self._path(f"{PART}{self.writer}"), path)

    def fetch(self, kept: Kept, path: Path) -> str:
        """Write what is there to ``path``; returns what is wrong with it, in words, or nothing."""
        digest, size = hashlib.sha256(), 0
        try:
            with self.fs.open(self._path(kept.stored), "rb") as source, open(path, "wb") as target:
                while block := source.read(BLOCK):
                    size += len(block)
                    digest.update(block)
                    target.write(block)
        except FileNotFoundError:
            return "it is not there"
        if kept.sha256 and size != kept.bytes:
            return f"it has {size} bytes of {kept.bytes}"
        if kept.sha256 and digest.hexdigest() != kept.sha256:
            return "its content is not what was sent: the SHA-256 differs"
        return ""

    def remove(self, stored: str) -> None:
        """Delete a file, if it is there."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self._path(stored))

    def _list(self, folder: str) -> list[str]:
        try:
            return self.fs.ls(folder, detail=False)
        except FileNotFoundError:
            return []

    def _path(self, stored: str) -> str:
        return f"{self.root}/{stored}"
