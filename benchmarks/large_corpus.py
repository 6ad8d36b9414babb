"""`tts-lab prepare` and `tts-lab analyze` on a corpus of 200,000 clips: memory at its peak, against that of a tenth.

    python -m benchmarks.large_corpus [ROWS]

The clips are links to 80 short ones, cut out of `data_samples/`, so that each is made and measured once and the rest
is what a corpus of that length costs: its rows, hashes, phonemes, measures (the journal is filled as if each clip were
another), table and figures. Words follow Zipf's law; letters are the phonemes, since espeak would take the time of it.
Each verb runs in a process of its own, workers included (one job).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.large_table import sentences
from benchmarks.memory import peak_mb

SAMPLES = Path("data_samples")
SECONDS = 0.8


def make(folder: Path, rows: int) -> None:
    """Write a corpus of so many clips."""
    lines = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
    (folder / "wavs").mkdir(parents=True)
    (folder / "recordings").mkdir()
    for number, line in enumerate(lines):
        path = SAMPLES / f"{line.split('|')[0]}.flac"
        audio, rate = soundfile.read(path, start=4000, frames=int(SECONDS * soundfile.info(path).samplerate))
        soundfile.write(folder / "recordings" / f"{number}.wav", audio, rate)
    letters = str.maketrans("0123456789", "abdegiknou")
    with (folder / "metadata.csv").open("w", encoding="utf-8") as file:
        for row, text in enumerate(sentences(rows, np.random.default_rng(0))):
            os.link(folder / "recordings" / f"{row % len(lines)}.wav", folder / "wavs" / f"c{row:06d}.wav")
            file.write(f"c{row:06d}|{text.translate(letters)}.\n")


def fill_journal(folder: Path, rows: int) -> None:
    """Measures of so many recordings that the corpus does not hold, for each of its own to weigh what one does."""
    from tts_lab.analysis.measuring import JOURNAL, _line, measure_file

    measured = _line("", measure_file(folder / "source" / "recordings" / "0.wav"))
    (folder / "corpus" / JOURNAL).parent.mkdir(parents=True)
    with (folder / "corpus" / JOURNAL).open("w") as file:
        for row in range(rows):
            file.write(json.dumps(measured | {"key": f"{row:024x}"}) + "\n")


def run(verb: str, folder: Path) -> dict[str, float]:
    """`prepare` or `analyze` in a process of its own: its clips, seconds, and megabytes at its peak."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.large_corpus", verb, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return {"seconds": time.perf_counter() - began, **json.loads(done.stdout.splitlines()[-1])}


def growth(few: int, many: int) -> dict[str, dict[str, Any]]:
    """Verb to the megabytes at its peak with `few` and with `many` clips, and the kilobytes of each one more."""
    found: dict[str, dict[str, Any]] = {"prepare": {"mb": []}, "analyze": {"mb": []}}
    for rows in (few, many):
        with tempfile.TemporaryDirectory(prefix="large-") as scratch:
            make(Path(scratch) / "source", rows)
            for verb, figures in found.items():
                if verb == "analyze":
                    fill_journal(Path(scratch), rows)
                taken = run(verb, Path(scratch))
                if taken["clips"] != rows:
                    raise AssertionError(f"{verb} kept {taken['clips']} of {rows} clips")
                figures["mb"].append(taken["mb"])
                figures["seconds"] = taken["seconds"]
                print(f"{verb} of {rows} clips: {taken['mb']:.0f} MB, {taken['seconds']:.0f} s", flush=True)
    for figures in found.values():
        figures["kb_a_clip"] = (figures["mb"][1] - figures["mb"][0]) * 1024 / (many - few)
    return found


def measure(rows: int = 200_000) -> list[dict[str, Any]]:
    found = growth(rows // 10, rows)
    bars = {"prepare": 0.5, "analyze": 1.5}
    return [
        {"name": f"{verb}_kb_a_clip", "value": figures["kb_a_clip"], "unit": "KB", "bar": bars[verb],
         "goal": bars[verb], "samples": figures["mb"]}
        for verb, figures in found.items()
    ]  # fmt: skip


def prepare(folder: Path) -> int:
    from tts_lab.corpus.prepare import prepare as make_corpus
    from tts_lab.corpus.settings import PrepareSettings
    from tts_lab.frontend import Frontend

    # Cut in the middle of words, they are shorter and louder at their ends than clips are.
    settings = PrepareSettings(sample_rate=16000, trim=False, loudness=None, clipped_share=1.0, silence_dbfs=-90.0)
    made = make_corpus(folder / "source", folder / "corpus", settings, Frontend(phoneme_type="text"), jobs=1)
    return sum(clips for clips, _ in made.amounts().values())


def analyze(folder: Path) -> int:
    from tts_lab.analysis.analysis import analyze as examine
    from tts_lab.corpus.corpus import Corpus

    analysis = examine(Corpus.load(folder / "corpus"), jobs=1)
    analysis.save(folder / "corpus" / "analysis")
    return len(analysis.table)


if __name__ == "__main__":
    if sys.argv[1:2] in (["prepare"], ["analyze"]):
        clips = {"prepare": prepare, "analyze": analyze}[sys.argv[1]](Path(sys.argv[2]))
        print(json.dumps({"clips": clips, "mb": peak_mb()}))
    else:
        print(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
