"""Tables whose header names the columns: the comma CSV of segments, and the metadata of a Hugging Face audio folder."""

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from tts_lab.corpus.pipes import IDS_NAME, SPEAKER_NAMES, TEXT_NAMES
from tts_lab.corpus.plain import parse_json
from tts_lab.corpus.recordings import Recordings
from tts_lab.corpus.rows import Entry, Layout
from tts_lab.corpus.textfile import TextFile
from tts_lab.errors import UserError

SEGMENT_COLUMNS = ("segment_index", "text")
SEGMENT_HEADER = "segment_index,text,word_count,estimated_duration_seconds"
FILE_NAME = "file_name"
_LONGEST_QUOTE = 20
"""Lines that one quoted text may span; a quote that is never closed must not swallow the rest of the file."""


def header_of(file: TextFile, delimiter: str = ",") -> list[str]:
    """The column names of a CSV's first record, in lower case; none if it ends inside a quote."""
    return _header(next(read_records(file, delimiter), (0, None))[1])


def _header(fields: list[str] | None) -> list[str]:
    return [name.strip().lower() for name in fields or ()]


def is_segments(header: Sequence[str]) -> bool:
    return all(column in header for column in SEGMENT_COLUMNS)


def is_audio_folder(header: Sequence[str]) -> bool:
    return FILE_NAME in header and any(name in header for name in TEXT_NAMES)


def read_segments(file: TextFile, audio_dir: Path, prefix: str | None, delimiter: str = ",") -> Layout:
    """A CSV whose header names segment_index and text; audio is `{prefix}_{segment_index:04d}.wav`."""
    path, notes = file.path, list(file.notes)
    records = read_records(file, delimiter)
    header = _header(next(records)[1])
    if extra := [name for name in header if name not in (*SEGMENT_COLUMNS, IDS_NAME)]:
        notes.append(f"Columns not read, for durations are measured on the audio: {', '.join(extra)}.")
    recordings = Recordings(audio_dir)
    if prefix is None:
        prefix = _only_prefix(path, recordings)
        notes.append(f"The audio prefix is {prefix!r}, the only one in {audio_dir}.")
    why = f"line 1 of {path.name} names segment_index and text; audio is {prefix}_NNNN.wav in {audio_dir}"
    index_at, text_at = (header.index(column) for column in SEGMENT_COLUMNS)
    ids_at = header.index(IDS_NAME) if IDS_NAME in header else None

    def entries() -> Iterator[Entry]:
        for number, fields in records:
            index = fields[index_at].strip() if fields and index_at < len(fields) else ""
            entry = Entry(path, number, index, fields=fields or ())
            if problem := _wrong_width(fields, header):
                yield entry._replace(problem=problem, kind="number of fields" if fields else "open quote")
            elif not re.fullmatch("[0-9]+", index):
                problem = f"segment_index is {index!r} and must be a whole number"
                yield entry._replace(problem=problem, kind="wrong index")
            else:
                ids = None if ids_at is None else fields[ids_at]
                yield entry._replace(name=f"{prefix}_{int(index):04d}", text=fields[text_at], phoneme_ids=ids)

    return Layout("segments", why, recordings, entries(), notes, _csv_line, ",".join(header), file=file)


def read_audio_folder(file: TextFile, audio_dir: Path | None = None) -> Layout:
    """`metadata.csv` or `metadata.jsonl` of a Hugging Face `datasets` audio folder: `file_name`, text, speaker."""
    path = file.path
    audio_dir = audio_dir or path.parent
    jsonl = path.suffix.lower() == ".jsonl"
    first, names = _names(file, jsonl)
    text_name = next((name for name in TEXT_NAMES if name in names), None)
    if text_name is None or FILE_NAME not in names:
        raise UserError(
            f"{path} line {first} names {', '.join(names) or 'nothing'}: an audio folder needs file_name and one of "
            f"{', '.join(TEXT_NAMES)}."
        )
    speaker_name = next((name for name in SPEAKER_NAMES if name in names), None)
    notes, read = list(file.notes), {FILE_NAME, text_name, speaker_name, IDS_NAME}
    if extra := [name for name in names if name not in read]:
        notes.append(f"Columns of {path.name} not read: {', '.join(extra)}.")
    why = f"{path.name} names {FILE_NAME} and {text_name}, as an audio folder of Hugging Face datasets does"

    def entries() -> Iterator[Entry]:
        for number, record in _read_json(file) if jsonl else _read_named(file):
            if isinstance(record, str):
                kind = "wrong form" if jsonl else "number of fields"
                yield Entry(path, number, "", problem=record, kind=kind)
                continue
            name, text = str(record.get(FILE_NAME) or ""), str(record.get(text_name) or "")
            speaker = None if speaker_name is None else str(record.get(speaker_name, "")).strip()
            ids = record.get(IDS_NAME)
            ids = " ".join(map(str, ids)) if isinstance(ids, list) else ids
            # What is to be written again: a record of JSON whole, since any field may hold anything.
            fields = (json.dumps(record, ensure_ascii=False),) if jsonl else [str(field) for field in record.values()]
            yield Entry(path, number, name.strip(), text, speaker, ids, fields=fields)

    def write_json(entry: Entry) -> str:
        record = json.loads(entry.fields[0]) | {FILE_NAME: entry.name, text_name: entry.text}
        if isinstance(record.get(speaker_name), str):
            record[speaker_name] = entry.speaker
        return json.dumps(record, ensure_ascii=False)

    write, head = (write_json, "") if jsonl else (_csv_line, ",".join(names))
    return Layout("audio folder", why, Recordings(audio_dir), entries(), notes, write, head, file=file)


