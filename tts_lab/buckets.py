"""The fixed shapes of a run: planned from a corpus, then every batch is of one of them.

A compiler makes one graph a shape, so the shapes are few; padding is work thrown away, so they are chosen to
waste least. The order of batches is a function of the seed and the batch number alone: a resumed run needs no
saved state to go on with the same data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tts_lab.errors import UserError


@dataclass(frozen=True)
class Bucket:
    """A shape, and the utterances that are padded to it."""

    phonemes: int
    """Phoneme ids a row."""
    frames: int
    """Spectrogram frames a row."""
    members: tuple[int, ...]
    """Positions, in the list the plan was made from, of the utterances it holds."""


@dataclass(frozen=True)
class BatchPlan:
    """Which utterances one batch holds; ``number`` counts batches from the start of the run."""

    number: int
    bucket: Bucket
    items: tuple[int, ...]


def plan(lengths: Sequence[tuple[int, int]], count: int = 4, multiple: int = 8) -> list[Bucket]:
    """The ``count`` shapes that pad the fewest frames, by dynamic programming over distinct lengths.

    Args:
        lengths: ``(phonemes, frames)`` of each utterance.
        count: shapes at most; fewer come back when there are fewer distinct lengths.
        multiple: shapes are rounded up to this, so that near-equal corpora share compiled graphs.

    Raises:
        UserError: when there is nothing to plan for.
    """
    if not lengths:
        raise UserError("no utterance is left to train on: see the quarantine list that `tts-lab prepare` printed")
    rounded = np.array([[-(-n // multiple) * multiple for n in pair] for pair in lengths])
    frames, weight = np.unique(rounded[:, 1], return_counts=True)
    total = np.concatenate([[0], np.cumsum(weight)])
    # cost[i, j]: frames of a bucket holding the distinct lengths i..j-1, all padded to the longest.
    cost = (total[None, :] - total[:, None]) * np.concatenate([[0], frames])[None, :]
    cost = np.where(np.tri(len(total), k=-1, dtype=bool), np.inf, cost)
    best, cuts = cost[0], []
    for _ in range(min(count, len(frames)) - 1):
        through = best[:, None] + cost
        cuts.append(through.argmin(0))
        best = through.min(0)
    edges = [len(frames)]
    for cut in reversed(cuts):
        edges.append(int(cut[edges[-1]]))
    upper = sorted({int(frames[edge - 1]) for edge in edges if edge > 0})
    home = np.searchsorted(upper, rounded[:, 1])
    members = [np.flatnonzero(home == i) for i in range(len(upper))]
    return [
        Bucket(int(rounded[own, 0].max()), longest, tuple(own.tolist()))
        for longest, own in zip(upper, members, strict=True)
    ]


def waste(buckets: Sequence[Bucket], lengths: Sequence[tuple[int, int]]) -> float:
    """Share of padded frames among all frames computed in one pass over the corpus, 0 to 1."""
    computed = sum(bucket.frames * len(bucket.members) for bucket in buckets)
    return 1 - sum(lengths[i][1] for bucket in buckets for i in bucket.members) / computed


def describe(buckets: Sequence[Bucket], lengths: Sequence[tuple[int, int]], batch_size: int) -> str:
    """The plan in words, one line a shape, for the terminal and the log."""
    lines = [
        f"  {batch_size} x {b.phonemes} phonemes x {b.frames} frames: {len(b.members)} utterances" for b in buckets
    ]
    head = f"{len(buckets)} batch shapes, {waste(buckets, lengths):.1%} of frames are padding"
    return "\n".join([head, *lines])


class Schedule:
    """The endless sequence of batches of a run.

    An epoch shuffles each bucket and then the order of batches; a bucket's last batch is filled up from the
    front of its own shuffle, so that every batch is whole.
    """

    def __init__(self, buckets: Sequence[Bucket], batch_size: int, seed: int) -> None:
        self.buckets, self.batch_size, self.seed = list(buckets), batch_size, seed
        self.batches_per_epoch = sum(-(-len(bucket.members) // batch_size) for bucket in buckets)

    def batch(self, number: int) -> BatchPlan:
        """Batch ``number`` of the run, from 0."""
        epoch, position = divmod(number, self.batches_per_epoch)
        bucket, items = self._epoch(epoch)[position]
        return BatchPlan(number, bucket, items)

    @lru_cache(maxsize=2)  # noqa: B019 - one schedule lives as long as its run
    def _epoch(self, epoch: int) -> list[tuple[Bucket, tuple[int, ...]]]:
        generator = np.random.default_rng([self.seed, epoch])
        batches = []
        for bucket in self.buckets:
            order = generator.permutation(bucket.members)
            rows = np.resize(order, (-(-len(order) // self.batch_size), self.batch_size))
            batches += [(bucket, tuple(row.tolist())) for row in rows]
        return [batches[i] for i in generator.permutation(len(batches))]
