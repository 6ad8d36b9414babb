"""A text file read line by line, so that a manifest of any length costs no memory; its encoding told first."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tts_lab.errors import UserError

UNREADABLE = re.compile("[\udc80-\udcff]")
"""A byte that is not of the encoding, as Python's `surrogateescape` carries it: U+DC00 and the byte."""
_MARKS = ((b"\xef\xbb\xbf", "utf-8", "utf-8-sig"), (b"\xff\xfe", "utf-16-le", "utf-16"),
          (b"\xfe\xff", "utf-16-be", "utf-16"))  # fmt: skip
_LOOKED_AT = 1 << 16
LONGEST_LINE = 100_000
"""Characters, with which a file without line ends costs no memory either."""


@dataclass(frozen=True)
class TextFile:
    """A file of lines. Raises `UserError` when it is opened if it is empty or no text."""

    path: Path
    encoding: str
    mark: str = ""
    """The encoding that its byte-order mark names; empty without one."""
    strict: bool = True
    """Raise at a byte that is not of the encoding; else hand it on as a surrogate (see `UNREADABLE`)."""

    @classmethod
    def open(cls, path: Path, strict: bool = True) -> "TextFile":
        """Look at the start of `path` and tell its encoding: UTF-8, or what a byte-order mark says."""
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
        for mark, name, encoding in _MARKS:
            if start.startswith(mark):
                found = cls(path, encoding, name, strict)
                break
        else:
            if start.count(b"\0") > len(start) / 20:  # a few are slips of a program, told line by line
                raise UserError(f"{path} holds zero bytes, so it is no text file.")
            found = cls(path, "utf-8", strict=strict)
        if not any(line.strip() for _, line in found.lines()):
            raise UserError(f"{path} is empty; write the words that are said into it.")
        return found

    @property
    def notes(self) -> list[str]:
        note = f"{self.path.name} starts with a byte-order mark ({self.mark}), which was skipped."
        return [note] if self.mark else []

    def lines(self) -> Iterator[tuple[int, str]]:
        """Number, from 1, and content of each line, without its end (LF, CR LF or CR)."""
        with self.path.open(encoding=self.encoding, errors="surrogateescape") as file:
            try:
                for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), ""), 1):
                    if len(line) > LONGEST_LINE:
                        raise UserError(
                            f"{self.path} line {number} is over {LONGEST_LINE} characters long, and no sentence is; "
                            "begin a new line for each recording."
                        )
                    if self.strict and not line.isascii() and (bad := UNREADABLE.search(line)):
                        raise UserError(f"{self.path} line {number} is {not_utf8(bad[0])}")
                    yield number, line.rstrip("\n")
            except UnicodeDecodeError as error:  # of UTF-16, whose bytes cannot be carried on one by one
                raise UserError(f"{self.path} starts as {self.mark} and is not; save it as UTF-8.") from error


def not_utf8(carried: str) -> str:
    """What is wrong, and what to do, in words; `carried` is a match of `UNREADABLE`."""
    return (
        f"not UTF-8 (byte 0x{ord(carried) - 0xDC00:02x}); "
        "save it as UTF-8, for instance with: iconv -f windows-1252 -t utf-8."
    )
