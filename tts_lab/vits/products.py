"""Convolutions as matrix products, for the layers whose convolution trn1's compiler is known to have trouble with.

What it has trouble with is mostly not the layer but its gradients: torch_xla makes the weight gradient a convolution
whose window is as long as the output, the input gradient one with a reversed kernel (neuron-facts 0.7, 0.8, 2.4).
Here a layer is shifted copies of its input times a matrix, so forward and backward are products, pads, slices and
reshapes alone. The copies are made by reading rows back longer than they were written (as in ``attention``), which
takes as many operations for forty taps as for three; they take the memory of the input times the taps.
"""

from torch import Tensor, bmm, nn, stack
from torch.nn import functional as F

LONG_WINDOW = 4096  # outputs; these two are where the preflight's rules begin (preflight.rules)
WIDE_KERNEL = 7  # taps


def choose(model: nn.Module, chosen: bool = True) -> None:
    """Have the convolutions of ``model`` computed as products where they are risky, or again all as they are."""
    for module in model.modules():
        module.products = chosen


def suits(conv: nn.Module, x: Tensor) -> bool:
    """Whether products are chosen for ``conv``, and it is risky on ``x (B, C, T)``."""
    return getattr(conv, "products", False) and risky(conv, x.shape[-1])


def risky(conv: nn.Module, length: int) -> bool:
    """Whether the convolution of ``length`` inputs, or one of its gradients, is of a kind reported to go wrong.

    Transposed: a convolution over a mostly zero input. Grouped: its weight gradient counts groups in the batch, a form
    few models have. Wide, or over a long window: weight gradients that fail to compile, or to many instructions.
    Fewer taps than the dilation: computed wrongly before SDK 2.30.
    """
    if isinstance(conv, nn.ConvTranspose1d):
        return True
    taps, dilation, stride = conv.kernel_size[0], conv.dilation[0], conv.stride[0]
    outputs = (length + 2 * conv.padding[0] - dilation * (taps - 1) - 1) // stride + 1
    return conv.groups > 1 or taps >= WIDE_KERNEL or outputs >= LONG_WINDOW or 1 < taps < dilation


def convolve(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """``conv1d`` of the same arguments: ``x (B, C, T)``, ``kernel (O, C / groups, K)`` -> ``(B, O, N)``.

    Raises:
        ValueError: both ``stride`` and ``dilation`` are above 1.
    """
    if stride > 1 and dilation > 1:
        raise ValueError(f"stride {stride} and dilation {dilation}: one of them must be 1")
    taps = kernel.shape[2]
    outputs = (x.shape[2] + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    if stride == 1:
        x = F.pad(x, (padding, padding))
    else:  # the same with one step a block: `stride` times the channels, and the kernel in as many pieces
        blocks = -(-taps // stride)
        x = F.pad(x, (padding, (outputs + blocks - 1) * stride - x.shape[2] - padding))
        kernel = F.pad(kernel, (0, blocks * stride - taps))
        x, kernel = (t.unflatten(2, (-1, stride)).transpose(2, 3).flatten(1, 2) for t in (x, kernel))
    return _with_bias(_product(_shifted(x, kernel.shape[2], dilation), kernel, groups), bias)


def convolve_transposed(x: Tensor, kernel: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """``conv_transpose1d`` of the same arguments: ``x (B, C, T)``, ``kernel (C, O, K)`` -> ``(B, O, N)``.

    Each of the ``stride`` outputs that follow an input is a convolution of its own, with every ``stride``-th tap.
    """
    taps, outputs = kernel.shape[2], (x.shape[2] - 1) * stride + kernel.shape[2] - 2 * padding
    blocks = -(-taps // stride)
    pieces = F.pad(kernel, (0, blocks * stride - taps)).unflatten(2, (blocks, stride)).unbind(2)
    phases = stack(pieces[::-1], -1).permute(1, 2, 0, 3).flatten(0, 1)  # (O * stride, C, blocks), the last piece first
    made = _product(_shifted(F.pad(x, (blocks - 1, blocks - 1)), blocks, 1), phases, 1)
    interleaved = made.unflatten(1, (-1, stride)).transpose(2, 3).flatten(2)
    return _with_bias(interleaved[..., padding : padding + outputs], bias)


def _shifted(x: Tensor, taps: int, step: int) -> Tensor:
    """``(B, C, L)`` -> ``(B, C, taps, N)``: entry ``[k, t]`` is ``x[t + k * step]``; N is ``L - (taps - 1) * step``."""
    length = x.shape[2]
    copies = x.unsqueeze(2).expand(-1, -1, taps, -1).flatten(2)
    # Rows read back longer by a step than they were written begin a step later each.
    rows = F.pad(copies, (0, taps * step)).unflatten(2, (taps, length + step))
    return rows[..., : length - (taps - 1) * step]


def _product(shifted: Tensor, kernel: Tensor, groups: int) -> Tensor:
    """``(B, C, K, N)`` times ``(O, C / groups, K)`` -> ``(B, O, N)``, one product for all the batch."""
    batch, channels, _, length = shifted.shape
    if len(kernel) == channels == groups:  # one channel from one: there is no matrix to multiply by
        return (shifted * kernel.transpose(1, 2)).sum(2)
    columns = shifted.permute(1, 2, 0, 3).reshape(groups, -1, batch * length)
    made = bmm(kernel.reshape(groups, -1, columns.shape[1]), columns)
    return made.view(len(kernel), batch, length).transpose(0, 1)


def _with_bias(made: Tensor, bias: Tensor | None) -> Tensor:
    return made if bias is None else made + bias.to(made)[:, None]  # in bf16 where autocast made the product so
