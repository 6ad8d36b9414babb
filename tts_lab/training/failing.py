"""What ends a run against its will, told with what to do: a lost process, full memory, a full disk, a dead worker."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L

from tts_lab.devices.processes import LostProcessError
from tts_lab.errors import UserError
from tts_lab.training import space
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining
from tts_lab.vits.config import ModelConfig

DEAD_WORKER = re.compile(r"DataLoader worker \(pid.*exited unexpectedly")
NO_MEMORY = re.compile(r"can't allocate memory|Cannot allocate memory|out of memory|RESOURCE_EXHAUSTED|bad_alloc")
"""As the processor's allocator says it, the system, CUDA's, XLA's, and C++ itself."""


@contextmanager
def failures_told(trainer: L.Trainer, module: VitsTraining, data: CorpusData, last: Path) -> Iterator[None]:
    """Inside it, what a person can mend is a `UserError`: the step, what happened, and where the run goes on."""
    try:
        yield
    except LostProcessError as error:
        raise UserError(
            f"step {trainer.global_step}: {error}. The same command goes on from the newest checkpoint in {last.parent}"
        ) from error
    except (MemoryError, OSError, RuntimeError, ValueError) as error:  # the last is Lightning's, of a logger
        config, run = module.config, module.config.run
        if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"step {trainer.global_step}: memory is full ({said}). {_smaller(config)}. The same command then goes "
                f"on from the newest checkpoint in {last.parent}"
            ) from error
        if full := space.full(error):
            needed, free = space.need(module, data, module.place.end), shutil.disk_usage(run).free / 1e6
            raise UserError(
                f"step {trainer.global_step}: the disk is full ({full}). {run} keeps {needed}, and {free:.1f} "
                f"MB are free. Make room, and the same command goes on from the newest checkpoint in {last.parent}"
            ) from error
        if not DEAD_WORKER.search(str(error)):
            raise
        raise UserError(
            f"step {trainer.global_step}: a data worker died ({error}). The same command goes on from the newest "
            f"checkpoint in {last.parent}. Signal 9 that nobody sent means out of memory, a bus error too little "
            "shared memory: fewer workers need less"
        ) from error


def _smaller(config: TrainConfig) -> str:
    """What takes less memory, the cheapest first."""
    if config.batch_size == 1:
        frames = config.segment_frames or ModelConfig.segment_frames
        return f"segment_frames (now {frames}) may be less, buckets (now {config.buckets}) more"
    parts = next(parts for parts in range(2, config.batch_size + 1) if config.batch_size % parts == 0)
    fewer, accumulate = config.batch_size // parts, config.accumulate * parts
    return f"The same rows an update take less with batch_size {fewer} and accumulate {accumulate}"
