"""Which of two curves is ahead, where, and since when."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

Points = Sequence[tuple[float, float]]
"""Where along the run, and the value there."""


@dataclass(frozen=True)
class Moment:
    """Both values at one place."""

    at: float
    first: float
    second: float
    ahead: int
    """1 the first, 2 the second, 0 neither."""


@dataclass(frozen=True)
class Lead:
    """How the lead went between two curves where both have values."""

    along: str
    """What the places count: step or second."""
    moments: list[Moment]

    @property
    def ahead(self) -> int:
        """Who is, at the last place: 1, 2, or 0 for neither."""
        return self.moments[-1].ahead if self.moments else 0

    @property
    def since(self) -> float | None:
        """The first place from which on nobody but the one ahead at the end was; None without a common place."""
        place = None
        for moment in reversed(self.moments):
            if moment.ahead != self.ahead:
                break
            place = moment.at
        return place

    @property
    def changes(self) -> int:
        """How often the lead went from one to the other; places where they are level count for neither."""
        led = [moment.ahead for moment in self.moments if moment.ahead]
        return sum(a != b for a, b in zip(led, led[1:], strict=False))

    def told(self, first: str, second: str) -> str:
        """One sentence, with the names of both."""
        if not self.moments:
            return f"no {self.along} at which both were measured"
        places = f"{len(self.moments)} {self.along}s" if len(self.moments) > 1 else f"one {self.along}"
        counts = {who: sum(moment.ahead == who for moment in self.moments) for who in (0, 1, 2)}
        if counts[0] == len(self.moments):
            return f"level at {_all(len(self.moments))} {places} that both have"
        if self.ahead == 0:
            led = " and ".join(f"{name} at {counts[who]}" for who, name in ((1, first), (2, second)) if counts[who])
            return f"level since {self.along} {self.since:.0f}; before, ahead: {led}, of {places}"
        name, other = (first, second) if self.ahead == 1 else (second, first)
        if counts[self.ahead] == len(self.moments):
            return f"{name} is ahead at {_all(len(self.moments))} {places} that both have"
        held = f"{name} is ahead since {self.along} {self.since:.0f}"
        shares = f"at {counts[self.ahead]} of {places}, {other} at {counts[3 - self.ahead]}"
        turns = f"; the lead changed {self.changes} times" if self.changes > 1 else ""
        return f"{held} ({shares}{turns})"


def lead(first: Points, second: Points, smaller: bool, along: str = "step") -> Lead:
    """Who is ahead at the places that both curves have.

    Args:
        smaller: whether a smaller value is better.
    """
    ours, theirs = (dict(_known(points)) for points in (first, second))
    return Lead(along, [_moment(at, ours[at], theirs[at], smaller) for at in sorted(ours.keys() & theirs.keys())])


def lead_by_time(first: Points, second: Points, smaller: bool, along: str = "second") -> Lead:
    """The same at every time one of them was measured at, from when both had been, to when the first of them ended.

    What a curve has at a time is what was measured last: nothing is made up between two measurements.
    """
    ours, theirs = (sorted(_known(points), key=lambda point: point[0]) for points in (first, second))
    if not ours or not theirs:
        return Lead(along, [])
    begin, end = max(ours[0][0], theirs[0][0]), min(ours[-1][0], theirs[-1][0])
    moments, values, left = [], [None, None], [list(reversed(ours)), list(reversed(theirs))]
    for at in sorted({at for at, _ in [*ours, *theirs]}):
        for side in (0, 1):
            while left[side] and left[side][-1][0] <= at:
                values[side] = left[side].pop()[1]
        if begin <= at <= end:
            moments.append(_moment(at, *values, smaller))
    return Lead(along, moments)


def best(points: Points, smaller: bool) -> tuple[float, float] | None:
    """The best point of a curve, the earliest of equals; None where it has none."""
    known = _known(points)
    if not known:
        return None
    return min(known, key=lambda point: (point[1] if smaller else -point[1], point[0]))


def _known(points: Points) -> list[tuple[float, float]]:
    return [(at, value) for at, value in points if value is not None and isfinite(value)]


def _moment(at: float, first: float, second: float, smaller: bool) -> Moment:
    ahead = 0 if first == second else 1 if (first < second) == smaller else 2
    return Moment(at, first, second, ahead)


def _all(count: int) -> str:
    return "all" if count > 1 else "the"
