"""``python -m tts_lab.notebook.limited MEGABYTES FILE...``: trainings on a machine with little memory, imitated.

Each FILE is a run's settings. They are trained one after another, each in a process of its own: the next has all the
memory that the one before had. The limit counts from what the libraries hold when training begins, so that it is the
same everywhere.
"""

import multiprocessing
import resource
import sys
from pathlib import Path

from tts_lab.training.__main__ import main
from tts_lab.training.run import train  # noqa: F401  its libraries are in memory before the limit is set


def limit(megabytes: int) -> None:
    """Let this process's memory grow by so much and no more: what asks for more is refused, as by a full machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def limited(megabytes: int, file: str) -> None:
    limit(megabytes)
    sys.exit(main([f"--config={file}"]))


if __name__ == "__main__":
    for file in sys.argv[2:]:
        child = multiprocessing.get_context("fork").Process(target=limited, args=(int(sys.argv[1]), file))
        child.start()
        child.join()
