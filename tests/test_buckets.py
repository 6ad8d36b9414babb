"""The planned shapes against brute force, and the order of batches."""

from itertools import combinations

import numpy as np
import pytest

from tts_lab import buckets
from tts_lab.errors import UserError

LENGTHS = [(20 + i % 7, int(n)) for i, n in enumerate(np.random.default_rng(0).integers(40, 400, 60))]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shapes_pad_no_more_than_any_other_choice(count):
    frames = [n for _, n in LENGTHS[:12]]

    def padded(shapes):
        return sum(min(s for s in shapes if s >= n) for n in frames)

    best = min(padded(c) for c in combinations(sorted(set(frames)), count) if max(c) == max(frames))
    assert padded(buckets._shapes(frames, count, 1)) == best


def test_every_utterance_is_in_one_row_that_holds_it():
    plan = buckets.plan(LENGTHS, 4)
    rows = [row for bucket in plan for row in bucket.rows]
    assert sorted(i for row in rows for i in row) == list(range(len(LENGTHS)))
    assert len(plan) <= 4 and all(bucket.frames % 8 == bucket.phonemes % 8 == 0 for bucket in plan)
    for bucket in plan:
        for row in bucket.rows:
            assert sum(LENGTHS[i][1] for i in row) <= bucket.frames
            assert sum(LENGTHS[i][0] for i in row) <= bucket.phonemes
    assert any(len(row) > 1 for row in rows), "short utterances share rows"


def test_rows_never_mix_groups():
    groups = [i % 3 for i in range(len(LENGTHS))]
    for bucket in buckets.plan(LENGTHS, 3, groups=groups):
        assert all(len({groups[i] for i in row}) == 1 for row in bucket.rows)


def test_waste_counts_padded_frames():
    plan = [buckets.Bucket(8, 100, ((0, 1), (2,)))]
    assert buckets.waste(plan, [(4, 50), (4, 40), (4, 60)]) == pytest.approx(1 - 150 / 200)
    assert "25.0%" in buckets.describe(plan, [(4, 50), (4, 40), (4, 60)], 2)


def test_nothing_to_plan_is_said():
    with pytest.raises(UserError, match="no utterance is left"):
        buckets.plan([])


def test_an_epoch_shows_every_row_and_fills_batches():
    plan = buckets.plan(LENGTHS, 3)
    schedule = buckets.Schedule(plan, 8, seed=5)
    for epoch in range(2):
        batches = [schedule.batch(epoch * schedule.batches_per_epoch + i) for i in range(schedule.batches_per_epoch)]
        assert all(len(batch.rows) == 8 for batch in batches)
        assert {row for batch in batches for row in batch.rows} == {row for bucket in plan for row in bucket.rows}


def test_order_depends_on_seed_and_number_alone():
    plan = buckets.plan(LENGTHS, 3)
    one, other = buckets.Schedule(plan, 8, seed=5), buckets.Schedule(plan, 8, seed=5)
    assert [one.batch(i).rows for i in range(40)] == [other.batch(i).rows for i in reversed(range(40))][::-1]
    assert [one.batch(i).rows for i in range(9)] != [buckets.Schedule(plan, 8, seed=6).batch(i).rows for i in range(9)]
    first, second = ([one.batch(e * one.batches_per_epoch + i).rows for i in range(9)] for e in (0, 1))
    assert first != second
