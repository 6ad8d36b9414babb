"""Training in processes of their own, started as a terminal starts them: the notebook's own process holds no core."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from tts_lab.errors import UserError

COMMANDS = {"torchrun": ["-m", "torch.distributed.run"], "tts-lab": ["-m", "tts_lab.cli"], "python": []}
LINES = 6  # the end of what a command said


def start(*command: str) -> subprocess.Popen:
    """Start ``torchrun``, ``tts-lab`` or ``python``, all of this interpreter; what they say comes by one pipe.

    What this process set for PyTorch/XLA is not passed on: each process chooses its own client.
    """
    name, *arguments = command
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PJRT_", "XLA_"))}
    # Processes that share the cores are faster when idle threads sleep; warnings of libraries help no reader.
    own |= {"OMP_WAIT_POLICY": "passive", "PYTHONWARNINGS": "ignore"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    print("$", shlex.join(command), flush=True)
    return subprocess.Popen([sys.executable, *COMMANDS[name], *arguments], env=own, **pipes)


def finish(running: subprocess.Popen, lines: int = LINES) -> list[str]:
    """Wait for the end; print the last lines it said and its exit status. Returns all it said."""
    said = running.communicate()[0].splitlines()
    for line in deque(said, lines):
        print("  " + line)
    print(f"exit status {running.returncode}")
    return said


def run(*command: str, lines: int = LINES) -> list[str]:
    """Start, wait, print how it ended. Returns all it said.

    Raises:
        UserError: it failed; what it said last is in the message.
    """
    began = time.monotonic()
    running = start(*command)
    try:
        said = finish(running, lines)
    finally:
        running.kill()  # where the cell was interrupted; elsewhere it has ended
    if running.returncode:
        raise UserError("\n".join([f"{command[0]} ended with status {running.returncode}:", *said[-20:]]))
    print(f"{time.monotonic() - began:.0f} seconds")
    return said


def lose(running: subprocess.Popen, rank: int) -> None:
    """Kill the process of that rank under a running torchrun, as a lack of memory would.

    Raises:
        UserError: torchrun has ended by itself.
    """
    if running.poll() is not None:
        raise UserError("\n".join(["it ended before a process could be lost:", running.communicate()[0][-2000:]]))
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    (found,) = [c for c in children if f"\0RANK={rank}\0" in Path(f"/proc/{c}/environ").read_text()]
    os.kill(int(found), signal.SIGKILL)
