"""Which clips to listen to first: one score a clip, the sum of points that checks give, each with its reason.

Most checks ask how unlike the rest a clip is: the distance of a number from the median of clips of like length (a
short clip's numbers scatter more), in deviations (1.4826 times the median absolute deviation, which a tenth of bad
clips does not move). Up to `ODD` deviations cost nothing, every further `ODD` one point. A few ask for what is wrong in
any corpus. No check gives more than `MOST` points, so that two things odd outweigh one that is very odd. The score
is their sum: with the largest alone, with the largest and a quarter of the rest, or with the root of their squares, as
many of the faults that `benchmarks.planted_faults` plants came into the worst tenth, and fewer to the very top.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import theilslopes

from tts_lab.analysis.measures import CEPSTRA
from tts_lab.analysis.texts import SENTENCE_WORDS, said_twice

ODD, MOST = 3.0, 5.0
QUARANTINED = 100.0
"""What a quarantined clip's score starts at, so that these come first."""
CLIPS_A_GROUP = 40
"""Clips of like length that are compared with each other, about; fewer say too little about what is usual."""
MOST_GROUPS = 20
FEWEST = 5
"""Speakers with fewer clips than this are compared as one, and without a length model if there are no more in all."""
CLIPPED = 1e-4
"""Share of samples in flat tops from which a clip is odd; ten times as much is two points more."""
COMMON = 0.8
"""Share of the clips with the same sample rate from which another rate is odd."""
MISHEARD = 0.3
"""Share of words that speech recognition may get wrong: tiny models do in clips of a word or two."""
REGRESSION_ROWS = 1000
"""Rows that the length model is fitted to, evenly chosen: it looks at every pair of them."""

Check = tuple[np.ndarray, Callable[[int], str]]
"""Points (rows,), and the sentence for a row that has some."""


@dataclass(frozen=True)
class Measure:
    """One column that is compared with the rest of the corpus."""

    column: str
    least: float
    """Least deviation that is taken for one: differences under it are not heard, however alike the other clips are."""
    side: int
    """1: only too much is odd; -1: only too little; 0: both."""
    sentence: str
    """With {value} and {usual}, and {side} for what `words` say of too little and too much."""
    words: tuple[str, str] = ("", "")
    enough: float = np.inf
    """Values past this are as good as it."""


MEASURED = (
    Measure("snr", 3, -1, "SNR {value:.0f} dB, usually {usual:.0f} dB: noise behind the words", enough=45),
    Measure("loudness", 1.5, 0, "{value:.0f} LUFS, usually {usual:.0f} LUFS: much {side}", ("quieter", "louder")),
    Measure("lead_silence", 0.1, 1, "{value:.1f} s of silence before the first word, usually {usual:.1f} s"),
    Measure("trail_silence", 0.1, 1, "{value:.1f} s of silence after the last word, usually {usual:.1f} s"),
    Measure("longest_pause", 0.15, 1, "a pause of {value:.1f} s between words, usually {usual:.1f} s"),
    Measure("speech_share", 0.05, -1, "{value:.0%} of it is speech, usually {usual:.0%}"),
    Measure(
        "bandwidth",
        400,
        0,
        "sound up to {value:.0f} Hz, usually {usual:.0f} Hz: {side}",
        ("recorded or coded narrower", "recorded or coded wider, or its header gives a wrong sample rate"),
    ),
    Measure("reverberation", 0.08, 1, "a decay of {value:.1f} s, usually {usual:.1f} s: more of the room is heard"),
    Measure("voiced_share", 0.06, 0, "{value:.0%} of the speech is voiced, usually {usual:.0%}: is it speech?"),
    Measure(
        "pitch_deviation",
        0.5,
        0,
        "pitch varies by {value:.1f} semitones, usually {usual:.1f}: {side}",
        ("sung, or monotonous", "laughter, or several voices?"),
    ),
)


def rank(table: pd.DataFrame) -> pd.DataFrame:
    """A copy of `table` (see `analysis.table.make_table`), worst first, with `score` and `reasons`.

    `score` is the sum of the checks' points: 0 is nothing odd. `reasons` is a list of sentences with the clip's
    number, the corpus's usual one and the rule, those of most points first. Quarantined rows come first, their
    reason before all others. Rows of equal score stay in order of their ids.
    """
    score, found = np.zeros(len(table)), {}
    # One check after another, each forgotten but for its points and sentences: together they are larger than the table.
    for check in _checks(table):
        points, sentence = check()
        points = np.nan_to_num(points)
        score += points
        for row in np.flatnonzero(points > 0).tolist():
            found.setdefault(row, []).append((points[row], sentence(row)))
    reasons = np.empty(len(table), object)
    for row in range(len(table)):
        reasons[row] = [said for _, said in sorted(found.pop(row, ()), key=lambda one: -one[0])]
    order = np.lexsort((table.index.astype(str), -score))
    return table.iloc[order].assign(score=score[order], reasons=reasons[order])


