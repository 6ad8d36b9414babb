"""A run that tells what it is doing, so that `benchmarks.drill` can interrupt it there.

Imported by the server that each run is forked from: a start then needs a tenth of its processor time.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.utils.tensorboard  # noqa: F401 - with what follows, all that a run imports

import tts_lab.training.run  # noqa: F401
from tts_lab.training.__main__ import main
from tts_lab.training.module import VitsTraining
from tts_lab.training.samples import Samples
from tts_lab.voices import adopt, start
from tts_lab.voices.checkpoints import SafeCheckpointIO


def train(config: str, told: Path) -> None:
    """Train as the file ``config`` says, with a line in ``told`` when something begins (``+save``) and when it ends.

    What it prints is added to a log beside. Ends the process.
    """
    os.setsid()  # so that it is killed with its loader
    multiprocessing.set_start_method("fork", force=True)  # of the loader: Linux's own, as in a run from a terminal
    log = os.open(told.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"+start {time.time()}\n".encode())
    for place, name, phase in (
        (start, "adopt", "adoption"), (adopt, "write_checkpoint", "cache"), (VitsTraining, "training_step", "step"),
        (VitsTraining, "validation_step", "validation"), (SafeCheckpointIO, "save_checkpoint", "save"),
        (Samples, "make", "samples"),
    ):  # fmt: skip
        _tell_around(place, name, phase, file)
    sys.exit(main(["--config", config]))


def _tell_around(place: Any, name: str, phase: str, file: int) -> None:
    """Make ``place.name`` tell its beginning and end, and change nothing else of it."""
    wrapped: Callable[..., Any] = getattr(place, name)

    def telling(*given: Any, **named: Any) -> Any:
        os.write(file, f"+{phase} {time.time()}\n".encode())
        try:
            return wrapped(*given, **named)
        finally:
            os.write(file, f"-{phase} {time.time()}\n".encode())

    setattr(place, name, telling)
