"""The three layouts that recordings and their text come in, each read into a `Manifest`."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from tts_lab.corpus.rows import AUDIO_SUFFIXES, Manifest
from tts_lab.errors import UserError

SEGMENT_COLUMNS = ("segment_index", "text")
SEGMENT_HEADER = "segment_index,text,word_count,estimated_duration_seconds"
_ID_NAMES = {"id", "wav", "file", "filename", "file_name", "audio", "audio_file", "utterance", "name", "path"}
_TEXT_NAMES = {"text", "transcript", "transcription", "sentence", "normalized_text"}


def read_segments(path: Path, text: str, audio_dir: Path, prefix: str | None) -> Manifest:
    """A comma CSV whose header names segment_index and text; audio is `{prefix}_{segment_index:04d}.wav`."""
    reader = csv.reader(io.StringIO(text))
    header = [name.strip().lower() for name in next(reader)]
    notes = []
    if extra := [name for name in header if name not in SEGMENT_COLUMNS]:
        notes.append(f"Columns not read, for durations are measured on the audio: {', '.join(extra)}.")
    if prefix is None:
        prefix = _only_prefix(path, audio_dir)
        notes.append(f"The audio prefix is {prefix!r}, the only one in {audio_dir}.")
    why = f"line 1 of {path.name} names segment_index and text; audio is {prefix}_NNNN.wav in {audio_dir}"
    manifest = Manifest("segments", why, audio_dir, notes=notes)
    index_at, text_at = (header.index(column) for column in SEGMENT_COLUMNS)
    for fields in reader:
        if not any(field.strip() for field in fields):
            continue
        where = f"{path.name} line {reader.line_num}"
        index = fields[index_at].strip() if index_at < len(fields) else ""
        if len(fields) != len(header):
            cause = f"{len(fields)} fields where the header names {len(header)}"
            manifest.refuse(where, index, f"{cause}; put text that holds a comma between double quotes")
        elif not re.fullmatch("[0-9]+", index):
            manifest.refuse(where, index, f"segment_index is {index!r} and must be a whole number")
        else:
            manifest.add(where, f"{prefix}_{int(index):04d}", fields[text_at])
    return manifest


def _only_prefix(path: Path, audio_dir: Path) -> str:
    files = [file for file in audio_dir.iterdir() if file.suffix.lower() in AUDIO_SUFFIXES]
    matches = (re.fullmatch(r"(.+)_\d{4,}", file.stem) for file in files)
    found = sorted({match[1] for match in matches if match})
    if len(found) == 1:
        return found[0]
    what = f"several prefixes ({', '.join(found[:4])})" if found else "no file named like PREFIX_0000.wav"
    raise UserError(f"{path}: {audio_dir} holds {what}; set --audio-prefix, or another --audio-dir.")


def read_pipes(path: Path, text: str, audio_dir: Path) -> Manifest:
    """`id|text`, `id|speaker|text`, or LJSpeech's `id|raw|normalised`, of which the last is read."""
    table = [
        (f"{path.name} line {number}", [_unquote(field) for field in line.split("|")])
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]
    notes = []
    top = [field.strip().lower() for field in table[0][1]]
    if top[0] in _ID_NAMES and _TEXT_NAMES.intersection(top):
        notes.append(f"{table[0][0]} is a header ({'|'.join(top)}) and was skipped.")
        table = table[1:]
    widths = Counter(len(fields) for _, fields in table if len(fields) > 1)
    width = max(widths, key=widths.__getitem__, default=2)
    alike = [fields for _, fields in table if len(fields) == width]
    layout, why, text_at, speaker_at = _columns(path.name, alike, width)
    if width > 3:
        notes.append(f"Lines have {width} fields; those after the third were not read.")
    manifest = Manifest(layout, why, audio_dir, notes=notes)
    for where, fields in table:
        name = fields[0].strip()
        if len(fields) != width:
            cause = "no `|`" if len(fields) == 1 else f"{len(fields)} fields"
            manifest.refuse(where, name, f"{cause}, where most lines have {width}; write it as {layout}")
        else:
            speaker = None if speaker_at is None else fields[speaker_at].strip()
            manifest.add(where, name, fields[text_at], speaker)
    return manifest


def _columns(name: str, table: list[list[str]], width: int) -> tuple[str, str, int, int | None]:
    """Layout, reason, and which columns are the text and the speaker."""
    if width == 2:
        return "id|text", f"most lines of {name} have one `|`", 1, None
    middle = [fields[1].strip() for fields in table]
    # A speaker's name is short and comes again; raw text is long and always different.
    if len(set(middle)) > 0.9 * len(middle) and mean(len(words.split()) for words in middle) > 3:
        why = f"most lines of {name} are LJSpeech's id|raw text|normalised text, and the last is read"
        return "id|text", why, 2, None
    why = f"most lines of {name} have {width - 1} `|`; the second column names {len(set(middle))} speaker(s)"
    return "id|speaker|text", why, 2, 1


def _unquote(text: str) -> str:
    """Undo the quotes that a CSV writer puts around text which itself holds quotes."""
    inner = text.strip()
    if len(inner) > 2 and inner[0] == inner[-1] == '"' and '"' not in inner[1:-1].replace('""', ""):
        return inner[1:-1].replace('""', '"')
    return text


def read_folder(folder: Path, decode: Callable[[Path], tuple[str, list[str]]]) -> Manifest:
    """name.wav (or .flac) with its words in name.txt beside it; `decode` reads one text file."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    audio = {file.stem: file for file in files if file.suffix.lower() in AUDIO_SUFFIXES}
    texts = {file.stem: file for file in files if file.suffix.lower() == ".txt"}
    pairs = len(audio.keys() & texts.keys())
    why = f"{folder} holds no CSV file, and {pairs} recordings with a .txt of the same name"
    manifest = Manifest("folder", why, folder)
    for name in sorted(audio.keys() | texts.keys()):
        if name not in texts:
            manifest.refuse(audio[name].name, name, f"there is no {name}.txt with its words beside it")
            continue
        where = texts[name].name
        try:
            text, notes = decode(texts[name])
        except UserError as error:
            manifest.refuse(where, name, str(error))
        else:
            manifest.notes += notes
            manifest.add(where, audio[name].name if name in audio else name, text)
    return manifest
