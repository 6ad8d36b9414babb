"""A decoder that is told how speech is made: pulses and noise, each through a filter, predicted from the latent.

In HiFi-GAN's place it has a waveform's worth less to learn: in minutes, on hundreds of sentences, what upsampling
layers need hours for. It is taught by WORLD's analysis of the recordings (``tts_lab.acoustics``) and by discriminators
of the envelopes' picture, so no waveform is made while it trains, and nothing in a step is longer than four to a frame.
The synthesis is DDSP's (Engel et al. 2020) with WORLD's minimum-phase filters. Without an FFT, for Neuron has none:
a filter's amplitude and phase are two matrices away from its envelope, and a frame's spectrum is one.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tts_lab.acoustics import BANDS, PER_FRAME, band_basis
from tts_lab.features import SpectrogramSettings

FRAME_DILATIONS = (1, 2, 4, 1, 2, 1)
STEP_DILATIONS = (1, 2, 1)
MIDDLE_PITCH = 150.0  # Hz, of a decoder that knows nothing yet
SLOWEST, FASTEST = 50.0, 600.0  # Hz
QUIET = (-4.0, -6.0)  # log amplitudes of pulses and noise, of a decoder that knows nothing yet
SMOOTHED = 9  # steps of a Hann window over the pitch, 13 ms between its halves
STEADY = 3  # steps over which envelopes are averaged: what is predicted trembles from one to the next
EDGE = 8  # steps at either end of a segment that do not count: there the decoder lacks what is beside it
NOISE_SECONDS = 3  # of noise that is drawn once and repeated, so that a voice says the same thing twice


class Block(nn.Module):
    """A dilated convolution and one of a single tap, added to what comes in."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.narrow = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(F.leaky_relu(self.wide(F.leaky_relu(x, 0.1)), 0.1))


class SourceFilter(nn.Module):
    """Latent ``(B, inter, F)`` to audio ``(B, 1, F * hop)``, by way of its acoustics (``describe``)."""

    def __init__(self, inter: int, width: int, settings: SpectrogramSettings, speaker_channels: int = 0) -> None:
        super().__init__()
        self.conv_pre = nn.Conv1d(inter, width, 5, padding=2)
        if speaker_channels:
            self.cond = nn.Conv1d(speaker_channels, width, 1)
        self.frame_blocks = nn.Sequential(*(Block(width, dilation) for dilation in FRAME_DILATIONS))
        self.split = nn.Conv1d(width, width * PER_FRAME, 1)
        self.step_blocks = nn.Sequential(*(Block(width, dilation) for dilation in STEP_DILATIONS))
        self.conv_post = nn.Conv1d(width, 2 + 2 * BANDS, 3, padding=1)
        with torch.no_grad():
            self.conv_post.weight.mul_(0.1)
            self.conv_post.bias.zero_()
            for part, amplitude in zip(self.conv_post.bias[2:].chunk(2), QUIET, strict=True):
                part.fill_(amplitude)
        self.synthesis = Synthesis(settings)

    def describe(self, z: Tensor, g: Tensor | None = None) -> Tensor:
        """Acoustics ``(B, 2 + 2 * BANDS, PER_FRAME * F)`` of ``z (B, inter, F)``, float32.

        Row 0 is the logarithm of the pitch in Hz, everywhere; row 1 the log-odds of a voice. Then, as in
        ``acoustics.analyse``, the log amplitudes of pulses and of noise.
        """
        x = self.conv_pre(z)
        if g is not None:
            x = x + self.cond(g)
        x = self.split(self.frame_blocks(x))
        x = x.unflatten(1, (-1, PER_FRAME)).transpose(2, 3).flatten(2)
        x = self.conv_post(F.leaky_relu(self.step_blocks(x), 0.1)).float()
        return torch.cat([0.5 * x[:, :1] + math.log(MIDDLE_PITCH), x[:, 1:]], 1)

    def forward(self, z: Tensor, g: Tensor | None = None) -> Tensor:
        described = self.describe(z, g)
        with torch.autocast(z.device.type, enabled=False):
            return self.synthesis(described)


