"""One recording made ready: decode, check, resample, trim, level. Or the reason why not."""

import io
import struct
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pyloudnorm
import soundfile
import soxr

from tts_lab.corpus.settings import AudioSettings
from tts_lab.corpus.speech import VAD_RATE, speech_bounds

LOUDNESS_BLOCK = 0.4
"""Seconds; ITU-R BS.1770 measures in blocks of this length, so shorter clips have no loudness."""
SLACK = 0.05
"""Seconds by which a cut may pass the end of its recording."""
MOST_CHANNELS, HIGHEST_RATE = 8, 192_000
"""With the longest recording that is read these bound the memory for one, whatever its header says."""
_COARSE = {"PCM_U8": "8-bit", "PCM_S8": "8-bit", "ULAW": "µ-law", "ALAW": "A-law"}


@dataclass
class Clip:
    """A recording made ready."""

    audio: np.ndarray
    """float32 (samples,) at the corpus's rate."""
    notes: list[str] = field(default_factory=list)


class Unusable(Exception):
    """Why a recording is quarantined: cause and fix."""


def make_clip(data: bytes, settings: AudioSettings, cut: tuple[float, float] | None = None) -> Clip:
    """A recording's bytes, or its seconds `cut`, to a clip. Raises `Unusable` with the reason."""
    audio, rate, notes = decode(data, settings, cut)
    resampled = _resample(audio, rate, settings.sample_rate)
    if rate != settings.sample_rate:
        notes.append(f"resampled from {rate} Hz")
    if settings.trim:
        resampled = trim(audio, rate, resampled, settings)
    seconds = len(resampled) / settings.sample_rate
    if seconds < settings.min_seconds:
        raise Unusable(f"{seconds:.2f} s is under {settings.min_seconds:g} s; record it again, or join it to another")
    if seconds > settings.max_seconds:
        raise Unusable(
            f"{seconds:.1f} s is over {settings.max_seconds:g} s; cut it at sentence ends into several clips"
        )
    return Clip(level(resampled, settings, notes), notes)


def decode(
    data: bytes, settings: AudioSettings, cut: tuple[float, float] | None = None
) -> tuple[np.ndarray, int, list[str]]:
    """Samples float32 (samples,) mono, their rate, and notes of what was converted. Raises `Unusable`.

    With `cut`, begin and end in seconds, only that part is read and checked: what is cut away may be faulty.
    """
    if not data:
        raise Unusable("the file is empty (0 bytes); copy or record it again")
    if missing := _missing_bytes(data):
        raise Unusable(f"the file is cut off: its header announces {missing} bytes more than it holds; copy it again")
    notes: list[str] = []
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate = file.samplerate
            if file.channels > MOST_CHANNELS or rate > HIGHEST_RATE:
                raise Unusable(
                    f"it says that it has {file.channels} channels of {rate} Hz, as no recording of a voice does: its "
                    "header is damaged; copy it again"
                )
            frames = _seek(file, cut) if cut else file.frames
            seconds = frames / rate
            if seconds > 10 * settings.max_seconds:
                raise Unusable(
                    f"{seconds:.0f} s long; cut it at sentence ends into clips of at most {settings.max_seconds:g} s"
                )
            if rate < 8000:
                raise Unusable(f"a sample rate of {rate} Hz is too low for speech; record at 16000 Hz or more")
            audio = file.read(frames, dtype="float32", always_2d=True)
            if len(audio) < frames:
                raise Unusable(f"the file is cut off: {len(audio)} of {frames} samples could be decoded; copy it again")
            bits = 8 if file.subtype in ("PCM_U8", "PCM_S8") else 16
            if file.subtype in _COARSE:
                notes.append(f"{_COARSE[file.subtype]} recording: its noise is learnt too")
    except soundfile.SoundFileError as error:
        message = str(error).split(": ", 1)[-1].rstrip(".")
        raise Unusable(f"cut off, damaged or no audio ({message}); copy or record it again") from error
    if not len(audio):
        raise Unusable("the file holds no samples; record it again")
    if not np.isfinite(audio).all():
        raise Unusable("the samples hold NaN or infinity; save it again as 16-bit WAV")
    check_clipping(audio, bits, notes, settings)
    mono = audio[:, 0]
    if audio.shape[1] > 1:
        notes.append(f"{audio.shape[1]} channels mixed to one")
        mono = audio.mean(axis=1, dtype=np.float32)
    peak = float(np.abs(mono).max())
    if peak < 10 ** (settings.silence_dbfs / 20):
        loudest = f"{20 * np.log10(peak):.0f} dBFS at its loudest" if peak else "every sample is zero"
        raise Unusable(f"silent: {loudest}; record it again, or check the microphone")
    return mono, rate, notes


