"""The pace of a voice, made that of the recordings before any training."""

import math
from collections.abc import Mapping, Sequence

import torch

from tts_lab.corpus.corpus import Utterance
from tts_lab.vits.config import DURATION_NOISE
from tts_lab.vits.synthesizer import Synthesizer

DRAWS = 4  # readings of each text: durations are drawn


@torch.no_grad()
def match_pace(model: Synthesizer, clips: Sequence[Utterance], speakers: Mapping[str, int]) -> float:
    """Shift all of the model's log-durations by one number, so that it says the clips' texts in their time, in place.

    Log-durations are the first channel of what `dp.flows.0`, an affine layer, gives: ``(z - m) * exp(-logs)``. So the
    shift is one of its `m`, exact, and the rhythm, which sound is long and which is short, stays as it was. It also
    takes a voice to another sample rate, where as many seconds are fewer frames or more.

    Args:
        speakers: names to ids, of a voice of several.

    Returns:
        The factor on durations.
    """
    was_training = model.training
    model.eval()
    log_durations = torch.cat([_log_durations(model, clip.phoneme_ids, speakers.get(clip.speaker)) for clip in clips])
    model.train(was_training)
    frames = sum(model.config.spectrogram.frames(clip.samples) for clip in clips)

    def spoken(shift: float) -> float:  # a speaking voice gives every phoneme whole frames
        return float(torch.exp(log_durations + shift).ceil().sum()) / DRAWS

    low, high = -3.0, 3.0
    for _ in range(40):
        shift = (low + high) / 2
        low, high = (shift, high) if spoken(shift) < frames else (low, shift)
    affine = model.dp.flows[0]
    affine.m[0] -= shift * torch.exp(affine.logs[0])
    return math.exp(shift)


def _log_durations(model: Synthesizer, ids: Sequence[int], speaker: int | None) -> torch.Tensor:
    """Of `DRAWS` readings, one after another."""
    torch.manual_seed(len(ids))
    text, _, _, mask = model.enc_p(torch.tensor([list(ids)]), torch.tensor([len(ids)]))
    voice = model.emb_g(torch.tensor([speaker])).unsqueeze(-1) if model.n_speakers > 1 else None
    read = [model.dp(text, mask, g=voice, reverse=True, noise_scale=DURATION_NOISE) for _ in range(DRAWS)]
    return torch.cat([logs.flatten() for logs in read])
