"""What speech goes through before a model sees it: espeak, and the decoding of recordings."""

import base64
import io

import numpy as np
import soundfile
import soxr

from tts_lab.doctor.limited import Found
from tts_lab.frontend import Frontend

SPOKEN = {}
"""espeak's voice to a sentence and its phonemes, as piper-tts 1.8 says them."""
ESPEAK = "espeak is inside piper-tts: pip install --force-reinstall --no-deps piper-tts; unset ESPEAK_DATA_PATH."
LIBRARIES = "pip install --force-reinstall --no-deps soundfile soxr: libsndfile and libsoxr are inside them."
RATE, TONE = 16000, 440.0
FLAC = ""
"""A tenth of a second of `tone`."""
FORMATS = ("WAV", "FLAC", "OGG", "MP3")


def tone(rate: int, seconds: float = 0.1) -> np.ndarray:
    """What the FLAC holds: a sine of 440 Hz, rounded to 16 bits where it was made."""
    return 0.5 * np.sin(2 * np.pi * TONE * np.arange(round(rate * seconds)) / rate)


def espeak() -> Found:
    """Sentences in several languages, in phonemes that are known."""
    wrong = []
    for voice, (sentence, known) in SPOKEN.items():
        said = "".join(Frontend(voice).encode(sentence).phonemes)
        if said != known:
            wrong.append(f"{voice} says {sentence!r} as {said or 'nothing'}, not {known}")
    if wrong:
        return "; ".join(wrong), f"A voice learns what it is given: other phonemes are another voice. {ESPEAK}"
    return f"{', '.join(SPOKEN)} speak as they should: {SPOKEN['en-us'][1]}", ""


def decoding() -> Found:
    """A FLAC decoded to the sample, resampled, and compared with the tone that it was made from."""
    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(FLAC)), dtype="int16")
    if rate != RATE or not np.array_equal(audio, np.round(tone(RATE) * 32767).astype(np.int16)):
        return "a FLAC is decoded to other samples than it holds", LIBRARIES
    made = soxr.resample(audio.astype(np.float32) / 32767, RATE, 22050)
    off = np.abs(made - tone(22050)[: len(made)])[200:-200].max()  # the ends ring
    if off > 1e-3:
        return f"resampled sound is {off:.2g} away from what it should be", LIBRARIES
    missing = [name for name in FORMATS if name not in soundfile.available_formats()]
    if missing:
        return f"libsndfile reads no {', '.join(missing)}", LIBRARIES
    return f"a FLAC is decoded to the sample; {', '.join(FORMATS)} are known", ""
