"""mimic2's five plots against a plain reference; the verdicts: good on real speech, bad on SOOTHER's kind."""

import math
import statistics
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tts_lab.analysis.amount import against_guides, amount_verdicts
from tts_lab.analysis.coverage import coverage_verdicts, usual_symbols
from tts_lab.analysis.lengths import length_verdicts, line, pooled_deviation
from tts_lab.analysis.measures import Measures
from tts_lab.analysis.sound import sound_verdicts
from tts_lab.analysis.statistics import by_length, rates, summary, symbols
from tts_lab.analysis.table import MEASURED, kept, make_table
from tts_lab.corpus.corpus import Corpus, Quarantined
from tts_lab.frontend import Frontend


@pytest.fixture(scope="module")
def corpus(small_corpus) -> Corpus:
    return Corpus.load(small_corpus)


@pytest.fixture(scope="module")
def table(corpus) -> pd.DataFrame:
    return make_table(corpus, {})


def dry(**changed: float) -> Measures:
    """A studio recording of 48 kHz in numbers."""
    good = {
        "recorded_seconds": 3.0, "sample_rate": 48000, "lead_silence": 0.1, "trail_silence": 0.1, "longest_pause": 0.2,
        "speech_share": 0.8, "loudness": -20.0, "peak": -3.0, "clipped_share": 0.0, "snr": 55.0, "bandwidth": 12000.0,
        "reverberation": 0.15, "pitch": 190.0, "pitch_deviation": 3.0, "voiced_share": 0.7, "timbre": (0.0,) * 12,
    }  # fmt: skip
    return Measures(**(good | changed))


def named(verdicts, name):
    return next(verdict for verdict in verdicts if verdict.name == name)


def test_the_table_has_a_row_an_utterance_and_every_field(corpus):
    lost = [
        Quarantined("gone", "metadata.csv line 3", "too short", "Hello", "../x/gone.wav"),
        Quarantined(corpus.utterances[0].id, "metadata.csv line 9", "the id of line 1 again", "Twice"),
    ]
    both = replace(corpus, quarantined=lost)
    first = corpus.utterances[0]
    measured = {first.id: SimpleNamespace(measures=dry(snr=41.0), heard="that AGENT is already on", problem="")}
    found = make_table(both, measured)
    assert list(found.columns) == [
        "text", "speaker", "split", "reason", "where", "recording", "seconds", "characters", "phonemes", *MEASURED,
        "heard", "word_errors",
    ]  # fmt: skip
    assert len(found) == 82 and found.index.is_unique and len(kept(found)) == 80
    row = found.loc[first.id]
    assert row["snr"] == 41 and row["seconds"] == first.samples / 16000 and row["phonemes"] == len(first.phonemes)
    # Said: that agent is already logged on please enter your agent number followed by the pound key.
    assert row["word_errors"] == pytest.approx(11 / 16)
    assert row["recording"].endswith(f"data_samples/{first.id}.flac") and row["recording"].startswith("/")
    assert found.loc["gone", "split"] == "quarantined" and math.isnan(found.loc["gone", "seconds"])
    # The second of an id is told apart, and gets none of the first one's numbers.
    again = found.iloc[-1]
    assert again.name != first.id and again["text"] == "Twice" and math.isnan(again["snr"])


@pytest.mark.parametrize("x", ["characters", "phonemes"])
def test_by_length_is_what_a_loop_over_the_clips_says(corpus, table, x):
    rng = np.random.default_rng(4)
    crowd = pd.concat([table.assign(seconds=table["seconds"] * rng.uniform(0.9, 1.1, len(table))) for _ in range(4)])
    found = by_length(crowd, x)
    groups: dict[int, list[float]] = {}
    for _, row in crowd.iterrows():
        groups.setdefault(int(row[x]), []).append(row["seconds"])
    assert list(found.index) == sorted(groups)
    for length, seconds in groups.items():
        row = found.loc[length]
        assert row["count"] == len(seconds)
        assert row["mean"] == pytest.approx(statistics.mean(seconds))
        assert row["median"] == pytest.approx(statistics.median(seconds))
        assert row["deviation"] == pytest.approx(statistics.stdev(seconds))
        modes = statistics.multimode(round(value / 0.1) for value in seconds)
        away = {mode: round(abs(mode * 0.1 - statistics.median(seconds)), 6) for mode in modes}
        assert row["mode"] == pytest.approx(0.1 * min(modes, key=lambda mode: (away[mode], mode)))


def test_pooled_deviation_and_line_are_those_of_the_clips_themselves(table):
    found = by_length(table, "characters")
    residuals = table["seconds"] - table["characters"].map(found["mean"])
    several = table["characters"].map(found["count"]) > 1
    freedom = int(several.sum() - found["count"].gt(1).sum())
    assert pooled_deviation(found) == (pytest.approx(math.sqrt((residuals[several] ** 2).sum() / freedom)), freedom)
    # The weighted line through the means is the plain line through the clips.
    slope, start, explained = line(found, "mean")
    assert (slope, start) == pytest.approx(np.polyfit(table["characters"], table["seconds"], 1))
    assert 0.8 < explained < 1


