"""The review list: real clips are not odd, what is made odd comes first and says why."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tts_lab.analysis.measuring import measure_all
from tts_lab.analysis.ranking import MOST, QUARANTINED, rank
from tts_lab.analysis.table import make_table
from tts_lab.corpus.corpus import Corpus

ODD = "letters_ascii40"


@pytest.fixture(scope="module")
def table(small_corpus: Path) -> pd.DataFrame:
    """All of data_samples, measured."""
    corpus = Corpus.load(small_corpus)
    return make_table(corpus, measure_all(corpus, jobs=2, console=Console(file=io.StringIO())))


def changed(table: pd.DataFrame, id: str, **values) -> pd.DataFrame:
    """A copy with other values in one row."""
    table = table.copy()
    for column, value in values.items():
        table[column] = table[column].astype(object if isinstance(value, (tuple, str)) else table[column].dtype)
        table.at[id, column] = value
    return table


def test_clean_recordings_of_one_voice_are_not_odd(table):
    ranked = rank(table)
    assert len(ranked) == len(table) == 80 and set(ranked.index) == set(table.index)
    assert (ranked["score"] == 0).mean() > 0.7 and ranked["score"].max() < 5
    assert all(bool(row.reasons) == (row.score > 0) for row in ranked.itertuples())
    assert ranked["score"].is_monotonic_decreasing and "score" not in table.columns
    shuffled = rank(table.sample(frac=1, random_state=3))
    pd.testing.assert_series_equal(shuffled["score"], ranked["score"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"snr": 12.0}, "SNR 12 dB, usually 45 dB"),
        ({"loudness": -38.0}, "-38 LUFS, usually -1"),
        ({"lead_silence": 2.0, "recorded_seconds": 5.0}, "2.0 s of silence before the first word"),
        ({"trail_silence": 3.0}, "3.0 s of silence after the last word"),
        ({"longest_pause": 2.5}, "a pause of 2.5 s"),
        ({"bandwidth": 3900.0}, "sound up to 3900 Hz, usually 8000 Hz: recorded or coded narrower"),
        ({"reverberation": 0.9}, "a decay of 0.9 s"),
        ({"pitch": 95.0}, "a pitch of 95 Hz, usually 19"),
        ({"voiced_share": 0.1}, "10% of the speech is voiced"),
        ({"timbre": tuple(np.linspace(-9, 9, 12))}, "another voice, another room or no voice?"),
        ({"clipped_share": 0.01}, "1.00% of its samples lie in flat tops"),
        ({"sample_rate": 22050}, "its header says 22050 Hz, that of 99% of the clips 16000 Hz"),
        ({"speech_share": 0.0}, "no speech is heard in it"),
        ({"text": "Read this aloud. Read this aloud."}, "its text says “read this aloud” twice"),
        ({"phonemes": 400.0}, "400 phonemes"),
        ({"heard": "something else", "word_errors": 1.0}, "speech recognition heard “something else”: 100%"),
    ],
)
def test_what_is_odd_comes_first_and_says_why(table, values, said):
    id = next(i for i in rank(table).index[::-1] if len(table.at[i, "text"].split()) > 4)
    assert rank(table).at[id, "score"] == 0
    ranked = rank(changed(table, id, **values))
    assert ranked.at[id, "score"] > 0.5 and id in ranked.index[:3]
    assert said in ranked.at[id, "reasons"][0] + ranked.at[id, "reasons"][-1]


def test_worse_is_never_ranked_better(table):
    id = rank(table).index[-1]
    for column, steps in {"snr": (30, 20, 10, 0), "pitch": (150, 120, 90), "clipped_share": (1e-4, 1e-3, 1e-2)}.items():
        scores = [rank(changed(table, id, **{column: float(value)})).at[id, "score"] for value in steps]
        assert scores == sorted(scores) and scores[-1] > scores[0]
    both = rank(changed(table, id, snr=10.0, pitch=90.0)).at[id, "score"]
    assert both == pytest.approx(
        rank(changed(table, id, snr=10.0)).at[id, "score"] + rank(changed(table, id, pitch=90.0)).at[id, "score"]
    )


def test_quarantined_come_first_with_their_reason(table):
    ids = list(rank(table).index[-2:])
    table = changed(table, ids[0], split="quarantined", reason="silent: record it again", phonemes=np.nan)
    empty = {name: np.nan for name in ("recorded_seconds", "snr", "pitch", "speech_share", "phonemes", "lead_silence")}
    table = changed(table, ids[1], split="quarantined", reason="no audio file", **empty)
    table.at[ids[1], "timbre"] = None
    ranked = rank(table)
    assert set(ranked.index[:2]) == set(ids) and (ranked["score"][:2] >= QUARANTINED).all()
    assert ranked.at[ids[1], "reasons"] == ["quarantined: no audio file"]
    assert ranked.at[ids[0], "reasons"][0] == "quarantined: silent: record it again"
    unmeasured = rank(changed(table, ranked.index[-1], **empty))
    assert unmeasured.at[ranked.index[-1], "score"] >= MOST


def test_each_speaker_is_compared_with_himself(table):
    """A second voice is odd as long as nothing says that there are two."""
    man = table.copy()
    man.index = [f"{id}-joe" for id in man.index]
    man["pitch"] /= 2
    man["timbre"] = [tuple(np.add(one, np.linspace(8, -8, 12))) for one in man["timbre"]]
    few = rank(pd.concat([table, man[:6]]))
    assert all(id.endswith("-joe") for id in few.index[:6])
    named = rank(pd.concat([table.assign(speaker="allison"), man.assign(speaker="joe")]))
    alone = rank(table)
    assert (named["score"] == 0).mean() == pytest.approx((alone["score"] == 0).mean(), abs=0.1)


@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_small_corpora_are_ranked_too(table, count):
    ranked = rank(table.sample(count, random_state=1))
    assert len(ranked) == count and (count < 10 or (ranked["score"] == 0).mean() > 0.5)
    if count == 10:
        id = ranked.index[-1]
        assert rank(changed(table.loc[ranked.index], id, snr=5.0, pitch=90.0)).index[0] == id


def test_many_clips_are_ranked_by_the_same_rules(table):
    many = pd.concat([table.set_axis([f"{id}-{turn}" for id in table.index]) for turn in range(100)])
    many = changed(many, many.index[4321], snr=8.0)
    ranked = rank(many)
    assert many.index[4321] in ranked.index[:200] and (ranked["score"] == 0).mean() > 0.7