def _seek(file: soundfile.SoundFile, cut: tuple[float, float]) -> int:
    """Go to where `cut` begins, and return how many frames it has."""
    begin, end = (round(second * file.samplerate) for second in cut)
    # The end of a slider may be a rounding past the end of the recording.
    if begin >= file.frames or end > file.frames + SLACK * file.samplerate:
        raise Unusable(
            f"the review cuts it from {cut[0]:.2f} to {cut[1]:.2f} s, and the recording has "
            f"{file.frames / file.samplerate:.2f} s; review it again"
        )
    file.seek(begin)
    return min(end, file.frames) - begin


def check_clipping(audio: np.ndarray, bits: int, notes: list[str], settings: AudioSettings) -> None:
    """Refuse `audio`, (samples, channels), if much of it stands at full scale; note it if a little does.

    A sample counts if its neighbour is at full scale too: a file scaled to its own peak touches it once.
    """
    # One step below full scale counts, since positive full scale is one step short of 1.
    at_limit = np.abs(audio) >= 1 - 2.0 ** (2 - bits)
    clipped = np.count_nonzero(at_limit[1:] & at_limit[:-1], axis=0).max() / len(audio)
    if clipped > settings.clipped_share:
        raise Unusable(f"clipped: {clipped:.2%} of its samples stand at full scale; record it at a lower gain")
    if clipped:
        notes.append("a few samples stand at full scale")


def trim(audio: np.ndarray, rate: int, resampled: np.ndarray, settings: AudioSettings) -> np.ndarray:
    """`resampled` between the first and last speech, with `keep_seconds` around it."""
    heard = audio if rate == VAD_RATE else _resample(audio, rate, VAD_RATE)
    bounds = speech_bounds(heard, settings.speech_threshold)
    if bounds is None:
        raise Unusable("no speech is heard in it; check the recording (or prepare with trimming off)")
    begin = max(0.0, bounds[0] / VAD_RATE - settings.keep_seconds)
    end = bounds[1] / VAD_RATE + settings.keep_seconds
    first = int(begin * settings.sample_rate)
    last = min(len(resampled), int(np.ceil(end * settings.sample_rate)))
    return resampled[first:last]


def level(audio: np.ndarray, settings: AudioSettings, notes: list[str]) -> np.ndarray:
    """`audio` at the loudness asked for, as far as its peak allows."""
    if settings.loudness is None:
        return np.ascontiguousarray(audio)
    loudness = loudness_of(audio, settings.sample_rate)
    if not np.isfinite(loudness):
        raise Unusable("too quiet to measure its loudness (under -70 LUFS); record it again at a higher gain")
    gain = 10 ** ((settings.loudness - loudness) / 20)
    peak = float(np.abs(audio).max())
    if gain * peak > settings.peak:
        gain = settings.peak / peak
        notes.append("its peaks kept it below the loudness asked for")
    return audio * np.float32(gain)


def loudness_of(audio: np.ndarray, rate: int) -> float:
    """LUFS (ITU-R BS.1770) of mono `audio` (samples,); minus infinity if all of it is under the gate of -70."""
    if len(audio) > LOUDNESS_BLOCK * rate:
        return _meter(rate).integrated_loudness(audio)
    # Too short for one block: the plain level stands in, K-weighting being near 0 dB for speech.
    return 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-12) - 0.691


def _resample(audio: np.ndarray, rate: int, to: int) -> np.ndarray:
    return audio if rate == to else soxr.resample(audio, rate, to, quality="HQ")


@cache
def _meter(rate: int) -> pyloudnorm.Meter:
    return pyloudnorm.Meter(rate, block_size=LOUDNESS_BLOCK)


def _missing_bytes(data: bytes) -> int:
    """Bytes that a WAV header announces and the file lacks; 0 for other formats and for streamed WAV.

    libsndfile reads what is there and says nothing, so a broken copy would become a clip that stops mid-word.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return 0
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"data":
            return 0 if size == 0 or size >= 0x7FFFF000 else max(0, at + size - len(data))
        at += size + size % 2
    return 0
