"""Decisions outlive crashes and restarts, and prepare does what was decided, no more and no less."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from tts_lab.corpus.audio import Unusable, make_clip
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.decisions import Decisions
from tts_lab.corpus.prepare import prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend

SAMPLES = Path(__file__).parent.parent / "data_samples"
LINES = dict(line.split("|") for line in (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines())
NAMES = list(LINES)[:6]
FRONTEND = Frontend("en-us")


def copy(folder: Path, names: list[str] = NAMES, texts: dict[str, str] = LINES) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        if (SAMPLES / f"{name}.flac").is_file():
            shutil.copy(SAMPLES / f"{name}.flac", folder)
    (folder / "metadata.csv").write_text("".join(f"{name}|{texts[name]}\n" for name in names), encoding="utf-8")
    return folder


def run(source: Path, out: Path, **options) -> tuple[Corpus, str]:
    console = Console(file=io.StringIO(), width=300)
    made = prepare(source, out, PrepareSettings(), FRONTEND, jobs=1, console=console, **options)
    return made, console.file.getvalue()


def on(name: str) -> dict[str, str]:
    """What is on screen when a clip of data_samples is decided about."""
    return {"about": LINES[name], "recording": f"/anywhere/{name}.flac"}


def test_decisions_are_on_the_disk_at_once_and_the_last_one_stands(tmp_path):
    made = Decisions.load(tmp_path)
    assert made.path == tmp_path / "review.jsonl" and len(made) == 0
    made.decide("a", "keep", about="One.", recording="x/a.wav")
    made.decide("a", "reject", about="One.", recording="a.wav", reason="a cough")
    made.decide("b", "cut", about="Zwei — “drei”\u2028.", recording="b.wav", begin=0.5, end=1.25)
    again = Decisions.load(tmp_path / "review.jsonl")
    assert list(again) == list(made) and again.counts() == {"reject": 1, "cut": 1} and again.problems == []
    assert again.of("a").reason == "a cough" and again.of("b").cut == (0.5, 1.25) and again.of("c") is None
    lines = [json.loads(line) for line in (tmp_path / "review.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert [line["action"] for line in lines] == ["keep", "reject", "cut"]
    assert list(lines[0]) == ["id", "action", "about", "recording", "at"]  # what was not decided is not said


def test_undo_takes_back_one_step_also_after_a_restart(tmp_path):
    made = Decisions.load(tmp_path)
    made.decide("a", "keep", about="One.", recording="a.wav")
    made.decide("a", "reject", about="One.", recording="a.wav")
    assert made.undo("a").action == "keep" and Decisions.load(tmp_path).of("a").action == "keep"
    again = Decisions.load(tmp_path)
    assert again.undo("a") is None and len(again) == 0 and len(Decisions.load(tmp_path)) == 0
    size = again.path.stat().st_size
    assert again.undo("a") is None and again.path.stat().st_size == size  # nothing left to take back


def test_corrections_of_one_line_add_up(tmp_path):
    made = Decisions.load(tmp_path)
    made.decide("a", "text", about="One  too.", recording="a.wav", text=" One\ntwo. ")
    both = made.decide("a", "cut", about="One too.", recording="a.wav", begin=0, end=2)
    assert (both.about, both.text, both.cut) == ("One too.", "One two.", (0, 2))
    # The corpus was prepared again, and the corrected text is on screen now.
    kept = made.decide("a", "keep", about="One two.", recording="a.wav")
    assert (kept.about, kept.text, kept.cut) == ("One too.", "One two.", (0, 2))
    back = made.decide("a", "text", about="One two.", recording="a.wav", text="One too.")
    assert (back.action, back.text, back.cut) == ("keep", None, (0, 2))
    other = made.decide("a", "keep", about="Quite another line.", recording="a.wav")
    assert other.about == "Quite another line." and other.text is None and other.cut is None


def test_a_half_written_line_costs_that_line_alone(tmp_path):
    made = Decisions.load(tmp_path)
    for name in "abc":
        made.decide(name, "keep", about="Ünë.", recording=f"{name}.wav")
    whole = made.path.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for length in range(last + 1, len(whole) - 1):  # a crash anywhere in the last line, inside a letter too
        made.path.write_bytes(whole[:length])
        after = Decisions.load(made.path)
        assert [decision.id for decision in after] == ["a", "b"]
        assert after.problems == ["review.jsonl:3 is half-written and was passed over"]
    after.decide("d", "keep", about="Four.", recording="d.wav")
    again = Decisions.load(made.path)
    assert [decision.id for decision in again] == ["a", "b", "d"] and len(again.problems) == 1


def test_two_files_join_with_cat(tmp_path):
    made = Decisions.load(tmp_path)
    made.decide("a", "keep", about="One.", recording="a.wav")
    theirs = made.path.read_bytes() + b'{"id": "a", "action": "undo", "at": "2026"}\r\n{"id": "b", "action": "keep"}'
    made.path.write_bytes(b"\xef\xbb\xbf" + made.path.read_bytes() + theirs)
    joined = Decisions.load(made.path)
    assert joined.of("a") is None and joined.of("b").action == "keep" and joined.problems == []


def test_lines_that_are_no_decisions_are_told_together(tmp_path):
    path = tmp_path / "mine.jsonl"
    lines = ['{"id": "a", "action": "delete"}', '{"id": "a", "action": "cut", "begin": 3, "end": 1}', '["keep"]',
             '{"id": "a", "action": "keep", "mood": 1}', '{"id": "a", "action": "text", "text": " "}',
             '{"id": "a", "action": "cut", "begin": "1", "end": 2}', '{"id": "a", "action": "cut"}',
             f'{{"id": "a", "action": "cut", "begin": 1, "end": 1{400 * "0"}}}']  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError) as told:
        Decisions.load(path)
    assert all(f"mine.jsonl:{number}: " in str(told.value) for number in range(1, len(lines) + 1))
    assert "'delete'" in str(told.value) and "mood" in str(told.value) and "3 to 1 s is empty" in str(told.value)


def test_a_decision_that_makes_no_sense_or_cannot_be_saved_leaves_what_stood(tmp_path):
    made = Decisions.load(tmp_path)
    made.decide("a", "keep", about="One.", recording="a.wav")
    for action, wrong in (("text", {"text": "  "}), ("text", {}), ("cut", {"begin": 2, "end": 1}), ("burn", {})):
        with pytest.raises(UserError, match="^a: "):
            made.decide("a", action, about="One.", recording="a.wav", **wrong)
    lost = Decisions(made.path / "under-a-file.jsonl")
    with pytest.raises(UserError, match="could not be saved"):
        lost.decide("a", "keep", about="One.", recording="a.wav")
    assert len(lost) == 0 and made.of("a").action == "keep" and len(Decisions.load(tmp_path)) == 1


def test_prepare_follows_every_kind_of_decision(tmp_path):
    source, out = copy(tmp_path / "source"), tmp_path / "out"
    before, _ = run(source, out)
    keep, text, cut, reject, both, alone = NAMES
    seconds = {name: soundfile.info(source / f"{name}.flac").duration for name in NAMES}
    made = Decisions.load(out)
    made.decide(keep, "keep", **on(keep))
    made.decide(text, "text", **on(text), text="Something else is said here.")
    made.decide(cut, "cut", **on(cut), begin=0.4, end=seconds[cut] - 0.6)
    made.decide(reject, "reject", **on(reject), reason="another speaker")
    made.decide(both, "text", **on(both), text="Another text.")
    made.decide(both, "cut", **on(both), begin=0.3, end=seconds[both])
    after, said = run(source, out)
    old, new = ({u.id: u for u in corpus.utterances} for corpus in (before, after))
    assert list(new) == [name for name in NAMES if name != reject]
    [gone] = after.quarantined
    assert (gone.id, gone.reason) == (reject, "rejected in review: another speaker") and gone.text == LINES[reject]
    assert (out / gone.recording).resolve() == source / f"{reject}.flac"
    assert new[alone] == old[alone] and new[keep].notes[0] == "kept in review"
    assert {new[name].audio == old[name].audio for name in (keep, text, alone)} == {True}
    assert new[text].phoneme_ids == FRONTEND.encode("Something else is said here.").ids != old[text].phoneme_ids
    assert new[text].text == "Something else is said here." and "text corrected in review" in new[text].notes
    assert new[both].text == "Another text." and new[both].cut == [0.3, seconds[both]]
    assert "review.jsonl was followed: 1 kept as they are, 2 texts corrected, 2 cut, 1 rejected" in said
    assert after.fingerprint != before.fingerprint and Corpus.load(out) == after

    # The same stretch cut with soundfile alone, as a corpus of its own.
    own = copy(tmp_path / "own", [cut, both, alone])
    for name, begin, end in ((cut, 0.4, seconds[cut] - 0.6), (both, 0.3, seconds[both])):
        rate = soundfile.info(source / f"{name}.flac").samplerate
        part = soundfile.read(source / f"{name}.flac", start=round(begin * rate), stop=round(end * rate), dtype="int16")
        soundfile.write(own / f"{name}.flac", *part)
    for clip in run(own, tmp_path / "own_out")[0].utterances:
        np.testing.assert_array_equal(after.waveform(new[clip.id]), np.load(tmp_path / "own_out" / clip.audio))
        assert clip.id == alone or new[clip.id].samples < old[clip.id].samples

    again, said = run(source, out)
    assert again == after and "5 recordings were already done" in said  # the cut clips too
    for name in NAMES:
        while made.of(name):
            made.undo(name)
    assert run(source, out)[0] == before


def test_a_second_review_stands_on_the_first(tmp_path):
    source, out = copy(tmp_path / "source"), tmp_path / "out"
    run(source, out)
    made = Decisions.load(out)
    made.decide(NAMES[0], "text", **on(NAMES[0]), text="A first correction.")
    shown = run(source, out)[0].utterances[0]
    made.decide(NAMES[0], "cut", about=shown.text, recording=shown.recording, begin=0.2, end=2.0)
    clip = run(source, out)[0].utterances[0]
    assert clip.text == "A first correction." and clip.cut == [0.2, 2.0]
    # Someone corrects the manifest itself: the decision still fits.
    copy(source, texts=LINES | {NAMES[0]: "A first correction."})
    assert run(source, out)[0].utterances[0].cut == [0.2, 2.0]


def test_decisions_about_changed_lines_are_told_and_not_followed(tmp_path):
    source, out = copy(tmp_path / "source"), tmp_path / "out"
    made = Decisions.load(tmp_path / "elsewhere.jsonl")
    made.decide(NAMES[0], "reject", **on(NAMES[0]) | {"about": "An older text."})
    made.decide(NAMES[1], "cut", **on(NAMES[1]) | {"recording": "older.flac"}, begin=0, end=1)
    made.decide("nobody", "keep", about="?", recording="nobody.flac")
    corpus, said = run(source, out, decisions=made.path)
    assert len(corpus.utterances) == len(NAMES) and not corpus.quarantined and corpus.utterances[1].cut is None
    assert "not followed, because the text or the recording is another now, so look again (2): " in said
    assert all(f"{name} (metadata.csv line {line})" in said for name, line in ((NAMES[0], 1), (NAMES[1], 2)))
    assert "not followed, because the manifest has no such id (1): nobody" in said
    with pytest.raises(UserError, match="no such file of decisions"):
        run(source, out, decisions=tmp_path / "typo.jsonl")


def test_what_cannot_be_used_stays_out_and_says_so(tmp_path):
    source, out = copy(tmp_path / "source", [*NAMES, "absent"], LINES | {"absent": "Nothing was recorded."}), tmp_path
    audio, rate = soundfile.read(source / f"{NAMES[0]}.flac")
    soundfile.write(source / f"{NAMES[0]}.flac", 0 * audio, rate)
    made = Decisions.load(out)
    made.decide(NAMES[0], "keep", **on(NAMES[0]))
    made.decide(NAMES[1], "cut", **on(NAMES[1]), begin=0.0, end=99.0)
    made.decide("absent", "keep", about="Nothing was recorded.", recording="")
    corpus, said = run(source, out)
    reasons = {item.id: item.reason for item in corpus.quarantined}
    assert set(reasons) == {NAMES[0], NAMES[1], "absent"}
    assert reasons[NAMES[0]].startswith("silent") and "kept in review, and yet it cannot be used" in reasons[NAMES[0]]
    assert "the review cuts it from 0.00 to 99.00 s, and the recording has" in reasons[NAMES[1]]
    assert "because the manifest's line cannot be used, see below (1): absent" in said


def test_what_is_cut_away_may_be_faulty():
    audio, rate = soundfile.read(SAMPLES / f"{NAMES[0]}.flac", dtype="float32")
    bang = np.ones(rate // 5, np.float32)

    def flac(samples: np.ndarray) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format="FLAC")
        return file.getvalue()

    data = flac(np.concatenate([audio, bang]))
    with pytest.raises(Unusable, match="clipped"):
        make_clip(data, PrepareSettings())
    cut = make_clip(data, PrepareSettings(), (0.0, len(audio) / rate))
    np.testing.assert_array_equal(cut.audio, make_clip(flac(audio), PrepareSettings()).audio)


def test_a_corrected_text_is_not_spoken_with_the_ids_of_the_old_one(tmp_path):
    source, out, (name, other) = copy(tmp_path / "source", NAMES[:3]), tmp_path / "out", NAMES[:2]
    ids = {key: FRONTEND.encode(f"These ids say {number}.").ids for number, key in enumerate(NAMES[:3])}
    lines = [{"file_name": f"{key}.flac", "text": LINES[key], "phoneme_ids": ids[key]} for key in ids]
    (source / "metadata.csv").unlink()
    (source / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    made = Decisions.load(out)
    made.decide(name, "text", **on(name), text="Now this.")
    made.decide(other, "cut", **on(other), begin=0.1, end=2.0)
    clips = {utterance.id: utterance for utterance in run(source, out)[0].utterances}
    assert clips[name].phoneme_ids == FRONTEND.encode("Now this.").ids and clips[other].phoneme_ids == ids[other]


def test_the_analysis_measures_and_hears_what_is_left_of_a_cut_clip(tmp_path):
    from tts_lab.analysis.measuring import measure_all

    source, out, name = copy(tmp_path / "source", NAMES[:3]), tmp_path / "out", NAMES[0]
    whole = run(source, out)[0]
    quiet, heard = Console(file=io.StringIO()), {}

    def ears(paths) -> list[str]:
        heard[Path(paths[0]).name] = soundfile.read(paths[0], dtype="int16")[0]
        return [f"{len(heard[Path(paths[0]).name])} samples"]

    before = measure_all(whole, jobs=1, ears=ears, console=quiet)
    Decisions.load(out).decide(name, "cut", **on(name), begin=0.75, end=3.5)
    after = measure_all(run(source, out)[0], jobs=1, ears=ears, console=quiet)
    assert {key for key in before if before[key] != after[key]} == {name}

    own = copy(tmp_path / "own", NAMES[:3])
    rate = soundfile.info(own / f"{name}.flac").samplerate
    part, _ = soundfile.read(own / f"{name}.flac", start=rate * 3 // 4, stop=rate * 7 // 2, dtype="int16")
    soundfile.write(own / f"{name}.flac", part, rate)
    alone = measure_all(run(own, tmp_path / "own_out")[0], jobs=1, ears=ears, console=quiet)
    assert after[name] == alone[name] and after[name].measures.recorded_seconds == 2.75
    np.testing.assert_array_equal(heard["part.wav"], part)
