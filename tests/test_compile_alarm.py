"""The alarm for compiling twice, and for tracing for ever, on counters as a device would give them."""

from types import SimpleNamespace

import pytest
import torch

from tts_lab.errors import UserError
from tts_lab.training.compile_alarm import CompileAlarm


def batch(frames: int) -> SimpleNamespace:
    return SimpleNamespace(phonemes=torch.zeros(2, 10), spectrogram=torch.zeros(2, 513, frames))


def alarm(counts: list[tuple[int, int]], error: bool = False) -> CompileAlarm:
    """One whose device has compiled and traced so many after each batch."""
    each = iter({"graphs_compiled": float(c), "steps_traced": float(t)} for c, t in counts)
    return CompileAlarm(SimpleNamespace(counters=lambda: next(each)), error)


def test_each_shape_and_phase_may_compile_once(capsys):
    watch = alarm([(1, 1), (2, 2), (3, 3), (3, 4), (3, 5)], error=True)
    for phase, frames in (("training", 40), ("training", 80), ("validation", 40), ("training", 40), ("training", 80)):
        watch.check(phase, [batch(frames)])
    assert capsys.readouterr().out == ""


def test_a_known_shape_that_compiles_again_is_named(capsys):
    counts = [(1, 1), (1, 2), (3, 3)]
    watch = alarm(counts)
    for _ in counts:
        watch.check("training", [batch(40)])
    assert "2 more graphs compiled for a training batch of known shape ((2, 10) phonemes, (2, 513, 40)" in (
        capsys.readouterr().out
    )
    watch = alarm(counts, error=True)
    watch.check("training", [batch(40)])
    watch.check("training", [batch(40)])
    with pytest.raises(UserError, match="PT_XLA_DEBUG_LEVEL=2 names the lines"):
        watch.check("training", [batch(40)])


def test_a_shape_that_is_never_replayed_is_told_of_once(capsys):
    watch = alarm([(1, n) for n in range(1, 8)])
    for _ in range(7):
        watch.check("training", [batch(40)])
    assert capsys.readouterr().out.count("is traced anew at every step") == 1


def test_a_device_that_compiles_nothing_has_nothing_to_tell(capsys):
    watch = CompileAlarm(SimpleNamespace(counters=dict), error=True)
    for _ in range(5):
        watch.check("training", [batch(40)])
    assert capsys.readouterr().out == ""
