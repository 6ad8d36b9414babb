"""Memory that runs out in training is told with what takes less of it. Other failures are in test_interruption.py."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.failing import failures_told


@pytest.fixture
def told(small_corpus):
    return lambda error, **settings: _told(error, TrainConfig(small_corpus, Path("run"), max_steps=9, **settings))


def _told(error, config) -> str:
    where = SimpleNamespace(global_step=7), SimpleNamespace(config=config), None, Path("run/checkpoints/last.ckpt")
    with pytest.raises(UserError) as found, failures_told(*where):
        error()
    return str(found.value)


def raising(error: BaseException):
    def work():
        raise error

    return work


def test_what_the_processor_refuses_is_answered_with_smaller_batches(told):
    said = told(lambda: torch.empty(2**50), batch_size=12, accumulate=2)
    assert said.startswith("step 7: memory is full (") and "can't allocate memory" in said and "\n" not in said
    assert "batch_size 6 and accumulate 4" in said and "run/checkpoints" in said


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        RuntimeError("Bad StatusOr access: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_so_is_what_a_gpu_xla_and_the_system_refuse(told, error):
    assert told(raising(error)).startswith("step 7: memory is full (")


@pytest.mark.parametrize(("rows", "fewer", "parts"), [(9, 3, 3), (5, 1, 5)])
def test_the_rows_of_an_update_stay_the_same(rows, fewer, parts, told):
    assert f"batch_size {fewer} and accumulate {parts}." in told(raising(MemoryError()), batch_size=rows)


def test_a_batch_of_one_is_answered_with_shorter_segments(told):
    said = told(raising(MemoryError()), batch_size=1, segment_frames=96)
    assert "segment_frames (now 96)" in said and "batch_size" not in said


def test_other_errors_stay_what_they_are(told):
    with pytest.raises(RuntimeError, match="shapes do not match"):
        told(raising(RuntimeError("shapes do not match")))
