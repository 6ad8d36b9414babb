"""Speech as WORLD takes it apart (Morise et al. 2016): its pitch, and what the mouth makes of pulses and of noise.

What the source-filter decoder is taught. Analysed on the host, once for a recording.
"""

import contextlib
import hashlib
import io
from pathlib import Path

import numpy as np

from tts_lab.corpus.wholefile import write_atomically
from tts_lab.features import SpectrogramSettings

PER_FRAME = 4
"""Of these, in a frame of the spectrogram. Speech changes faster than frames: WORLD's own copy of a recording loses 2 %
of its naturalness at four a frame, and at one, with Dio's pitch, a quarter."""
BANDS = 80
"""Points of an envelope, as many as mel bands."""
HIGHEST = 500.0
"""Hz, of a pitch that is looked for; the lowest is what a window of the spectrogram's length can tell, 65 Hz."""
QUIETEST = -12.0
"""Least logarithm of an amplitude: below what 16 bits tell."""


def band_centres(settings: SpectrogramSettings) -> np.ndarray:
    """Hz of the points of an envelope ``(BANDS,)``: evenly spaced in mel."""
    from librosa import mel_frequencies

    return mel_frequencies(BANDS + 2, fmin=0.0, fmax=settings.sample_rate / 2)[1:-1]


def band_basis(settings: SpectrogramSettings) -> np.ndarray:
    """``(BANDS, bins)``: an envelope times it is the envelope at every frequency bin, straight between two points."""
    hertz = np.linspace(0.0, settings.sample_rate / 2, settings.bins)
    return np.stack([np.interp(hertz, band_centres(settings), point) for point in np.eye(BANDS)])


def analyse(audio: np.ndarray, settings: SpectrogramSettings) -> np.ndarray:
    """Acoustics of ``audio (samples,)``, float16 ``(1 + 2 * BANDS, PER_FRAME * frames)``.

    Row 0 is the pitch in Hz, 0 where there is none; then the logarithms of the amplitudes that pulses have, and those
    that noise has, at the points of their envelopes.
    """
    import pyworld

    rate, wave = settings.sample_rate, audio.astype(np.float64)
    step = 1000 * settings.hop_length / PER_FRAME / rate
    lowest = pyworld.get_cheaptrick_f0_floor(rate, settings.n_fft)
    # Harvest, not the faster Dio: copies of recordings lose half as much naturalness.
    rough, times = pyworld.harvest(wave, rate, f0_floor=lowest, f0_ceil=HIGHEST, frame_period=step)
    pitch = pyworld.stonemask(wave, rough, times, rate)
    power = pyworld.cheaptrick(wave, pitch, times, rate, fft_size=settings.n_fft)
    noisy = pyworld.d4c(wave, pitch, times, rate, fft_size=settings.n_fft)  # the part of the amplitude that is noise
    amplitude = 0.5 * np.log(power + 1e-16)
    pulses = amplitude + 0.5 * np.log(np.clip(1 - noisy**2, 1e-6, 1))
    noise = amplitude + np.log(np.clip(noisy, 1e-3, 1))
    points = np.linalg.pinv(band_basis(settings))
    rows = np.vstack([pitch, *(np.maximum(part @ points, QUIETEST).T for part in (pulses, noise))])
    return rows[:, : PER_FRAME * settings.frames(len(audio))].astype(np.float16)


def kept_analysis(audio: np.ndarray, settings: SpectrogramSettings, folder: Path) -> np.ndarray:
    """``analyse``, kept in ``folder`` under a name that the audio decides; it takes a fifth of the audio's length."""
    how = repr((settings, "harvest", PER_FRAME, BANDS)).encode()
    path = folder / f"{hashlib.blake2b(audio.tobytes() + how, digest_size=12).hexdigest()}.npy"
    with contextlib.suppress(OSError, ValueError):  # not there, or broken: made again
        return np.load(path, allow_pickle=False)
    rows, content = analyse(audio, settings), io.BytesIO()
    np.save(content, rows)
    write_atomically(path, content.getvalue())
    return rows
