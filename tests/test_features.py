"""Spectrograms as matrix products, against torch.stft and against Piper's own, on real speech."""

import pytest
import torch
from piper.train.vits import mel_processing

from tts_lab.features import Spectrogram, SpectrogramSettings, host_spectrogram

SETTINGS = SpectrogramSettings()


@pytest.fixture(scope="module")
def audio(speech) -> torch.Tensor:
    samples = len(speech) // SETTINGS.hop_length * SETTINGS.hop_length
    return torch.from_numpy(speech[:samples])[None]


def test_magnitudes_equal_those_of_torch_stft(audio):
    pad = (SETTINGS.n_fft - SETTINGS.hop_length) // 2
    padded = torch.nn.functional.pad(audio[None], (pad, pad), mode="reflect")[0]
    window = torch.hann_window(SETTINGS.n_fft)
    power = torch.stft(padded, SETTINGS.n_fft, SETTINGS.hop_length, window=window, center=False, return_complex=True)
    expected = torch.sqrt(power.abs().square() + 1e-6)
    made = Spectrogram(SETTINGS)(audio)
    assert made.shape == expected.shape == (1, SETTINGS.bins, SETTINGS.frames(audio.shape[1]))
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)


def test_mel_equals_pipers(audio):
    spectrogram = Spectrogram(SETTINGS)
    expected = mel_processing.mel_spectrogram_torch(audio, 1024, 80, 22050, 256, 1024, 0.0, None)
    torch.testing.assert_close(spectrogram.mel(spectrogram(audio)), expected, rtol=1e-4, atol=1e-4)


def test_the_hosts_fft_gives_the_same_numbers(audio):
    torch.testing.assert_close(
        host_spectrogram(audio[0], SETTINGS)[None], Spectrogram(SETTINGS)(audio), rtol=1e-4, atol=1e-4
    )


def test_silence_has_a_finite_gradient():
    silent = torch.zeros(1, 8192, requires_grad=True)
    spectrogram = Spectrogram(SETTINGS)
    spectrogram.mel(spectrogram(silent)).sum().backward()
    assert torch.isfinite(silent.grad).all()


def test_lengths_that_are_no_whole_frames_are_refused():
    with pytest.raises(ValueError, match="multiple of the hop"):
        Spectrogram(SETTINGS)(torch.zeros(1, 1000))
    with pytest.raises(ValueError, match="must divide"):
        SpectrogramSettings(hop_length=300)
