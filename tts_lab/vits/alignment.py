"""Monotonic alignment search: which phoneme each frame belongs to (Glow-TTS, algorithm 1; VITS, section 2.2.1)."""

import math

import numba
import numpy as np
import torch
from torch import Tensor


def log_likelihood(z_p: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-density of every frame under every phoneme's prior Gaussian.

    Args:
        z_p: latent frames after the flow, ``(B, C, F)``.
        mean, log_scale: prior of each phoneme, ``(B, C, T)``.

    Returns:
        ``(B, F, T)``, as two matrix products (the square expanded).
    """
    precision = torch.exp(-2 * log_scale)
    constant = (-0.5 * math.log(2 * math.pi) - log_scale - 0.5 * mean.square() * precision).sum(1, keepdim=True)
    squares = -0.5 * z_p.square().transpose(1, 2) @ precision
    return constant + squares + z_p.transpose(1, 2) @ (mean * precision)


def maximum_path(score: Tensor, frames: Tensor, phonemes: Tensor) -> Tensor:
    """The path from the first phoneme to the last, one step right or down, with the largest summed score.

    Every phoneme gets at least one frame. Runs on the host: the search is a chain of small dependent steps.

    Args:
        score: ``(B, F, T)``; frames, phonemes: true lengths ``(B,)``, with ``frames >= phonemes``.

    Returns:
        Zeros and ones ``(B, F, T)`` like ``score``; exactly one 1 in each true frame.
    """
    path = np.zeros(score.shape, dtype=np.float32)
    host = [np.ascontiguousarray(t.detach().cpu().numpy()) for t in (score.float(), frames, phonemes)]
    _search(path, *host)
    return torch.from_numpy(path).to(score)


@numba.njit(cache=True)
def _search(path, score, frames, phonemes):
    for item in range(score.shape[0]):
        length, width = frames[item], phonemes[item]
        best = np.full(width, -np.inf, dtype=np.float32)
        moved = np.zeros((length, width), dtype=np.bool_)  # did the best path come from the phoneme before?
        for f in range(length):
            # Cells that a path can still cross; right to left, so that best[t - 1] is the frame before's.
            for t in range(min(width - 1, f), max(0, width + f - length) - 1, -1):
                stay = best[t] if f > t else -np.inf
                move = best[t - 1] if t > 0 else (0.0 if f == 0 else -np.inf)
                moved[f, t] = move > stay
                best[t] = score[item, f, t] + max(move, stay)
        t = width - 1
        for f in range(length - 1, -1, -1):
            path[item, f, t] = 1.0
            if t > 0 and (t == f or moved[f, t]):
                t -= 1
