"""Monotonic alignment search: which phoneme each frame belongs to (Glow-TTS, algorithm 1; VITS, section 2.2.1)."""

import math

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FAR = -1e30  # the score of what cannot be; finite, so that no product or difference of two makes a NaN


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

    Every phoneme gets at least one frame. Runs on the host, where the search's chain of small dependent steps takes
    milliseconds; on a lazy device, where the way to the host would cut the graph, as ``maximum_path_in_blocks``.

    Args:
        score: ``(B, F, T)``; frames, phonemes: true lengths ``(B,)``, with ``frames >= phonemes``.

    Returns:
        Zeros and ones ``(B, F, T)`` like ``score``; exactly one 1 in each true frame.
    """
    if score.device.type == "xla":
        return maximum_path_in_blocks(score, frames, phonemes)
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


def maximum_path_in_blocks(score: Tensor, frames: Tensor, phonemes: Tensor) -> Tensor:
    """``maximum_path`` as a short chain of tensor operations, for a device that a host round trip would stall.

    The search is a max-plus matrix product a frame, and those are associative: the ``F`` frames are cut into
    ``N`` blocks of ``K = sqrt(F)``, all blocks find their best scores for every start and end at once (``K``
    steps), the blocks are joined one after another (``N`` steps), and the way back goes the same two stages. So
    some ``4 sqrt(F)`` dependent steps do what took ``2 F``. The result is the path of ``maximum_path`` wherever
    the best path is unique in float32; sums are smaller here and so rounded less, because the best score of each
    frame is taken out first.
    """
    batch, length, width = score.shape
    block = math.isqrt(length - 1) + 1
    blocks = -(-length // block)
    total = blocks * block
    time = torch.arange(total, device=score.device)
    place = torch.arange(width, device=score.device)
    inside = time < frames[:, None]  # (B, total); beyond its end a path stays where it is, at no price
    score = F.pad(score - score.amax(-1, keepdim=True), (0, 0, 0, total - length))
    score = torch.where(inside[..., None], score, 0.0).view(batch, blocks, block, width)
    toll = torch.where(inside & (time > 0), 0.0, FAR).view(batch, blocks, block)

    # Inside the blocks: best[b, n, r, t] is the best score of block n with moves[r] moves that end at phoneme t.
    moves = (block - torch.arange(block + 1, device=score.device)).to(score)
    best = torch.where(moves > 0, FAR, 0.0)[:, None].expand(batch, blocks, -1, width)
    for i in range(block):
        moved = F.pad(best[:, :, 1:, :-1], (1, 0, 0, 1), value=FAR) + toll[:, :, i, None, None]
        best = torch.maximum(best, moved) + score[:, :, i, None]

    # From block to block: reach[b, t] is the best score of a path that is at phoneme t after the block.
    reach = torch.where(place > 0, FAR, 0.0).expand(batch, -1)
    through = []
    for n in range(blocks):
        arrivals = _shifted(reach, block) + best[:, n]
        through.append(arrivals)
        reach = arrivals.amax(1)

    # Back from block to block: where each block was entered and left.
    end = (phonemes - 1).to(score)
    entered, left = [], []
    for arrivals in reversed(through):
        here = place == end[:, None]
        scores = torch.where(here[:, None], arrivals, FAR).amax(-1)
        fewest = torch.where(scores == scores.amax(-1, keepdim=True), moves, float(block + 1)).amin(-1)
        left.append(end)
        end = end - fewest
        entered.append(end)
    entered, left = (torch.stack(ends[::-1], 1)[..., None] for ends in (entered, left))  # (B, N, 1)

    # Inside the blocks again, now from the known start to the known end, and back.
    reach = torch.where(place == entered, 0.0, FAR)
    arrived = []
    for i in range(block):
        moved = F.pad(reach[..., :-1], (1, 0), value=FAR) + toll[:, :, i, None]
        arrived.append((moved > reach).to(score))
        reach = torch.maximum(reach, moved) + score[:, :, i]
    at = (place == left).to(score)
    path = []
    for moved in reversed(arrived):
        path.append(at)
        back = at * moved
        at = at - back + F.pad(back[..., 1:], (0, 1))
    path = torch.stack(path[::-1], 2).view(batch, total, width)[:, :length]
    return path * inside[:, :length, None]


def _shifted(reach: Tensor, most: int) -> Tensor:
    """``(B, T)`` to ``(B, most + 1, T)``: row ``r`` is ``reach`` moved right by ``most - r``, without a gather."""
    width = reach.shape[1] + most
    # Rows read back one longer than they were written slide left by one more each.
    rows = F.pad(reach, (most, 0), value=FAR)[:, None].expand(-1, most + 1, -1).flatten(1)
    rows = F.pad(rows, (0, most + 1)).view(-1, most + 1, width + 1)
    return rows[:, :, : reach.shape[1]]
