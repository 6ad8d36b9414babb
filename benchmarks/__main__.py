"""``make bench``: every figure, measured side by side on this machine, to one JSON file."""

import argparse
import json
import platform
import subprocess
from pathlib import Path

from benchmarks import (
    analyze,
    graphs,
    large_corpus,
    lint_200k,
    padding_waste,
    planted_faults,
    prepare_vs_stock,
    trace,
    train_step,
)  # fmt: skip
from tts_lab.corpus.fetch import fetch
from tts_lab.corpus.prepare import PrepareSettings, prepare
from tts_lab.frontend import Frontend
from tts_lab.notebook import machine


def corpus(name: str, espeak_voice: str, sample_rate: int = 22050) -> Path:
    """The prepared corpus of that name, fetched and prepared where that is still to do."""
    source, out = Path("build/corpora") / name, Path("build/bench") / f"{name}-{sample_rate}"
    if not (source / "metadata.csv").is_file():
        fetch(name, source.parent)
    prepare(source, out, PrepareSettings(sample_rate=sample_rate), Frontend(espeak_voice))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    out = parser.parse_args().out
    allison = corpus("allison", "en-us")
    results = padding_waste.measure(allison) + train_step.measure(allison) + prepare_vs_stock.measure()
    results += lint_200k.measure() + large_corpus.measure(20_000)
    results += trace.measure() + graphs.measure(corpus("allison", "en-us", 16000), allison)
    results += analyze.measure(allison) + planted_faults.measure()
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    report = {"commit": git.stdout.strip(), "machine": f"{machine.describe()}; {platform.node()}", "results": results}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    for result in results:
        print(f"{result['name']:24}{result['value']:.4g} {result['unit']} (bar {result['bar']}, goal {result['goal']})")


if __name__ == "__main__":
    main()
