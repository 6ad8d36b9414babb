"""An analysis from a corpus folder to what is saved beside it, its tags, pictures and command."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from benchmarks import large_table
from tts_lab.analysis.analysis import Analysis, analyze, compared, plain, speech_left
from tts_lab.analysis.tags import SCALES, describe, tagged_values, tags_of
from tts_lab.cli import main
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.decisions import Decisions
from tts_lab.corpus.prepare import prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.notebook import analysis_plots
from tts_lab.notebook.picture import KEPT

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "data_samples"


def elsewhere(corpus: Corpus, folder: Path, utterances: list | None = None) -> Corpus:
    """A manifest of its own over the same recordings, for the analysis to write into."""
    clips = corpus.utterances if utterances is None else utterances
    clips = [replace(u, recording=str((corpus.folder / u.recording).resolve())) for u in clips]
    return replace(corpus, folder=folder, utterances=clips)


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory) -> Corpus:
    return elsewhere(Corpus.load(small_corpus), tmp_path_factory.mktemp("analysed"))


@pytest.fixture(scope="module")
def analysis(corpus) -> Analysis:
    return analyze(corpus, jobs=1)


@pytest.fixture(scope="module")
def soother(tmp_path_factory) -> tuple[Corpus, Analysis]:
    """Allison's clips as SOOTHER's were: a third hurried or dragged, with pauses put in, and the trimming off."""
    rng = np.random.default_rng(8)
    source = tmp_path_factory.mktemp("soother")
    for number, line in enumerate(lines := (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()):
        audio, rate = soundfile.read(SAMPLES / f"{line.split('|')[0]}.flac")
        if number % 3 == 0:
            middle = len(audio) // 2
            quiet = 1e-4 * rng.normal(size=int(rate * rng.uniform(1.5, 5)))
            audio = np.concatenate([audio[:middle], quiet, audio[middle:]])
            places = np.arange(0, len(audio) - 1, rng.uniform(0.7, 1.4))
            audio = np.interp(places, np.arange(len(audio)), audio)
        soundfile.write(source / f"{line.split('|')[0]}.flac", audio, rate)
    (source / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = PrepareSettings(sample_rate=16000, trim=False)
    made = prepare(source, source / "corpus", settings, Frontend("en-us"), jobs=1)
    return made, analyze(made, jobs=1)


def test_good_speech_is_called_good_and_soothers_bad(analysis, soother):
    for name in ("mean seconds by phonemes", "median seconds by phonemes", "speaking rate", "pauses inside", "noise",
                 "clipping", "pitch", "bandwidth", "reverberation"):  # fmt: skip
        assert analysis.verdict(name).ok is True, analysis.verdict(name).words
    bad = soother[1]
    for name in ("mean seconds by phonemes", "median seconds by phonemes", "speaking rate", "pauses inside"):
        assert bad.verdict(name).ok is False, bad.verdict(name).words
    assert bad.verdict("noise").ok and bad.verdict("bandwidth").ok  # what was not spoiled is not blamed


def test_the_clean_up_brings_the_verdicts_back(soother, tmp_path):
    made, before = soother
    spoiled = [u.id for u in made.utterances][::3]
    worst = list(before.worst(len(spoiled)).index)
    assert len(set(worst) & set(spoiled)) > 0.7 * len(spoiled)  # what to take out is what the list names
    after = analyze(elsewhere(made, tmp_path, [u for u in made.utterances if u.id not in worst]), jobs=1)
    table = compared(before, after)
    assert table.loc["speaking rate", "change"] == table.loc["pauses inside", "change"] == "better"
    assert (table["change"] == "better").sum() >= 4
    # Clips that are gone take their sounds and lengths with them, and nothing else gets worse.
    worse = set(table.index[table["change"] == "worse"])
    assert worse <= {"sounds missing", "sounds rare", "samples by characters", "samples by phonemes"}
    left = speech_left(before, after)
    assert left["after"].iloc[0] == pytest.approx(after.minutes / 60) and (left["after"] < left["before"]).all()
    drawn = analysis_plots.figures(after, before)
    gone = drawn["pace"].axes[0].lines[1]
    assert len(gone.get_xdata()) == len(worst)


def test_tags_are_stored_and_change_nothing_that_is_trained(corpus, analysis):
    stored = Corpus.load(corpus.folder)
    assert stored.fingerprint == analysis.fingerprint == replace(stored, tags={}, description="").fingerprint
    assert stored.tags["pitch"] == "quite high-pitch" and stored.tags["noise"] == "very clean"
    assert stored.description.startswith("A quite high voice speaks") and stored.description.endswith("recording.")
    assert all(set(u.tags) == set(SCALES) and u.description for u in stored.utterances)
    # Each tag is the word for that clip's own number.
    values = tagged_values(stored, analysis.table)
    for utterance, (_, row) in zip(stored.utterances, values.iterrows(), strict=True):
        edges, words = SCALES["pitch"].edges, SCALES["pitch"].words
        assert utterance.tags["pitch"] == words[sum(row["pitch"] >= edge for edge in edges)]
    first = stored.utterances[0]
    signs = len([symbol for symbol in first.phonemes if symbol not in "ˈˌ"])
    assert values["pace"].iloc[0] == pytest.approx(signs / (first.samples / 16000))


def test_sentences():
    assert describe({}) == "" and tags_of({"pitch": math.nan}) == {}
    deep = tags_of({"pitch": 70, "pace": 9, "monotony": 0.7, "noise": 12, "reverberation": 0.9})
    assert describe(deep) == (
        "A very low voice speaks slightly slowly and very monotonously, "
        "in a very noisy, very distant-sounding recording."
    )
    middle = tags_of({"pitch": 130, "pace": 13, "monotony": 2.5, "noise": 35, "reverberation": 0.35})
    assert describe(middle) == (
        "A medium voice speaks at moderate speed and with some melody, in a recording of middling clarity."
    )
    assert describe(tags_of({"pitch": 240.0})) == "A very high voice speaks."
    for scale in SCALES.values():
        assert len(scale.words) == 7 == len(scale.edges) + 1 and sorted(scale.edges) == list(scale.edges)
        assert scale.word(scale.edges[2]) == scale.words[3] and scale.word(scale.edges[2] - 1e-6) == scale.words[2]


def test_what_is_saved_is_what_is_loaded(analysis, tmp_path):
    odd = analysis.table.copy()
    odd.iloc[0, odd.columns.get_loc("text")] = 'NA, "None" | nan'
    odd.iloc[0, odd.columns.get_loc("pitch")] = math.nan
    odd["heard"] = odd["heard"].astype(object)
    odd.iloc[1, odd.columns.get_loc("heard")], odd.iloc[1, odd.columns.get_loc("word_errors")] = "", 1.0
    folder = replace(analysis, table=odd).save(tmp_path / "analysis")
    loaded = Analysis.load(folder)
    for name in odd.columns.drop("timbre"):
        pd.testing.assert_series_equal(loaded.table[name], odd[name], rtol=1e-5, check_dtype=False)
    assert loaded.table["heard"].iloc[1] == "" and loaded.table["heard"].iloc[2] is None
    np.testing.assert_allclose(loaded.table["timbre"].iloc[3], odd["timbre"].iloc[3], rtol=1e-5)
    assert loaded.verdicts == [replace(v, numbers=plain(dict(v.numbers))) for v in analysis.verdicts]
    assert loaded.texts.near == analysis.texts.near and loaded.description == analysis.description
    pd.testing.assert_frame_equal(
        loaded.statistics.characters, analysis.statistics.characters, check_dtype=False, check_names=False
    )
    body = (folder / "analysis.json").read_text()
    json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    review = json.loads((folder / "review.json").read_text())
    assert [item["id"] for item in review] == list(analysis.worst().index) and all(item["reasons"] for item in review)
    (folder / "analysis.json").write_text("{}")
    for broken in (folder, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="tts-lab analyze"):
            Analysis.load(broken)


def test_the_worst_clips_leave_out_those_that_were_listened_to(analysis, tmp_path):
    odd = analysis.worst()
    decisions = Decisions.load(tmp_path)
    assert analysis.worst(decisions=decisions).equals(odd)
    for id, other in ((odd.index[0], ""), (odd.index[2], ""), (odd.index[3], " of old")):
        decisions.decide(id, "keep", about=odd.at[id, "text"] + other, recording=odd.at[id, "recording"])
    left = analysis.worst(decisions=decisions)
    assert list(left.index) == [odd.index[1], *odd.index[3:]]  # of the fourth, another text was decided about
    assert list(analysis.worst(2, decisions).index) == list(left.index[:2])
    replace(analysis, corpus=str(tmp_path)).save(tmp_path / "analysis")
    assert [item["id"] for item in json.loads((tmp_path / "analysis/review.json").read_text())] == list(left.index)


def test_an_empty_corpus_is_told(corpus):
    with pytest.raises(UserError, match="keeps no utterance"):
        analyze(replace(corpus, utterances=[]))


def test_ten_clips_are_analysed_without_a_verdict_on_their_spread(corpus, tmp_path):
    few = analyze(elsewhere(corpus, tmp_path, corpus.utterances[:10]), jobs=1)
    assert few.verdict("noise").ok is None and "Too few" in few.verdict("noise").words
    assert all(picture.png()[:4] == b"\x89PNG" for picture in analysis_plots.figures(few).values())


def test_pictures_show_the_numbers_and_keep_the_colour_of_a_verdict(analysis):
    drawn = analysis_plots.figures(analysis)
    mean, median, mode, deviation, clips = drawn["characters"].axes
    found = analysis.statistics.characters
    for panel, column in ((mean, "mean"), (median, "median"), (mode, "mode"), (clips, "count")):
        np.testing.assert_array_equal(panel.lines[0].get_xdata(), found.index)
        np.testing.assert_array_equal(panel.lines[0].get_ydata(), found[column])
    assert any(set(line.get_ydata()) == {0.8} for line in deviation.lines)
    sign = next(text for text in clips.texts if text.get_gid() == KEPT)
    assert sign.get_text() == analysis_plots.SIGNS[analysis.verdict("samples by characters").mark][0]
    colour = sign.get_color()
    drawn["characters"].png(dark=True)
    assert sign.get_color() == colour and clips.title.get_color() != colour
    counted = sum(patch.get_height() for patch in drawn["symbols"].axes[0].patches)
    sounds = analysis.statistics.symbols
    assert counted == sum(n for s, n in sounds["clips"].items() if s not in " ˈˌːʲ,.?!;:-'\"̩")
    bars = [path for path in drawn["sound"].axes[4].patches]
    heights = bars[0].get_xy()
    assert heights[:, 1].max() == np.histogram(analysis.table["pitch"].dropna(), bins=analysis_plots.BINS)[0].max()


def test_the_command_reports_and_a_bad_corpus_is_no_error(soother, joe, tmp_path, capsys):
    made, _ = soother
    report = tmp_path / "out" / "analysis.json"
    status = main([
        "analyze", str(made.folder), "--base", str(joe), "--jobs", "1", "--figures", str(tmp_path / "figures"),
        "--json", str(report),
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert status == 0 and "bad" in said and "pauses inside" in said and made.description in said
    assert "clips are odd; the first 10" in said
    content = json.loads(report.read_text())
    assert "sounds new to the base voice" in [verdict["name"] for verdict in content["verdicts"]]
    assert {path.stem for path in (tmp_path / "figures").iterdir()} >= {"characters", "phonemes", "sound", "symbols"}
    assert Analysis.load(made.folder / "analysis").fingerprint == made.fingerprint
    assert main(["analyze", str(tmp_path)]) == 1 and "tts-lab prepare" in capsys.readouterr().err


@pytest.mark.slow
def test_many_rows_are_judged_in_bounded_memory():
    """A fifth of the benchmark's rows. The table itself stands at `before`; the analysis must add a share of it."""
    found = large_table.run(40_000)
    assert found["rows"] == 40_000 and found["near"] >= 780
    assert found["after_mb"] - found["before_mb"] < 150
