"""Convolutions as products against PyTorch's own in float64, and a whole update of a model with them against without."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tts_lab.vits import products
from tts_lab.vits.layers import ConvTranspose1d

# Piper's own layers made narrow: channels in and out, taps, and what else conv1d is told.
PLAIN = {
    "decoder's first": (6, 8, 7, {"padding": 3}),
    "decoder's last, no bias": (4, 1, 7, {"padding": 3}),
    "text feed-forward, padded outside": (3, 8, 3, {}),
    "one tap": (4, 6, 1, {}),
    "even taps": (4, 6, 4, {"padding": 2}),
    "residual, fewer taps than the dilation": (4, 4, 5, {"padding": 12, "dilation": 6}),
    "residual, wider": (4, 4, 7, {"padding": 36, "dilation": 12}),
    "depthwise, dilated": (6, 6, 3, {"padding": 9, "dilation": 9, "groups": 6}),
    "depthwise, two from one": (3, 6, 3, {"padding": 1, "groups": 3}),
    "scale's first": (1, 4, 15, {"padding": 7}),
    "scale, grouped": (8, 16, 41, {"stride": 4, "padding": 20, "groups": 4}),
    "scale, stride 4 of 4 taps": (8, 8, 4, {"stride": 4, "groups": 2}),
    "period's first": (1, 4, 5, {"stride": 3, "padding": 2}),
    "inputs left over at the end": (2, 3, 3, {"stride": 5, "padding": 1}),
}
TRANSPOSED = {"16 taps by 8": (6, 4, 16, 8), "4 by 2": (4, 2, 4, 2), "taps no multiple of the stride": (3, 2, 7, 4),
              "fewer taps than the stride": (3, 2, 2, 3), "odd rest": (3, 2, 5, 2)}  # fmt: skip


def assert_same(ours, theirs, *shapes: tuple[int, ...]) -> None:
    """Values and gradients of ``ours(*inputs)`` and ``theirs(*inputs)`` on float64 inputs of the shapes."""
    torch.manual_seed(0)
    values = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    sides = []
    for way in (ours, theirs):
        inputs = [v.clone().requires_grad_() for v in values]
        out = way(*inputs)
        pull = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        sides.append([out, *torch.autograd.grad(out, inputs, pull)])
    for a, b in zip(*sides, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("length", [64, 65, 83])
@pytest.mark.parametrize("case", PLAIN)
def test_a_convolution_is_equal(case, length):
    inputs, outputs, taps, settings = PLAIN[case]
    shapes = [(3, inputs, length), (outputs, inputs // settings.get("groups", 1), taps), (outputs,)]
    if "no bias" in case:
        assert_same(lambda x, w: products.convolve(x, w, None, **settings),
                    lambda x, w: F.conv1d(x, w, None, **settings), *shapes[:2])  # fmt: skip
    else:
        assert_same(lambda *i: products.convolve(*i, **settings), lambda *i: F.conv1d(*i, **settings), *shapes)


@pytest.mark.parametrize("length", [1, 32, 33])
@pytest.mark.parametrize("padded", [0, 1, None])
@pytest.mark.parametrize("case", TRANSPOSED)
def test_a_transposed_convolution_is_equal(case, padded, length):
    inputs, outputs, taps, stride = TRANSPOSED[case]
    padding = max(0, taps - stride) // 2 if padded is None else min(padded, (taps - 1) // 2)
    assert_same(
        lambda *i: products.convolve_transposed(*i, stride, padding),
        lambda *i: F.conv_transpose1d(*i, stride, padding),
        (3, inputs, length), (inputs, outputs, taps), (outputs,),
    )  # fmt: skip


def test_stride_with_dilation_is_refused():
    with pytest.raises(ValueError, match="one of them must be 1"):
        products.convolve(torch.ones(1, 1, 9), torch.ones(1, 1, 3), None, stride=2, dilation=2)


def test_only_risky_layers_that_are_chosen_take_it():
    def suits(conv: nn.Module, length: int = 100) -> bool:
        products.choose(conv)
        return products.suits(conv, torch.ones(1, 8, length))

    assert suits(nn.Conv1d(8, 8, 3, groups=2)) and suits(nn.Conv1d(8, 8, 7)) and suits(nn.Conv1d(8, 8, 3, dilation=4))
    assert suits(ConvTranspose1d(8, 4, 4, 2)) and suits(nn.Conv1d(8, 8, 3, padding=1), products.LONG_WINDOW)
    assert not suits(nn.Conv1d(8, 8, 3, padding=1), products.LONG_WINDOW - 1)
    assert not suits(nn.Conv1d(8, 8, 3, stride=2, padding=1), products.LONG_WINDOW)
    assert not suits(nn.Conv1d(8, 8, 1, dilation=4)) and not suits(nn.Conv1d(8, 8, 5, dilation=5))
    wide = nn.Conv1d(8, 8, 7)
    assert not products.suits(wide, torch.ones(1, 8, 100)), "native unless chosen"
    products.choose(wide)
    products.choose(wide, False)
    assert not products.suits(wide, torch.ones(1, 8, 100))