def acoustic_loss(described: Tensor, real: Tensor) -> dict[str, Tensor]:
    """How far a segment's acoustics are from the recording's, scalars.

    Args:
        described: ``(B, 2 + 2 * BANDS, T)`` as ``SourceFilter.describe`` gives it.
        real: ``(B, 1 + 2 * BANDS, T)`` as ``acoustics.analyse`` does.

    Returns:
        ``mel``, the L1 distance of the envelopes, that of pulses where there is a voice; ``source``, twice the distance
        of the pitch's logarithm there, and a tenth of the cross entropy of whether there is one.
    """
    voiced = (real[:, :1] > 0).to(described)
    of_pulses, of_noise = (described[:, 2:] - real[:, 1:]).abs()[..., EDGE:-EDGE].chunk(2, 1)
    pitch = torch.log(torch.maximum(real[:, :1], torch.full_like(voiced, SLOWEST)))
    astray = ((described[:, :1] - pitch).abs() * voiced).sum() / (voiced.sum() + 1)
    doubt = F.binary_cross_entropy_with_logits(described[:, 1:2], voiced)
    mel = ((of_pulses * voiced[..., EDGE:-EDGE]).mean() + of_noise.mean()) / 2
    return {"mel": mel, "source": 2 * astray + 0.1 * doubt}


def envelopes(acoustics: Tensor, real: Tensor) -> Tensor:
    """The picture ``(B, 2, BANDS, T)`` of both envelopes, without a segment's edges; where ``real`` has no voice, the
    pulses' is blank. ``acoustics`` are described or analysed."""
    pulses, noise = acoustics[:, -2 * BANDS :, EDGE:-EDGE].chunk(2, 1)
    voiced = real[:, :1, EDGE:-EDGE] > 0
    return torch.stack([torch.where(voiced, (pulses + 6) / 3, -1.0), (noise + 7) / 3], 1)  # about -1 to 1


