"""The process in which spoilt files are read: its memory is limited, and what it opens, runs and asks for is watched.

Started by `benchmarks.fuzz.__main__` as `python -m benchmarks.fuzz.cage KIND SEED FIRST LAST STRIDE HEALTHY SCRATCH`;
it answers with a line before and a line after each case. A case that hangs or kills it is seen by who started it.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from benchmarks.fuzz import healthy, readers
from benchmarks.fuzz.mutate import spoil
from tts_lab.errors import UserError

SECONDS = 10
"""Of computing, for one file, read by every command that reads it: other programs do not count."""
MEGABYTES = 700
"""That one file may add at the peak; and what it may ask for besides, ten times this."""
RUNS_CODE = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.fork", "pty.spawn", "socket.connect",
             "ctypes.dlopen", "urllib.Request")  # fmt: skip

STARVED = ("can't allocate memory", "bad_alloc", "Failed to allocate", "Unable to allocate")


class Hangs(BaseException):
    """No reader may take it for an error of its own."""


class RanCode(BaseException):
    """Something outside was started, written or asked for."""


def draw(kind: str, seed: int, number: int, cases: list[Path]) -> tuple[Path, Path, bytes]:
    """Case `number`: the healthy case, which of its files is spoilt, and how it is then."""
    rng = random.Random(f"{kind} {seed} {number}")
    case = rng.choice(cases)
    path = rng.choice(healthy.to_spoil(kind, case))
    files = [file for one in cases for file in healthy.to_spoil(kind, one)]
    alike = [file.read_bytes() for file in files if file.suffix == path.suffix]
    return case, path, spoil(path.name, path.read_bytes(), alike, rng)


def main() -> None:
    kind, (seed, first, last, stride) = sys.argv[1], map(int, sys.argv[2:6])
    scratch = Path(sys.argv[7])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    warnings.simplefilter("ignore")
    shutil.copytree(sys.argv[6], scratch, dirs_exist_ok=True)
    os.chdir(scratch)
    cases = list(healthy.cases(Path()))
    for case in cases:  # what is only imported and made the first time is nobody's fault
        for path in healthy.to_spoil(kind, case):
            try:
                readers.read(kind, case, path)
            except UserError:
                pass
    watch = _Watch()
    sys.addaudithook(watch)
    signal.signal(signal.SIGPROF, _ring)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + 10 * MEGABYTES * 2**20,) * 2)
    for number in range(first, last, stride):
        case, path, content = draw(kind, seed, number, cases)
        print(json.dumps({"begins": number}), file=answers)
        print(json.dumps(_read(kind, case, path, content, watch) | {"ends": number}), file=answers)


def _read(kind: str, case: Path, path: Path, content: bytes, watch: "_Watch") -> dict[str, Any]:
    sound = path.read_bytes()
    path.write_bytes(content)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = _status("VmRSS"), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    watch.on = True
    try:
        taken, aside = readers.read(kind, case, path)
        found = {"outcome": "set aside" if aside else "accepted"}
    except UserError as error:
        found = {"outcome": "refused", "reason": str(error)} | _starved(error)
    except BaseException as error:
        found = {"outcome": "fault", "why": type(error).__name__, "trace": _told(error)}
    finally:
        watch.on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        path.write_bytes(sound)
    found |= {"seconds": time.process_time() - began, "megabytes": (_status("VmHWM") - before) / 2**20}
    if watch.seen:
        found |= {"outcome": "fault", "why": "ran code", "trace": "\n".join(watch.seen)}
        watch.seen.clear()
    if found["megabytes"] > MEGABYTES and found["outcome"] != "fault":
        found |= {"outcome": "fault", "why": "memory", "trace": f"{found['megabytes']:.0f} MB more"}
    return found


def _starved(error: BaseException | None) -> dict[str, str]:
    """Whether a refusal has its cause in the cage's limit of memory: elsewhere it would have been got."""
    while error is not None:
        said = str(error)
        if isinstance(error, MemoryError) or any(words in said for words in STARVED):
            return {"outcome": "fault", "why": "memory", "trace": _told(error)}
        error = error.__cause__ or error.__context__
    return {}


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-6000:]


class _Watch:
    """An audit hook: what a file makes this process start, or open outside of the case."""

    def __init__(self) -> None:
        self.on, self.seen = False, []
        self.home, self.temporary = os.getcwd(), tempfile.gettempdir()

    def __call__(self, event: str, args: tuple) -> None:
        if not self.on:
            return
        if event.startswith(RUNS_CODE) and not (event == "ctypes.dlopen" and str(args[0]).startswith(sys.prefix)):
            self.seen.append(f"{event} {args!r:.200}")
            raise RanCode(event)
        if event == "open" and isinstance(args[0], str | bytes):
            where, mode = os.path.realpath(os.path.join(self.home, os.fsdecode(args[0]))), args[1] or ""
            inside = where.startswith((self.home, self.temporary, os.devnull))
            writes = isinstance(mode, str) and set(mode) & set("wax+") and not inside
            if writes or "canary" in where or where == "/etc/passwd":
                self.seen.append(f"open {where} {mode}")
                raise RanCode(where)


def _ring(*_: object) -> None:
    raise Hangs(f"not done in {SECONDS} seconds")


def _status(name: str) -> int:
    """Bytes, of this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))


if __name__ == "__main__":
    main()
