"""What is measured on one recording, as it was recorded: before trimming, resampling and levelling.

Everything is read from three things made once: the voice activity of the clip at 16 kHz, its pitch, and one power
spectrogram at its own rate, from which noise, bandwidth, decay and timbre come.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import soxr
from scipy.fft import dct, next_fast_len, rfft

from tts_lab.analysis.pitch import BLOCK, voiced_pitch
from tts_lab.corpus.audio import loudness_of
from tts_lab.corpus.speech import CHUNK, VAD_RATE, speech_probabilities

VERSION = 1
"""Raise it when a measure changes, so that journals of older versions are not used."""
SPEECH = 0.5
"""Probability from which a chunk of 32 ms is speech: Silero's own default. `prepare` trims at 0.2, to be gentle."""
WINDOW_SECONDS, HOP_SECONDS = 0.032, 0.01
LOWEST_HERTZ = 50
"""Below lie offset and rumble, and no voice: not looked at."""
QUIETEST, QUIET_FRAMES = 0.03, 5
"""The share of frames, and their least number, taken for the noise between the words. In clips cut close to the
speech there are not more: at 0.1, white noise 30 dB under 30 clips of Allison was heard 2 to 10 dB too loud in half
of them, at 0.03 within 1.3 dB in all; fewer frames would take chance dips of the noise for the noise."""
DIGITAL_SILENCE = 1e-10
"""Mean square (-100 dBFS, under a step of 16 bit) below which nothing was recorded: padding, or a gate."""
BANDWIDTH_BAND = 125.0
"""Hz over which the long-term spectrum is averaged before it is compared with the noise."""
ABOVE_NOISE = 3.0
"""dB by which speech must stand over the noise of its band."""
DYNAMIC_RANGE = 75.0
"""dB under the strongest band where speech ends in any case: below lies what resampling and rounding left."""
DECAY_BANDS = np.geomspace(400, 4000, 5)
"""Edges in Hz of the bands whose decay is watched."""
DECAY_FRAMES = 15
"""Frames of 10 ms over which a slope is fitted: shorter ones follow the fluctuation of the tail, not its decay."""
STEEPEST = 5
"""Percentile of the falling slopes that is taken: no fall of speech in a room is steeper than the room's own."""
DECAY_RAW = (0.20, 0.30, 0.39, 0.54, 0.62, 0.68)
DECAY_SECONDS = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5)
"""What 24 clips of Allison, convolved with noise that decays by 60 dB in `DECAY_SECONDS`, came out as, medians:
speech is rarely silent long enough to let a long tail fall undisturbed. Below 0.1 and above 1.5 s it cannot tell."""
BANDS = 40
MEL_RANGE = (100.0, 7600.0)
"""Mel bands under the timbre, and the Hz they span: the same at every sample rate, so that clips compare."""
CEPSTRA = 12


@dataclass(frozen=True, slots=True)
class Measures:
    """One recording in numbers. NaN where a number cannot be had, as the pitch of a clip without voice."""

    recorded_seconds: float
    sample_rate: int
    """Hz, as the file's header says."""
    lead_silence: float
    """Seconds before the first speech."""
    trail_silence: float
    """Seconds after the last speech."""
    longest_pause: float
    """Seconds of the longest silence between first and last speech."""
    speech_share: float
    """Share of the recording that the VAD takes for speech, 0 to 1."""
    loudness: float
    """LUFS (ITU-R BS.1770), over the whole recording; NaN if all of it is under the gate of -70."""
    peak: float
    """dBFS of the loudest sample."""
    clipped_share: float
    """Share of samples at the recording's limit, in runs."""
    snr: float
    """dB of speech over the noise between the words."""
    bandwidth: float
    """Hz up to which there is speech; above it only noise or nothing."""
    reverberation: float
    """How long sound hangs on after speech: seconds for 60 dB of decay, estimated blindly."""
    pitch: float
    """Hz, median over voiced frames."""
    pitch_deviation: float
    """Semitones, standard deviation over voiced frames: small is monotonous."""
    voiced_share: float
    """Share of the speech that is voiced."""
    timbre: tuple[float, ...]
    """Mean of mel-frequency cepstral coefficients 1 to 12 over the speech: the colour of the voice."""


