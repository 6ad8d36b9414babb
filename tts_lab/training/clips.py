"""A few validation clips that stay the same through a run, and what the generator makes of them."""

from dataclasses import dataclass

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device

from tts_lab.analysis.alignment import sounds
from tts_lab.buckets import Bucket
from tts_lab.training.data import CorpusData, collate
from tts_lab.vits.config import DURATION_NOISE
from tts_lab.vits.synthesizer import Batch, Synthesizer


@dataclass(frozen=True)
class Clip:
    """A recording of the validation split with its text, never trained on."""

    id: str
    text: str
    symbols: list[str]
    """What each of its phoneme ids stands for."""
    batch: Batch
    """It alone, without padding."""
    audio: np.ndarray
    """Whole frames of it, float32 ``(samples,)``."""


@dataclass(frozen=True)
class Spoken:
    """What a generator made of a text."""

    audio: np.ndarray
    """Float32 ``(samples,)``, clipped to [-1, 1]."""
    durations: np.ndarray
    """Frames of each phoneme id ``(T,)``: searched where a recording was shown, else predicted."""


def chosen_clips(data: CorpusData) -> list[Clip]:
    """``config.sample_clips`` of the validation clips, by the seed; fewer where there are fewer.

    From the longer half without the longest tenth: in a short clip an alignment has little to get wrong, and a long
    one is a long wait and a picture that nobody can read.
    """
    settings, model = data.config, data.model
    symbols = {i: symbol for symbol, ids in data.corpus.frontend["phoneme_id_map"].items() for i in ids}
    named = [(u, [symbols.get(i, "") for i in u.phoneme_ids]) for u in data.utterances if u.split == "validation"]
    named = [(u, names) for u, names in named if not all(sound.pause for sound in sounds(names))]
    named.sort(key=lambda pair: (pair[0].samples, pair[0].id))
    end = max(settings.sample_clips, len(named) - len(named) // 10)
    first = max(0, min(len(named) // 2, end - settings.sample_clips))
    pool = named[first:end]
    draw = np.random.default_rng([settings.seed, 3])
    picked = draw.choice(len(pool), min(settings.sample_clips, len(pool)), replace=False)
    clips = []
    for utterance, names in (pool[i] for i in picked):
        whole = Bucket(len(utterance.phoneme_ids), model.spectrogram.frames(utterance.samples), ((0,),))
        batch = collate(data.corpus, [[utterance]], whole, model, np.random.default_rng(0))
        audio = data.corpus.waveform(utterance)[: whole.frames * model.spectrogram.hop_length]
        clips.append(Clip(utterance.id, utterance.text, names, batch, audio))
    return clips


def teacher_forced(model: Synthesizer, clip: Clip) -> Spoken:
    """The clip through posterior encoder and decoder, as in training: what is made by who is shown the answer."""
    audio, path = model.follow(move_data_to_device(clip.batch, _device(model)))
    return Spoken(_samples(audio), path[0].sum(0).long().cpu().numpy())


def free_running(model: Synthesizer, clip: Clip) -> Spoken:
    """The clip's text spoken as any other."""
    speakers = clip.batch.speakers
    return spoken(model, clip.batch.phonemes[0].tolist(), 0 if speakers is None else int(speakers[0]))


@torch.no_grad()
def spoken(model: Synthesizer, ids: list[int], speaker: int = 0) -> Spoken:
    """Free-running speech of ``ids``."""
    device = _device(model)
    speakers = torch.tensor([speaker], device=device) if model.n_speakers > 1 else None
    text, count = torch.tensor([ids], device=device), torch.tensor([len(ids)], device=device)
    audio, path, *_ = model.infer(text, count, speakers, model.config.noise_scale, 1.0, DURATION_NOISE)
    return Spoken(_samples(audio), path[0, 0].sum(0).long().cpu().numpy())


def _device(model: Synthesizer) -> torch.device:
    return next(model.parameters()).device


def _samples(audio: torch.Tensor) -> np.ndarray:
    return audio[0, 0].float().clamp(-1, 1).cpu().numpy()
