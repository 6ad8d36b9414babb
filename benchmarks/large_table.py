"""The statistics, verdicts and ranking of a table of 200,000 utterances without audio: processor time and memory.

python -m benchmarks.large_table [ROWS]
"""

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.memory import peak_mb
from tts_lab.analysis.amount import amount_verdicts
from tts_lab.analysis.lengths import length_verdicts
from tts_lab.analysis.ranking import rank
from tts_lab.analysis.sound import sound_verdicts
from tts_lab.analysis.statistics import by_length, summary
from tts_lab.analysis.texts import read_texts, text_verdicts


def sentences(rows: int, rng: np.random.Generator) -> list[str]:
    """Texts of 4 to 19 words by Zipf's law; one in fifty is nearly that before it."""
    lengths = rng.integers(4, 20, rows)
    words = [f"w{number}" for number in rng.zipf(1.3, lengths.sum()) % 50_000]
    ends = np.cumsum(lengths)
    texts = [" ".join(words[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
    for number in range(1, rows, 50):
        texts[number] = texts[number - 1] + " again"
    return texts


def large_table(rows: int) -> pd.DataFrame:
    """A table of so many utterances without audio."""
    rng = np.random.default_rng(0)
    texts = sentences(rows, rng)
    phonemes = np.array([text.count(" ") + 1 for text in texts]) * 6.0
    normal = {
        "lead_silence": (0.2, 0.05), "trail_silence": (0.2, 0.05), "longest_pause": (0.3, 0.1),
        "speech_share": (0.8, 0.03), "loudness": (-20, 1), "peak": (-3, 0.5), "snr": (55, 4),
        "bandwidth": (10000, 200), "reverberation": (0.15, 0.02), "pitch": (190, 10), "pitch_deviation": (3, 0.4),
        "voiced_share": (0.7, 0.05),
    }  # fmt: skip
    seconds = phonemes / rng.normal(14, 1, rows)
    timbre = rng.normal(size=(rows, 12)).round(3)
    return pd.DataFrame(
        {"text": texts, "speaker": "", "split": "train", "reason": "", "where": "", "recording": "x.wav",
         "seconds": seconds, "characters": [len(text) for text in texts], "phonemes": phonemes,
         "recorded_seconds": seconds + 0.2, "sample_rate": 44100, "clipped_share": 0.0}
        | {name: rng.normal(middle, spread, rows) for name, (middle, spread) in normal.items()}
        | {"timbre": [tuple(row) for row in timbre.tolist()], "heard": None, "word_errors": np.nan},
        index=pd.Index([f"clip{number:06}" for number in range(rows)], name="id"),
    )  # fmt: skip


def judge(rows: int) -> dict[str, float]:
    """Everything that `analyze` does with a table, and what it took."""
    table = large_table(rows)
    before, start = peak_mb(), time.process_time()
    amount_verdicts(table)
    sound_verdicts(table, 22050, {})
    for x in ("characters", "phonemes"):
        length_verdicts(by_length(table, x), x)
    summary(table)
    texts = read_texts(table)
    text_verdicts(texts, len(table))
    ranked = rank(table)
    seconds = time.process_time() - start
    return {
        "rows": len(ranked), "near": len(texts.near), "seconds": seconds, "before_mb": before, "after_mb": peak_mb()
    }  # fmt: skip


def run(rows: int) -> dict[str, Any]:
    """`judge` in a process of its own, whose peak of memory is nobody else's."""
    command = [sys.executable, "-m", "benchmarks.large_table", str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(judge(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)))
