"""How near a speaker is to a voice before it has learnt anything of them: likeness and pitch."""

import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile

from tts_lab.analysis.coverage import SENTENCES
from tts_lab.corpus.corpus import Corpus
from tts_lab.evaluation import metrics
from tts_lab.frontend import Frontend
from tts_lab.voices.catalogue import find_voice
from tts_lab.voices.speak import say

CLIPS = 8


@dataclass(frozen=True)
class Likeness:
    """None is what cannot be had."""

    similarity: float | None
    """Cosine of the voice's embedding to the mean of the speaker's; needs the `eval` extra."""
    pitch: float | None
    """Hz, the speaker's median."""
    voice_pitch: float | None
    """Hz, the voice's."""


def likeness(corpus: Corpus, voice: str | Path | None = None, clips: int = CLIPS) -> Likeness:
    """Listen to `clips` of the corpus's longer clips, and to `voice` (name or `.onnx`) reading a few sentences.

    The voice reads in its own language, so that a foreign text does not make it stumble. Of a corpus with several
    speakers the clips are everybody's. Raises `UserError` if a clip's audio is gone or the voice cannot be found.
    """
    long = sorted(corpus.utterances, key=lambda clip: -clip.samples)[: max(clips, len(corpus.utterances) // 2)]
    chosen = [long[round(place)] for place in np.linspace(0, len(long) - 1, min(clips, len(long)))]
    with tempfile.TemporaryDirectory() as folder:
        wavs = [Path(folder) / f"{number}.wav" for number in range(len(chosen))]
        for clip, wav in zip(chosen, wavs, strict=True):
            soundfile.write(wav, corpus.waveform(clip), corpus.sample_rate, subtype="FLOAT")
        pitch = metrics.known(metrics.median_pitch(wavs))
        if voice is None:
            return Likeness(None, pitch, None)
        found = find_voice(voice)
        family = Frontend.from_voice(f"{found}.json").espeak_voice.split("-")[0]
        read = say(found, SENTENCES.get(family, chosen[0].text), Path(folder) / "voice.wav")
        alike = metrics.similarity([read], wavs) if find_spec("resemblyzer") else None
        return Likeness(alike, pitch, metrics.known(metrics.median_pitch([read])))
