"""The verdicts on how much speech there is, what was lost, and who speaks it."""

import pandas as pd

from tts_lab.analysis.table import kept
from tts_lab.analysis.verdict import Verdict
from tts_lab.corpus.report import without_figures

GUIDES = {"to fine-tune a voice": (1.0, 2.0), "for a good voice": (5.0, 20.0), "from scratch": (30.0, 30.0)}
"""Hours of speech that guides to training ask for: from, to."""
TRIED_MINUTES = 8.0
"""Speech from which this project has fine-tuned a voice that can be understood."""
LOST = 0.1
"""Share of the utterances that may be quarantined."""
LEAST_SHARE = 0.25
"""Of an even share, the least a speaker should have."""


def against_guides(minutes: float) -> pd.DataFrame:
    """A row a guide: hours asked for (`from`, `to`), `there`, `missing` to the lower end, and `reached`, of it."""
    hours = minutes / 60
    rows = {
        purpose: {
            "from": low, "to": high, "there": hours, "missing": max(0.0, low - hours), "reached": min(1.0, hours / low)
        }
        for purpose, (low, high) in GUIDES.items()
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def amount_verdicts(table: pd.DataFrame) -> list[Verdict]:
    """Of the whole table: speech against the guides, what is quarantined, and the speakers if there are several."""
    clips = kept(table)
    minutes = float(clips["seconds"].sum()) / 60
    verdicts = [_amount(minutes), _lost(table)]
    if clips["speaker"].nunique() > 1:
        verdicts.append(_speakers(clips))
    return verdicts


def _amount(minutes: float) -> Verdict:
    asked = ", ".join(
        f"{low:g} h {purpose}" if low == high else f"{low:g} to {high:g} h {purpose}"
        for purpose, (low, high) in GUIDES.items()
    )
    reached = [purpose for purpose, (low, _) in GUIDES.items() if minutes / 60 >= low]
    words = f"{minutes:.1f} minutes of speech are kept"
    if reached:
        words += f": enough {reached[-1]}"
    elif minutes >= TRIED_MINUTES:
        words += f": less than guides ask even to fine-tune, though it was tried and worked from {TRIED_MINUTES:g} on"
    else:
        words += ": too little even to fine-tune; record more"
    numbers = {"minutes": minutes, "reached": len(reached)}
    return Verdict("amount of speech", bool(reached), words + ".", f"Guides ask for {asked}.", numbers)


def _lost(table: pd.DataFrame) -> Verdict:
    lost = table["split"] == "quarantined"
    rule = f"At most {LOST:.0%} of the utterances are quarantined."
    words = f"{int(lost.sum())} of {len(table)} utterances ({lost.mean():.0%}) are quarantined"
    if lost.any():
        # Reasons differ in their figures: without them they tell the causes apart well enough.
        reasons = table.loc[lost, "reason"]
        alike = reasons.map(without_figures)
        causes = alike.value_counts()
        example = reasons[(alike == causes.index[0]).to_numpy()].iloc[0]
        words += f", {causes.iloc[0]} of them because: {example}"
    return Verdict("quarantined", bool(lost.mean() <= LOST), words.rstrip(".") + ".", rule, {"lost": lost.mean()})


def _speakers(clips: pd.DataFrame) -> Verdict:
    minutes = clips.groupby("speaker")["seconds"].sum().sort_values() / 60
    even = minutes.sum() / len(minutes)
    rule = f"Every speaker has at least {LEAST_SHARE:.0%} of an even share of the speech, so that none is drowned."
    poor = minutes[minutes < LEAST_SHARE * even]
    ends = f"from {minutes.iloc[0]:.1f} minutes ({minutes.index[0]}) to {minutes.iloc[-1]:.1f} ({minutes.index[-1]})"
    words = f"{len(minutes)} speakers have {ends}"
    if len(poor):
        words += f"; {len(poor)} have too little: {', '.join(map(str, poor.index[:5]))}"
        words += ". Record more of them, give them more weight, or leave them out"
    numbers = {"speakers": len(minutes), "least": minutes.iloc[0] / even, "poor": len(poor)}
    return Verdict("speakers", not len(poor), words + ".", rule, numbers)
