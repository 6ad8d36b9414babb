"""Linear and mel spectrograms as matrix products: the same numbers on every device.

An FFT never reaches the Neuron compiler (it falls back to the CPU as a complex type), so the short-time
Fourier transform is spelled out: frames times a windowed cosine and sine basis. Agrees with ``torch.stft``
to float32 rounding. Definitions follow ``piper.train.vits.mel_processing``.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAGNITUDE_FLOOR = 1e-6  # added to the power before the root, as Piper does: keeps the gradient finite at silence
MEL_FLOOR = 1e-5  # mel magnitudes are clamped here before the logarithm


@dataclass(frozen=True)
class SpectrogramSettings:
    """What a spectrogram is made with; a voice and everything it was trained on share one set.

    Raises:
        ValueError: when the hop does not divide the FFT length, or the window is not as long as the FFT.
    """

    sample_rate: int = 22050
    """Samples a second."""
    n_fft: int = 1024
    """Length of a frame, in samples; gives ``n_fft // 2 + 1`` frequency bins."""
    hop_length: int = 256
    """Samples from one frame to the next; the decoder makes this many samples from one frame."""
    n_mels: int = 80
    """Mel bands of the reconstruction loss."""
    fmin: float = 0.0
    """Lowest mel edge, Hz."""
    fmax: float | None = None
    """Highest mel edge, Hz; None for half the sample rate."""

    def __post_init__(self) -> None:
        if self.n_fft % self.hop_length:
            raise ValueError(f"hop_length {self.hop_length} must divide n_fft {self.n_fft}")

    @property
    def bins(self) -> int:
        """Frequency bins of the linear spectrogram."""
        return self.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """Frames that ``samples`` audio samples give."""
        return samples // self.hop_length


@cache
def fourier_basis(n_fft: int) -> Tensor:
    """Hann-windowed cosine and sine of every bin, side by side: ``(n_fft, 2 * bins)``."""
    time = np.arange(n_fft)[:, None] * np.arange(n_fft // 2 + 1)[None, :] * (2 * np.pi / n_fft)
    window = np.hanning(n_fft + 1)[:-1, None]  # the periodic Hann window of torch.hann_window
    return torch.from_numpy(np.hstack([window * np.cos(time), window * np.sin(time)]).astype(np.float32))


@cache
def mel_basis(settings: SpectrogramSettings) -> Tensor:
    """Slaney-normalised triangular mel filters ``(n_mels, bins)``, librosa's, as Piper uses."""
    from librosa.filters import mel

    s = settings
    filters = mel(sr=s.sample_rate, n_fft=s.n_fft, n_mels=s.n_mels, fmin=s.fmin, fmax=s.fmax)
    return torch.from_numpy(filters.astype(np.float32))


class Spectrogram(nn.Module):
    """Audio to magnitude and log-mel spectrograms, differentiable, without an FFT.

    The bases are buffers outside the state dict, so that checkpoints keep Piper's keys.
    """

    def __init__(self, settings: SpectrogramSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("fourier", fourier_basis(settings.n_fft), persistent=False)
        self.register_buffer("mel_filters", mel_basis(settings), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Magnitude spectrogram ``(B, bins, samples // hop_length)`` of ``audio (B, samples)``.

        ``samples`` must be a multiple of the hop: the frames are then views of the padded audio cut in hops.
        """
        s = self.settings
        if audio.shape[-1] % s.hop_length:
            raise ValueError(f"{audio.shape[-1]} samples are not a multiple of the hop, {s.hop_length}")
        frames = s.frames(audio.shape[-1])
        pad = (s.n_fft - s.hop_length) // 2
        padded = F.pad(audio.unsqueeze(1), (pad, pad), mode="reflect").squeeze(1)
        hops = F.pad(padded, (0, -padded.shape[-1] % s.hop_length)).unflatten(-1, (-1, s.hop_length))
        # A frame is n_fft / hop consecutive hops: shifted slices, no gather.
        framed = torch.cat([hops[:, i : i + frames] for i in range(s.n_fft // s.hop_length)], dim=-1)
        spectrum = framed @ self.fourier
        real, imaginary = spectrum[..., : s.bins], spectrum[..., s.bins :]
        return torch.sqrt(real.square() + imaginary.square() + MAGNITUDE_FLOOR).transpose(1, 2)

    def mel(self, magnitude: Tensor) -> Tensor:
        """Log-mel spectrogram ``(B, n_mels, frames)`` of a magnitude spectrogram ``(B, bins, frames)``."""
        energy = self.mel_filters @ magnitude
        return torch.log(torch.maximum(energy, torch.full_like(energy, MEL_FLOOR)))  # clamp's gradient compares in f64


def host_spectrogram(audio: Tensor, settings: SpectrogramSettings) -> Tensor:
    """Magnitude spectrogram ``(bins, frames)`` of one utterance ``(samples,)``, by FFT, for the data loader.

    On the host an FFT is the cheaper way to the same numbers; any length is accepted.
    """
    s = settings
    pad = (s.n_fft - s.hop_length) // 2
    padded = F.pad(audio[None, None], (pad, pad), mode="reflect")[0, 0]
    window = torch.hann_window(s.n_fft, device=audio.device)
    spectrum = torch.stft(padded, s.n_fft, s.hop_length, window=window, center=False, return_complex=True)
    return torch.sqrt(torch.view_as_real(spectrum).square().sum(-1) + MAGNITUDE_FLOOR)
