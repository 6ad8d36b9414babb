"""Stock Piper's training step, as published, with the one thing its wheel lacks put in: an alignment."""

import sys
import types
import warnings
from contextlib import contextmanager

import torch
from torch import Tensor

from tts_lab.vits import alignment
from tts_lab.vits.synthesizer import Batch


def install_alignment() -> None:
    """Stand in for the Cython module that the wheel does not hold, with our search under its interface."""
    package = "piper.train.vits.monotonic_align.monotonic_align"

    def maximum_path_c(path, values, frames, phonemes):
        path[:] = alignment.maximum_path(*(torch.from_numpy(a) for a in (values, frames, phonemes))).numpy()

    for name in (package, f"{package}.core"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules[package].__path__ = []
    sys.modules[f"{package}.core"].maximum_path_c = maximum_path_c


def stock_model(**settings):
    """Piper's ``VitsModel``, medium unless told otherwise."""
    install_alignment()
    warnings.filterwarnings("ignore", message=".*weight_norm.*")
    from piper.train.vits.lightning import VitsModel

    return VitsModel(mos_metric=None, **settings)


def stock_batch(batch: Batch):
    """Piper's batch of the same utterances. Of the waveforms it reads only the segments, so only those are there."""
    from piper.train.vits.dataset import Batch as StockBatch

    rows, _, samples = batch.segment.shape
    hop = samples // batch.segment_spectrogram.shape[-1]
    audio = torch.zeros(rows, 1, batch.spectrogram.shape[-1] * hop)
    for row, start in enumerate(batch.starts * hop):
        audio[row, :, start : start + samples] = batch.segment[row]
    return StockBatch(
        phoneme_ids=batch.phonemes, phoneme_lengths=batch.phoneme_lengths, spectrograms=batch.spectrogram,
        spectrogram_lengths=batch.frames, audios=audio, audio_lengths=batch.frames * hop, speaker_ids=batch.speakers,
    )  # fmt: skip


@contextmanager
def segment_starts(starts: Tensor):
    """Make Piper cut its segments at ``starts`` instead of drawing them."""
    from piper.train.vits import commons

    original = commons.rand_slice_segments
    commons.rand_slice_segments = lambda z, lengths, size: (commons.slice_segments(z, starts, size), starts)
    try:
        yield
    finally:
        commons.rand_slice_segments = original


def stock_step(model, optimizers, batch) -> None:
    """The body of ``VitsModel.training_step`` without Lightning."""
    optimizer_g, optimizer_d = optimizers
    loss_g, loss_d, _ = model._compute_loss(batch)
    optimizer_g.zero_grad()
    loss_g.backward()
    optimizer_g.step()
    optimizer_d.zero_grad()
    loss_d.backward()
    optimizer_d.step()
