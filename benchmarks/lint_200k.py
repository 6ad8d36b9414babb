"""`tts-lab lint` on a manifest of 200,000 lines with as many recordings: seconds, and memory at its peak.

The text is the sentences of `data_samples/`, numbered; the recordings are empty files, for lint looks only whether
they are there. One line in a hundred is bad in one of the ways that people's are. The same is done with a tenth of
the lines, so that it can be seen how memory grows.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_mb

BAD = ("{id}|", "{id}", "gone-{id}|{text}", "c000000|{text}", "../{id}|{text}", "{id}|{text}\x07")
EVERY = 100


def make(folder: Path, rows: int) -> int:
    """Write the corpus; how many of its lines are bad."""
    samples = (Path("data_samples") / "metadata.csv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("|", 1)[1] for line in samples]
    (folder / "wavs").mkdir(parents=True)
    bad = 0
    with (folder / "metadata.csv").open("w", encoding="utf-8") as file:
        for number in range(rows):
            name, text = f"c{number:06d}", f"{texts[number % len(texts)]} Number {number}."
            (folder / "wavs" / f"{name}.wav").touch()
            form = BAD[bad % len(BAD)] if number % EVERY == EVERY - 1 else "{id}|{text}"
            bad += form != "{id}|{text}"
            file.write(form.format(id=name, text=text) + "\n")
    return bad


def run_lint(folder: Path) -> dict[str, float]:
    """In a process of its own, as a person would run it; seconds of wall clock from start to end."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.lint_200k", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"seconds": time.perf_counter() - began, **json.loads(done.stderr.splitlines()[-1])}


def measure(rows: int = 200_000) -> list[dict[str, Any]]:
    found = {}
    for count in (rows // 10, rows):
        with tempfile.TemporaryDirectory(prefix="lint-") as scratch:
            bad = make(Path(scratch) / "corpus", count)
            found[count] = run_lint(Path(scratch) / "corpus")
            assert found[count]["bad"] == bad, f"{found[count]['bad']} lines were called bad, and {bad} are"
    seconds, peak = found[rows]["seconds"], found[rows]["mb"]
    print(f"lint of {rows} lines: {seconds:.1f} s, {peak:.0f} MB ({found[rows // 10]['mb']:.0f} MB for a tenth)")
    return [
        {"name": "lint_200k_seconds", "value": seconds, "unit": "s", "bar": 20, "goal": 20, "samples": [seconds]},
        {"name": "lint_200k_mb", "value": peak, "unit": "MB", "bar": 500, "goal": 500,
         "samples": [each["mb"] for each in found.values()]},
    ]  # fmt: skip


if __name__ == "__main__":
    from tts_lab.corpus.lint_report import print_lint

    lint = print_lint(Path(sys.argv[1]))
    print(json.dumps({"bad": lint.bad, "mb": peak_mb()}), file=sys.stderr)
