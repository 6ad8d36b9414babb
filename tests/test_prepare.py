"""The corpus as a whole: every utterance accounted for, runs that go on where the last one stopped."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from tts_lab.corpus.corpus import FORMAT, Corpus, Utterance
from tts_lab.corpus.prepare import held_out, prepare
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "data_samples"
LINES = (SAMPLES / "metadata.csv").read_text(encoding="utf-8").splitlines()
SETTINGS = PrepareSettings()
FRONTEND = Frontend("en-us")


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def copy_samples(folder: Path, count: int, start: int = 0) -> Path:
    """A folder of real clips with their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = LINES[start : start + count]
    for line in chosen:
        name = line.split("|")[0]
        shutil.copy(SAMPLES / f"{name}.flac", folder / f"{name}.flac")
    (folder / "metadata.csv").write_text("".join(line + "\n" for line in chosen), encoding="utf-8")
    return folder


def run(source: Path, out: Path, settings: PrepareSettings = SETTINGS, **options) -> tuple[Corpus, str]:
    console = quiet()
    options.setdefault("jobs", 1)
    frontend = options.pop("frontend", FRONTEND)
    found = prepare(source, out, settings, frontend, console=console, **options)
    return found, console.file.getvalue()


@pytest.fixture(scope="module")
def twelve(tmp_path_factory) -> tuple[Path, Path, Corpus]:
    source = copy_samples(tmp_path_factory.mktemp("twelve") / "source", 12)
    out = source.parent / "out"
    return source, out, run(source, out)[0]


def test_every_utterance_is_there_and_whole(twelve):
    _, out, made = twelve
    assert [u.id for u in made.utterances] == [line.split("|")[0] for line in LINES[:12]]
    assert not made.quarantined and made.sample_rate == 22050 and made.speakers == {}
    for utterance in made.utterances:
        audio = made.waveform(utterance)
        assert audio.dtype == np.float32 and audio.shape == (utterance.samples,) and np.abs(audio).max() <= 0.95
        assert utterance.phoneme_ids == FRONTEND.encode(utterance.text).ids
        assert not Path(utterance.audio).is_absolute()
    seconds = sum(soundfile.info(SAMPLES / f"{u.id}.flac").duration for u in made.utterances)
    assert 0.8 * seconds < made.seconds <= seconds + 0.1
    assert made.symbol_counts()["ˈ"] == sum(u.phonemes.count("ˈ") for u in made.utterances) > 0


def test_load_gives_what_was_saved(twelve):
    _, out, made = twelve
    loaded = Corpus.load(out)
    assert loaded == made and loaded.fingerprint == made.fingerprint
    assert Corpus.load(out / "corpus.json") == made
    assert json.loads((out / "corpus.json").read_text())["fingerprint"] == made.fingerprint
    assert Frontend.from_dict(loaded.frontend) == FRONTEND


def test_fingerprint_follows_what_training_reads(twelve):
    _, out, made = twelve
    for change in (lambda u: setattr(u, "split", "other"), lambda u: u.phoneme_ids.append(3)):
        other = Corpus.load(out)
        change(other.utterances[4])
        assert other.fingerprint != made.fingerprint


def test_a_second_run_does_no_work(twelve, monkeypatch):
    source, out, made = twelve
    before = {path.name: path.stat().st_mtime_ns for path in (out / "audio").iterdir()}
    monkeypatch.setattr("tts_lab.corpus.audio.make_clip", lambda *_: pytest.fail("made again"))
    again, said = run(source, out)
    assert again == made and "12 recordings were already done" in said
    assert before == {path.name: path.stat().st_mtime_ns for path in (out / "audio").iterdir()}


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines(twelve, monkeypatch):
    source, out, _ = twelve
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True)
    prepare(source, out, SETTINGS, FRONTEND, jobs=1, console=terminal)
    assert "━" in terminal.file.getvalue() and "12/12" in terminal.file.getvalue()
    monkeypatch.setattr("tts_lab.corpus.report.SECONDS_BETWEEN", 0.0)
    assert "audio and phonemes: 12 of 12" in run(source, out)[1]


