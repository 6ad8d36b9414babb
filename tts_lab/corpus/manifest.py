"""Which recording says what: the manifest is found, its layout recognised and said why, its lines read.

A line that cannot be used is set aside with its number, the cause and what to do; only a manifest that yields
nothing at all, or whose form cannot be told, is an error.
"""

import re
from pathlib import Path
from typing import NoReturn

from tts_lab.corpus import festival, tables, trees
from tts_lab.corpus.pipes import Survey, read_pipes
from tts_lab.corpus.recordings import Recordings
from tts_lab.corpus.rows import Check, Layout, Manifest, Row
from tts_lab.corpus.spool import Spool
from tts_lab.corpus.tables import SEGMENT_HEADER
from tts_lab.corpus.textfile import TextFile
from tts_lab.errors import UserError

LAYOUTS = (
    f"Layouts read here: a comma CSV whose first line is `{SEGMENT_HEADER}`; lines of `id|text`, `id|speaker|text` or "
    "`id|raw text|normalised text`; Festival's txt.done.data; metadata.csv or metadata.jsonl with file_name and text "
    "(Hugging Face datasets); the folders of VCTK and M-AILABS; a folder of name.wav (or .flac) with name.txt."
)
FIXED = ".fixed"
"""Before the suffix of a corrected copy, which is not taken for the manifest of its folder."""
_FESTIVAL = ("etc/txt.done.data", "txt.done.data")


class UnknownForm(UserError):
    """The lines of a manifest are of no form that is read here."""

    def __init__(self, message: str, file: TextFile, audio_dir: Path) -> None:
        super().__init__(message)
        self.file, self.audio_dir = file, audio_dir


def read_manifest(source: Path | str, audio_dir: Path | str | None = None, audio_prefix: str | None = None) -> Manifest:
    """Read `source`: a manifest file, or a folder that holds one, or that is a corpus of a known layout.

    `audio_dir` is where the recordings are; by default the folder `wavs` or `wav` beside the manifest, or the
    manifest's own folder. `audio_prefix` is the first part of `{prefix}_{segment_index:04d}.wav`; by default
    the one prefix that the folder holds. Raises `UserError` with the first causes if nothing can be used.
    """
    layout = open_layout(source, audio_dir, audio_prefix)
    rows: Spool[Row] = Spool()
    manifest, check = Manifest(layout.name, layout.why, layout.recordings.folder, rows), Check(layout.recordings)
    for entry in layout.entries:
        found = check(entry)
        if isinstance(found, Row):
            rows.append(found)
        else:
            manifest.problems.append(found)
    manifest.notes = layout.notes
    if not manifest.rows:
        _refuse_all(Path(source), manifest)
    return manifest