def measure(audio: np.ndarray, rate: int) -> Measures:
    """Measure mono `audio`, float32 (samples,), whose header says `rate` Hz."""
    seconds = len(audio) / rate
    heard = audio if rate == VAD_RATE else soxr.resample(audio, rate, VAD_RATE, quality="HQ")
    speech = speech_probabilities(heard) >= SPEECH
    power = spectrogram(audio, rate)
    # A frame is speech if the chunk under its middle is; a rest too short for the detector goes with its neighbour.
    middles = ((np.arange(len(power)) * HOP_SECONDS + WINDOW_SECONDS / 2) * VAD_RATE / CHUNK).astype(int)
    spoken = speech[middles.clip(max=len(speech) - 1)] if len(speech) else np.zeros(len(power), bool)
    lead, trail, pause = _silences(speech, seconds)
    noise = _noise(power)
    voiced = voiced_pitch(heard, VAD_RATE)
    speech_frames = speech.mean() * seconds / HOP_SECONDS if len(speech) else 0.0
    loudness = float(loudness_of(audio, rate))
    peak = float(np.abs(audio).max(initial=0.0))
    return Measures(
        recorded_seconds=seconds,
        sample_rate=rate,
        lead_silence=lead,
        trail_silence=trail,
        longest_pause=pause,
        speech_share=float(speech.mean()) if len(speech) else 0.0,
        loudness=loudness if np.isfinite(loudness) else float("nan"),
        peak=20 * float(np.log10(max(peak, 1e-10))),
        clipped_share=clipped_share(audio),
        snr=_snr(power, spoken, noise),
        bandwidth=_bandwidth(power, spoken, noise, rate),
        reverberation=_reverberation(power, spoken, rate),
        pitch=float(np.median(voiced)) if voiced.size else float("nan"),
        pitch_deviation=float(np.std(12 * np.log2(voiced))) if voiced.size else float("nan"),
        voiced_share=min(1.0, voiced.size / float(speech_frames)) if speech_frames else float("nan"),
        timbre=timbre_of(power, spoken, rate),
    )