def test_changed_settings_and_changed_recordings_are_made_anew(tmp_path):
    source = copy_samples(tmp_path / "source", 4)
    first, _ = run(source, tmp_path / "out")
    name = first.utterances[2].id
    audio, rate = soundfile.read(source / f"{name}.flac")
    soundfile.write(source / f"{name}.flac", audio[: len(audio) // 2], rate)
    second, said = run(source, tmp_path / "out")
    changed = [a.id for a, b in zip(first.utterances, second.utterances, strict=True) if a.audio != b.audio]
    assert changed == [name] and "3 recordings were already done" in said
    third, said = run(source, tmp_path / "out", PrepareSettings(loudness=-20.0))
    assert not {u.audio for u in third.utterances} & {u.audio for u in second.utterances}
    assert "already done" not in said and first.fingerprint != second.fingerprint != third.fingerprint
    same, said = run(source, tmp_path / "out", PrepareSettings(validation_share=0.5))
    assert "4 recordings were already done" in said and same.utterances[0].audio == second.utterances[0].audio


def test_processes_make_the_same_corpus(tmp_path, twelve):
    source, _, made = twelve
    pooled, _ = run(source, tmp_path / "out", jobs=2)
    assert pooled.fingerprint == made.fingerprint
    for a, b in zip(pooled.utterances, made.utterances, strict=True):
        np.testing.assert_array_equal(pooled.waveform(a), made.waveform(b))


def test_everything_that_can_be_wrong_is_quarantined_with_its_reason(tmp_path):
    source = copy_samples(tmp_path / "source", 4)
    speech, rate = soundfile.read(source / f"{LINES[0].split('|')[0]}.flac", dtype="float32")
    bad = {
        "silent": np.zeros(32000),
        "clipped": np.clip(speech * 8, -1, 1),
        "long": np.resize(speech, 90 * rate),
        "short": speech[:4000],
    }
    for name, audio in bad.items():
        soundfile.write(source / f"{name}.wav", audio, rate)
    (source / "void.wav").write_bytes(b"")
    (source / "cut.wav").write_bytes((source / "clipped.wav").read_bytes()[:-9999])
    kept = {"eight": ("PCM_U8", speech), "stereo": ("PCM_16", np.stack([speech, speech], 1))}
    for name, (subtype, audio) in kept.items():
        soundfile.write(source / f"{name}.wav", audio, rate, subtype=subtype)
    names = [*bad, "void", "cut", *kept, "gone", "../away", "stereo"]
    lines = "".join(f"{name}|Some words for it.\n" for name in names) + "eight2|\n" + "nonsense\n" + "stereo2|...\n"
    shutil.copy(source / "stereo.wav", source / "stereo2.wav")
    with (source / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write(lines)
    made, said = run(source, tmp_path / "out")
    reasons = {(q.id, q.where): q.reason for q in made.quarantined}
    expected = {
        ("silent", 5): "every sample is zero",
        ("clipped", 6): "clipped",
        ("long", 7): "over 20 s",
        ("short", 8): "under 0.5 s",
        ("void", 9): "0 bytes",
        ("cut", 10): "cut off",
        ("gone", 13): "no audio file",
        ("../away", 14): "leaves the audio folder",
        ("stereo", 15): "already used (metadata.csv line 12)",
        ("eight2", 16): "text is empty",
        ("nonsense", 17): "no `|`",
        ("stereo2", 18): "nothing to pronounce",
    }
    assert reasons.keys() == {(name, f"metadata.csv line {line}") for name, line in expected}
    for (name, line), reason in expected.items():
        assert reason in reasons[name, f"metadata.csv line {line}"]
        assert name in said and reason in said
    assert len(made.utterances) + len(made.quarantined) == 4 + len(names) + 3
    notes = {u.id: u.notes for u in made.utterances}
    assert any("8-bit" in note for note in notes["eight"])
    assert any("2 channels" in note for note in notes["stereo"])
    assert Corpus.load(tmp_path / "out").quarantined == made.quarantined


def test_symbols_that_the_map_lacks_are_said_loudly(tmp_path):
    small = Frontend(phoneme_id_map={s: i for s, i in FRONTEND.phoneme_id_map.items() if s != "ɹ"})
    made, said = run(copy_samples(tmp_path / "source", 4), tmp_path / "out", frontend=small)
    lost = made.symbol_counts()["ɹ"]
    assert len(made.utterances) == 4 and lost > 3
    assert "Not in the id map" in said and f"{lost}" in said and "U+0279" in said
    assert all("ɹ" not in u.phonemes or any("id map: ɹ" in note for note in u.notes) for u in made.utterances)


def test_too_long_for_attention_is_quarantined(tmp_path):
    made, _ = run(copy_samples(tmp_path / "source", 6), tmp_path / "out", PrepareSettings(max_phoneme_ids=130))
    assert made.utterances and made.quarantined
    assert all(len(u.phoneme_ids) <= 130 for u in made.utterances)
    assert all("phoneme ids are over 130" in q.reason for q in made.quarantined)


def test_text_that_does_not_fit_is_noted(tmp_path):
    source = copy_samples(tmp_path / "source", 12)
    lines = LINES[:12]
    lines[3] = lines[3].split("|")[0] + "|" + "These are far too many words for so short a recording. " * 4
    (source / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    made, _ = run(source, tmp_path / "out")
    assert [u.id for u in made.utterances if any("phonemes a second" in n for n in u.notes)] == [lines[3].split("|")[0]]


def test_speakers_are_numbered_by_name(tmp_path):
    source = copy_samples(tmp_path / "source", 6)
    lines = [line.replace("|", f"|{'zoe' if i % 2 else 'adam'}|", 1) for i, line in enumerate(LINES[:6])]
    (source / "metadata.csv").write_text("\n".join(reversed(lines)), encoding="utf-8")
    made, said = run(source, tmp_path / "out")
    assert made.speakers == {"adam": 0, "zoe": 1} and "zoe=1" in said
    assert {u.speaker for u in made.utterances} == {"adam", "zoe"}
    assert Corpus.load(tmp_path / "out").speakers == made.speakers


def test_ids_of_the_manifest_are_used_as_they_are(tmp_path):
    """The ids are those of another text, so that the front end cannot have made them."""
    source = copy_samples(tmp_path / "source", 5)
    ids = [FRONTEND.encode(line.split("|")[1]).ids for line in LINES[10:15]]
    ids[3] = [1, 0, 256, 0, 2]
    ids[4] = [1, 0, 2]
    lines = [f"{line}|{' '.join(map(str, own))}" for line, own in zip(LINES[:5], ids, strict=True)]
    (source / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    made, said = run(source, tmp_path / "out")
    assert [u.phoneme_ids for u in made.utterances] == ids[:3] and "phoneme ids" in said
    assert [u.text for u in made.utterances] == [line.split("|")[1] for line in LINES[:3]]
    spoken = [FRONTEND.encode(line.split("|")[1]).phonemes for line in LINES[10:13]]
    assert [u.phonemes for u in made.utterances] == spoken
    assert [q.where for q in made.quarantined] == ["metadata.csv line 4", "metadata.csv line 5"]
    assert "phoneme_ids holds 256, and the voice has 256 symbols (0 to 255)" in made.quarantined[0].reason
    assert "nothing to pronounce" in made.quarantined[1].reason


def test_letters_as_symbols(tmp_path):
    """Raw codepoints, in the order of Unicode's decomposition as stock Piper has it: the accent is a symbol."""
    source = copy_samples(tmp_path / "source", 3)
    lines = [line.split("|")[0] + "|" + text for line, text in zip(LINES, ("caf\u00e9", "ab", "ba"), strict=False)]
    (source / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    symbols = {"_": [0], "^": [1], "$": [2], "a": [3], "b": [4], "c": [5], "e": [6], "f": [7], "\u0301": [8]}
    letters = Frontend(phoneme_type="text", phoneme_id_map=symbols, num_symbols=9)
    made, _ = run(source, tmp_path / "out", frontend=letters)
    assert [u.phonemes for u in made.utterances] == [["c", "a", "f", "e", "\u0301"], ["a", "b"], ["b", "a"]]
    assert made.utterances[0].phoneme_ids == [1, 0, 5, 0, 3, 0, 7, 0, 6, 0, 8, 0, 2]
    assert Frontend.from_dict(Corpus.load(tmp_path / "out").frontend) == letters


def test_too_small_a_corpus_is_refused_and_its_report_kept(tmp_path):
    source = copy_samples(tmp_path / "source", 2)
    with pytest.raises(UserError, match="too small to train: 2 of 2 utterances .* at least 3 are needed"):
        run(source, tmp_path / "out")
    assert len(Corpus.load(tmp_path / "out").utterances) == 2


def test_the_split_is_by_id_and_stays(tmp_path):
    def utterances(names):
        return [Utterance(name, "", None, "", 1, [], [], "train") for name in names]

    names = [f"clip{i}" for i in range(2000)]
    out = {u.id for u in held_out(utterances(names), 0.1)}
    assert 150 < len(out) < 250
    fewer = {u.id for u in held_out(utterances(names[::-3]), 0.1)}
    assert fewer == out & set(names[::-3])
    assert len(held_out(utterances(["a", "b", "c"]), 1e-9)) == 1


def test_data_samples_split(tmp_path):
    names = [line.split("|")[0] for line in LINES]
    held = held_out([Utterance(name, "", None, "", 1, [], [], "train") for name in names], SETTINGS.validation_share)
    assert 6 <= len(held) <= 12


def test_workers_and_preparation_load_no_torch(tmp_path):
    """Twice: what importing loads, and what a worker has loaded once it worked."""
    source = copy_samples(tmp_path / "source", 12)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, json\n"
        "from tts_lab.corpus.prepare import prepare\n"
        "from tts_lab.corpus.settings import PrepareSettings\n"
        "from tts_lab.frontend import Frontend\n"
        "class Spy(Frontend):\n"
        "    def encode(self, text):\n"
        "        found = super().encode(text)\n"
        "        found.missing['torch' if 'torch' in sys.modules else 'none'] = 1\n"
        "        return found\n"
        "if __name__ == '__main__':\n"
        f"    c = prepare({str(source)!r}, {str(tmp_path / 'out')!r}, PrepareSettings(), Spy(), jobs=2)\n"
        "    assert 'torch' not in sys.modules and 'scipy' not in sys.modules\n"
        "    assert all('none' in u.notes[-1] for u in c.utterances), c.utterances[0].notes\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, script], check=True, env=environment, stdout=subprocess.DEVNULL)


def test_a_killed_run_leaves_nothing_half_written_and_goes_on(tmp_path):
    source = copy_samples(tmp_path / "source", 60)
    out = tmp_path / "out"
    code = (
        "from tts_lab.corpus.prepare import prepare; from tts_lab.corpus.settings import PrepareSettings\n"
        "from tts_lab.frontend import Frontend\n"
        f"prepare({str(source)!r}, {str(out)!r}, PrepareSettings(), Frontend(), jobs=1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
    )
    while len(list(out.glob("audio/*.json"))) < 10 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = {path.stem for path in (out / "audio").glob("*.json")}
    assert 10 <= len(done) < 60 and not (out / "corpus.json").exists()
    for name in done:
        samples = json.loads((out / "audio" / f"{name}.json").read_text())["samples"]
        assert len(np.load(out / "audio" / f"{name}.npy")) == samples
    made, said = run(source, out)
    assert len(made.utterances) == 60 and f"{len(done)} recordings were already done" in said


def test_leftovers_of_killed_runs_go_when_they_are_old(tmp_path):
    source = copy_samples(tmp_path / "source", 3)
    (tmp_path / "out" / "audio").mkdir(parents=True)
    old, young = tmp_path / "out/audio/.a.npy.1.tmp", tmp_path / "out/audio/.b.npy.2.tmp"
    old.touch()
    young.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    run(source, tmp_path / "out")
    assert not old.exists() and young.exists()


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    source = copy_samples(tmp_path / "source", 6)
    out = tmp_path / "out"
    run(copy_samples(tmp_path / "source", 4), out)
    before = (out / "corpus.json").read_bytes()
    copy_samples(tmp_path / "source", 6)
    original, calls = Path.write_bytes, []

    def full(self, data):
        calls.append(self)
        original(self, bytes(data)[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="could not be written: No space left.*make room"):
        run(source, out)
    monkeypatch.undo()
    assert calls and (out / "corpus.json").read_bytes() == before and not list(out.rglob("*.tmp"))
    made, said = run(source, out)
    assert len(made.utterances) == 6 and "4 recordings were already done" in said


def test_atomic_write_survives_an_interrupt(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_atomically(path, b"old")

    def interrupted(self, data):
        self.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_bad_settings_and_folders_are_told(tmp_path, twelve):
    source, out, made = twelve
    with pytest.raises(UserError, match="sample_rate is 100.*validation_share is 1.5.*min_seconds 30"):
        PrepareSettings(sample_rate=100, validation_share=1.5, min_seconds=30)
    with pytest.raises(UserError, match="0 jobs"):
        run(source, out, jobs=0)
    with pytest.raises(UserError, match="no voice named"):
        run(source, tmp_path / "x", frontend=Frontend("xx-nope"))
    with pytest.raises(UserError, match="there is no corpus here"):
        Corpus.load(tmp_path)
    (tmp_path / "corpus.json").write_text(json.dumps({"format": FORMAT}))
    with pytest.raises(UserError, match="is no corpus"):
        Corpus.load(tmp_path)
    (tmp_path / "corpus.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="another version"):
        Corpus.load(tmp_path)
    other = Corpus.load(out)
    other.folder = tmp_path
    with pytest.raises(UserError, match=f"audio of {other.utterances[0].id}"):
        other.waveform(other.utterances[0])


def test_a_broken_cache_record_is_made_again(tmp_path):
    source = copy_samples(tmp_path / "source", 3)
    made, _ = run(source, tmp_path / "out")
    record = (tmp_path / "out" / made.utterances[0].audio).with_suffix(".json")
    record.write_text("{")
    (tmp_path / "out" / made.utterances[1].audio).unlink()
    again, said = run(source, tmp_path / "out")
    assert again == made and "1 recordings were already done" in said
    assert len(again.waveform(again.utterances[1])) == again.utterances[1].samples


def test_a_corpus_at_another_rate_has_the_same_clips_and_another_fingerprint(tmp_path):
    found = prepare(copy_samples(tmp_path / "in", 3), tmp_path / "22", SETTINGS, FRONTEND, console=quiet(), jobs=1)
    found.resampled(16000, tmp_path / "16")
    made = Corpus.load(tmp_path / "16")
    assert made.sample_rate == made.settings["sample_rate"] == 16000 and found.sample_rate == 22050
    assert made.fingerprint != found.fingerprint and made.seconds == pytest.approx(found.seconds, rel=1e-4)
    for before, after in zip(found.utterances, made.utterances, strict=True):
        assert (after.id, after.phoneme_ids, after.split) == (before.id, before.phoneme_ids, before.split)
        audio = made.waveform(after)
        assert audio.dtype == np.float32 and len(audio) == after.samples and abs(audio).max() <= 1
        assert audio.std() == pytest.approx(found.waveform(before).std(), rel=0.05)
