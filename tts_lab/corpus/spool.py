"""A list that lies on the disk, for what is as long as a corpus."""

import os
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

from tts_lab.errors import UserError

T = TypeVar("T")
TOGETHER = 256
"""Items that are read at once by who wants all."""


class Spool(Sequence[T]):
    """Items appended once and read as often as wanted: 8 bytes of memory each, however large they are.

    They lie pickled in a file without a name in the temporary folder (TMPDIR), which goes when the spool goes. What is
    handed out is a copy: changing it changes nothing here.
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._file = tempfile.TemporaryFile(prefix="tts-lab-")
        self._ends = array("Q", [0])
        """Where each item ends, after the 0 at which the first begins."""
        for item in items:
            self.append(item)

    def append(self, item: T) -> None:
        """Raises `UserError` if the temporary folder is full."""
        try:
            size = self._file.write(pickle.dumps(item, pickle.HIGHEST_PROTOCOL))
        except OSError as error:
            raise self._full(error) from error
        self._ends.append(self._ends[-1] + size)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        first = range(len(self))[index]
        return next(self._read(first, first + 1))

    def __iter__(self) -> Iterator[T]:
        for first in range(0, len(self), TOGETHER):
            yield from self._read(first, min(first + TOGETHER, len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None

    def _read(self, first: int, last: int) -> Iterator[T]:
        try:
            self._file.flush()
        except OSError as error:
            raise self._full(error) from error
        begin = self._ends[first]
        data = memoryview(os.pread(self._file.fileno(), self._ends[last] - begin, begin))
        for i in range(first, last):
            yield pickle.loads(data[self._ends[i] - begin : self._ends[i + 1] - begin])

    @staticmethod
    def _full(error: OSError) -> UserError:
        return UserError(
            f"{tempfile.gettempdir()}, the temporary folder, cannot be written ({error.strerror or error}): make room "
            "there, or name another by the environment variable TMPDIR, and run it again."
        )