def _checks(table: pd.DataFrame) -> Iterator[Callable[[], Check]]:
    yield lambda: _quarantine(table)
    if not len(table):
        return
    groups = _alike((table["recorded_seconds"] * table["speech_share"]).astype(float), table["speaker"])
    for measure in MEASURED:
        yield partial(_compared, table, measure, groups)
    yield partial(_pitch, table, groups)
    yield partial(_timbre, table, groups)
    for check in (_length, _clipped, _sample_rate, _doubled, _words, _unheard):
        yield partial(check, table)


def _points(deviations: np.ndarray) -> np.ndarray:
    return np.clip(np.abs(deviations) / ODD - 1, 0, MOST)


def _alike(size: pd.Series, speaker: pd.Series) -> np.ndarray:
    """Number of each row's group (rows,): one speaker, about the same `size`."""
    person = speaker.where(speaker.map(speaker.value_counts()) >= FEWEST, "").to_numpy()
    size = size.reset_index(drop=True).fillna(0.0)
    groups, first = np.zeros(len(size), int), 0
    for rows in size.groupby(person).indices.values():
        number = int(np.clip(len(rows) // CLIPS_A_GROUP, 1, MOST_GROUPS))
        place = size.iloc[rows].rank(method="first").to_numpy().astype(int) - 1
        groups[rows] = first + place * number // len(rows)
        first += number
    return groups


def _usual(values: np.ndarray, groups: np.ndarray, least: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and deviation of each row's group, (rows,) each; a deviation is at least `least`."""
    column = pd.Series(values)
    middle = column.groupby(groups).transform("median")
    spread = 1.4826 * (column - middle).abs().groupby(groups).transform("median")
    return middle.to_numpy(), np.maximum(spread.to_numpy(), least)


def _rule(deviations: float) -> str:
    return f" ({abs(deviations):.1f} deviations from clips of like length; over {ODD:g} is odd)"


def _compared(table: pd.DataFrame, measure: Measure, groups: np.ndarray) -> Check:
    values = table[measure.column].to_numpy(float)
    compared = np.minimum(values, measure.enough)
    usual, spread = _usual(compared, groups, measure.least)
    deviations = (compared - usual) / spread
    wrong_side = (measure.side != 0) & (np.sign(deviations) != measure.side)

    def sentence(row: int) -> str:
        side = measure.words[int(deviations[row] > 0)]
        said = measure.sentence.format(value=values[row], usual=usual[row], side=side)
        return said + _rule(deviations[row])

    return np.where(wrong_side, 0.0, _points(deviations)), sentence


def _pitch(table: pd.DataFrame, groups: np.ndarray) -> Check:
    tones = 12 * np.log2(table["pitch"].to_numpy(float))
    usual, spread = _usual(tones, groups, 1.0)
    deviations = (tones - usual) / spread

    def sentence(row: int) -> str:
        hertz, usually = 2 ** (tones[row] / 12), 2 ** (usual[row] / 12)
        return f"a pitch of {hertz:.0f} Hz, usually {usually:.0f} Hz: another voice?" + _rule(deviations[row])

    return _points(deviations), sentence


def _timbre(table: pd.DataFrame, groups: np.ndarray) -> Check:
    """How far the colour of the voice is from the usual: the root mean square over the coefficients' deviations,
    compared once more with what that is in clips of like length."""
    none = (np.nan,) * CEPSTRA
    values = np.fromiter((none if one is None else one for one in table["timbre"]), np.dtype((np.float32, CEPSTRA)))
    distance = np.zeros(len(table))
    for column in values.T:
        usual, spread = _usual(column.astype(float), groups, 0.1)
        distance += np.square((column - usual) / spread)
    distance = np.sqrt(distance / CEPSTRA)
    usual, spread = _usual(distance, groups, 0.2)
    deviations = (distance - usual) / spread

    def sentence(row: int) -> str:
        return (
            f"a timbre {distance[row]:.1f} deviations from the usual voice, others {usual[row]:.1f}: "
            f"another voice, another room or no voice?{_rule(deviations[row])}"
        )

    return np.where(deviations > 0, _points(deviations), 0.0), sentence


def _length(table: pd.DataFrame) -> Check:
    """Speech against what the text should take: a line through phonemes and seconds (Theil and Sen's, which a
    quarter of wrong rows does not turn), and the deviation from it among texts of like length."""
    phonemes, characters = table["phonemes"].to_numpy(float), table["characters"].to_numpy(float)
    ratio = np.nanmedian(np.append(phonemes / np.maximum(characters, 1), [1.0] if np.isnan(phonemes).all() else []))
    said = np.where(np.isnan(phonemes), characters * ratio, phonemes)
    spoken = (table["recorded_seconds"] - table["lead_silence"] - table["trail_silence"]).to_numpy(float)
    known = np.flatnonzero(~np.isnan(spoken) & (said > 0))
    if len(known) < FEWEST:
        return np.zeros(len(table)), str
    chosen = known[np.argsort(said[known], kind="stable")]
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), REGRESSION_ROWS)).astype(int)]
    slope, start = 0.0, np.median(spoken[chosen])
    if np.ptp(said[chosen]):
        slope, start, *_ = theilslopes(spoken[chosen], said[chosen])
    expected = np.maximum(start + slope * said, 0.1)
    off, spread = _usual(spoken - expected, _alike(pd.Series(said), table["speaker"]), np.maximum(0.1, 0.07 * expected))
    deviations = (spoken - expected - off) / spread

    def sentence(row: int) -> str:
        verdict = "more is said than the text has" if deviations[row] > 0 else "the text has more than is said"
        return (
            f"{spoken[row]:.1f} s of speech for {said[row]:.0f} phonemes ({said[row] / spoken[row]:.1f} a second), "
            f"{expected[row] + off[row]:.1f} s expected: {verdict}, or it is another's{_rule(deviations[row])}"
        )

    return _points(deviations), sentence


