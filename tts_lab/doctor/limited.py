"""A check under a time limit: what hangs, fails or dies becomes a finding, and the next check goes on."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

Found = tuple[str, str]
"""What was found, and what to do about it: empty where all is well."""
HANGS = "Look what it waits for: a network disk, a driver, a machine that is very busy; then try once more."


class Failed(Exception):
    """What a second process did in the place of answering."""


def limited(check: Callable[[], Found], seconds: float, fix: str) -> Found:
    """What `check` finds, or that it raised, or that it has not answered in `seconds`.

    Args:
        fix: what to do where it raised.
    """
    answers: list[Found] = []

    def answer() -> None:
        try:
            answers.append(check())
        except Exception as problem:  # a broken install fails in ways of its own, and each is a finding
            told = " ".join(str(problem).split())
            answers.append((f"{type(problem).__name__}: {told}" if told else type(problem).__name__, fix))

    thread = threading.Thread(target=answer, daemon=True)  # left alone where it hangs
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else (f"no answer in {seconds:.0f} seconds", HANGS)


def second_process(*arguments: str, seconds: float) -> str:
    """What this Python prints with `arguments` in a process of its own, which may die or hang without harm.

    What this process set for PyTorch/XLA is not passed on.

    Raises:
        Failed: it gave no answer in time, or ended otherwise than well; the end of what it said is told.
    """
    return program(sys.executable, *arguments, seconds=seconds)


def program(*command: str, seconds: float) -> str:
    """The same of any program. Raises `Failed`, too where it cannot be started."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PJRT_", "XLA_"))}
    own |= {"PYTHONWARNINGS": "ignore"}
    try:
        running = subprocess.Popen(
            command, env=own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise Failed(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        said, errors = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"no answer in {seconds:.0f} seconds") from None
    finally:
        _end(running)
    if running.returncode < 0:
        raise Failed(f"ended by signal {signal.Signals(-running.returncode).name}")
    if running.returncode:
        told = (errors.strip() or said.strip() or "nothing said").splitlines()[-1]
        raise Failed(f"exit status {running.returncode}: {told[:300]}")
    return said


def _end(running: subprocess.Popen) -> None:
    """End it with all that it started; after a good end there is nothing left to do."""
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    for pipe in (running.stdout, running.stderr):
        pipe.close()
