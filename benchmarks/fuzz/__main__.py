"""Drives the cages and counts: see `benchmarks.fuzz`."""

import argparse
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.fuzz import cage, healthy

PATIENCE = 3 * cage.SECONDS
"""Seconds of computing without an answer after which a cage is ended; or, where it computes nothing, of `STARTING`."""
STARTING = 900
OUTCOMES = ("accepted", "set aside", "refused", "fault")


def main() -> int:
    parser = argparse.ArgumentParser(description="Spoil files and read them.")
    parser.add_argument("--kind", choices=("all", *healthy.KINDS), default="all")
    parser.add_argument("--count", type=int, default=10_000, help="files of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"seed": given.seed, "count": given.count, "kinds": {}}
    for kind in healthy.KINDS if given.kind == "all" else (given.kind,):
        report["kinds"][kind] = told = _fuzz(kind, given)
        print(_row(kind, told), flush=True)
        (given.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    return int(any(told["fault"] for told in report["kinds"].values()))


def _fuzz(kind: str, given: argparse.Namespace) -> dict[str, Any]:
    """Every file of a kind, shared among cages. Faulting ones are kept in `out/kind`, with what was raised."""
    kept, began = given.out / kind, time.monotonic()
    shutil.rmtree(kept, ignore_errors=True)
    (kept / "healthy").mkdir(parents=True)
    healthy.make(kind, (kept / "healthy"))
    last = given.first + given.count
    with ThreadPoolExecutor(given.workers) as pool:
        found = list(pool.map(lambda part: _caged(kind, given, given.first + part, last), range(given.workers)))
    answers = [answer for part in found for answer in part]
    told: dict[str, Any] = {outcome: 0 for outcome in OUTCOMES} | Counter(answer["outcome"] for answer in answers)
    told["most seconds"] = round(max(answer.get("seconds", 0) for answer in answers), 2)
    told["most megabytes"] = round(max(answer.get("megabytes", 0) for answer in answers))
    told["minutes"] = round((time.monotonic() - began) / 60, 1)
    told["reasons"] = Counter(_form(answer["reason"]) for answer in answers if "reason" in answer).most_common(40)
    faults = [answer for answer in answers if answer["outcome"] == "fault"]
    places = Counter(f"{fault['why']}: {_place(fault['trace'])}" for fault in faults)
    first_of = {_place(fault["trace"]): fault["ends"] for fault in reversed(faults)}
    told["faults"] = [(count, place, first_of[place.partition(": ")[2]]) for place, count in places.most_common()]
    cases = list(healthy.cases(kept / "healthy"))
    for fault in faults:
        case, path, content = cage.draw(kind, given.seed, fault["ends"], cases)
        name = kept / f"{fault['ends']}-{case.name}-{path.name}"
        name.write_bytes(content)
        name.with_name(name.name + ".trace").write_text(f"{path}\n{fault['why']}\n{fault['trace']}\n")
    return told


def _caged(kind: str, given: argparse.Namespace, first: int, last: int) -> list[dict[str, Any]]:
    """The answers to the cases from `first` on, each so many further; a cage that is lost is replaced."""
    answers: list[dict[str, Any]] = []
    while first < last:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch, tempfile.TemporaryFile() as errors:
            numbers = map(str, (given.seed, first, last, given.workers))
            home = str((given.out / kind / "healthy").resolve())
            command = [sys.executable, "-m", "benchmarks.fuzz.cage", kind, *numbers, home, scratch]
            running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            lines: queue.Queue[str] = queue.Queue()
            threading.Thread(target=_listen, args=(running.stdout, lines), daemon=True).start()
            now, why = None, ""
            while True:
                line = _answer(lines, running.pid, STARTING if now is None else PATIENCE)
                if line is None:
                    why = "hangs"
                    break
                if not line:
                    break
                answer = json.loads(line)
                now = answer.get("begins", now)
                if "ends" in answer:
                    answers.append(answer)
                    with (given.out / kind / "answers.jsonl").open("a") as file:  # to look at while it goes on
                        file.write(line)
            running.kill()
            code = running.wait()
            running.stdout.close()
            if not answers and now is None:
                errors.seek(0)
                raise RuntimeError(f"{kind}: the cage did not start: {errors.read()[-3000:].decode()}")
            if now is not None and (not answers or answers[-1]["ends"] != now):
                trace = why or f"the process ended with {code}"
                answers.append({"ends": now, "outcome": "fault", "why": why or "killed", "trace": trace})
            first = (first if now is None else now) + given.workers
    return answers


def _answer(lines: "queue.Queue[str]", pid: int, seconds: float) -> str | None:
    """The next line of a cage, empty at its end; None if it does not come in so many seconds of computing."""
    computed = _computed(pid)
    for _ in range(STARTING // 5):
        try:
            return lines.get(timeout=5)
        except queue.Empty:
            if _computed(pid) - computed > seconds:
                return None
    return None


def _computed(pid: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _listen(stream: Any, lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _form(reason: str) -> str:
    """A reason without what is the file's own, to count by."""
    words = reason.splitlines()[0].split(": ", 1)[-1]
    return "".join("#" if letter.isdigit() else letter for letter in words)[:90]


def _place(trace: str) -> str:
    """The last line of ours in a traceback, and how what was raised begins."""
    ours = re.findall(r'"[^"]*/((?:tts_lab|fuzz)/[^"]+)", (line \d+, in \S+)', trace)
    last = re.sub(r"\d+", "#", trace.strip().splitlines()[-1])
    return f"{' '.join(ours[-1]) if ours else 'nowhere of ours'}: {last[:60]}"


def _row(kind: str, told: dict[str, Any]) -> str:
    counts = "".join(f"{told[outcome]:7d} {outcome}" for outcome in OUTCOMES)
    most = f"{told['most seconds']:6.1f} s and {told['most megabytes']:4d} MB at most"
    faults = "".join(f"\n    {count:5d} x {place}, as case {number}" for count, place, number in told["faults"])
    return f"{kind:12}{counts}; {most}; {told['minutes']} min{faults}"


if __name__ == "__main__":
    sys.exit(main())
