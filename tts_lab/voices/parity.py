"""Does an ONNX file say what the PyTorch model says? Compared at zero noise, where nothing is drawn."""

from dataclasses import dataclass

import numpy as np
import torch

from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices.onnxfile import Session


@dataclass(frozen=True)
class Difference:
    """PyTorch against ONNX Runtime on one sequence of phoneme ids."""

    phonemes: int
    """Length of the sequence."""
    samples: float
    """Greatest absolute difference of audio samples; inf where the two have different lengths."""


@torch.no_grad()
def compare(model: Synthesizer, session: Session, ids: list[int]) -> Difference:
    """Speak `ids` with both, first speaker, no noise.

    Durations are rounded up to frames, so two models that agree to the last bits can land on either side of a
    whole number. A sequence whose lengths differ is therefore spoken once more, a little slower.
    """
    for length_scale in (1.0, 1.013):
        feeds = {
            "input": np.array([ids]),
            "input_lengths": np.array([len(ids)]),
            "scales": np.array([0.0, length_scale, 0.0], np.float32),
        }
        speaker = None
        if model.n_speakers > 1:
            feeds["sid"], speaker = np.array([0]), torch.tensor([0])
        theirs = session.run(None, feeds)[0].reshape(-1)
        text, count = torch.tensor([ids]), torch.tensor([len(ids)])
        ours = model.infer(text, count, speaker, 0.0, length_scale, 0.0)[0].numpy().reshape(-1)
        if len(ours) == len(theirs):
            return Difference(len(ids), float(np.abs(ours - theirs).max()))
    return Difference(len(ids), float("inf"))
