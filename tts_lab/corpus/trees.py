"""Layouts that are folders: pairs of a recording and a text, VCTK, M-AILABS, and the splits of an audio folder."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from tts_lab.corpus.pipes import read_pipes
from tts_lab.corpus.recordings import AUDIO_SUFFIXES, Recordings
from tts_lab.corpus.rows import Entry, Layout
from tts_lab.corpus.textfile import TextFile
from tts_lab.errors import UserError

BY_BOOK = "by_book"
_SPLITS = ("train", "validation", "valid", "dev", "test")
_MICROPHONE = re.compile(r"_mic\d$")


def read_folder(folder: Path, strict: bool = True) -> Layout:
    """name.wav (or .flac) with its words in name.txt beside it."""
    recordings = Recordings(folder)
    audio = {os.path.splitext(name)[0]: name for name in recordings.names()}
    with os.scandir(folder) as files:
        texts = {file.name[:-4]: file.name for file in files if file.name.lower().endswith(".txt") and file.is_file()}
    why = f"{folder} holds no CSV file, and {len(audio.keys() & texts.keys())} recordings with a .txt of the same name"
    layout = Layout("folder", why, recordings, (), complete=True)

    def entries() -> Iterator[Entry]:
        for name in sorted(audio.keys() | texts.keys()):
            if name not in texts:
                problem = f"there is no {name}.txt with its words beside it"
                yield Entry(folder / audio[name], 0, name, problem=problem, kind="missing text")
            else:
                yield _of_file(folder / texts[name], audio.get(name, name), layout, strict)

    layout.entries = entries()
    return layout


def _of_file(path: Path, name: str, layout: Layout, strict: bool, **more: str) -> Entry:
    """The entry of a file that holds one text."""
    entry = Entry(path, 0, name, **more)
    try:
        file = TextFile.open(path, strict)
        layout.notes += file.notes
        return entry._replace(text=" ".join(line for _, line in file.lines()))
    except (UserError, OSError) as error:
        return entry._replace(problem=str(error), kind="text file")


def find_vctk(folder: Path) -> Path | None:
    """The audio folder of a VCTK corpus, `wav48` or `wav48_silence_trimmed`, if `folder` is one."""
    if not (folder / "txt").is_dir():
        return None
    return next((path for path in sorted(folder.glob("wav*")) if path.is_dir()), None)


def read_vctk(folder: Path, audio_dir: Path, strict: bool = True) -> Layout:
    """`txt/p225/p225_001.txt` with `wav48/p225/p225_001.wav`, or `…_mic1.flac` of release 0.92.

    The speaker is the folder. Of two microphones the first is read, for the second is missing for some speakers.
    """
    recordings = Recordings(audio_dir)
    speakers = sorted(path.name for path in (folder / "txt").iterdir() if path.is_dir())
    spoken = {path.name for path in audio_dir.iterdir() if path.is_dir()}
    why = f"{folder} holds VCTK's txt and {audio_dir.name}, with a folder for each of {len(speakers)} speakers"
    layout = Layout("VCTK", why, recordings, (), complete=True)

    def entries() -> Iterator[Entry]:
        several = False
        for speaker in sorted({*speakers, *spoken}):
            audio: dict[str, list[str]] = {}
            for name in recordings.names(speaker):
                audio.setdefault(_MICROPHONE.sub("", os.path.splitext(name)[0]), []).append(name)
            several = several or any(len(names) > 1 for names in audio.values())
            texts = {path.stem: path for path in (folder / "txt" / speaker).glob("*.txt")}
            for name in sorted(audio.keys() | texts.keys()):
                file = f"{speaker}/{audio[name][0] if name in audio else name}"
                if name in texts:
                    yield _of_file(texts[name], file, layout, strict, id=name, speaker=speaker)
                else:
                    problem = f"there is no txt/{speaker}/{name}.txt with its words"
                    yield Entry(audio_dir / file, 0, file, problem=problem, kind="missing text", id=name)
        if several:
            layout.notes.append("Where a clip was recorded by two microphones, the first (mic1) is read.")

    layout.entries = entries()
    return layout


def find_books(source: Path) -> list[Path]:
    """The manifests of M-AILABS at or below `source`: every `metadata.csv` beside `wavs`, under `by_book`."""
    if source.is_file():
        found = [source]
    elif BY_BOOK in source.resolve().parts:
        found = [path for depth in range(4) for path in source.glob("*/" * depth + "metadata.csv")]
    else:
        found = [
            path
            for depth in range(3)
            for books in source.glob("*/" * depth + BY_BOOK)
            for pattern in ("mix/*/metadata.csv", "*/*/*/metadata.csv")
            for path in books.glob(pattern)
        ]
    return sorted(path for path in found if _book_of(path) and (path.parent / "wavs").is_dir())


def _book_of(manifest: Path) -> tuple[str, str] | None:
    """(speaker, book), as the path `by_book/GENDER/SPEAKER/BOOK/metadata.csv` says; None if it does not.

    Books of several readers are `by_book/mix/BOOK`; who reads is not said, and the speaker is "mix".
    """
    parts = manifest.resolve().parent.parts
    below = parts[parts.index(BY_BOOK) + 1 :] if BY_BOOK in parts else ()
    if len(below) == 2 and below[0] == "mix":
        return below
    return below[1:] if len(below) == 3 else None


def read_books(root: Path, manifests: Sequence[Path], strict: bool = True) -> Layout:
    """M-AILABS: every book a manifest of `id|raw|normalised` with its `wavs`; the speaker is in the path."""
    books = [(path, *(_book_of(path) or ("", ""))) for path in manifests]
    speakers = sorted({speaker for _, speaker, _ in books})
    why = f"{len(books)} metadata.csv lie under M-AILABS's {BY_BOOK}, with {len(speakers)} speaker(s) in the path"
    layouts = []
    for path, speaker, _ in books:
        layout = read_pipes(TextFile.open(path, strict), path.parent / "wavs")
        layouts.append(_moved(layout, root, path.parent / "wavs", speaker))
    return _together("M-AILABS", why, root, layouts)


def _moved(layout: Layout, root: Path, audio_dir: Path, speaker: str | None = None) -> Layout:
    """The same with its recordings named from `root`. With a speaker, who then says all, ids stay as they are."""
    below = os.path.relpath(audio_dir, root)

    def entries(old: Iterable[Entry]) -> Iterator[Entry]:
        for entry in old:
            label = os.path.relpath(entry.path, root)
            name = entry.name if below == "." or not entry.name or entry.name[0] == "/" else f"{below}/{entry.name}"
            if speaker is None:
                yield entry._replace(name=name, label=label)
            else:
                stem, suffix = os.path.splitext(entry.name)
                key = stem if suffix.lower() in AUDIO_SUFFIXES else entry.name
                yield entry._replace(name=name, label=label, id=key, speaker=speaker)

    layout.entries = entries(layout.entries)
    return layout


def find_splits(folder: Path) -> list[Path]:
    """The manifests of an audio folder that is split: `train/metadata.csv` or `.jsonl`, `test/…` and so on."""
    names = [folder / split / f"metadata.{suffix}" for split in _SPLITS for suffix in ("csv", "jsonl")]
    return [path for path in names if path.is_file()]


def read_splits(root: Path, manifests: Sequence[Path], read: Callable[[Path], Layout]) -> Layout:
    """Every split read by `read`; ids begin with the split's name, for in each they may start at 0."""
    layouts = [_moved(read(path), root, path.parent) for path in manifests]
    names = ", ".join(path.parent.name for path in manifests)
    why = f"{layouts[0].why}, and {root} holds the splits {names}"
    together = _together(layouts[0].name, why, root, layouts)
    together.notes.append(f"The splits {names} are read as one; validation clips are drawn from all of them.")
    return together


def _together(name: str, why: str, root: Path, layouts: Sequence[Layout]) -> Layout:
    entries = chain.from_iterable(layout.entries for layout in layouts)
    return Layout(name, why, Recordings(root), entries, [note for layout in layouts for note in layout.notes])
