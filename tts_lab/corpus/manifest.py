"""Which recording says what: the manifest is found, its layout recognised and said why, its lines read.

A line that cannot be used is set aside with its number, the cause and what to do; only a manifest that yields
nothing at all, or whose form cannot be told, is an error.
"""

import re
from pathlib import Path
from typing import NoReturn

from tts_lab.corpus.layouts import SEGMENT_COLUMNS, SEGMENT_HEADER, read_folder, read_pipes, read_segments
from tts_lab.corpus.rows import Manifest
from tts_lab.errors import UserError

LAYOUTS = (
    f"Layouts read here: a comma CSV whose first line is `{SEGMENT_HEADER}`; lines of `id|text` or "
    "`id|speaker|text`; a folder of name.wav (or .flac) with name.txt."
)
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def read_manifest(source: Path | str, audio_dir: Path | str | None = None, audio_prefix: str | None = None) -> Manifest:
    """Read `source`: a manifest file, or a folder that holds metadata.csv, or name.wav with name.txt.

    `audio_dir` is where the recordings are; by default the folder `wavs` or `wav` beside the manifest, or the
    manifest's own folder. `audio_prefix` is the first part of `{prefix}_{segment_index:04d}.wav`; by default
    the one prefix that the folder holds. Raises `UserError` with the first causes if nothing can be used.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; name a manifest or a folder of recordings.")
    if audio_dir is not None and not Path(audio_dir).is_dir():
        raise UserError(f"{audio_dir}: there is no such folder; --audio-dir names the folder of recordings.")
    path = _manifest_in(source) if source.is_dir() else source
    if path is None:
        manifest = read_folder(source, _decode)
    else:
        text, notes = _decode(path)
        folder = Path(audio_dir) if audio_dir is not None else _audio_folder(path)
        manifest = _read_lines(path, text, folder, audio_prefix)
        manifest.notes[:0] = notes
    if not manifest.rows:
        _refuse_all(path or source, manifest)
    return manifest


def _manifest_in(folder: Path) -> Path | None:
    if (folder / "metadata.csv").is_file():
        return folder / "metadata.csv"
    found = sorted(folder.glob("*.csv"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:4])
        raise UserError(f"{folder} holds several CSV files ({names}) and no metadata.csv; name one.")
    return found[0] if found else None


def _audio_folder(manifest: Path) -> Path:
    folders = [manifest.parent / name for name in ("wavs", "wav")]
    return next((folder for folder in folders if folder.is_dir()), manifest.parent)


def _decode(path: Path) -> tuple[str, list[str]]:
    """A text file's content, and a note if it starts with a byte-order mark."""
    data = path.read_bytes()
    if not data.strip():
        raise UserError(f"{path} is empty; write the words that are said into it.")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                text = data[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                raise UserError(f"{path} starts as {encoding} and is not; save it as UTF-8.") from error
            return _lf(text), [f"{path.name} starts with a byte-order mark ({encoding}), which was skipped."]
    if b"\0" in data:
        raise UserError(f"{path} holds zero bytes, so it is no text file. {LAYOUTS}")
    try:
        return _lf(data.decode("utf-8")), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path} line {line} is not UTF-8 (byte 0x{data[error.start]:02x}); "
            "save it as UTF-8, for instance with: iconv -f windows-1252 -t utf-8."
        ) from error


def _lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_lines(path: Path, text: str, audio_dir: Path, prefix: str | None) -> Manifest:
    lines = [line for line in text.split("\n") if line.strip()]
    header = [name.strip().strip('"').lower() for name in lines[0].split(",")]
    if all(column in header for column in SEGMENT_COLUMNS):
        return read_segments(path, text, audio_dir, prefix)
    if 2 * sum("|" in line for line in lines) > len(lines):
        return read_pipes(path, text, audio_dir)
    _refuse_form(path, lines)


def _refuse_form(path: Path, lines: list[str]) -> NoReturn:
    first = lines[0] if len(lines[0]) <= 60 else lines[0][:60] + "…"
    known = (("\t", "tabs"), (";", "semicolons"), (",", "commas"))
    separators = [(mark, name) for mark, name in known if mark in lines[0]]
    if "segment_index" in lines[0].lower():
        if separators and separators[0][0] != ",":
            raise UserError(
                f"{path} line 1: the header is separated by {separators[0][1]}, and this layout by commas; "
                "save it again as comma-separated CSV."
            )
        raise UserError(f"{path} line 1: {first!r} has no column named text; it must be {SEGMENT_HEADER}.")
    if re.match(r'\s*"?\d+"?\s*,', first):
        raise UserError(f"{path} has no header: line 1 is {first!r}; put the line {SEGMENT_HEADER} above it.")
    piped = f"{sum('|' in line for line in lines)} of {len(lines)} lines hold a `|`"
    if separators:
        mark, name = separators[0]
        raise UserError(
            f"{path}: {piped}, and line 1, {first!r}, looks separated by {name}; "
            f"write each line as id|text, with `|` in place of the first {mark!r}."
        )
    raise UserError(f"{path}: {piped}, and line 1 is {first!r}. {LAYOUTS}")


def _refuse_all(path: Path, manifest: Manifest) -> NoReturn:
    problems = manifest.problems
    if not problems:
        what = "neither recordings nor texts" if manifest.layout == "folder" else "nothing but a header"
        raise UserError(f"{path} holds {what}. {LAYOUTS}")
    causes = "; ".join(f"{problem.where}: {problem.reason}" for problem in problems[:3])
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    raise UserError(
        f"{path} was read as {manifest.layout}, none of its {len(problems)} lines is usable: {causes}{more}."
    )
