"""Festival's prompt files, `txt.done.data`: lines `( id "text" )`."""

import re
from collections.abc import Iterator
from pathlib import Path

from tts_lab.corpus.recordings import Recordings
from tts_lab.corpus.rows import Entry, Layout
from tts_lab.corpus.textfile import TextFile

_LINE = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)\s*')


def parse_prompt(line: str) -> tuple[str, str] | None:
    """(id, text as written) of one line; None if it is of another form."""
    match = _LINE.fullmatch(line.strip())
    return (match[1], match[2].replace('\\"', '"')) if match else None


def without_stress(text: str) -> str:
    """Less the `+` that stands before a stressed vowel (festvox-ru). Commas, which mark pauses, stay."""
    return " ".join(text.replace("+", "").split())


def read_festival(text: str) -> Iterator[tuple[str, str]]:
    """(id, text) of a whole prompt file, the stress marks stripped; lines of another form are passed over."""
    for line in text.split("\n"):
        if prompt := parse_prompt(line):
            yield prompt[0], without_stress(prompt[1])


def read_prompts(file: TextFile, audio_dir: Path) -> Layout:
    """The prompt file as a layout; the voice's recordings are in `wav` beside its folder `etc`."""
    why = f'{file.path.name} holds lines of ( id "text" ), as Festival\'s voices do'
    layout = Layout("festival", why, Recordings(audio_dir), (), file.notes, file=file)
    layout.write = lambda entry: '( {} "{}" )'.format(entry.fields[0], entry.fields[1].replace('"', '\\"'))

    def entries() -> Iterator[Entry]:
        stressed = 0
        for number, line in file.lines():
            if not line.strip():
                continue
            if prompt := parse_prompt(line):
                stressed += "+" in prompt[1]
                yield Entry(file.path, number, prompt[0], without_stress(prompt[1]), fields=prompt)
            else:
                problem = f'{line[:40]!r} is not of the form ( id "text" ); write it so'
                yield Entry(file.path, number, "", problem=problem, kind="wrong form")
        if stressed:
            layout.notes.append(f"The stress marks (+) of {stressed} texts were stripped.")

    layout.entries = entries()
    return layout
