"""Each number against another way to come by it, on real speech spoilt by a known amount."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import soxr
from scipy.fft import dct
from scipy.signal import fftconvolve

from tts_lab.analysis.measures import CEPSTRA, Measures, measure, spectrogram, timbre_of

DATA = Path(__file__).parent.parent / "data_samples"
RATE = 16000


def clips(least: float, most: float = 99.0) -> list[np.ndarray]:
    paths = [path for path in sorted(DATA.glob("*.flac")) if least < soundfile.info(path).duration <= most]
    return [soundfile.read(path, dtype="float32")[0] for path in paths]


@pytest.fixture(scope="module")
def speech() -> list[np.ndarray]:
    """Eight clips of Allison at 16 kHz, 3 s and longer."""
    return clips(3)[:8]


@pytest.fixture(scope="module")
def measured(speech) -> list[Measures]:
    return [measure(audio, RATE) for audio in speech]


def level(audio: np.ndarray) -> float:
    """Mean square of the speech: of all 20 ms that come within 25 dB of the loudest."""
    power = np.square(audio[: len(audio) // 320 * 320]).reshape(-1, 320).mean(axis=1)
    return float(power[power > power.max() / 10**2.5].mean())


def test_silence_put_in_is_silence_measured(speech, measured):
    rng = np.random.default_rng(0)
    for audio, before in zip(speech, measured, strict=True):
        hiss = (rng.normal(size=2 * RATE) * 1e-4).astype(np.float32)
        middle = len(audio) // 2
        padded = measure(np.concatenate([hiss[:RATE], audio, hiss]), RATE)
        assert padded.lead_silence == pytest.approx(before.lead_silence + 1, abs=0.15)
        assert padded.trail_silence == pytest.approx(before.trail_silence + 2, abs=0.15)
        assert padded.recorded_seconds == pytest.approx(len(audio) / RATE + 3)
        spoken = before.speech_share * before.recorded_seconds
        assert padded.speech_share * padded.recorded_seconds == pytest.approx(spoken, abs=0.25)
        parted = measure(np.concatenate([audio[:middle], hiss, audio[middle:]]), RATE)
        assert 1.8 < parted.longest_pause < 2.8
        assert before.longest_pause < 1


def test_loudness_is_that_of_the_standard(speech, measured):
    sine = np.sin(2 * np.pi * 997 * np.arange(3 * 48000) / 48000).astype(np.float32)
    assert measure(sine, 48000).loudness == pytest.approx(-3.01, abs=0.05)  # ITU-R BS.1770-4, section 2.8
    for audio, before in zip(speech[:3], measured, strict=False):
        quieter = measure(audio / 4, RATE)
        assert before.loudness - quieter.loudness == pytest.approx(12.04, abs=0.1)
        assert before.peak - quieter.peak == pytest.approx(12.04, abs=0.01)
        assert before.peak == pytest.approx(20 * np.log10(np.abs(audio).max()))
        assert quieter.snr == pytest.approx(before.snr, abs=1.5) and quieter.timbre == pytest.approx(
            before.timbre, abs=0.5
        )


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_samples_cut_off_are_counted_at_any_gain(speech, measured, gain):
    for audio, before in zip(speech, measured, strict=True):
        assert before.clipped_share == 0
        for share in (0.002, 0.02):
            limit = np.quantile(np.abs(audio), 1 - share)
            cut = np.round(np.clip(audio / limit, -1, 1) * gain * 32767) / 32768
            found = measure(cut.astype(np.float32), RATE).clipped_share
            assert 0.3 * share < found < 1.1 * share  # single samples and pairs do not count


@pytest.mark.parametrize("snr", [10, 20, 30])
def test_noise_is_measured_as_it_was_added(speech, snr):
    rng = np.random.default_rng(1)
    found = []
    for audio in speech:
        noise = rng.normal(size=len(audio)) * np.sqrt(level(audio) / 10 ** (snr / 10))
        found.append(measure((audio + noise).astype(np.float32), RATE).snr)
    assert np.median(found) == pytest.approx(snr, abs=1.5) and np.abs(np.array(found) - snr).max() < 3


def test_band_ends_where_the_recording_was_cut(speech, measured):
    for audio, before in zip(speech, measured, strict=True):
        assert before.bandwidth > 7000
        for rate in (22050, 48000):
            assert 7000 < measure(soxr.resample(audio, RATE, rate), rate).bandwidth <= 8000
        telephone = soxr.resample(audio, RATE, 8000)
        assert 3500 < measure(telephone, 8000).bandwidth <= 4000
        assert 3500 < measure(soxr.resample(telephone, 8000, 22050), 22050).bandwidth <= 4050


def test_rooms_are_told_apart():
    """On clips that the scale was not made from (those are 3 s and longer)."""
    rng = np.random.default_rng(2)
    dry = clips(2, 3)[:10]
    found = {0.0: [measure(audio, RATE).reverberation for audio in dry]}
    for decay in (0.3, 0.6, 1.2):
        time = np.arange(int(1.2 * decay * RATE)) / RATE
        tail = rng.normal(size=len(time)) * 10 ** (-3 * time / decay)
        room = 0.7 * tail / np.sqrt(np.square(tail).sum())
        room[0] = 1
        wet = [fftconvolve(audio, room)[: len(audio)].astype(np.float32) for audio in dry]
        found[decay] = [measure(audio, RATE).reverberation for audio in wet]
    medians = {decay: np.nanmedian(values) for decay, values in found.items()}
    assert medians[0.0] < 0.2 and medians[0.3] == pytest.approx(0.3, abs=0.1)
    assert medians[0.6] == pytest.approx(0.6, abs=0.2) and 0.75 < medians[1.2] <= 1.5
    for nearer, farther in ((0.0, 0.3), (0.3, 0.6), (0.6, 1.2)):
        pairs = list(zip(found[nearer], found[farther], strict=True))
        assert np.mean([a < b for a, b in pairs if not np.isnan(a + b)]) > 0.85


def test_pitch_and_voicing_agree_with_pyin(speech, measured):
    for audio, found in zip(speech[:2], measured, strict=False):
        pitch, voiced, _ = librosa.pyin(audio, fmin=60, fmax=500, sr=RATE, hop_length=160)
        assert found.pitch == pytest.approx(np.median(pitch[voiced]), rel=0.05)
        assert found.pitch_deviation == pytest.approx(np.std(12 * np.log2(pitch[voiced])), rel=0.35)
        share = voiced.sum() * 0.01 / (found.speech_share * found.recorded_seconds)
        assert found.voiced_share == pytest.approx(share, abs=0.2)


def test_timbre_is_the_mean_of_librosas_cepstra(speech):
    for audio in speech[:3]:
        power = spectrogram(audio, RATE)
        size = 2 * (power.shape[1] - 1)
        theirs = np.abs(librosa.stft(audio, n_fft=size, hop_length=160, window=np.hanning(size), center=False)) ** 2
        theirs *= 2 / (size * np.square(np.hanning(size)).sum())
        np.testing.assert_allclose(power[:, 2:], theirs.T[:, 2:], rtol=1e-3, atol=1e-11)
        bank = librosa.filters.mel(sr=RATE, n_fft=size, n_mels=40, fmin=100, fmax=7600, htk=True, norm="slaney")
        cepstra = dct(np.log(bank @ theirs + 1e-12), axis=0, norm="ortho")[1 : CEPSTRA + 1].mean(axis=1)
        ours = timbre_of(power, np.ones(len(power), bool), RATE)
        np.testing.assert_allclose(ours, cepstra, atol=0.02)


def test_a_higher_rate_of_the_same_recording_changes_nothing(speech, measured):
    for audio, before in zip(speech[:4], measured, strict=False):
        again = measure(soxr.resample(audio, RATE, 44100), 44100)
        assert again.snr == pytest.approx(before.snr, abs=3) and again.loudness == pytest.approx(
            before.loudness, abs=0.1
        )
        assert again.pitch == pytest.approx(before.pitch, rel=0.01) and again.sample_rate == 44100
        assert np.abs(np.subtract(again.timbre, before.timbre)).max() < 1
        assert again.reverberation == pytest.approx(before.reverberation, abs=0.1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("audio", [np.zeros(RATE), np.full(RATE, 0.1), np.zeros(100), np.ones(1)])
def test_what_holds_no_speech_has_no_numbers_of_speech(audio):
    found = measure(audio.astype(np.float32), RATE)
    assert found.speech_share == 0 and np.isnan(found.lead_silence) and np.isnan(found.snr)
    assert np.isnan(found.pitch) and np.isnan(found.reverberation) and np.isnan(found.timbre).all()
    assert len(found.timbre) == CEPSTRA and found.recorded_seconds == len(audio) / RATE
