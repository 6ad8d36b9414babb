"""Public speech corpora from Debian's archive, and the choice of clips that became `data_samples/`.

Debian carries recordings of real speakers under free licences, so a corpus comes from the mirror that the
machine's own packages come from, verified by apt. The package is downloaded and unpacked, never installed.
"""

import gzip
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import soundfile

from tts_lab.corpus.festival import read_festival
from tts_lab.errors import UserError

ALLISON_CREDIT = (
    "Voice: Allison Smith (theivrvoice.com). Financed by Digium, Inc. (digium.com).\n"
    "From the Debian packages asterisk-core-sounds-en and asterisk-core-sounds-en-g722.\n"
    "Licence: Creative Commons Attribution-ShareAlike 3.0 (CC-BY-SA-3.0); full text in LICENSE.\n"
    "Changed: decoded from G.722 to 16 kHz WAV or FLAC, clips chosen by length and text.\n"
)
NSH_CREDIT = (
    "Voice and text: Nickolay V. Shmyrev, copyright 2005, all rights reserved; BSD-like licence in LICENSE.\n"
    "From the Debian package festvox-ru.\n"
    "Changed: stress marks (+) stripped from the text, manifest rewritten as id|text.\n"
)


@dataclass(frozen=True)
class Source:
    """A corpus that can be fetched."""

    about: str
    packages: tuple[str, ...]
    credit: str
    write: Callable[[Path, Path], list[tuple[str, str]]]
    """Unpacked packages and folder for the audio to rows of (id, text)."""


def fetch(name: str, destination: Path | str) -> Path:
    """Bring the corpus `name` to `destination/name`: wavs/, metadata.csv (`id|text`), LICENSE and CREDITS.

    A folder that is already complete is left as it is. Raises `UserError` for an unknown name, for a machine
    without apt, or if the download fails.
    """
    if name not in SOURCES:
        known = "; ".join(f"{key}: {source.about}" for key, source in SOURCES.items())
        raise UserError(f"There is no corpus named {name!r} to fetch. Known: {known}.")
    source, folder = SOURCES[name], Path(destination) / name
    if (folder / "metadata.csv").is_file():
        return folder
    (folder / "wavs").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder) as scratch:
        root = _unpack(source.packages, Path(scratch))
        rows = source.write(root, folder / "wavs")
        copyright_file = root / "usr/share/doc" / source.packages[-1] / "copyright"
        shutil.copyfile(copyright_file, folder / "LICENSE")
    (folder / "CREDITS").write_text(source.credit, encoding="utf-8")
    # The manifest is written last: its presence says that everything before it is there.
    partial = folder / "metadata.csv.part"
    partial.write_text("".join(f"{key}|{text}\n" for key, text in rows), encoding="utf-8")
    partial.replace(folder / "metadata.csv")
    return folder


def _unpack(packages: tuple[str, ...], scratch: Path) -> Path:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UserError(
                f"Fetching a corpus needs {tool}, which Debian and Ubuntu have and this machine lacks. "
                f"Fetch it on such a machine, or unpack the packages {' and '.join(packages)} by hand."
            )
    command = ["apt-get", "-q", "download", *packages]
    if _run(command, scratch).returncode:  # on a fresh machine the package lists have never been fetched
        update = _run(["apt-get", "-q", "update"], scratch)
        download = _run(command, scratch)
        if download.returncode:
            causes = (update.stderr + download.stderr).strip().splitlines() or ["no message"]
            raise UserError(
                f"apt-get could not download {' '.join(packages)}: {causes[-1]} "
                "It needs a Debian mirror (apt-get update, as root) and the network."
            )
    root = scratch / "root"
    for package in sorted(scratch.glob("*.deb")):
        unpacked = _run(["dpkg-deb", "-x", package.name, "root"], scratch)
        if unpacked.returncode:
            raise UserError(f"{package.name} could not be unpacked: {unpacked.stderr.strip()}")
    return root


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def read_prompts(lines: list[str]) -> Iterator[tuple[str, str]]:
    """(key, text) of Asterisk's core-sounds-en.txt, less comments and what is no speech: `[tone]`, `(…)`."""
    for line in lines:
        key, mark, text = line.strip().partition(":")
        text = " ".join(text.split())
        if mark and text and not key.startswith(";") and text[0] not in "[(<":
            yield key.strip(), text


