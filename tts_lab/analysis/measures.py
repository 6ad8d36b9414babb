"""What is measured on one recording, as it was recorded: before trimming, resampling and levelling."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
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
    """LUFS (ITU-R BS.1770), over the whole recording."""
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
    raise NotImplementedError
