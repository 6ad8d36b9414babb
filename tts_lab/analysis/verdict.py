"""What one plot or measure says about a corpus, in words, with the rule behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ENOUGH = 20
"""Clips below which a distribution is no distribution: nothing is said of fewer."""


@dataclass(frozen=True)
class Verdict:
    """One judgement. Plain types, so that it goes into JSON."""

    name: str
    ok: bool | None
    """None: too few to tell, or not measured."""
    words: str
    """What was found, with its figures."""
    rule: str
    """What would have been good, and whose rule it is."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What the words were made from."""

    @property
    def mark(self) -> str:
        return {True: "good", False: "bad", None: "unknown"}[self.ok]


def too_few(name: str, rule: str, clips: int, needed: int = ENOUGH) -> Verdict:
    """Nothing can be said: of `needed` clips that have the measure there are only `clips`."""
    words = f"Too few to tell: {clips} clips, and it takes {needed}." if clips else "Not measured."
    return Verdict(name, None, words, rule, {"clips": clips})