def decode_g722(path: Path) -> np.ndarray:
    """int16 (samples,) at 16 kHz."""
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return np.concatenate(frames) if frames else np.zeros(0, np.int16)


def _write_allison(root: Path, wavs: Path) -> list[tuple[str, str]]:
    listing = root / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    sounds = root / "usr/share/asterisk/sounds/en_US_f_Allison"
    rows = []
    with gzip.open(listing, "rt", encoding="utf-8", errors="strict") as file:
        for key, text in read_prompts(file.readlines()):
            recording = sounds / f"{key}.g722"
            if not recording.is_file():
                continue
            audio = decode_g722(recording)
            # Shorter ones are single digits and letters; longer ones are whole menus.
            if 1.0 <= len(audio) / 16000 <= 15.0:
                name = key.replace("/", "_")
                soundfile.write(wavs / f"{name}.wav", audio, 16000, subtype="PCM_16")
                rows.append((name, text))
    return rows


def _write_nsh(root: Path, wavs: Path) -> list[tuple[str, str]]:
    home = root / "usr/share/festival/voices/russian/msu_ru_nsh_clunits"
    rows = list(read_festival((home / "etc/txt.done.data").read_text(encoding="utf-8")))
    for name, _ in rows:
        shutil.move(home / "wav" / f"{name}.wav", wavs / f"{name}.wav")
    return rows


SOURCES = {
    "allison": Source(
        "English, female, 16 minutes of telephone prompts, CC-BY-SA-3.0",
        ("asterisk-core-sounds-en", "asterisk-core-sounds-en-g722"),
        ALLISON_CREDIT,
        _write_allison,
    ),
    "nsh": Source(
        "Russian, male, 100 minutes of read sentences, BSD-like",
        ("festvox-ru",),
        NSH_CREDIT,
        _write_nsh,
    ),
}


MISREAD = frozenset({"dir-instr", "invalid", "pbx-invalidpark", "queue-periodic-announce", "unidentified-no-callback"})
"""Clips whose text is misspelt or not what is said, found by comparing it with a recogniser's."""


def choose(rows: list[tuple[str, str, float]], clips: int, seconds: float) -> list[tuple[str, str]]:
    """The clips of `data_samples/`, from (id, text, seconds): at most `clips` of them and `seconds` in all.

    Whole sentences of 2 to 8 s, in plain letters, digits and punctuation. Of those, always the one next whose
    text adds most pairs of neighbouring words (ties by id), so that no sentence comes twice and the choice is
    the same everywhere. Ordered by id.
    """

    def pairs(text: str) -> set[tuple[str, str]]:
        words = re.findall(r"[a-z0-9']+", text.lower())
        return set(pairwise(words))

    sentence = re.compile(r"[A-Z][A-Za-z0-9 ,.'!?;-]*[.!?]")
    pool = {
        name: (text, length)
        for name, text, length in rows
        if 2.0 <= length <= 8.0 and sentence.fullmatch(text) and name not in MISREAD
    }
    chosen, said, total = [], set(), 0.0
    while pool and len(chosen) < clips:
        name = min(pool, key=lambda key: (-len(pairs(pool[key][0]) - said), key))
        text, length = pool.pop(name)
        if total + length <= seconds and pairs(text) - said:
            chosen.append((name, text))
            said |= pairs(text)
            total += length
    return sorted(chosen)


def write_samples(corpus: Path | str, out: Path | str, clips: int = 80, seconds: float = 360.0) -> Path:
    """Make `data_samples/` from a fetched `allison`: FLAC files, metadata.csv, LICENSE and CREDITS."""
    corpus, out = Path(corpus), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    lines = (corpus / "metadata.csv").read_text(encoding="utf-8").splitlines()
    rows = [tuple(line.split("|", 1)) for line in lines]
    timed = [(name, text, soundfile.info(corpus / "wavs" / f"{name}.wav").duration) for name, text in rows]
    chosen = choose(timed, clips, seconds)
    for old in out.glob("*.flac"):
        old.unlink()
    for name, _ in chosen:
        audio, rate = soundfile.read(corpus / "wavs" / f"{name}.wav", dtype="int16")
        soundfile.write(out / f"{name}.flac", audio, rate, subtype="PCM_16", compression_level=1.0)
    (out / "metadata.csv").write_text("".join(f"{name}|{text}\n" for name, text in chosen), encoding="utf-8")
    for name in ("LICENSE", "CREDITS"):
        shutil.copyfile(corpus / name, out / name)
    return out
