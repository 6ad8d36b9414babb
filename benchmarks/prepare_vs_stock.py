"""Our `prepare` against stock Piper's `VitsDataModule.prepare_data`, each as a whole process on two cores.

Both decode, resample, trim by the same voice activity detector, phonemize and cache the same recordings, from
nothing. Ours also checks and levels each clip, and uses both cores; stock also writes linear spectrograms,
which ours leaves to training, so the ratio without that share of stock's time is printed beside it. Ours in one
process is timed too: what the second one brings.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy import signal

CORES = 2
SAMPLE_RATE = 22050


def run_ours(corpus: Path, voice: str, out: Path, jobs: int = CORES) -> dict[str, float]:
    from tts_lab.corpus.prepare import prepare
    from tts_lab.corpus.settings import PrepareSettings
    from tts_lab.frontend import Frontend

    prepare(corpus, out, PrepareSettings(sample_rate=SAMPLE_RATE), Frontend(voice), jobs=jobs)
    return {}


def run_stock(corpus: Path, voice: str, out: Path) -> dict[str, float]:
    """Stock's preparation, and how much of it went into spectrograms."""
    import torch
    from piper.train.vits import dataset

    spent = 0.0

    def timed(function, counts):
        def call(*args, **kwargs):
            nonlocal spent
            began = time.perf_counter()
            result = function(*args, **kwargs)
            spent += (time.perf_counter() - began) * counts(args)
            return result

        return call

    dataset.spectrogram_torch = timed(dataset.spectrogram_torch, lambda args: True)
    torch.save = timed(torch.save, lambda args: str(args[1]).endswith(".spec.pt"))
    stock_module(corpus, voice, out).prepare_data()
    return {"spectrograms": spent}


def stock_module(corpus: Path, voice: str, out: Path):
    from piper.train.vits.dataset import VitsDataModule

    return VitsDataModule(
        csv_path=corpus / "metadata.csv",
        audio_dir=corpus / "wavs",
        cache_dir=out,
        config_path=out / "config.json",
        espeak_voice=voice,
        voice_name="benchmark",
        sample_rate=SAMPLE_RATE,
    )


def run_process(which: str, corpus: Path, voice: str, out: Path) -> dict[str, float]:
    """One whole process from a cold start, on `CORES` cores; its seconds of wall clock."""
    command = [sys.executable, "-m", __spec__.name if __spec__ else "benchmarks.prepare_vs_stock"]
    command += ["--one", which, "--corpus", str(corpus), "--voice", voice, "--out", str(out)]
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, **json.loads(done.stdout.strip().splitlines()[-1])}


def agreement(corpus: Path, voice: str, ours: Path, stock: Path) -> dict[str, float]:
    """How far the two caches hold the same: raises AssertionError where they must and do not.

    Phoneme ids must be equal. Audio must be the same samples up to one gain, over the part that both kept;
    ends may differ by a chunk or two of the detector: ours hears the end of a clip without its middle, and
    stock's hears each clip with the last samples of the one before.
    """
    import torch
    from piper.train.vits.utils import get_cache_id

    from tts_lab.corpus.corpus import Corpus
    from tts_lab.corpus.manifest import read_manifest

    found = Corpus.load(ours)
    line_of = {row.id: int(row.where.split()[-1]) for row in read_manifest(corpus).rows}
    likeness, edges = [], []
    for utterance in found.utterances:
        name = get_cache_id(line_of[utterance.id], utterance.text, speaker_id=None)
        ids = torch.load(stock / f"{name}.phonemes.pt").tolist()
        assert ids == utterance.phoneme_ids, f"{utterance.id}: other phoneme ids than stock's"
        theirs, mine = torch.load(stock / f"{name}.audio.pt").numpy(), found.waveform(utterance)
        shift, best = _align(mine, theirs)
        likeness.append(best)
        edges.append((abs(shift), abs(len(theirs) - (len(mine) + shift))))
    assert min(likeness) > 0.9999, f"audio differs from stock's: correlation {min(likeness):.5f}"
    first, last = (np.array(edges) / SAMPLE_RATE).T
    return {
        "utterances": len(likeness),
        "quarantined": len(found.quarantined),
        "worst_correlation": min(likeness),
        "first_over_32_ms": int((first > 0.0325).sum()),
        "last_over_64_ms": int((last > 0.0645).sum()),
        "last_worst_s": float(last.max()),
    }


def _align(mine: np.ndarray, theirs: np.ndarray) -> tuple[int, float]:
    """Where `mine` begins within `theirs` (negative: before it), and the correlation from there on."""
    middle = max(0, int(np.argmax(np.abs(mine))) - 2048)  # a loud place: in a pause there is nothing to match
    probe = mine[middle : middle + 4096]
    begin = max(0, middle - SAMPLE_RATE)
    around = theirs[begin : middle + SAMPLE_RATE + len(probe)]
    matches = signal.correlate(around, probe, mode="valid", method="fft")
    energy = signal.correlate(around**2, np.ones_like(probe), mode="valid", method="fft")
    shift = begin + int(np.argmax(matches / np.sqrt(energy.clip(1e-6)))) - middle
    mine, theirs = mine[max(0, -shift) :], theirs[max(0, shift) :]
    n = min(len(mine), len(theirs))
    return shift, float(np.corrcoef(mine[:n], theirs[:n])[0, 1])


def measure(corpus: Path | None = None, rounds: int = 3, voice: str = "ru") -> list[dict[str, Any]]:
    """Alternate the two, `rounds` times: the value is stock's seconds over ours, the median of the rounds."""
    if corpus is None:
        from tts_lab.corpus.fetch import fetch

        corpus = fetch("nsh", "build/corpora")
    samples, lean, alone = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=corpus.parent, prefix="prepare-") as scratch:
            ours, stock = Path(scratch) / "ours", Path(scratch) / "stock"
            taken = {"ours": run_process("ours", corpus, voice, ours)}
            taken["stock"] = run_process("stock", corpus, voice, stock)
            if not samples:
                print(f"agreement: {agreement(corpus, voice, ours, stock)}")
            shutil.rmtree(stock)
            one_process = run_process("alone", corpus, voice, Path(scratch) / "alone")["seconds"]
        theirs, mine = taken["stock"]["seconds"], taken["ours"]["seconds"]
        samples.append(theirs / mine)
        lean.append((theirs - taken["stock"]["spectrograms"]) / mine)
        alone.append(one_process / mine)
        print(
            f"stock {theirs:.1f} s ({taken['stock']['spectrograms']:.1f} s of it spectrograms), "
            f"ours {mine:.1f} s: {samples[-1]:.2f}, without the spectrograms {lean[-1]:.2f}; "
            f"in one process {one_process:.1f} s",
            flush=True,
        )
    result = {"name": "prepare_vs_stock", "value": median(samples), "unit": "x", "bar": 2, "goal": 3}
    curve = {"name": "prepare_2_processes_vs_1", "value": median(alone), "unit": "x", "bar": None, "goal": 2}
    return [{**result, "samples": samples}, {**curve, "samples": alone}]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, help="a fetched corpus; by default nsh, in build/corpora")
    parser.add_argument("--voice", default="ru", help="its espeak voice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=["ours", "alone", "stock"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        run = {"ours": run_ours, "alone": partial(run_ours, jobs=1), "stock": run_stock}[options.one]
        print(json.dumps(run(options.corpus, options.voice, options.out)))
    else:
        print(measure(options.corpus, options.rounds, options.voice))
