"""What speech goes through before a model sees it: espeak, and the decoding of recordings."""

import base64
import io
from unicodedata import normalize

import numpy as np
import soundfile
import soxr

from tts_lab.doctor.limited import Found
from tts_lab.frontend import Frontend

SPOKEN = {
    "en-us": ("Recordings in, a voice out.", "ɹᵻkˈɔːɹdɪŋz ˈɪn, ɐ vˈɔɪs ˈaʊt."),
    "de": ("Guten Morgen, schöne Welt.", "ɡˈuːtən mˈɔɾɡən, ʃˈøːnə vˈɛlt."),
    "pt-br": ("Bom dia, meu amigo.", "bˈõn dʒˈiʲɐ, mew ˌɐmˈiɡʊ."),
}
"""espeak's voice to a sentence and its phonemes, as piper-tts 1.8 says them."""
ESPEAK = "espeak is inside piper-tts: pip install --force-reinstall --no-deps piper-tts; unset ESPEAK_DATA_PATH."
LIBRARIES = "pip install --force-reinstall --no-deps soundfile soxr: libsndfile and libsoxr are inside them."
RATE, TONE = 16000, 440.0
FLAC = (
    "ZkxhQwAAACIQABAAAAG1AAG1A+gA8AAAAyCgVkIlrL9iYHcbXosbO4j7hAAAKCAAAAByZWZlcmVuY2UgbGliRkxBQyAxLjQuMyAyMDIzMDYyMw"
    "AAAAD/+HUIAAMflUgAAAsBFa4ftSjLtLHlUXO6HPOIBbMxjIMYzCEZMT6Ktcqup17/yZmQghCCGIQxkREz7lp1U/V39thKZiDMYQRDGZG2sVa7"
    "uXlVf7JiIhhCMEYQjCImS33n5S8X8tssZmYghDDGYhmZJPuXup3Vz1VT6EZmEMwghDIQiJZP3end+VfYrTEIhhCGIMRjM20/qlVSuqu9tsNGEQ"
    "YhBmIYzIiZUfqfuUtd/fImIRDGMIwhCMybRbXKvF5V5bZURkYZhBGCMwiJk3/6lVzv1f+7NGEYxBjEMMhCVpl/5X5Sq9VbU2ZjGQYxmEIyYn0V"
    "a5VdTr3/kzMhBCEEMQhjIiJn3LTqp+rv7bCUzEGYwgiGMyNtYq13cvKq/2TERDCEYIwhGERMlvvPyl4v5bZYzMxBCGGMxDMySfcvdTurnqqn0I"
    "zMIZhBCGQhESyfu9O78q+xWmIRDCEMQYjGZtp/VKqldVd7bYaMIgxCDMQxmREyo/U/cpa7++RMQiGMYRhCEZk2i2uVeLyry2yojIwzCCMEZhET"
    "Jv/1Krnfq/92aMIxiDGIYZCErTL/yvylV6DaGQ=="
)
"""A twentieth of a second of `tone`."""
FORMATS = ("WAV", "FLAC", "OGG", "MP3")


def tone(rate: int, seconds: float = 0.05) -> np.ndarray:
    """What the FLAC holds: a sine of 440 Hz, rounded to 16 bits where it was made."""
    return 0.5 * np.sin(2 * np.pi * TONE * np.arange(round(rate * seconds)) / rate)


def espeak() -> Found:
    """Sentences in several languages, in phonemes that are known."""
    wrong = []
    for voice, (sentence, known) in SPOKEN.items():
        said = "".join(Frontend(voice).encode(sentence).phonemes)
        if normalize("NFD", said) != normalize("NFD", known):  # an editor may have joined a letter and its tilde
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
    shorter = min(len(made), len(tone(22050)))
    off = np.abs(made[:shorter] - tone(22050)[:shorter])[200:-200].max()  # the ends ring
    if off > 1e-3:
        return f"resampled sound is {off:.2g} away from what it should be", LIBRARIES
    missing = [name for name in FORMATS if name not in soundfile.available_formats()]
    if missing:
        return f"libsndfile reads no {', '.join(missing)}", LIBRARIES
    return f"a FLAC is decoded to the sample; {', '.join(FORMATS)} are known", ""
