"""Every bad line of a manifest with its number, cause and fix, and a corrected copy of what can be corrected.

Lines are read by the readers that `prepare` uses, one at a time, so what passes here is what `prepare` reads, and
memory holds no more than the names of the recordings.
"""

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tts_lab.corpus.manifest import FIXED, UnknownForm, open_layout, read_otherwise
from tts_lab.corpus.rows import CONTROLS, Check, Entry, Layout, Problem, Row
from tts_lab.corpus.textfile import UNREADABLE
from tts_lab.corpus.wholefile import replacing
from tts_lab.errors import UserError

USUAL = "windows-1252"
"""What text of Western languages is, where it is not UTF-8."""
_DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or odd."""

    where: str
    """File and line."""
    id: str
    kind: str
    """Two words to count by: "missing audio", "duplicate id", "header" and so on."""
    message: str
    """Cause and what to do."""
    bad: bool
    """`prepare` would set the line aside, or refuse the file; else it reads it, and others may not."""


@dataclass
class Lint:
    """What was found, counted."""

    layout: str = ""
    why: str = ""
    rows: int = 0
    """Lines that can be used as they are."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Findings by kind."""
    bad: int = 0
    """Findings that are bad lines."""
    fixed: Path | None = None
    """The corrected copy."""
    written: int = 0
    """Lines in it."""
    changes: Counter[str] = field(default_factory=Counter)
    """What was changed in it, and in how many lines."""
    notes: list[str] = field(default_factory=list)
    """What reading it tolerated, as `prepare` says it."""


def lint(
    source: Path | str,
    report: Callable[[Finding], None],
    *,
    audio_dir: Path | str | None = None,
    audio_prefix: str | None = None,
    fix: bool = False,
    encoding: str | None = None,
) -> Lint:
    """Read `source` as `read_manifest` would and `report` each finding as it is met.

    With `fix`, a corrected copy is written beside the manifest, `metadata.fixed.csv`; the manifest stays as it is.
    Lines that cannot be corrected with certainty are left out of it. Bytes that are not UTF-8 are read as `encoding`;
    by default as windows-1252, unless that makes words of accents alone. Raises `UserError` if the layout cannot
    be told, or if there is no single manifest to correct.
    """
    try:
        codecs.lookup(encoding or USUAL)
    except LookupError as error:
        raise UserError(f"--encoding {encoding}: Python knows no such encoding; try windows-1251 or koi8-r.") from error
    found = Lint()

    def say(where: str, id: str, kind: str, message: str, bad: bool = False) -> None:
        found.kinds[kind] += 1
        found.bad += bad
        report(Finding(where, id, kind, message, bad))

    layout, delimiter = _open(Path(source), audio_dir, audio_prefix, say)
    found.layout, found.why = layout.name, layout.why
    if fix and layout.write is None:
        raise UserError(f"{source} is read as {layout.name}, which has no one manifest to correct; name a manifest.")
    _odd_start(layout, say)
    check = Check(layout.recordings)
    with _copy(layout if fix else None, found) as out:
        for entry in layout.entries:
            result = check(entry)
            if isinstance(result, Problem):
                say(result.where, result.id, result.kind, result.reason, bad=True)
            else:
                found.rows += 1
            if out:
                _write(out, entry, result, layout, check, encoding, found)
        if out:
            to = "commas" if layout.head else "|"
            whole = {
                "byte-order mark removed": int(bool(layout.file.mark)),
                "header removed": int(layout.header > 0),
                f"{_DELIMITERS.get(delimiter)} made {to}": found.written if delimiter else 0,
            }
            found.changes.update({change: lines for change, lines in whole.items() if lines})
    found.notes = layout.notes
    if not layout.complete:
        for name in layout.recordings.unnamed():
            say(str(layout.recordings.folder / name), name, "unnamed recording", "no line names it; add one, or ignore")
    if not found.rows and not found.bad:
        say(str(source), "?", "no lines", "there is nothing but a header; write a line for each recording", bad=True)
    return found