def spectrogram(audio: np.ndarray, rate: int) -> np.ndarray:
    """Power of 32 ms under a Hann window, every 10 ms: (frames, bins), summing over bins to the mean square."""
    size, hop = 2 * next_fast_len(int(WINDOW_SECONDS * rate / 2)), int(HOP_SECONDS * rate)
    audio = np.pad(audio, (0, max(0, size - len(audio))))
    window = np.hanning(size).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, size)[::hop]
    power = np.empty((len(frames), size // 2 + 1), np.float32)
    for at in range(0, len(frames), BLOCK):
        spectrum = rfft(frames[at : at + BLOCK] * window)
        power[at : at + BLOCK] = np.square(spectrum.real) + np.square(spectrum.imag)
    power[:, : round(LOWEST_HERTZ * size / rate)] = 0
    power *= np.float32(2 / (size * np.square(window).sum()))
    return power


def clipped_share(audio: np.ndarray) -> float:
    """Share of samples in flat tops: three and more in a row at the highest or lowest value that occurs.

    The recording's own limit counts, not full scale, so a clip that was turned down after clipping is found.
    A tolerance of one step of 16 bit lets dither and rounding pass; a natural crest is one such run at most.
    """
    count = 0
    for signal in (audio, -audio):
        top = signal.max(initial=0.0)
        if top > 0.01:  # in a whisper of a few steps of 16 bit, every crest is flat
            at = signal >= top - 1.5 / 32768
            inner = at[1:-1] & at[:-2] & at[2:]
            at = np.zeros(len(signal), bool)
            at[1:-1] = inner
            at[:-2] |= inner
            at[2:] |= inner
            count += int(np.count_nonzero(at))
    return count / max(1, len(audio))


def _silences(speech: np.ndarray, seconds: float) -> tuple[float, float, float]:
    """Seconds of silence before, after, and the longest between speech; all NaN without any."""
    at = np.flatnonzero(speech)
    if not at.size:
        return (float("nan"),) * 3
    chunk = CHUNK / VAD_RATE
    gap = int(np.diff(at).max(initial=1)) - 1
    return float(at[0] * chunk), max(0.0, seconds - float((at[-1] + 1) * chunk)), gap * chunk


def _noise(power: np.ndarray) -> np.ndarray | None:
    """Mean spectrum (bins,) of the quietest recorded frames; None if nothing was recorded."""
    level = power.sum(axis=1)
    recorded = np.flatnonzero(level > DIGITAL_SILENCE)
    if not recorded.size:
        return None
    ranked = recorded[np.argsort(level[recorded])]
    return power[ranked[: max(QUIET_FRAMES, int(QUIETEST * len(ranked)))]].mean(axis=0)


def _snr(power: np.ndarray, spoken: np.ndarray, noise: np.ndarray | None) -> float:
    """Power of the frames of speech, less the noise in it, over that of the quietest frames."""
    if noise is None or not spoken.any():
        return float("nan")
    level = float(noise.sum())
    speech = float(power[spoken].sum(axis=1).mean()) - level
    return 10 * float(np.log10(max(speech, 1e-3 * level) / level))


def _bandwidth(power: np.ndarray, spoken: np.ndarray, noise: np.ndarray | None, rate: int) -> float:
    """Upper edge of the highest band in which the speech's long-term spectrum stands over the noise."""
    if noise is None or not spoken.any():
        return float("nan")
    bins = max(1, round(BANDWIDTH_BAND * 2 * (power.shape[1] - 1) / rate))
    bands = power.shape[1] // bins
    speech, floor = (
        10 * np.log10(spectrum[: bands * bins].reshape(bands, bins).mean(axis=1) + 1e-14)
        for spectrum in (power[spoken].mean(axis=0), noise)
    )
    over = (speech > floor + ABOVE_NOISE) & (speech > speech.max() - DYNAMIC_RANGE)
    return float(min(rate / 2, (np.flatnonzero(over).max(initial=-1) + 1) * bins * rate / 2 / (power.shape[1] - 1)))


def _reverberation(power: np.ndarray, spoken: np.ndarray, rate: int) -> float:
    """Seconds for 60 dB of decay, from the distribution of slopes of the bands' log envelopes, after J. Wen,
    E. Habets and P. Naylor, "Blind estimation of reverberation time based on the distribution of signal decay
    rates" (ICASSP 2008): the steepest falls of the speech show how fast the room lets it fall."""
    frequency = np.arange(power.shape[1]) * rate / (2 * (power.shape[1] - 1))
    weights = np.arange(DECAY_FRAMES) - (DECAY_FRAMES - 1) / 2
    weights /= np.square(weights).sum() * HOP_SECONDS
    falling = []
    if len(power) > DECAY_FRAMES and spoken.any():
        for low, high in zip(DECAY_BANDS, DECAY_BANDS[1:], strict=False):
            level = 10 * np.log10(power[:, (frequency >= low) & (frequency < high)].sum(axis=1) + 1e-14)
            windows = np.lib.stride_tricks.sliding_window_view(level, DECAY_FRAMES)
            slopes = windows @ weights
            # A fall that reaches the noise, or goes 50 dB deep, ends there and would look slow.
            floor = max(np.percentile(level, 10) + 10, level.max() - 50)
            falling.append(slopes[(slopes < 0) & (windows[:, -3:].min(axis=1) > floor)])
    slopes = np.concatenate([*falling, np.zeros(0)])
    if len(slopes) < 20:
        return float("nan")
    return float(np.interp(-60 / np.percentile(slopes, STEEPEST), DECAY_RAW, DECAY_SECONDS))


def timbre_of(power: np.ndarray, spoken: np.ndarray, rate: int) -> tuple[float, ...]:
    """Mean cepstra 1 to 12 of the frames of `power`, (frames, bins), where `spoken`, (frames,), is true."""
    if not spoken.any():
        return (float("nan"),) * CEPSTRA
    bands = np.log(power[spoken] @ _mel_bank(power.shape[1], rate) + 1e-12)
    return tuple(dct(bands, norm="ortho", axis=1)[:, 1 : CEPSTRA + 1].mean(axis=0).tolist())


@cache
def _mel_bank(bins: int, rate: int) -> np.ndarray:
    """Triangles of equal area, evenly apart on the HTK mel scale: (bins, bands). Above half the rate lies nothing."""
    edges = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array(MEL_RANGE) / 700)), BANDS + 2) / 2595) - 1)
    frequency = np.linspace(0, rate / 2, bins)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    return (np.minimum(rise, fall).clip(min=0) * 2 / (high - low)).astype(np.float32)
