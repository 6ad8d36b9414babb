"""Scores of alignments, against paths made by hand and sums done another way."""

import numpy as np
import pytest

from tts_lab.analysis.alignment import compare, diagonality, durations_of, flaws, frames_of, score, sounds
from tts_lab.frontend import Frontend


def with_blanks(text: str) -> list[str]:
    """Symbols as Piper makes ids of them."""
    return ["^", "_", *(part for symbol in text for part in (symbol, "_")), "$"]


def test_marks_belong_to_their_sound_and_all_that_is_no_letter_is_a_pause():
    symbols = with_blanks("hˈɑːnd, õ²")
    found = sounds(symbols)
    assert [(s.name, s.pause) for s in found] == [
        ("^", True), ("h", False), ("ˈɑː", False), ("n", False), ("d", False), (",", True), (" ", True), ("õ²", False),
        ("$", True),
    ]  # fmt: skip
    assert [s.first for s in found] == [0, *(s.end for s in found[:-1])] and found[-1].end == len(symbols)
    assert found[2].end - found[2].first == 6  # three symbols, three blanks


def test_every_symbol_of_piper_has_a_place():
    """Whatever the front end can say, each of its ids is in one sound or pause, and letters are sounds."""
    frontend = Frontend("en-us")
    for text in ("Thank you! Please hold, while I try — 'again'.", "Naïve façade; coöperate?"):
        symbols = {i: symbol for symbol, ids in frontend.phoneme_id_map.items() for i in ids}
        named = [symbols[i] for i in frontend.encode(text).ids]
        found = sounds(named)
        assert [position for s in found for position in range(s.first, s.end)] == list(range(len(named)))
        assert "".join(s.name for s in found) == "".join(named).replace("_", "")
        assert all(any(c.isalpha() for c in s.name.strip("ˈˌː")) != s.pause for s in found)


def test_durations_are_read_off_a_path_and_what_is_no_path_is_refused():
    path = np.zeros((6, 3))
    path[[0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 2, 2]] = 1
    assert durations_of(path).tolist() == [2, 1, 3]
    for frame, row in ((2, [1, 0, 1]), (2, [0, 0, 0]), (2, [0, 0.5, 0.5]), (5, [1, 0, 0])):
        wrong = path.copy()
        wrong[frame] = row
        with pytest.raises(ValueError, match="path"):
            durations_of(wrong)


def test_diagonality_is_one_on_the_line_and_falls_to_nothing_on_the_edge():
    assert diagonality(np.full(7, 4)) == pytest.approx(1) == diagonality(np.array([9]))
    assert diagonality(np.array([1000, 1, 1, 1])) < 0.26 and diagonality(np.array([100_000] + [1] * 200)) < 0.01
    assert diagonality(np.array([2, 1, 3, 9])) == pytest.approx(diagonality(np.array([9, 3, 1, 2])))  # read backwards


def test_diagonality_is_the_area_between_two_lines():
    """The same by the trapezoid rule over a fine grid, in whichever of both directions the path is read."""
    draw = np.random.default_rng(5)
    for _ in range(20):
        durations = draw.integers(1, 30, draw.integers(2, 40))
        at = np.linspace(0, 1, 200_001)
        reached = np.interp(
            at, np.append(0, durations.cumsum()) / durations.sum(), np.linspace(0, 1, len(durations) + 1)
        )
        assert diagonality(durations) == pytest.approx(1 - 2 * np.trapezoid(np.abs(reached - at), at), abs=2e-3)


def test_skipped_and_stretched_sounds_are_named():
    symbols = with_blanks("kˈæt, dɒɡ")
    spans = sounds(symbols)
    wanted = {"^": 30, "k": 8, "ˈæ": 4, "t": 7, ",": 2, " ": 90, "d": 6, "ɒ": 61, "ɡ": 2, "$": 1}
    durations = np.zeros(len(symbols), dtype=int)
    for span in spans:
        durations[span.first : span.end] = 1
        durations[span.first] += wanted[span.name] - (span.end - span.first)
    assert dict(zip([s.name for s in spans], frames_of(durations, spans).tolist(), strict=True)) == wanted
    skipped, stretched = ({spans[i].name for i in np.flatnonzero(mask)} for mask in flaws(durations, spans))
    assert skipped == {"ˈæ", "ɡ"} and stretched == {"ɒ"}  # pauses may be short or long; the median sound has 6.5
    scores = score(durations, symbols)
    assert (scores.skipped, scores.stretched, scores.end) == pytest.approx((2 / 6, 1 / 6, 5 / 6))


def test_a_path_that_runs_through_the_rest_does_not_reach_the_end():
    symbols = with_blanks("abcdefgh")
    good, lost = np.full(len(symbols), 3), np.ones(len(symbols), dtype=int)
    lost[:8] = 20  # begin, a, b and c; then a frame for each id
    assert score(good, symbols).end == 1 and score(good, symbols).skipped == score(good, symbols).stretched == 0
    assert score(lost, symbols).end == pytest.approx(3 / 8)
    assert score(np.ones(len(symbols), dtype=int), symbols).end == 0


def test_pace_is_how_much_faster_and_how_alike():
    symbols, recorded = with_blanks("abcdef"), np.arange(1, 16)
    twice = compare(recorded * 2, recorded, symbols)
    assert twice.rate_ratio == pytest.approx(2) and twice.correlation == pytest.approx(1)
    spans = [s for s in sounds(symbols) if not s.pause]
    draw = np.random.default_rng(1)
    spoken = draw.integers(1, 20, 15)
    frames = [[d[s.first : s.end].sum() for s in spans] for d in (recorded, spoken)]
    pace = compare(recorded, spoken, symbols)
    assert pace.correlation == pytest.approx(np.corrcoef(np.log(frames))[0, 1])
    assert pace.rate_ratio == pytest.approx(120 / spoken.sum())
    assert compare(recorded, np.full(15, 3), symbols).correlation == 0


def test_what_cannot_be_scored_is_refused():
    for durations, symbols, reason in (
        (np.ones(3), ["a", "b"], "3 durations of 2 symbols"), (np.zeros(2), ["a", "b"], "no frames"),
        (np.ones(2), ["^", "$"], "no symbol is a sound"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            score(durations, symbols)
