"""The ears hear what is there: real speech against the same speech spoilt in a known way."""

import importlib
import json
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import soxr

from tts_lab.analysis.words import plain_words
from tts_lab.errors import UserError
from tts_lab.evaluation import metrics
from tts_lab.evaluation.listening import Scores, evaluate, save_scores
from tts_lab.evaluation.sentences import UNSEEN_SENTENCES
from tts_lab.voices.speak import say

DATA = Path(__file__).parent.parent / "data_samples"
SAID = UNSEEN_SENTENCES[:4]


@pytest.fixture(scope="module")
def voiced(joe: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("voiced")
    return [say(joe, text, folder / f"{number}.wav") for number, text in enumerate(SAID)]


@pytest.fixture(scope="module")
def human() -> list[Path]:
    """Clips of a woman, 3 s and longer."""
    clips = [clip for clip in sorted(DATA.glob("**/*.flac")) if soundfile.info(clip).duration > 3]
    return clips[:6]


def spoilt(wavs: list[Path], folder: Path, change) -> list[Path]:
    for wav in wavs:
        audio, rate = soundfile.read(wav)
        soundfile.write(folder / wav.name, change(audio), rate)
    return [folder / wav.name for wav in wavs]


def noisy(audio: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=len(audio)) * np.sqrt(np.mean(audio**2))  # 0 dB
    return np.clip(audio + noise, -1, 1)


def faster(audio: np.ndarray) -> np.ndarray:
    return soxr.resample(audio, 5, 4)  # a quarter higher and a quarter quicker


def test_words_are_heard_and_noise_is_not_words(voiced: list[Path], tmp_path: Path) -> None:
    assert metrics.word_error_rate(voiced, SAID) < 0.15
    assert metrics.word_error_rate(voiced, SAID[1:] + SAID[:1]) > 0.8
    heard = metrics.transcribe(voiced[:1])
    assert plain_words(heard[0]).startswith("the baker")


def test_noise_costs_naturalness(voiced: list[Path], tmp_path: Path) -> None:
    assert metrics.mos(voiced) > 3.5
    assert metrics.mos(spoilt(voiced, tmp_path, noisy)) < metrics.mos(voiced) - 1


def test_a_speaker_is_more_like_herself(voiced: list[Path], human: list[Path]) -> None:
    herself = metrics.similarity(human[3:], human[:3])
    somebody = metrics.similarity(voiced, human[:3])
    assert herself > 0.75 and somebody < 0.67 and metrics.similarity(voiced[2:], voiced[:2]) > 0.75
    assert np.linalg.norm(metrics.embeddings(human[:2]), axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_pitch_follows_the_speed_of_the_tape(voiced: list[Path], human: list[Path], tmp_path: Path) -> None:
    for wavs, low, high in ((voiced, 80, 110), (human, 170, 215)):
        pitch = metrics.median_pitch(wavs)
        assert low < pitch < high
        assert metrics.median_pitch(spoilt(wavs, tmp_path, faster)) == pytest.approx(1.25 * pitch, rel=0.02)


def test_pitch_agrees_with_pyin(voiced: list[Path], human: list[Path]) -> None:
    for wav in (voiced[1], human[0]):
        audio = metrics.load_audio(wav, 16000)
        pitch, is_voiced, _ = librosa.pyin(audio, fmin=60, fmax=500, sr=16000)
        assert metrics.median_pitch([wav]) == pytest.approx(np.median(pitch[is_voiced]), rel=0.06)


def test_silence_has_no_pitch(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    assert np.isnan(metrics.median_pitch([tmp_path / "silence.wav"]))
    row = Scores("x", 0.1, 3.0, 0.5, float("nan"), 0.3, 1)
    assert json.loads(save_scores([row], tmp_path / "s.json").read_text())[0]["pitch_hz"] is None


def test_a_row_is_all_measures_together(voiced: list[Path], human: list[Path]) -> None:
    row = evaluate("joe", voiced, SAID, human[:3])
    assert row.wer == metrics.word_error_rate(voiced, SAID) and row.mos == pytest.approx(metrics.mos(voiced))
    words = sum(len(text.split()) for text in SAID)
    seconds = sum(len(soundfile.read(wav)[0]) for wav in voiced) / 22050
    assert row.seconds_per_word == pytest.approx(seconds / words) and row.clips == len(voiced)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, WORLD!", "hello world"),
        ("It’s the dog's — 'really'?", "it's the dog's really"),
        ("a well-known  fact", "a well known fact"),
        ("It costs 1,250 now", "it costs one thousand two hundred fifty now"),
        ("In 42 days, at 7.", "in forty two days at seven"),
        ("3000000 0", "three million zero"),
        ("Она пришла́ — да!", "она пришла́ да"),
        ("...", ""),
    ],
)
def test_transcripts_are_compared_by_their_words(text: str, words: str) -> None:
    assert plain_words(text) == words


def test_the_sentences_are_unseen_and_whole() -> None:
    assert len(UNSEEN_SENTENCES) == 20 == len(set(UNSEEN_SENTENCES))
    assert all(6 <= len(text.split()) <= 16 and not any(c.isdigit() for c in text) for text in UNSEEN_SENTENCES)
    corpus = plain_words((DATA / "metadata.csv").read_text(encoding="utf-8"))
    assert not any(plain_words(text) in corpus for text in UNSEEN_SENTENCES)


def test_what_cannot_be_measured_is_told(voiced: list[Path], tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UserError, match="4 wavs and 1 texts"):
        metrics.word_error_rate(voiced, SAID[:1])
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="Cannot read the audio"):
        metrics.mos([tmp_path / "broken.wav"])
    with pytest.raises(UserError, match="Whisper model"):
        metrics.transcribe(voiced[:1], model=tmp_path)
    with pytest.raises(UserError, match="English only"):
        metrics.transcribe(voiced[:1], language="ru")

    def gone(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(UserError, match=r"needs jiwer.*tts-lab\[eval\]"):
        metrics.word_error_rate(voiced, SAID)