def _clipped(table: pd.DataFrame) -> Check:
    share = table["clipped_share"].to_numpy(float)
    with np.errstate(divide="ignore"):
        points = np.where(share >= CLIPPED, 1 + 2 * np.log10(share / CLIPPED), 0.0)
    return (
        points.clip(0, MOST),
        lambda row: f"{share[row]:.2%} of its samples lie in flat tops: clipped ({CLIPPED:.2%} and more is odd)",
    )


def _sample_rate(table: pd.DataFrame) -> Check:
    rates = table["sample_rate"].to_numpy(float)
    counts = table["sample_rate"].value_counts()
    usual = counts.index[0] if len(counts) else 0
    share = counts.iloc[0] / counts.sum() if len(counts) else 0.0
    odd = (rates != usual) & ~np.isnan(rates) & (share >= COMMON)
    return (
        np.where(odd, 3.0, 0.0),
        lambda row: (
            f"its header says {rates[row]:.0f} Hz, that of {share:.0%} of the clips {usual:.0f} Hz: of another "
            f"source, or wrong (odd where {COMMON:.0%} agree)"
        ),
    )


def _doubled(table: pd.DataFrame) -> Check:
    twice = [said_twice(text) for text in table["text"]]
    # “No, no” is natural, and three words and more said twice hardly are.
    points = [0.0 if not part else 3.0 if len(part.split()) >= SENTENCE_WORDS else 1.0 for part in twice]
    return (
        np.array(points),
        lambda row: (
            f"its text says “{twice[row]}” twice (a text that is one part twice, or {SENTENCE_WORDS} words or more "
            "that come back as a sentence, are odd)"
        ),
    )


def _words(table: pd.DataFrame) -> Check:
    errors = table["word_errors"].to_numpy(float)
    words = table["text"].str.split().str.len().to_numpy(float)
    # One word misheard of two is no news: what counts is how many words are wrong beyond the share allowed.
    points = np.where(errors > MISHEARD, np.minimum(errors, 1) * np.minimum(words, 5), 0.0)
    return (
        np.clip(points, 0, MOST),
        lambda row: (
            f"speech recognition heard “{table['heard'].iloc[row]}”: {errors[row]:.0%} of the words differ "
            f"(over {MISHEARD:.0%} is odd)"
        ),
    )


def _unheard(table: pd.DataFrame) -> Check:
    """No speech in it, or no measures at all."""
    seconds, share = table["recorded_seconds"].to_numpy(float), table["speech_share"].to_numpy(float)
    unmeasured = np.isnan(seconds) & (table["split"] != "quarantined").to_numpy()
    return (
        np.where((share == 0) | unmeasured, MOST, 0.0),
        lambda row: (
            "the recording could not be measured: is it still there?" if unmeasured[row] else "no speech is heard in it"
        ),
    )


def _quarantine(table: pd.DataFrame) -> Check:
    aside = (table["split"] == "quarantined").to_numpy()
    return np.where(aside, QUARANTINED, 0.0), lambda row: f"quarantined: {table['reason'].iloc[row]}"
