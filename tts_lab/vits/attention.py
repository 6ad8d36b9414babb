"""Self-attention with relative positions in a window (Shaw et al. 2018), without the zeros.

Piper pads the ``2 * window + 1`` relative embeddings to ``2 T - 1`` positions and multiplies by all of them; only
those inside the window are not zero. Here the product is with the window alone, and its ``(T, 2 * window + 1)``
result is laid along the diagonal of the ``(T, T)`` scores by padding and reshaping, with no gather.
"""

import math

import torch
from piper.train.vits import attentions
from torch import Tensor
from torch.nn import functional as F


class MultiHeadAttention(attentions.MultiHeadAttention):
    """``x, c (B, C, T)``, ``attn_mask (B, 1, T, T)`` -> ``(B, C, T)``; the heads share the relative embeddings."""

    def forward(self, x: Tensor, c: Tensor, attn_mask: Tensor) -> Tensor:
        if torch.jit.is_tracing():  # for export: a published voice keeps Piper's own graph, of any length
            return super().forward(x, c, attn_mask)
        query, key, value = (
            conv(source).unflatten(1, (self.n_heads, self.k_channels)).transpose(2, 3)
            for conv, source in ((self.conv_q, x), (self.conv_k, c), (self.conv_v, c))
        )
        query = query / math.sqrt(self.k_channels)
        scores = query @ key.transpose(2, 3) + along_diagonal(query @ self.emb_rel_k[0].T)
        weights = self.drop(F.softmax(scores.masked_fill(attn_mask == 0, -1e4), dim=-1))
        output = weights @ value + from_diagonal(weights, self.window_size) @ self.emb_rel_v[0]
        return self.conv_o(output.transpose(2, 3).flatten(1, 2))


def along_diagonal(relative: Tensor) -> Tensor:
    """``(B, H, T, 2 w + 1)`` by relative position to ``(B, H, T, T)`` by position.

    Entry ``[t, s]`` is ``relative[t, s - t + w]``, or zero where ``|s - t| > w``.
    """
    length, width = relative.shape[2:]
    # Rows read back one shorter than they were written move right by one more each.
    rows = F.pad(relative, (0, length)).flatten(2)[..., : length * (length + width - 1)]
    return rows.unflatten(2, (length, length + width - 1))[..., width // 2 : width // 2 + length]


def from_diagonal(weights: Tensor, window: int) -> Tensor:
    """``(B, H, T, T)`` to the ``(B, H, T, 2 window + 1)`` around the diagonal; the inverse of ``along_diagonal``."""
    length, width = weights.shape[3], 2 * window + 1
    rows = F.pad(F.pad(weights, (window, window)).flatten(2), (0, length))
    return rows.unflatten(2, (length, length + width))[..., :width]
