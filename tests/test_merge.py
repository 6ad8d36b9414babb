"""Corpora joined with +: ids, speakers, weights, and how often an epoch of training then draws each clip."""

import io
import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from tts_lab import buckets
from tts_lab.cli import main
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.merge import read_sources, split_sources
from tts_lab.corpus.prepare import prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend

SAMPLES = Path(__file__).parent.parent / "data_samples"
LINES = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()


def corpus(folder: Path, lines: list[str], audio: str = "wavs") -> Path:
    (folder / audio).mkdir(parents=True)
    for line in lines:
        name = line.split("|")[0]
        shutil.copy(SAMPLES / f"{name}.flac", folder / audio / f"{name}.flac")
    (folder / "metadata.csv").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder


def read(source: str, **options):
    return read_sources(split_sources(source, **options))


@pytest.fixture
def two(tmp_path) -> str:
    """Two corpora of four clips each, of which one clip is in both; the second's recordings lie elsewhere."""
    corpus(tmp_path / "anna", LINES[:4])
    corpus(tmp_path / "bob", LINES[3:7], audio="elsewhere")
    return f"{tmp_path / 'anna'}+{tmp_path / 'bob'}"


def test_each_corpus_has_its_own_settings(two, tmp_path):
    merged = read(two, audio_dir=f"+{tmp_path / 'bob' / 'elsewhere'}", speaker="anna+bob", weight="1+0.5")
    first, second = ([line.split("|")[0] for line in LINES[i : i + 4]] for i in (0, 3))
    twice = second[0]
    wanted = [*first[:3], f"anna_{twice}", f"bob_{twice}", *second[1:]]
    assert [row.id for row in merged.rows] == wanted
    assert [(row.speaker, row.weight) for row in merged.rows] == [("anna", 1.0)] * 4 + [("bob", 0.5)] * 4
    assert [row.where for row in merged.rows[3:5]] == ["anna/metadata.csv line 4", "bob/metadata.csv line 1"]
    assert all(row.audio.is_file() for row in merged.rows)
    assert any("1 ids are in several corpora" in note for note in merged.notes)
    assert "anna: most lines" in merged.why and "bob: most lines" in merged.why


def test_a_path_with_a_plus_that_exists_is_one_corpus(tmp_path):
    folder = corpus(tmp_path / "a+b", LINES[:3])
    assert len(read(str(folder)).rows) == 3
    assert [source.path for source in split_sources("no/a+no/b")] == [Path("no/a"), Path("no/b")]