class Synthesis(nn.Module):
    """Audio from acoustics; it has nothing to learn. Its constants are buffers outside the state dict."""

    def __init__(self, settings: SpectrogramSettings) -> None:
        super().__init__()
        self.rate = settings.sample_rate
        self.step = settings.hop_length // PER_FRAME
        self.window = 4 * self.step
        self.reach = settings.n_fft // self.step  # steps that what begins in one lasts for
        bands = torch.from_numpy(band_basis(settings))
        draw = torch.Generator().manual_seed(0)
        smooth = torch.hann_window(SMOOTHED + 2, periodic=False)[1:-1]
        constants = {
            "amplitudes": bands,
            "phases": bands @ _minimum_phase(settings.n_fft),
            "spectrum": _fourier(settings.n_fft)[: self.window],  # what comes after a window is zero
            "inverse": _inverse(settings.n_fft),
            "fade": torch.hann_window(self.window) * self.step / self.window * 2,
            "smooth": (smooth / smooth.sum())[None, None],
            "noise": torch.randn(self.rate * NOISE_SECONDS // self.step, self.step, generator=draw),
        }
        for name, value in constants.items():
            self.register_buffer(name, value.float(), persistent=False)

    def forward(self, described: Tensor) -> Tensor:
        """``(B, 2 + 2 * BANDS, T)`` as ``SourceFilter.describe`` gives it -> ``(B, 1, T * step)``."""
        pitch, voice = described[:, :1], torch.sigmoid(described[:, 1:2])
        pitch = F.pad(pitch, (SMOOTHED // 2, SMOOTHED // 2), "replicate")
        pitch = F.conv1d(pitch.exp().clamp(SLOWEST, FASTEST), self.smooth)
        pulses = self._pulses(pitch[:, 0], voice[:, 0])
        # Nothing here is cut at a length: a tracer would keep that of its example.
        row = torch.cumsum(torch.ones_like(pitch[:, 0]), 1).long() % len(self.noise)
        noise = self.noise[row].flatten(1)
        both = F.pad(described[:, 2:], (STEADY // 2, STEADY // 2), "replicate")
        of_pulses, of_noise = F.avg_pool1d(both, STEADY, 1).chunk(2, 1)
        return self._overlapped(self._filtered(pulses, of_pulses) + self._filtered(noise, of_noise)).unsqueeze(1)

    def _pulses(self, pitch: Tensor, voice: Tensor) -> Tensor:
        """Band-limited pulses ``(B, T * step)`` of the power of white noise, at ``pitch (B, T)`` Hz.

        All harmonics below half the sample rate at once: the sum of cosines has a closed form (Dirichlet's kernel).
        """
        advance = pitch / self.rate  # periods a sample
        # A hundred harmonics are as many times as sensitive to what rounding adds up to over a sentence.
        ended = torch.cumsum(advance.double() * self.step, 1)
        begin = ended - advance.double() * self.step
        periods = begin[..., None] + advance.double()[..., None] * torch.arange(self.step).to(begin)
        angle = _turned(periods)
        harmonics = torch.floor(self.rate / 2 / pitch)[..., None]
        half = torch.sin(angle / 2)
        half = torch.where(half < 1e-4, 1e-4, half)  # from 0 to π it is not negative
        near = torch.where(half <= 1e-4, 1e-4 / math.pi, periods - periods.floor())
        cosines = torch.sin(_turned((harmonics + 0.5).double() * near)) / (2 * half) - 0.5
        return (cosines * torch.sqrt(2 / harmonics) * voice[..., None]).flatten(1)

    def _filtered(self, excitation: Tensor, envelope: Tensor) -> Tensor:
        """Spectra ``(B, T, 2 * bins)`` of the steps of ``excitation (B, T * step)`` through their filters."""
        half, after = self.window // 2, self.window // self.step
        blocks = F.pad(excitation, (half, half)).unflatten(1, (-1, self.step))
        framed = torch.cat([blocks[:, i : i - after] for i in range(after)], 2) * self.fade
        real, imaginary = (framed @ self.spectrum).chunk(2, 2)
        logs = envelope.transpose(1, 2)
        amplitude, phase = torch.exp(logs @ self.amplitudes), logs @ self.phases
        cosine, sine = amplitude * torch.cos(phase), amplitude * torch.sin(phase)
        return torch.cat([real * cosine - imaginary * sine, real * sine + imaginary * cosine], 2)

    def _overlapped(self, spectra: Tensor) -> Tensor:
        """``(B, T, 2 * bins)`` -> ``(B, T * step)``: each step's frame added to those it overlaps."""
        blocks = (spectra @ self.inverse).unflatten(2, (self.reach, self.step))
        # A frame begins half a window before its step.
        total = F.pad(blocks[:, :, 0], (0, 0, 0, self.reach))
        for i in range(1, self.reach):
            total = total + F.pad(blocks[:, :, i], (0, 0, i, self.reach - i))
        early = self.window // 2 // self.step
        return total[:, early : early - self.reach].flatten(1)


def _turned(periods: Tensor) -> Tensor:
    """The angle, 0 to 2π, of a number of periods in double precision."""
    return (periods - periods.floor()).float() * (2 * math.pi)


def _fourier(n_fft: int) -> Tensor:
    """``(n_fft, 2 * bins)``: a frame times it is its spectrum, real parts and then imaginary ones."""
    spectra = np.fft.rfft(np.eye(n_fft), axis=1)
    return torch.from_numpy(np.hstack([spectra.real, spectra.imag]))


def _minimum_phase(n_fft: int) -> Tensor:
    """``(bins, bins)``: a log amplitude spectrum times it is the phase of the minimum-phase filter.

    Phase and log amplitude are the two halves of a causal cepstrum's spectrum (Oppenheim & Schafer 1989, ch. 12).
    """
    cepstra = np.fft.irfft(np.eye(n_fft // 2 + 1), axis=1)
    cepstra[:, 1 : n_fft // 2] *= 2
    cepstra[:, n_fft // 2 + 1 :] = 0
    return torch.from_numpy(np.fft.rfft(cepstra, axis=1).imag)


def _inverse(n_fft: int) -> Tensor:
    """``(2 * bins, n_fft)``: real and imaginary parts of a spectrum times it are the frame."""
    unit = np.eye(n_fft // 2 + 1)
    return torch.from_numpy(np.vstack([np.fft.irfft(unit, axis=1), np.fft.irfft(1j * unit, axis=1)]))
