"""What ends a run against its will, told with what to do: a lost process, a full disk, a dead data worker."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L

from tts_lab.devices.processes import LostProcessError
from tts_lab.errors import UserError
from tts_lab.training import space
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining

DEAD_WORKER = re.compile(r"DataLoader worker \(pid.*exited unexpectedly")


@contextmanager
def failures_told(trainer: L.Trainer, module: VitsTraining, data: CorpusData, last: Path) -> Iterator[None]:
    """Inside it, what a person can mend is a `UserError`: the step, what happened, and where the run goes on."""
    try:
        yield
    except LostProcessError as error:
        raise UserError(
            f"step {trainer.global_step}: {error}. The same command goes on from the newest checkpoint in {last.parent}"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:  # ValueError: Lightning's, of whatever a logger raised
        run = module.config.run
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
