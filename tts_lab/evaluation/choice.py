"""Which checkpoints of a run are worth hearing first, by one rule that is told with each.

The rule. A voice must first keep the words and the naturalness: its word error rate may be three points above that of
the voice the run started from, its predicted opinion score 0.3 below, and its pitch must not stick to the model's own
frame rate. Of those that pass, one that another beats or equals in likeness, words and naturalness together is left
out (Pareto). The rest stand in the order of their likeness to the speaker, which is what a fine-tune is for; likenesses
that agree to two decimals are in the order of how near their pitch is to the speaker's.

Where the starting voice was not evaluated, the best figure among the checkpoints takes its place, which says less: a
run in which every checkpoint is bad has then no one to tell on them but the limits that hold for every voice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WER_ABOVE = 0.03
"""6 % where the starting voice has 3 %. Of an evaluation's 235 words, two equally clear voices that lose 3 % differ by
1.6 points by chance, one standard deviation."""
MOS_BELOW = 0.3
WER_ALWAYS = 0.30
"""No voice of which three words in ten are misheard is chosen, whatever it started from."""
BUZZING = 0.25
"""Share of voiced frames at the model's frame rate above which a voice buzzes. Measured on four collapsed runs of this
project: 0.38 to 0.53; on Allison's own clips: 0.06."""
BUZZING_ABOVE_HUMAN = 2.5
"""A deep voice lies near 86 Hz of itself: the share must also be so many times the speaker's own."""


@dataclass(frozen=True)
class Limits:
    """What a voice may lose."""

    wer: float
    mos: float
    buzz: float
    because: str
    """In words, to which voice the first two are relative."""


@dataclass(frozen=True)
class Judgement:
    """What the rule makes of one row."""

    label: str
    passes: bool
    place: int | None
    """1 for the best, None where it is not among the best few."""
    reason: str


def limits(rows: Sequence[dict], human: dict, words: int) -> Limits:
    """The limits for the rows of an evaluation that said `words` words in all.

    A single word must be within what is allowed, or the rule would hang on one mishearing of Whisper.
    """
    base = next((row for row in rows if row["kind"] == "base"), None)
    known = [base] if base else rows
    above = max(WER_ABOVE, 1 / words)
    wer, mos = min(row["wer"] for row in known), max(row["mos"] for row in known)
    told = f"the {'starting voice' if base else 'best checkpoint'}'s {wer:.1%} and {mos:.2f}"
    because = f"{told}, with {above:.1%} more words misheard and {MOS_BELOW} less natural allowed"
    buzz = max(BUZZING, BUZZING_ABOVE_HUMAN * (human.get("frame_rate_share") or 0))
    return Limits(min(wer + above, WER_ALWAYS), mos - MOS_BELOW, buzz, because)


def failings(row: dict, limit: Limits) -> list[str]:
    """Why a row cannot be chosen, each in words; empty where it can."""
    found = []
    if row["wer"] > limit.wer + 1e-9:
        found.append(f"{row['wer']:.1%} of the words are misheard, at most {limit.wer:.1%} may be")
    if row["mos"] < limit.mos - 1e-9:
        found.append(f"naturalness {row['mos']:.2f} is below {limit.mos:.2f}")
    if (share := row.get("frame_rate_share") or 0) > limit.buzz:
        found.append(f"it buzzes: in {share:.0%} of voiced frames the pitch is the model's frame rate, not a person's")
    return found


def choose(rows: Sequence[dict], human: dict, words: int, at_most: int = 3) -> list[Judgement]:
    """A judgement of each row, in the order of `rows`; up to `at_most` have a place. The base voice has none."""
    if not rows:
        return []
    limit = limits(rows, human, words)
    failed = {row["label"]: failings(row, limit) for row in rows}
    good = [row for row in rows if not failed[row["label"]] and row["kind"] != "base"]
    beaten = {row["label"]: next((o["label"] for o in good if _beats(o, row)), None) for row in good}
    ranked = sorted((row for row in good if not beaten[row["label"]]), key=_order)
    places = {row["label"]: place for place, row in enumerate(ranked[:at_most], 1)}
    judged = []
    for row in rows:
        label, place = row["label"], places.get(row["label"])
        if row["kind"] == "base":
            reason = "the voice the run started from; the others are measured against it"
        elif failed[label]:
            reason = "not chosen: " + "; ".join(failed[label])
        elif beaten[label]:
            reason = f"not chosen: {beaten[label]} is at least as like, as clear and as natural, and better in one"
        elif place is None:
            reason = f"good, but {at_most} others are more like the speaker"
        else:
            reason = _praise(row, ranked[0], len(good), limit)
        judged.append(Judgement(label, not failed[label], place, reason))
    return judged


def best(judged: Sequence[Judgement]) -> Judgement | None:
    """The one in the first place."""
    return next((one for one in judged if one.place == 1), None)


def _order(row: dict) -> tuple[float, float, int]:
    return -round(row["similarity"], 2), abs(row["pitch_delta"] or 0), row["step"] or 0


def _beats(one: dict, other: dict) -> bool:
    a, b = ((row["similarity"], row["mos"], -row["wer"]) for row in (one, other))
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def _praise(row: dict, first: dict, passing: int, limit: Limits) -> str:
    if row is first:
        said = "the only one that passes" if passing == 1 else f"the most like the speaker of the {passing} that pass"
        return (
            f"{said}: likeness {row['similarity']:.2f}; {row['wer']:.1%} of the words misheard (at most "
            f"{limit.wer:.1%}), naturalness {row['mos']:.2f} (at least {limit.mos:.2f})"
        )
    gains = []
    if row["wer"] < first["wer"]:
        gains.append(f"fewer words misheard ({row['wer']:.1%} against {first['wer']:.1%})")
    if row["mos"] > first["mos"]:
        gains.append(f"more natural ({row['mos']:.2f} against {first['mos']:.2f})")
    if row["similarity"] > first["similarity"]:
        gains.append(f"a little more like her or him, with a pitch further off ({row['pitch_delta'] or 0:+.0f} %)")
    return f"likeness {row['similarity']:.2f} against {first['similarity']:.2f}, but {' and '.join(gains)}"
