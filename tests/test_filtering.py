"""Minimal filtering against direct convolution in float64, and where it is chosen."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from tts_lab.vits import filtering
from tts_lab.vits.layers import Conv1d


@pytest.mark.parametrize(("rows", "wide", "out", "length"), [(3, 64, 96, 1), (2, 64, 64, 10), (8, 192, 384, 645)])
def test_values_and_gradients_equal_direct_convolution(rows, wide, out, length):
    torch.manual_seed(0)
    x, kernel, bias = torch.randn(rows, wide, length), torch.randn(out, wide, 5), torch.randn(out)
    pull = torch.randn(rows, out, length)
    ours_in = [t.clone().requires_grad_() for t in (x, kernel, bias)]
    exact_in = [t.double().requires_grad_() for t in (x, kernel, bias)]
    ours = filtering.correlate(ours_in[0], filtering.transform(ours_in[1]), ours_in[2])
    exact = F.conv1d(*exact_in, padding=2)
    ours.backward(pull)
    exact.backward(pull.double())
    for a, b in zip([ours, *(t.grad for t in ours_in)], [exact, *(t.grad for t in exact_in)], strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() < 4e-6 * b.norm()


def test_only_training_in_float32_on_a_processor_takes_it():
    x = torch.randn(2, 64, 20)
    conv = Conv1d(64, 64, 5, padding=2)
    assert filtering.suits(conv, x)
    assert not filtering.suits(conv, x.double())
    assert not filtering.suits(conv, x.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not filtering.suits(conv, x)
    assert not filtering.suits(conv.eval(), x)  # speaking and export keep the plain operator
    for other in ({"dilation": 2}, {"stride": 2}, {"groups": 2}):
        assert not filtering.suits(Conv1d(64, 64, 5, **other), x)
    assert not filtering.suits(Conv1d(64, 64, 3), x)
    assert not filtering.suits(Conv1d(32, 64, 5), x)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_kept_for_the_next_tensor():
    count = (
        "import resource, sys, torch\n"
        "from tts_lab.devices.processor import keep_freed_memory\n"
        "if sys.argv[1] == 'keep': keep_freed_memory()\n"
        "for _ in range(4):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    activations = [torch.ones(10 << 20) for _ in range(10)]\n"  # 40 MiB each, 102,400 pages in all
        "    del activations\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    runs = [[sys.executable, "-c", count, mode] for mode in ("keep", "plain")]
    kept, plain = (int(subprocess.run(run, capture_output=True, text=True, check=True).stdout) for run in runs)
    assert kept < plain / 4