def open_layout(
    source: Path | str,
    audio_dir: Path | str | None = None,
    audio_prefix: str | None = None,
    *,
    strict: bool = True,
) -> Layout:
    """How `source` is to be read; arguments as in `read_manifest`. Its entries are read as they are asked for.

    A byte that is not UTF-8 raises `UserError`, or, if not `strict`, is a problem of its line. `UnknownForm` is
    raised for lines of a form that is not read here.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; name a manifest or a folder of recordings.")
    if audio_dir is not None and not Path(audio_dir).is_dir():
        raise UserError(f"{audio_dir}: there is no such folder; --audio-dir names the folder of recordings.")
    audio_dir = None if audio_dir is None else Path(audio_dir)
    if audio_dir is None and (books := trees.find_books(source)):
        return trees.read_books(source if source.is_dir() else source.parent, books, strict)
    path = _manifest_in(source) if source.is_dir() else source
    if path is not None:
        return _read_file(path, audio_dir, audio_prefix, strict)
    if found := trees.find_vctk(source):
        return trees.read_vctk(source, audio_dir or found, strict)
    if splits := trees.find_splits(source):
        return trees.read_splits(source, splits, lambda split: _read_file(split, None, None, strict))
    return trees.read_folder(source, strict)


def _manifest_in(folder: Path) -> Path | None:
    """The manifest that a folder holds; None if it is of a layout without one."""
    named = [folder / name for name in ("metadata.csv", "metadata.jsonl", *_FESTIVAL)]
    if found := next((path for path in named if path.is_file()), None):
        return found
    found = sorted(path for path in folder.glob("*.csv") if not path.stem.endswith(FIXED))
    found = found or sorted(folder.glob("*-metadata.txt"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:4])
        kind = "CSV files" if found[0].suffix == ".csv" else "manifests"
        raise UserError(f"{folder} holds several {kind} ({names}) and no metadata.csv; name one.")
    if not found and (folder / "train.txt").is_file() and any(folder.glob("*.npy")):
        return folder / "train.txt"  # of mimic2's preprocess.py: it is refused, with the reason
    return found[0] if found else None


def _audio_folder(manifest: Path) -> Path:
    home = manifest.parent.parent if manifest.parent.name == "etc" else manifest.parent
    folders = [home / name for name in ("wavs", "wav")]
    return next((folder for folder in folders if folder.is_dir()), manifest.parent)


def _most_are_prompts(survey: Survey) -> bool:
    first = ["|".join(fields) for fields in survey.sample[:50]]
    return sum(festival.parse_prompt(line) is not None for line in first) > len(first) / 2


def _name_it(survey: Survey, folder: Path) -> bool:
    """Most lines say `wavs/a.wav` rather than `a`."""
    return sum(fields[0].startswith(f"{folder.name}/") for fields in survey.sample) > len(survey.sample) / 2


def _read_file(path: Path, audio_dir: Path | None, prefix: str | None, strict: bool) -> Layout:
    try:
        file = TextFile.open(path, strict)
    except UserError as error:
        raise UserError(f"{error} {LAYOUTS}" if "no text file" in str(error) else str(error)) from error
    folder = audio_dir or _audio_folder(path)
    if path.suffix.lower() == ".jsonl":
        return tables.read_audio_folder(file, audio_dir)
    survey = Survey.of(file)
    header = tables.header_of(file)
    if tables.is_segments(header):
        return tables.read_segments(file, folder, prefix)
    if tables.is_audio_folder(header):
        return tables.read_audio_folder(file, audio_dir)
    if _most_are_prompts(survey):
        return festival.read_prompts(file, folder)
    if 2 * survey.piped > survey.lines:
        if audio_dir is None and _name_it(survey, folder):
            folder = folder.parent
        return read_pipes(file, folder, survey)
    raise UnknownForm(_refusal(path, survey), file, folder)


def read_otherwise(error: UnknownForm, prefix: str | None) -> tuple[Layout, str] | None:
    """A refused file read with the delimiter that it has, and that delimiter; None unless that is certain.

    It is if the header of segments is written with it, or if nine lines in ten have before it the name of a recording
    that is there.
    """
    file = error.file
    for delimiter in "\t;,":
        survey = Survey.of(file, delimiter)
        if delimiter != "," and tables.is_segments(tables.header_of(file, delimiter)):
            return tables.read_segments(file, error.audio_dir, prefix, delimiter), delimiter
        recordings = Recordings(error.audio_dir)
        names = [fields[0].strip().strip('"') for fields in survey.sample if len(fields) > 1]
        if sum(bool(name) and recordings.find(name) is not None for name in names) >= 0.9 * len(survey.sample):
            return read_pipes(file, error.audio_dir, survey, delimiter), delimiter
    return None


def _refusal(path: Path, survey: Survey) -> str:
    line = survey.first[1]
    first = line if len(line) <= 60 else line[:60] + "…"
    known = (("\t", "tabs"), (";", "semicolons"), (",", "commas"))
    separators = [(mark, name) for mark, name in known if mark in line]
    if "segment_index" in line.lower():
        if separators and separators[0][0] != ",":
            return (
                f"{path} line 1: the header is separated by {separators[0][1]}, and this layout by commas; "
                "save it again as comma-separated CSV."
            )
        return f"{path} line 1: {first!r} has no column named text; it must be {SEGMENT_HEADER}."
    if re.match(r'\s*"?\d+"?\s*,', first):
        return f"{path} has no header: line 1 is {first!r}; put the line {SEGMENT_HEADER} above it."
    piped = f"{survey.piped} of {survey.lines} lines hold a `|`"
    if separators:
        mark, name = separators[0]
        return (
            f"{path}: {piped}, and line 1, {first!r}, looks separated by {name}; "
            f"write each line as id|text, with `|` in place of the first {mark!r}."
        )
    return f"{path}: {piped}, and line 1 is {first!r}. {LAYOUTS}"


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