def _open(source: Path, audio_dir, audio_prefix, say: Callable[..., None]) -> tuple[Layout, str]:
    """The layout, and the delimiter that was read in place of the right one."""
    try:
        return open_layout(source, audio_dir, audio_prefix, strict=False), ""
    except UnknownForm as error:
        otherwise = read_otherwise(error, audio_prefix)
        if otherwise is None:
            raise
        layout, delimiter = otherwise
        say(f"{error.file.path.name} line 1", "?", "delimiter", str(error), bad=True)
        return layout, delimiter


def _odd_start(layout: Layout, say: Callable[..., None]) -> None:
    """A byte-order mark and a header that does not belong, which `prepare` skips and other programs do not."""
    if layout.file and layout.file.mark:
        message = f"the file starts with a byte-order mark ({layout.file.mark}); save it as UTF-8 without one"
        say(f"{layout.file.path.name} line 1", "?", "byte-order mark", message)
    if layout.file and layout.header:
        message = "a header, which stock Piper takes for an utterance; remove the line"
        say(f"{layout.file.path.name} line {layout.header}", "?", "header", message)


def _write(
    out: IO[str], entry: Entry, result: Row | Problem, layout: Layout, check: Check, encoding: str | None, found: Lint
) -> None:
    """The entry as it should be, if that is certain; what was done to it is counted."""
    changes = []
    if isinstance(result, Problem) and result.kind in ("encoding", "control character"):
        entry, changes = _repaired(entry, encoding)
        result = check(entry)
    if isinstance(result, Row) and layout.delimited and any("|" in part for part in entry.fields):
        result = Problem(result.where, result.id, "", "text that holds a |")
    if isinstance(result, Problem):
        found.changes[f"left out: {result.kind}"] += 1
        return
    tidy = entry._replace(text=result.text, fields=[" ".join(part.split()) for part in entry.fields])
    if tidy.text != entry.text or list(tidy.fields) != list(entry.fields):
        changes.append("white space tidied")
    found.changes.update(changes)
    found.written += 1
    out.write(layout.write(tidy) + "\n")


def _repaired(entry: Entry, encoding: str | None) -> tuple[Entry, list[str]]:
    """The entry with its bytes read as `encoding` and without control characters, and what was done."""
    changes = []

    def repair(text: str | None) -> str | None:
        if not text:
            return text
        if UNREADABLE.search(text):
            text = _converted(text, encoding)
            changes.append(f"read as {encoding or USUAL}, written as UTF-8")
        if CONTROLS.search(text):
            text = CONTROLS.sub("", text)
            changes.append("control characters removed")
        return text

    entry = entry._replace(
        name=repair(entry.name) or "",
        text=repair(entry.text) or "",
        speaker=repair(entry.speaker),
        fields=[repair(part) or "" for part in entry.fields],
    )
    return entry, list(dict.fromkeys(changes))


def _converted(text: str, encoding: str | None) -> str:
    """Bytes that are not UTF-8 read as `encoding`. Unchanged where that cannot be, or is a guess too far."""
    try:
        converted = text.encode("utf-8", "surrogateescape").decode(encoding or USUAL)
    except UnicodeError:
        return text
    # Cyrillic or Greek bytes read as Western letters make words that are nothing but accents.
    letters = [letter for letter in converted if letter.isalpha()]
    foreign = sum(not letter.isascii() for letter in letters) > len(letters) / 2
    return text if encoding is None and (foreign or re.search("[\x80-\x9f]", converted)) else converted


@contextmanager
def _copy(layout: Layout | None, found: Lint) -> Iterator[IO[str] | None]:
    """The corrected copy, which takes its name only when it is whole, and holds anything."""
    if layout is None or layout.file is None:
        yield None
        return
    path = layout.file.path
    final = path.with_name(f"{path.stem}{FIXED}{path.suffix}")
    try:
        with replacing(final) as temporary:
            with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as out:
                if layout.head:
                    out.write(layout.head + "\n")
                yield out
            if not found.written:
                temporary.unlink()
        found.fixed = final if found.written else None
    except OSError as error:
        raise UserError(f"{final} could not be written: {error.strerror or error}. {path} is as it was.") from error
