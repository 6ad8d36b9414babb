"""How recordings become a corpus: every knob of `prepare`, with its reason."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from tts_lab.errors import UserError


@dataclass(frozen=True)
class AudioSettings:
    """What is done to each recording. A change to any of them makes the clips anew."""

    sample_rate: int = 22050
    """Hz of the corpus, and so of the voice."""

    trim: bool = True
    """Cut silence at both ends, by the Silero VAD."""

    speech_threshold: float = 0.2
    """Probability from which 32 ms count as speech; Piper's own value."""

    keep_seconds: float = 0.25
    """Silence left before the first and after the last speech; Piper's own value."""

    loudness: float | None = -23.0
    """LUFS (ITU-R BS.1770) that every clip is brought to; None leaves levels as they are."""

    peak: float = 0.95
    """A clip is never raised so far that a sample passes this."""

    min_seconds: float = 0.5
    """Clips shorter than this after trimming are quarantined: a model learns nothing from them."""

    max_seconds: float = 20.0
    """Clips longer than this after trimming are quarantined: one of them decides the memory of a batch."""

    clipped_share: float = 0.001
    """Quarantine if more than this share of the samples stands at full scale, in runs; less is noted."""

    silence_dbfs: float = -60.0
    """A recording that never gets louder than this peak is silent."""

    def audio(self) -> "AudioSettings":
        """These fields alone, of whatever has more."""
        return AudioSettings(**{field.name: getattr(self, field.name) for field in fields(AudioSettings)})


@dataclass(frozen=True)
class PrepareSettings(AudioSettings):
    """How recordings become a corpus. The fields of `AudioSettings` decide the audio, these the rest."""

    max_phoneme_ids: int = 1000
    """Utterances with more ids than this are quarantined; attention costs their square."""

    validation_share: float = 0.1
    """Share of utterances held out, chosen by a hash of their id: the same ids in every run."""

    min_utterances: int = 3
    """Refuse a corpus that keeps fewer: one to validate on and two to learn from."""

    few_minutes: float = 5.0
    """Warn below this much kept speech; fine-tuning was tried and worked from 8 minutes on."""

    rate_outlier: float = 6.0
    """Note utterances whose phonemes per second are this many median deviations from the median: text and
    recording may not belong together."""

    def __post_init__(self) -> None:
        problems = []
        if not 8000 <= self.sample_rate <= 48000:
            problems.append(f"sample_rate is {self.sample_rate}; it must be 8000 to 48000 (Piper: 16000 or 22050)")
        if not 0 < self.validation_share < 1:
            problems.append(f"validation_share is {self.validation_share}; it must be between 0 and 1")
        if not 0 <= self.min_seconds < self.max_seconds:
            problems.append(f"min_seconds {self.min_seconds} must be under max_seconds {self.max_seconds}")
        if problems:
            raise UserError("prepare: " + "; ".join(problems) + ".")


OWN = tuple(field.name for field in fields(AudioSettings) if field.name != "sample_rate")
"""What each of several corpora may have its own of. Not the rate: a voice has one."""


def with_own(settings: PrepareSettings, own: Mapping[str, str]) -> PrepareSettings:
    """`settings` with other values of `OWN`, written as on the command line: {"trim": "false", "loudness": "null"}.

    Raises `UserError` for a value that the setting cannot have.
    """
    return replace(settings, **{name: _read(name, text, getattr(AudioSettings, name)) for name, text in own.items()})


def _read(name: str, text: str, default: bool | float) -> bool | float | None:
    """By the type of the default. Every number is a float, as on the command line: 20 and 20.0 make the same clips."""
    try:
        value = json.loads("null" if text.lower() == "none" else text.lower())
    except ValueError:
        value = text
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        raise UserError(f"--{name} {text}: must be true or false.")
    if value is None and name == "loudness":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"--{name} {text}: must be a number{', or null' if name == 'loudness' else ''}.")
    return float(value)
