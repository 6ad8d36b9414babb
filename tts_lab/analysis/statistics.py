"""Seconds against length of text, as mimic2's analysis draws them, and how everything else is spread.

The five columns of `by_length` are the five plots of https://github.com/MycroftAI/mimic2 (README, "Visualizing your
data", and analyze.py); SOOTHER's maker looked at them only after 250,000 steps.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tts_lab.analysis.table import kept
from tts_lab.corpus.corpus import Corpus

MODE_SECONDS = 0.1
"""Seconds are rounded to this before the most frequent is looked for. mimic2 rounds to 0.01, where the few clips of a
length hardly ever agree, so that its mode is whichever comes first."""

SPREAD = {
    "least": 0.0, "5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95, "most": 1.0
}  # fmt: skip
SUMMARISED = (
    "seconds", "characters", "phonemes", "phonemes_a_second", "characters_a_second", "recorded_seconds", "sample_rate",
    "lead_silence", "trail_silence", "longest_pause", "speech_share", "loudness", "peak", "clipped_share", "snr",
    "bandwidth", "reverberation", "pitch", "pitch_deviation", "voiced_share", "word_errors",
)  # fmt: skip


@dataclass(frozen=True)
class Statistics:
    """Of the kept utterances."""

    characters: pd.DataFrame
    """`by_length` over characters."""
    phonemes: pd.DataFrame
    """`by_length` over phonemes."""
    summary: pd.DataFrame
    """A row a measure: clips that have it, mean, deviation and points of its spread."""
    symbols: pd.DataFrame
    """A row a phoneme, the most frequent first: `times`, `clips` that hold it, `share` of all phonemes."""


def collect(corpus: Corpus, table: pd.DataFrame) -> Statistics:
    """All statistics of `table` (`make_table`) and of the phonemes of `corpus`."""
    return Statistics(by_length(table, "characters"), by_length(table, "phonemes"), summary(table), symbols(corpus))


def by_length(table: pd.DataFrame, x: str = "characters") -> pd.DataFrame:
    """Seconds of the clips of each length: a row a length, columns `mean, median, mode, deviation, count`.

    `x` is "characters" or "phonemes". Seconds are those of the prepared clips, quarantined ones left out. `deviation`
    is the sample's (n − 1), NaN where there is one clip. `mode` is the most frequent tenth of a second; of several
    that are as frequent, the one nearest the median.
    """
    clips = kept(table[["split", x, "seconds"]]).drop(columns="split").dropna()
    clips = clips.astype({x: int})
    groups = clips.groupby(x)["seconds"]
    found = groups.agg(mean="mean", median="median", deviation="std", count="count")
    rounded = (clips["seconds"] / MODE_SECONDS).round().astype(int)
    votes = clips.groupby([clips[x], rounded.rename("tenth")]).size().rename("votes").reset_index()
    votes["away"] = (votes["tenth"] * MODE_SECONDS - votes[x].map(found["median"])).abs().round(6)
    best = votes.sort_values(["votes", "away", "tenth"], ascending=[False, True, True]).drop_duplicates(x)
    found["mode"] = best.set_index(x)["tenth"] * MODE_SECONDS
    return found[["mean", "median", "mode", "deviation", "count"]]


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """`phonemes_a_second` and `characters_a_second` of each row, over the prepared clip; NaN if quarantined."""
    seconds = table["seconds"].where(table["seconds"] > 0)
    return pd.DataFrame(
        {"phonemes_a_second": table["phonemes"] / seconds, "characters_a_second": table["characters"] / seconds}
    )


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row a measure of the kept clips: `clips` that have it, `mean`, `deviation`, and points of its spread."""
    chosen, rate = table["split"] != "quarantined", rates(table)
    rows = {}
    for name in SUMMARISED:
        values = (rate if name in rate else table)[name].to_numpy(dtype=float)
        values = values[chosen & np.isfinite(values)]
        row = {"clips": len(values)}
        if len(values):
            row |= {"mean": values.mean(), "deviation": values.std(ddof=1) if len(values) > 1 else np.nan}
            row |= dict(zip(SPREAD, np.quantile(values, list(SPREAD.values())), strict=True))
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index", columns=["clips", "mean", "deviation", *SPREAD])


def symbols(corpus: Corpus) -> pd.DataFrame:
    """A row a phoneme of the kept utterances, the most frequent first: `times`, `clips` and `share` of all."""
    times: dict[str, int] = {}
    clips: dict[str, int] = {}
    for utterance in corpus.stream():
        for symbol in utterance.phonemes:
            times[symbol] = times.get(symbol, 0) + 1
        for symbol in set(utterance.phonemes):
            clips[symbol] = clips.get(symbol, 0) + 1
    found = pd.DataFrame({"times": times, "clips": clips}, columns=["times", "clips"], dtype=int)
    found.index.name = "symbol"
    found["share"] = found["times"] / max(1, found["times"].sum())
    return found.rename_axis("symbol").sort_values(["times", "clips"], ascending=False, kind="stable")