def test_two_folders_of_one_name(tmp_path):
    corpus(tmp_path / "x" / "data", LINES[:2])
    corpus(tmp_path / "y" / "data", LINES[:2])
    names = [line.split("|")[0] for line in LINES[:2]]
    rows = read(f"{tmp_path / 'x' / 'data'}+{tmp_path / 'y' / 'data'}").rows
    assert [row.id for row in rows] == [f"{corpus}_{name}" for corpus in ("data", "data-2") for name in names]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": "1+2+3"}, r"names 2 corpora, and --weight 1\+2\+3 has 3 part"),
        ({"speaker": "anna"}, "--speaker anna has 1 part"),
        ({"weight": "1+0"}, "number over 0.*leave a corpus out"),
        ({"weight": "1+much"}, "number over 0"),
        ({"speaker": "+bob"}, "some do not; name one for each"),
    ],
)
def test_wrong_options_are_told(two, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        read(two, **({"audio_dir": f"+{tmp_path / 'bob' / 'elsewhere'}"} | options))


def test_a_speaker_for_a_manifest_that_names_its_own(tmp_path):
    lines = [line.replace("|", "|zoe|", 1) for line in LINES[:3]]
    with pytest.raises(UserError, match="names its speakers itself .zoe."):
        read(str(corpus(tmp_path / "own", lines)), speaker="anna")


def test_merged_corpora_through_prepare(two, tmp_path):
    """Speakers are numbered over all, weights stored, and only weights change a fingerprint."""

    def make(out: str, weight: str | None) -> Corpus:
        console = Console(file=io.StringIO())
        options = {"audio_dir": f"+{tmp_path / 'bob' / 'elsewhere'}", "speaker": "zoe+adam", "weight": weight}
        prepare(two, tmp_path / out, PrepareSettings(), Frontend(), jobs=1, console=console, **options)
        return Corpus.load(tmp_path / out)

    plain, ones, weighted = make("plain", None), make("ones", "1+1"), make("weighted", "1+0.5")
    assert plain.speakers == weighted.speakers == {"adam": 0, "zoe": 1}
    assert Counter(u.speaker for u in plain.utterances) == {"zoe": 4, "adam": 4}
    assert {(u.speaker, u.weight) for u in weighted.utterances} == {("zoe", 1.0), ("adam", 0.5)}
    assert plain.fingerprint == ones.fingerprint != weighted.fingerprint


def make(source: str, out: Path, settings: PrepareSettings | None = None, **options) -> tuple[Corpus, str]:
    console = Console(file=io.StringIO(), width=200)
    options = {"jobs": 1} | options
    prepare(source, out, settings or PrepareSettings(), Frontend(), console=console, **options)
    return Corpus.load(out), console.file.getvalue()


def test_each_corpus_has_its_own_audio_settings(tmp_path):
    """a+b with settings of each are the clips of a and of b prepared alone, byte for byte, and found made again."""
    one, other = corpus(tmp_path / "anna", LINES[:4]), corpus(tmp_path / "bob", LINES[4:8])
    for path in (other / "wavs").iterdir():
        audio, rate = soundfile.read(path)
        soundfile.write(path, np.concatenate([audio, np.zeros(rate)]), rate)  # for trimming to cut
    each = {"trim": "true+false", "loudness": "+-20", "max_seconds": "15"}
    both, said = make(f"{one}+{other}", tmp_path / "both", each=each, jobs=2)
    assert "anna: Its own settings: trim true, loudness -23.0." in said
    assert "bob: Its own settings: trim false, loudness -20.0." in said
    ways = (PrepareSettings(max_seconds=15.0), PrepareSettings(trim=False, loudness=-20.0, max_seconds=15.0))
    alone = [
        make(str(source), tmp_path / f"alone-{source.name}", way)[0]
        for source, way in zip((one, other), ways, strict=True)
    ]
    clips = [(u, part.folder / u.audio) for part in alone for u in part.utterances]
    assert len(clips) == len(both.utterances) == 8
    for made, (lone, path) in zip(both.utterances, clips, strict=True):
        assert (made.id, made.audio, made.samples) == (lone.id, lone.audio, lone.samples)
        assert (both.folder / made.audio).read_bytes() == path.read_bytes()
    # Trimming and level did change what they were asked to change, and nothing else.
    plain, _ = make(f"{one}+{other}", tmp_path / "plain")
    assert not {u.audio for u in plain.utterances} & {u.audio for u in both.utterances}
    assert [u.samples for u in plain.utterances[:4]] == [u.samples for u in both.utterances[:4]]
    assert sum(u.samples for u in plain.utterances[4:]) < sum(u.samples for u in both.utterances[4:])
    assert [u.source for u in both.utterances] == ["anna"] * 4 + ["bob"] * 4
    stored = json.loads((both.folder / "corpus.json").read_text())["manifest"]["sources"]
    assert [(s["name"], s["settings"]["trim"], s["settings"]["loudness"]) for s in stored] == [
        ("anna", True, -23.0), ("bob", False, -20.0)
    ]  # fmt: skip
    assert {s["settings"]["max_seconds"] for s in stored} == {15.0}
    # A second run makes nothing; a changed setting of one corpus makes its clips anew and finds the other's.
    again, said = make(f"{one}+{other}", both.folder, each=each)
    assert again == both and "8 recordings were already done" in said
    assert "4 recordings were already done" in make(f"{one}+{other}", both.folder, each=each | {"peak": "+0.5"})[1]


def test_settings_of_each_corpus_on_the_command_line(tmp_path):
    one, other = corpus(tmp_path / "anna", LINES[:3]), corpus(tmp_path / "bob", LINES[3:6])
    out = tmp_path / "out"
    arguments = [
        "prepare",
        f"{one}+{other}",
        "--out",
        str(out),
        "--jobs",
        "1",
        "--loudness",
        "-23+-20",
        "--peak",
        "0.9",
    ]
    assert main([*arguments, "--keep-seconds=0.1+"]) == 0
    stored = json.loads((out / "corpus.json").read_text())["manifest"]["sources"]
    told = [[source["settings"][name] for name in ("loudness", "keep_seconds", "peak")] for source in stored]
    assert told == [[-23.0, 0.1, 0.9], [-20.0, 0.25, 0.9]]


@pytest.mark.parametrize(
    ("each", "message"),
    [
        ({"trim": "true+false+true", "peak": "1+1+1"}, "names 2 corpora.*--trim .* 3 part.*, and --peak .* 3 part"),
        (
            {"sample_rate": "16000+22050"},
            "sample_rate 16000.22050: must be one for all corpora, for a voice has one sample rate",
        ),
        ({"rate_outlier": "3+4"}, "rate_outlier 3.4: must be one for all.*only trim, "),
        ({"trim": "1+false"}, "anna: --trim 1: must be true or false"),
        ({"peak": "+loud"}, "bob: --peak loud: must be a number"),
        ({"peak": "+null"}, "bob: --peak null: must be a number"),
        ({"min_seconds": "+30"}, "bob: prepare: min_seconds 30.0 must be under max_seconds 20.0"),
    ],
)
def test_wrong_settings_of_each_corpus_are_told(each, message):
    with pytest.raises(UserError, match=message):
        split_sources("anna+bob", each=each)


def test_parts_of_settings_for_one_corpus_are_told(capsys):
    assert main(["prepare", "anna", "--trim", "true+false"]) == 1
    assert "anna names 1 corpus, and --trim true+false has 2 part(s)" in capsys.readouterr().err


LENGTHS = [(20 + i % 7, int(n)) for i, n in enumerate(np.random.default_rng(0).integers(40, 400, 240))]


def drawn(weights: list[float], epoch: int, seed: int = 5) -> Counter[tuple[int, ...]]:
    """How often one epoch draws each row; batches of one row, so that none is filled up."""
    plan = buckets.plan(LENGTHS, 3, groups=weights)
    schedule = buckets.Schedule(plan, 1, seed, weights)
    first = epoch * schedule.batches_per_epoch
    batches = [schedule.batch(first + i) for i in range(schedule.batches_per_epoch)]
    return Counter(row for batch in batches for row in batch.rows)


def test_weights_say_how_often_an_epoch_draws_a_clip():
    weights = [(0.5, 1.0, 2.0)[i % 3] for i in range(len(LENGTHS))]
    counts, over = drawn(weights, 0), sum((drawn(weights, epoch) for epoch in range(40)), Counter())
    for bucket in buckets.plan(LENGTHS, 3, groups=weights):
        rows = {weight: [row for row in bucket.rows if weights[row[0]] == weight] for weight in (0.5, 1.0, 2.0)}
        assert all(counts[row] == weight for weight in (1.0, 2.0) for row in rows[weight])
        half = math.ceil(len(rows[0.5]) / 2)
        assert half > 2 and sorted(counts[row] for row in rows[0.5])[-half - 1 :] == [0] + [1] * half
        assert all(8 <= over[row] <= 34 for row in rows[0.5]), "each epoch draws another half"
    clips = [sum(over[row] for row in over if i in row) for i in range(len(LENGTHS)) if weights[i] == 0.5]
    assert np.mean(clips) == pytest.approx(20, rel=0.1)


def test_weighted_order_depends_on_seed_and_number_alone():
    weights = [(0.5, 1.5)[i % 2] for i in range(len(LENGTHS))]
    plan = buckets.plan(LENGTHS, 3, groups=weights)
    one, other = (buckets.Schedule(plan, 8, 5, weights) for _ in range(2))
    total = 3 * one.batches_per_epoch
    forwards = [one.batch(i) for i in range(total)]
    assert forwards == [other.batch(i) for i in reversed(range(total))][::-1]
    assert all(len(batch.rows) == 8 for batch in forwards)
    assert drawn(weights, 0) != drawn(weights, 1) and drawn(weights, 0) != drawn(weights, 0, seed=6)


def test_weights_of_one_change_nothing():
    plan = buckets.plan(LENGTHS, 3)
    one, other = buckets.Schedule(plan, 8, 5), buckets.Schedule(plan, 8, 5, [1.0] * len(LENGTHS))
    assert [one.batch(i) for i in range(60)] == [other.batch(i) for i in range(60)]
