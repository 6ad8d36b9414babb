"""``tts-lab train`` that tells what it is doing: the run that `benchmarks.drill` interrupts.

The first argument is a file; a line is added to it when something begins (``+save``) and when it ends (``-save``),
each with the time. What is told is told around functions of the library, and changes none of them.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from tts_lab.cli import main
from tts_lab.training.module import VitsTraining
from tts_lab.training.samples import Samples
from tts_lab.voices import adopt, start
from tts_lab.voices.checkpoints import SafeCheckpointIO


def tell_around(place: Any, name: str, phase: str, file: int) -> None:
    """Make ``place.name`` tell its beginning and end."""
    wrapped: Callable[..., Any] = getattr(place, name)

    def telling(*given: Any, **named: Any) -> Any:
        os.write(file, f"+{phase} {time.time()}\n".encode())
        try:
            return wrapped(*given, **named)
        finally:
            os.write(file, f"-{phase} {time.time()}\n".encode())

    setattr(place, name, telling)


if __name__ == "__main__":
    told = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(told, f"+start {time.time()}\n".encode())
    tell_around(start, "adopt", "adoption", told)
    tell_around(adopt, "write_checkpoint", "cache", told)
    tell_around(VitsTraining, "training_step", "step", told)
    tell_around(VitsTraining, "validation_step", "validation", told)
    tell_around(SafeCheckpointIO, "save_checkpoint", "save", told)
    tell_around(Samples, "make", "samples", told)
    sys.exit(main(["train", *sys.argv[2:]]))
