"""Lines of fields with `|` between: `id|text`, `id|speaker|text`, LJSpeech's and mimic2's `id|raw|normalised`,
Mimic Recording Studio's `wav|text|length`, and each with Piper's column of phoneme ids at the end."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from tts_lab.corpus.recordings import Recordings
from tts_lab.corpus.rows import Entry, Layout
from tts_lab.corpus.textfile import TextFile
from tts_lab.errors import UserError

ID_NAMES = {"id", "wav", "file", "filename", "file_name", "audio", "audio_file", "utterance", "name", "path"}
TEXT_NAMES = ("normalized_text", "text", "transcript", "transcription", "sentence")
SPEAKER_NAMES = ("speaker", "speaker_name", "speaker_id")
IDS_NAME = "phoneme_ids"
_SAMPLE = 2000


@dataclass(frozen=True)
class Survey:
    """What a first reading of a file counts, for its form to be told."""

    first: tuple[int, str]
    """The first line that is not blank, and its number."""
    lines: int
    widths: dict[int, int]
    """Number of fields to number of lines."""
    sample: list[list[str]]
    """Fields of the first 2000 lines."""

    @property
    def piped(self) -> int:
        """Lines with more than one field."""
        return sum(count for width, count in self.widths.items() if width > 1)

    @classmethod
    def of(cls, file: TextFile, delimiter: str = "|") -> "Survey":
        lines = ((number, line) for number, line in file.lines() if line.strip())
        first = next(lines)
        sample, widths = [first[1].split(delimiter)], Counter([first[1].count(delimiter) + 1])
        for _, line in lines:
            widths[line.count(delimiter) + 1] += 1
            if len(sample) < _SAMPLE:
                sample.append(line.split(delimiter))
        return cls(first, sum(widths.values()), widths, sample)


@dataclass(frozen=True)
class Columns:
    """Which field of a line is what."""

    layout: str
    why: str
    width: int
    text: int
    speaker: int | None = None
    ids: int | None = None


def read_pipes(file: TextFile, audio_dir: Path, survey: Survey | None = None, delimiter: str = "|") -> Layout:
    """The file as a layout. Raises `UserError` for mimic2's train.txt, which names no audio."""
    survey = survey or Survey.of(file, delimiter)
    name, sample = file.path.name, [[_unquote(field) for field in fields] for fields in survey.sample]
    _refuse_spectrograms(file.path, sample)
    top = [field.strip().lower() for field in sample[0]]
    named = top[0] in ID_NAMES and bool(set(top).intersection(TEXT_NAMES))
    widths = Counter(survey.widths)
    if named:
        widths[len(top)] -= 1
        sample = sample[1:]
    del widths[1]
    width = max((width for width in widths if widths[width] > 0), key=widths.__getitem__, default=2)
    if delimiter == ",":
        width = 2  # every other comma is the text's own
        sample = [[fields[0], ",".join(fields[1:])] for fields in sample]
    alike = [fields for fields in sample if len(fields) == width]
    columns = _by_name(name, top) if named and len(top) == width else None
    columns = columns or _by_content(name, alike, width)
    layout = Layout(columns.layout, columns.why, Recordings(audio_dir), (), file.notes)
    if named:
        layout.notes.append(f"{name} line {survey.first[0]} is a header ({'|'.join(top)}) and was skipped.")
        layout.header = survey.first[0]
    if columns.ids is not None:
        layout.notes.append(f"Column {columns.ids + 1} of {name} holds phoneme ids, which are used as they are.")
    elif width > 3:
        layout.notes.append(f"Lines have {width} fields; those after the third were not read.")
    header = survey.first[0] if named else 0
    layout.entries = _entries(file, columns, header, delimiter)

    def write(entry: Entry) -> str:
        if not named:  # columns that are not read stay
            return "|".join(entry.fields)
        parts = [entry.name, entry.speaker, entry.text, entry.phoneme_ids]
        return "|".join(part for part in parts if part is not None)

    layout.write, layout.file, layout.delimited = write, file, True
    return layout