def read_records(file: TextFile, delimiter: str = ",") -> Iterator[tuple[int, list[str] | None]]:
    """Number of the last line and the fields of each record of a CSV, None where a quote is never closed."""
    waiting: list[tuple[int, str]] = []
    lines = file.lines()
    while True:
        number, line = waiting.pop(0) if waiting else next(lines, (0, ""))
        if not number:
            return
        if not line.strip(f"{delimiter} \t"):
            continue
        fields = _parse(line, delimiter)
        taken = 0
        while fields is None and taken < _LONGEST_QUOTE:
            if taken == len(waiting):
                more = next(lines, None)
                if more is None:
                    break
                waiting.append(more)
            taken += 1
            fields = _parse("\n".join([line, *(text for _, text in waiting[:taken])]), delimiter)
        if fields is not None and taken:
            number = waiting[taken - 1][0]
            del waiting[:taken]
        yield number, fields


def _parse(text: str, delimiter: str) -> list[str] | None:
    """The fields of one record; None if it ends inside a quote, or the quote is longer than any text."""
    try:
        return next(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error) or "field limit" in str(error):
            return None
        return next(csv.reader(io.StringIO(text), delimiter=delimiter))  # quotes inside of a field are the text's own


def _wrong_width(fields: list[str] | None, header: Sequence[str]) -> str:
    if fields is None:
        return "a double quote is opened and never closed; close it, or write two for a quote of the text"
    if len(fields) != len(header):
        cause = f"{len(fields)} fields where the header names {len(header)}"
        return f"{cause}; put text that holds a comma between double quotes"
    return ""


def _csv_line(entry: Entry) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(entry.fields)
    return line.getvalue()


def _names(file: TextFile, jsonl: bool) -> tuple[int, list[str]]:
    """The columns, in lower case for a CSV, and the line that names them."""
    if jsonl:
        return next(((n, list(record)) for n, record in _read_json(file) if isinstance(record, dict)), (1, []))
    number, fields = next(read_records(file))
    return number, _header(fields)


def _read_named(file: TextFile) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Each line after the header as a record by column, or what is wrong with it."""
    _, header = _names(file, jsonl=False)
    for number, fields in islice(read_records(file), 1, None):
        problem = _wrong_width(fields, header)
        yield number, problem or dict(zip(header, fields or (), strict=True))


def _read_json(file: TextFile) -> Iterator[tuple[int, dict | str]]:
    """Each line as a record, or what is wrong with it."""
    for number, line in file.lines():
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except ValueError as error:
            yield number, f"no JSON ({error}); write one object a line"
        else:
            yield number, record if isinstance(record, dict) else "no JSON object; write one with file_name and text"


def _only_prefix(path: Path, recordings: Recordings) -> str:
    stems = (os.path.splitext(name)[0] for name in recordings.names())
    matches = (re.fullmatch(r"(.+)_\d{4,}", stem) for stem in stems)
    found = sorted({match[1] for match in matches if match})
    if len(found) == 1:
        return found[0]
    what = f"several prefixes ({', '.join(found[:4])})" if found else "no file named like PREFIX_0000.wav"
    raise UserError(f"{path}: {recordings.folder} holds {what}; set --audio-prefix, or another --audio-dir.")
