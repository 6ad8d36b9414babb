"""``python -m tts_lab.notebook.limited MEGABYTES --config FILE``: a training on a machine with little memory, imitated.

The limit is on memory beyond what the libraries hold when training begins, so that it is the same everywhere.
"""

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


if __name__ == "__main__":
    limit(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
