"""Seconds of audio that are analysed in a second: measured, put in a table and ranked, by two processes, no ASR."""

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from tts_lab.analysis.measuring import JOURNAL, measure_all
from tts_lab.analysis.ranking import rank
from tts_lab.analysis.table import make_table
from tts_lab.corpus.corpus import Corpus

PROCESSES = 2


def analyze(corpus: Corpus, jobs: int) -> float:
    """Seconds of wall clock from nothing measured to the ranked table, the start of the processes included."""
    (corpus.folder / JOURNAL).unlink(missing_ok=True)
    began = time.perf_counter()
    ranked = rank(make_table(corpus, measure_all(corpus, jobs=jobs, console=Console(quiet=True))))
    seconds = time.perf_counter() - began
    if not ranked["recorded_seconds"].notna().all():
        raise AssertionError("not every recording was measured")
    return seconds


def measure(folder: Path, rounds: int = 3) -> list[dict[str, Any]]:
    """The speed-up over real time of each round; the value is the median. One process stands beside it."""
    corpus = Corpus.load(folder)
    audio = sum(u.samples for u in corpus.utterances) / corpus.sample_rate
    samples = [audio / analyze(corpus, PROCESSES) for _ in range(rounds)]
    alone = audio / analyze(corpus, 1)
    print(f"analyze, times real time: {alone:.0f} in one process, {median(samples):.0f} in {PROCESSES}")
    result = {"name": "analyze_vs_realtime", "value": median(samples), "unit": "x", "bar": 40, "goal": 80}
    return [{**result, "samples": samples, "one_process": alone}]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="a prepared corpus folder")
    print(measure(parser.parse_args().corpus))