def test_summary_rates_and_symbols(corpus, table):
    first = corpus.utterances[0]
    rate = rates(table).loc[first.id]
    assert rate["phonemes_a_second"] == pytest.approx(len(first.phonemes) / (first.samples / 16000))
    found = summary(table)
    assert found.loc["seconds", "median"] == pytest.approx(statistics.median(table["seconds"]))
    assert found.loc["seconds", "deviation"] == pytest.approx(statistics.stdev(table["seconds"]))
    assert found.loc["snr", "clips"] == 0 and math.isnan(found.loc["snr", "mean"])
    sounds = symbols(corpus)
    assert sounds["times"].to_dict() == dict(corpus.symbol_counts()) and sounds["share"].sum() == pytest.approx(1)
    assert sounds.loc["θ", "clips"] == sum("θ" in u.phonemes for u in corpus.utterances)


def spoiled(table: pd.DataFrame) -> pd.DataFrame:
    """SOOTHER's corpus in small: the same texts now hurried, now dragged, with silence that nobody cut."""
    rng = np.random.default_rng(9)
    pace, silence = rng.uniform(0.6, 1.6, len(table)), rng.exponential(1.5, len(table))
    return table.assign(seconds=table["seconds"] * pace + silence)


@pytest.mark.parametrize("x", ["characters", "phonemes"])
def test_real_speech_rises_in_a_line_and_the_spoiled_does_not(table, x):
    # Sixteen clips a text, as a corpus of an hour has them of a length, each read a little differently.
    rng = np.random.default_rng(2)
    many = pd.concat([table.assign(seconds=table["seconds"] * rng.normal(1, 0.03, len(table))) for _ in range(16)])
    good, bad = (length_verdicts(by_length(one, x), x) for one in (many, spoiled(many)))
    assert [v.ok for v in good[:4]] == [True] * 4, [v.words for v in good]
    assert named(bad, f"standard deviation by {x}").ok is False
    few_good, few_bad = (length_verdicts(by_length(one, x), x) for one in (table, spoiled(table)))
    assert [v.ok for v in few_good[:2]] == [True] * 2
    assert [v.ok for v in few_bad[:3]] == [False] * 3
    assert "0.8 s" in good[3].rule and "line" in good[0].rule and all(v.words for v in good)


def test_a_long_tail_of_few_clips_is_named(table):
    rng = np.random.default_rng(5)
    lengths = np.clip(rng.normal(80, 20, 600), 10, 150).astype(int)
    bell = pd.DataFrame({"split": "train", "characters": lengths, "seconds": lengths * 0.06})
    assert length_verdicts(by_length(bell), "characters")[4].ok is True
    flat = bell.assign(characters=rng.integers(20, 150, 600))
    assert length_verdicts(by_length(flat), "characters")[4].ok is True
    tail = pd.concat([bell, bell.head(6).assign(characters=[260, 290, 310, 350, 380, 400])])
    verdict = length_verdicts(by_length(tail), "characters")[4]
    assert verdict.ok is False and "up to 400" in verdict.words
    # The six are named, and nothing of the bell but its thin end.
    assert 6 <= verdict.numbers["beyond"] <= 12 and verdict.numbers["high"] < 200


def test_of_ten_clips_nothing_is_said(table, corpus):
    ten = table.head(10)
    verdicts = [
        *length_verdicts(by_length(ten), "characters"), *sound_verdicts(ten, 16000, {}),
        *length_verdicts(by_length(ten.head(0)), "characters"), *sound_verdicts(ten.head(0), 16000, {}),
    ]  # fmt: skip
    assert {verdict.ok for verdict in verdicts} == {None}
    assert "Too few to tell: 10 clips" in verdicts[0].words


FAULTS = {
    "silence at the ends": {"trail_silence": 2.0},
    "pauses inside": {"longest_pause": 2.5},
    "loudness": {"loudness": -45.0},
    "clipping": {"clipped_share": 0.01},
    "noise": {"snr": 8.0},
    "pitch": {"pitch": 100.0},
}


def test_every_fault_of_the_sound_flips_its_verdict_and_no_other(corpus):
    studio = {u.id: SimpleNamespace(measures=dry(), heard=None, problem="") for u in corpus.utterances}
    settings = {"trim": False}
    whole = sound_verdicts(make_table(corpus, studio), 22050, settings)
    assert {v.name for v in whole if v.ok is None} == {"text and recording"}
    assert all(v.ok for v in whole if v.ok is not None), [v.words for v in whole if v.ok is False]
    for name, fault in FAULTS.items():
        ids = list(studio)[::8]  # one clip of eight
        broken = studio | {id: SimpleNamespace(measures=dry(**fault), heard=None, problem="") for id in ids}
        verdicts = sound_verdicts(make_table(corpus, broken), 22050, settings)
        assert [v.name for v in verdicts if v.ok is False] == [name]
    everywhere = {id: SimpleNamespace(measures=dry(reverberation=0.7), heard=None, problem="") for id in studio}
    assert named(sound_verdicts(make_table(corpus, everywhere), 22050, settings), "reverberation").ok is False


