"""Stride-1 convolutions of five taps by minimal filtering: four outputs for eight products, not twenty.

Winograd 1980; Lavin & Gray 2016 (arXiv 1509.09308), F(4, 5). The kernel and each window of eight inputs are
evaluated at seven points and infinity, multiplied there, and interpolated: three constant matrices around one
batched matrix product. It pays where the product is the cost and dense float32 is slow: on a CPU, with hundreds
of channels. Rounding is that of a direct convolution times six (1e-6 relative).
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

TAPS, OUTPUTS = 5, 4
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity; their spread decides the rounding
WINDOW = TAPS + OUTPUTS - 1


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """Of kernel ``(8, 5)``, inputs ``(8, 8)`` and outputs ``(4, 8)`` (Lavin & Gray: G, B transposed, A transposed)."""

    def powers(count: int) -> np.ndarray:
        at_infinity = np.eye(count)[-1:]
        return np.vstack([np.vander(POINTS, count, increasing=True), at_infinity])

    kernel, inputs, outputs = powers(TAPS), np.linalg.inv(powers(WINDOW)).T, powers(OUTPUTS).T
    # Large rows of one against small rows of another: evened out by powers of two, which round nothing.
    even = 2.0 ** np.round(np.log2(np.abs(inputs).sum(1) / np.abs(kernel).sum(1)) / 2)
    return tuple(
        torch.from_numpy(m.astype(np.float32)) for m in (kernel * even[:, None], inputs / even[:, None], outputs)
    )


KERNEL, INPUTS, OUTPUT = _matrices()


def suits(conv: nn.Module, x: Tensor) -> bool:
    """Whether ``conv`` on ``x (B, C, T)`` is of the kind this is for, and computed where it pays."""
    return (
        conv.training
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and x.dtype == torch.float32
        and conv.kernel_size[0] == TAPS
        and conv.stride[0] == conv.dilation[0] == conv.groups == 1
        and min(conv.in_channels, conv.out_channels) >= 64
    )


def transform(kernel: Tensor) -> Tensor:
    """A kernel ``(O, C, 5)`` evaluated at the points, ``(8, C, O)``."""
    swapped = kernel.permute(2, 1, 0)  # here, where it is cheapest: the products' gradient comes in this order
    return (KERNEL @ swapped.flatten(1)).unflatten(1, swapped.shape[1:])


def correlate(x: Tensor, transformed: Tensor, bias: Tensor) -> Tensor:
    """``conv1d(x, kernel, bias, padding=2)``: ``x (B, C, T)``, ``transformed (8, C, O)`` -> ``(B, O, T)``."""
    batch, channels, length = x.shape
    tiles = -(-length // OUTPUTS)
    padded = F.pad(x.transpose(1, 2), (0, 0, TAPS // 2, OUTPUTS * (tiles + 1) - length - TAPS // 2))
    blocks = padded.view(batch, tiles + 1, OUTPUTS, channels)
    windows = torch.cat([blocks[:, :-1], blocks[:, 1:]], 2).flatten(0, 1)  # two blocks of four make a window
    inputs = (INPUTS @ windows).transpose(0, 1)
    products = torch.bmm(inputs, transformed)
    outputs = (OUTPUT @ products.transpose(0, 1)).add_(bias)
    return outputs.view(batch, tiles * OUTPUTS, -1)[:, :length].transpose(1, 2)
