"""Every layer that later steps take for granted, each tried and not only looked up."""

from collections.abc import Callable
from pathlib import Path

import torch

from tts_lab.doctor import computing, kernel, neuron, packages, room, speech
from tts_lab.doctor.limited import Found, limited

SECONDS = 180.0
"""Limit of a check; quiet machines need a few. A busy one may take a minute to import torch in a second process."""
ANEW = f"Install anew: make clean, then make voice; or {packages.INSTALL}."


def checkup(folder: Path = Path("."), workers: int = 1, seconds: float = SECONDS) -> list[dict[str, object]]:
    """Try each layer, one after another; none can stop the others or hang.

    Args:
        folder: where the workspace will be; its disk is measured.
        workers: data loading processes that shared memory must do for.
        seconds: limit of each check.

    Returns:
        Rows of what, found, ok, and fix: what to do about it, empty where all is well.
    """
    rows = []
    for what, (check, broken) in _checks(folder, workers, seconds).items():
        found, fix = limited(check, seconds + 5, broken)  # a second process has its own limit, and says more
        rows.append({"what": what, "found": found, "ok": not fix, "fix": fix})
    return rows


def _checks(folder: Path, workers: int, seconds: float) -> dict[str, tuple[Callable[[], Found], str]]:
    """Each check, and what to do where it breaks in a way of its own."""
    checks = {
        "packages": (packages.packages, ANEW),
        "lock": (lambda: packages.lock(strict=not neuron.on_neuron()), ANEW),
        "espeak front end": (speech.espeak, speech.ESPEAK),
        "sound files": (speech.decoding, speech.LIBRARIES),
        "published voice": (packages.voice, ANEW),
        "computing on the processor": (computing.processor, computing.BUILD["cpu"]),
    }
    if torch.cuda.is_available():
        checks["computing on the GPU"] = (lambda: computing.elsewhere("cuda", seconds), computing.BUILD["cuda"])
    checks["torch-xla"] = (lambda: computing.elsewhere("xla", seconds), computing.BUILD["xla"])
    if neuron.on_neuron():
        checks["Neuron driver"] = (neuron.driver, neuron.APT)
        checks["Neuron tools"] = (lambda: neuron.tools(seconds), neuron.APT)
        checks["Neuron packages"] = (lambda: neuron.packages(seconds), neuron.APT)
    else:
        checks["Neuron"] = (lambda: ("nothing of it here, and nothing needed: this is no Trainium instance", ""), "")
    return checks | {
        "memory": (room.main_memory, "Look at free -h."),
        "shared memory": (lambda: room.shared_memory(workers), "Look at df -h /dev/shm."),
        "disk": (lambda: room.disk(folder), "Look at df -h, and work in a folder of your own."),
        "notebook kernel": (lambda: kernel.kernel(seconds), kernel.REGISTER),
    }
