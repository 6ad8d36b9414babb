"""The fixed shapes of a run: planned from a corpus, then every batch is of one of them.

A compiler makes one graph a shape, so the shapes are few; padding is work thrown away, so they are chosen to
waste least, and short utterances share a row where they fit. A row of two utterances is what Piper makes of a
text of two sentences: their ids one after another. The order of batches is a function of the seed and the batch
number alone: a resumed run needs no saved state to go on with the same data.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tts_lab.errors import UserError

Lengths = Sequence[tuple[int, int]]
"""Phoneme ids and spectrogram frames of each utterance."""


@dataclass(frozen=True)
class Bucket:
    """A shape, and the rows that are padded to it."""

    phonemes: int
    """Phoneme ids a row."""
    frames: int
    """Spectrogram frames a row."""
    rows: tuple[tuple[int, ...], ...]
    """Each row's utterances, one or more, as positions in the list the plan was made from."""

    @property
    def shape(self) -> str:
        """``PHONEMESxFRAMES``."""
        return f"{self.phonemes}x{self.frames}"


@dataclass(frozen=True)
class BatchPlan:
    """Which rows one batch holds; ``number`` counts batches from the start of the run."""

    number: int
    bucket: Bucket
    rows: tuple[tuple[int, ...], ...]


def plan(lengths: Lengths, count: int = 4, multiple: int = 8, groups: Sequence[Hashable] | None = None) -> list[Bucket]:
    """At most ``count`` shapes, and every utterance in a row of one of them.

    Args:
        lengths: of every utterance.
        count: shapes at most; fewer come back when there are fewer distinct lengths.
        multiple: shapes are rounded up to this, so that near-equal corpora share compiled graphs.
        groups: utterances share a row only within a group (a split, a speaker); all may by default.

    Raises:
        UserError: when there is nothing to plan for.
    """
    if not lengths:
        raise UserError("no utterance is left to train on: see the quarantine list that `tts-lab prepare` printed")
    groups = groups or [None] * len(lengths)
    shapes = _shapes([frames for _, frames in lengths], count, multiple)
    packed = _pack([frames for _, frames in lengths], shapes, groups)
    return [
        Bucket(_round_up(max(sum(lengths[i][0] for i in row) for row in rows), multiple), shape, tuple(rows))
        for shape, rows in packed.items()
        if rows
    ]


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _shapes(frames: Sequence[int], count: int, multiple: int) -> list[int]:
    """The ``count`` lengths that pad the fewest frames with one utterance a row, by dynamic programming."""
    distinct, weight = np.unique([_round_up(n, multiple) for n in frames], return_counts=True)
    total = np.concatenate([[0], np.cumsum(weight)])
    # cost[i, j]: frames of a shape for the distinct lengths i..j-1, all padded to the longest of them.
    cost = (total[None, :] - total[:, None]) * np.concatenate([[0], distinct])[None, :]
    cost = np.where(np.tri(len(total), k=-1, dtype=bool), np.inf, cost)
    best, cuts = cost[0], []
    for _ in range(min(count, len(distinct)) - 1):
        through = best[:, None] + cost
        cuts.append(through.argmin(0))
        best = through.min(0)
    edges = [len(distinct)]
    for cut in reversed(cuts):
        edges.append(int(cut[edges[-1]]))
    return sorted({int(distinct[edge - 1]) for edge in edges if edge > 0})


def _pack(frames: Sequence[int], shapes: list[int], groups: Sequence[Hashable]) -> dict[int, list[tuple[int, ...]]]:
    """Best-fit decreasing: each utterance, longest first, into the fullest row with room, else into a new row."""
    rows: list[tuple[int, list[int]]] = []  # shape, utterances
    open_rows: dict[tuple[Hashable, int], list[int]] = {}  # group and room left, to positions in rows
    for i in sorted(range(len(frames)), key=lambda i: (-frames[i], i)):
        room = next((r for r in range(frames[i], shapes[-1]) if open_rows.get((groups[i], r))), None)
        if room is None:
            shape = next(shape for shape in shapes if shape >= frames[i])
            rows.append((shape, [i]))
            row, room = len(rows) - 1, shape
        else:
            row = open_rows[groups[i], room].pop()
            rows[row][1].append(i)
        open_rows.setdefault((groups[i], room - frames[i]), []).append(row)
    return {shape: [tuple(row) for own, row in rows if own == shape] for shape in shapes}


