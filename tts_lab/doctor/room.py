"""Memory, shared memory and disk: whether there is room, found by taking some."""

import os
import shutil
import tempfile
from pathlib import Path

from tts_lab.doctor.limited import Found
from tts_lab.features import SpectrogramSettings

GIB = 2**30
SHARED = Path("/dev/shm")
CGROUP = Path("/sys/fs/cgroup/memory.max")
ROWS, SECONDS = 16, 12.0
"""Of the batch that shared memory must hold: the usual batch_size, and a long clip."""
AHEAD = 2
"""Batches that a data worker of PyTorch keeps ready."""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """Main memory in GiB: the machine's, or a container's limit where that is less."""
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    return min(here, int(limit) if limit.isdigit() else here) / GIB


def enough(amount: float, needed: float, unit: str, fix: str) -> Found:
    """`amount` against what is advised."""
    return f"{amount:.0f} {unit}", "" if amount >= needed else f"{needed:.0f} {unit} are advised. {fix}"


def main_memory() -> Found:
    return enough(memory(), 8, "GB", "Take a smaller batch_size, or close other programs.")


def disk(folder: Path) -> Found:
    """Free space where the workspace will be, and that something can be written there."""
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.is_dir())
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".tts_lab_doctor") as file:
            file.write(os.urandom(2**16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"{there} cannot be written to ({error.strerror})", "Free some space, or work in a folder of your own."
    return enough(shutil.disk_usage(there).free / GIB, 10, "GB free", "A checkpoint has up to 1 GB.")


def batch_bytes(workers: int) -> int:
    """Bytes of shared memory that data workers fill: batches of long clips, as they are handed over."""
    settings = SpectrogramSettings()
    frames = int(SECONDS * settings.sample_rate / settings.hop_length)
    return ROWS * settings.bins * frames * 4 * (AHEAD * workers + 1) if workers else 0


def shared_memory(workers: int = 1) -> Found:
    """Room in /dev/shm for the batches that `workers` data loading processes hand over: it is taken and given back.

    Too little of it ends a run in its middle, by a bus error of a worker.
    """
    needed = batch_bytes(workers)
    if not SHARED.is_dir():
        return f"no {SHARED} on this system: none is needed", ""
    if not needed:
        return "none is needed without workers", ""
    with tempfile.NamedTemporaryFile(dir=SHARED, prefix="tts_lab_doctor") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, needed)
        except OSError:
            free = shutil.disk_usage(SHARED).free
            said = f"{free / 2**20:.0f} MB in {SHARED}; {needed / 2**20:.0f} MB are needed with {workers} workers"
            return said, "Start the container with --shm-size=2g, or train with workers 0, which is slower."
    return f"{needed / 2**20:.0f} MB taken and given back: enough for workers {workers}", ""