def test_upsampling_adds_nothing_and_is_told(corpus):
    phone = {u.id: SimpleNamespace(measures=dry(sample_rate=16000, bandwidth=7800.0), heard=None, problem="")
             for u in corpus.utterances}  # fmt: skip
    table = make_table(corpus, phone)
    verdict = named(sound_verdicts(table, 22050, {}), "bandwidth")
    assert verdict.ok is False and "nothing above 8 kHz" in verdict.words and "16000 Hz" in verdict.words
    assert named(sound_verdicts(table, 16000, {}), "bandwidth").ok is True
    mp3 = table.assign(sample_rate=44100)
    verdict = named(sound_verdicts(mp3, 22050, {}), "bandwidth")
    assert verdict.ok is False and "44100 Hz" in verdict.words and "MP3" in verdict.words


def test_words_that_were_not_heard(corpus):
    clips = list(corpus.utterances)
    heard = {u.id: SimpleNamespace(measures=dry(), heard=u.text.upper(), problem="") for u in clips}
    verdict = named(sound_verdicts(make_table(corpus, heard), 16000, {}), "text and recording")
    assert verdict.ok is True and verdict.numbers["median"] == 0
    for one, other in zip(clips[:10], clips[10:20], strict=True):  # ten swapped texts
        heard[one.id] = SimpleNamespace(measures=dry(), heard=other.text, problem="")
    assert named(sound_verdicts(make_table(corpus, heard), 16000, {}), "text and recording").ok is False


def test_amount_against_the_guides(table):
    guides = against_guides(90.0)
    assert guides["there"].eq(1.5).all() and list(guides["missing"]) == [0.0, 3.5, 28.5]
    minutes = table["seconds"].sum() / 60
    assert named(amount_verdicts(table), "amount of speech").ok is False
    hour = amount_verdicts(table.assign(seconds=table["seconds"] * 61 / minutes))
    assert named(hour, "amount of speech").ok is True and "61.0 minutes" in hour[0].words
    lost = table.assign(split=["quarantined"] * 10 + ["train"] * 70, reason=["3.1 s too short"] * 10 + [""] * 70)
    verdict = named(amount_verdicts(lost), "quarantined")
    assert verdict.ok is False and "10 of them because: 3.1 s too short" in verdict.words


def test_speakers_that_are_drowned(table):
    assert not [v for v in amount_verdicts(table) if v.name == "speakers"]
    even = amount_verdicts(table.assign(speaker=["ada", "bob"] * 40))
    assert named(even, "speakers").ok is True
    drowned = amount_verdicts(table.assign(speaker=["ada"] * 77 + ["bob"] * 3))
    assert named(drowned, "speakers").ok is False and "bob" in named(drowned, "speakers").words


def test_sounds_that_are_missing_rare_or_new(corpus, joe):
    english, russian = Frontend("en-us"), Frontend("ru")
    base = Frontend.from_voice(f"{joe}.json")
    found = coverage_verdicts(symbols(corpus), english, base)
    assert named(found, "id map").ok and named(found, "base voice's symbols").ok
    assert named(found, "sounds new to the base voice").ok
    # Without its words in "th" and "sh" the corpus lacks two sounds of English.
    without = replace(corpus, utterances=[u for u in corpus.utterances if not {"θ", "ʃ"} & set(u.phonemes)])
    verdict = named(coverage_verdicts(symbols(without), english), "sounds missing")
    assert verdict.ok is False and "θ" in verdict.words and "ʃ" in verdict.words
    rare = named(coverage_verdicts(symbols(replace(corpus, utterances=corpus.utterances[:30])), english), "sounds rare")
    assert rare.ok is False
    # Russian on an English voice: all symbols have a row, and some of the rows were never trained.
    texts = ["Съешь же ещё этих мягких французских булок, да выпей чаю.", "Широкая электрификация южных губерний."]
    read = [replace(corpus.utterances[0], phonemes=russian.encode(text).phonemes) for text in texts * 10]
    cyrillic = symbols(replace(corpus, utterances=read))
    verdicts = coverage_verdicts(cyrillic, russian, base)
    assert named(verdicts, "base voice's symbols").ok is True
    new = named(verdicts, "sounds new to the base voice")
    assert new.ok is False and "ɕ" in new.words and new.numbers["new"] >= 3
    assert {"ɕ", "ɭ"} <= usual_symbols(russian) and usual_symbols(Frontend("sw")) is None
    spelled = Frontend(phoneme_type="text")
    letters = named(coverage_verdicts(symbols(corpus), spelled, base), "sounds new to the base voice")
    assert letters.ok is False and "letters" in letters.words
    # A base voice whose map lacks a symbol leaves it out unsaid.
    small = replace(base, phoneme_id_map={s: i for s, i in base.phoneme_id_map.items() if s != "ɹ"})
    assert named(coverage_verdicts(symbols(corpus), english, small), "base voice's symbols").ok is False
