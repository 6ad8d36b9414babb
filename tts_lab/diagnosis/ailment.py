"""One row of the tables: how a trouble is recognised, what it means, what to try and what each try costs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tts_lab.diagnosis.evidence import Evidence

LONGEST = 200
"""Characters of a line that are repeated to the reader."""


@dataclass(frozen=True)
class Ailment:
    """A trouble of training, and what helps."""

    name: str
    means: str
    tries: tuple[tuple[str, str], ...]
    """What to try and what it costs in time, quality or money; the cheapest that is likely to help comes first."""
    said: str = ""
    """Regular expression, in any case, for a message that tells of it; empty: no message does."""
    asked: str = ""
    """The same for everyday words: looked for in what a person typed and never in a log, where they mean nothing."""
    read: Callable[[str], str | None] | None = None
    """In the place of `said`, for a message that must be understood: what it says, or None."""
    shown: Callable[[Evidence], str | None] | None = None
    """What in a run's folder shows it, with its figures, or None."""
    mind: str = ""
    """Advice that goes round about it and is wrong, and what is right."""

    def heard(self, text: str, typed: bool) -> tuple[int, str] | None:
        """Where `text` last tells of it, and the line that does.

        Args:
            typed: whether a person wrote it, so that everyday words count.
        """
        if self.read and (told := self.read(text)):
            return len(text), told
        return self._found(self._said, text) or (self._found(self._asked, text) if typed else None)

    @cached_property
    def _said(self) -> re.Pattern[str] | None:
        return _compiled(self.said)

    @cached_property
    def _asked(self) -> re.Pattern[str] | None:
        return _compiled(self.asked)

    def _found(self, pattern: re.Pattern[str] | None, text: str) -> tuple[int, str] | None:
        matches = list(pattern.finditer(text)) if pattern else []
        if not matches:
            return None
        last = matches[-1]
        begin, end = text.rfind("\n", 0, last.start()) + 1, text.find("\n", last.end())
        line = " ".join(text[begin : end if end >= 0 else len(text)].split())
        return last.start(), line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _compiled(expression: str) -> re.Pattern[str] | None:
    return re.compile(expression, re.IGNORECASE | re.MULTILINE) if expression else None