def _entries(file: TextFile, columns: Columns, header: int, delimiter: str) -> Iterator[Entry]:
    width = columns.width
    for number, line in file.lines():
        if number == header or not line.strip():
            continue
        fields = [_unquote(field) for field in line.split(delimiter, 1 if delimiter == "," else -1)]
        name = fields[0].strip()
        if len(fields) != width:
            cause = f"no `{delimiter}`" if len(fields) == 1 else f"{len(fields)} fields"
            problem = f"{cause}, where most lines have {width}; write it as {columns.layout}"
            yield Entry(file.path, number, name, problem=problem, kind="number of fields", fields=fields)
        else:
            speaker = None if columns.speaker is None else fields[columns.speaker].strip()
            ids = None if columns.ids is None else fields[columns.ids].strip()
            yield Entry(file.path, number, name, fields[columns.text], speaker, ids, fields=fields)


def _refuse_spectrograms(path: Path, sample: Sequence[Sequence[str]]) -> None:
    if all(len(fields) > 3 and fields[0].endswith(".npy") for fields in sample[:20]):
        raise UserError(
            f"{path} is what mimic2's preprocess.py wrote: its lines name spectrograms ({sample[0][0].strip()}) and no "
            "recording. Name the metadata.csv and the wavs that it was made from."
        )


def _by_name(file: str, top: list[str]) -> Columns | None:
    """The columns as the header names them, if it names the text and, where there is a third, what that is."""
    text = next(top.index(name) for name in TEXT_NAMES if name in top)
    speaker = next((top.index(name) for name in SPEAKER_NAMES if name in top), None)
    ids = top.index(IDS_NAME) if IDS_NAME in top else None
    if speaker is None and ids is None:
        return None
    layout = "id|text" if speaker is None else "id|speaker|text"
    return Columns(layout, f"line 1 of {file} names the columns {'|'.join(top)}", len(top), text, speaker, ids)


def _by_content(name: str, table: list[list[str]], width: int) -> Columns:
    """Layout, reason, and which columns are the text and the speaker."""
    last = [fields[-1].strip() for fields in table]
    if width > 2 and _most(re.fullmatch(r"\d+(\s+\d+)+", field) is not None for field in last):
        columns = _by_content(name, [fields[:-1] for fields in table], width - 1)
        why = f"{columns.why}, and the last column is numbers: phoneme ids"
        return Columns(columns.layout, why, width, columns.text, columns.speaker, width - 1)
    if width == 2:
        return Columns("id|text", f"most lines of {name} have one `|`", width, 1)
    middle = [fields[1].strip() for fields in table]
    words = mean(len(text.split()) for text in middle) if middle else 0
    distinct = len(set(middle)) > 0.9 * len(middle)
    if width == 3 and distinct and words > 1.5 and _most(re.fullmatch(r"\d+(\.\d+)?", f) is not None for f in last):
        why = f"most lines of {name} are wav|text|length, as Mimic Recording Studio writes them"
        return Columns("id|text", why, width, 1)
    # A speaker's name is short and comes again; raw text is long and always different.
    if distinct and words > 3:
        why = f"most lines of {name} are LJSpeech's and mimic2's id|raw text|normalised text, and the last is read"
        return Columns("id|text", why, width, 2)
    why = f"most lines of {name} have {width - 1} `|`; the second column names {len(set(middle))} speaker(s)"
    return Columns("id|speaker|text", why, width, 2, 1)


def _most(told: Iterator[bool]) -> bool:
    told = list(told)
    return sum(told) > len(told) / 2


def _unquote(text: str) -> str:
    """Undo the quotes that a CSV writer puts around text which itself holds quotes."""
    inner = text.strip()
    if len(inner) > 2 and inner[0] == inner[-1] == '"' and '"' not in inner[1:-1].replace('""', ""):
        return inner[1:-1].replace('""', '"')
    return text