def waste(buckets: Sequence[Bucket], lengths: Lengths) -> float:
    """Share of padded frames among all frames computed in one pass over the corpus, 0 to 1."""
    computed = sum(bucket.frames * len(bucket.rows) for bucket in buckets)
    return 1 - sum(lengths[i][1] for bucket in buckets for row in bucket.rows for i in row) / computed


def describe(buckets: Sequence[Bucket], lengths: Lengths, batch_size: int) -> str:
    """The plan in words, one line a shape, for the terminal and the log."""
    lines = [
        f"  {batch_size} x {b.phonemes} phonemes x {b.frames} frames: "
        f"{sum(map(len, b.rows))} utterances in {len(b.rows)} rows"
        for b in buckets
    ]
    head = f"{len(buckets)} batch shapes, {waste(buckets, lengths):.1%} of frames are padding"
    return "\n".join([head, *lines])


class Schedule:
    """The endless sequence of batches of a run.

    An epoch shuffles each bucket and then the order of batches; a bucket's last batch is filled up from the
    front of its own shuffle, so that every batch is whole.

    ``weights``, of every utterance the plan was made from, say how often an epoch draws it: of rows that weigh 0.5
    every epoch draws another half (rounded up, a bucket), and those that weigh 2 come twice. A row's utterances
    must weigh the same (see ``groups`` of ``plan``).
    """

    def __init__(
        self, buckets: Sequence[Bucket], batch_size: int, seed: int, weights: Sequence[float] | None = None
    ) -> None:
        self.buckets, self.batch_size, self.seed = list(buckets), batch_size, seed
        self.alike = [_by_weight(bucket, weights) for bucket in buckets]
        drawn = [sum(_drawn(rows, weight) for weight, rows in alike.items()) for alike in self.alike]
        self.batches_per_epoch = sum(-(-count // batch_size) for count in drawn)

    def batch(self, number: int) -> BatchPlan:
        """Batch ``number`` of the run, from 0."""
        epoch, position = divmod(number, self.batches_per_epoch)
        bucket, rows = self._epoch(epoch)[position]
        return BatchPlan(number, bucket, rows)

    @lru_cache(maxsize=2)  # noqa: B019 - one schedule lives as long as its run
    def _epoch(self, epoch: int) -> list[tuple[Bucket, tuple[tuple[int, ...], ...]]]:
        draw = np.random.default_rng([self.seed, epoch])
        batches = []
        for bucket, alike in zip(self.buckets, self.alike, strict=True):
            parts = [np.resize(draw.permutation(rows), _drawn(rows, weight)) for weight, rows in alike.items()]
            order = parts[0] if len(parts) == 1 else draw.permutation(np.concatenate(parts))
            chosen = np.resize(order, (-(-len(order) // self.batch_size), self.batch_size))
            batches += [(bucket, tuple(bucket.rows[i] for i in batch)) for batch in chosen]
        return [batches[i] for i in draw.permutation(len(batches))]


def _by_weight(bucket: Bucket, weights: Sequence[float] | None) -> dict[float, list[int]]:
    """Weight to the positions of the bucket's rows that have it."""
    alike: dict[float, list[int]] = {}
    for position, row in enumerate(bucket.rows):
        alike.setdefault(weights[row[0]] if weights else 1.0, []).append(position)
    return alike


def _drawn(rows: Sequence[int], weight: float) -> int:
    """How many rows of that weight an epoch draws; as many in each, for a batch's number says its epoch."""
    return math.ceil(round(weight * len(rows), 6))
