"""What a run compiles: graphs a shape, growth over 200 mixed steps, each preset's size, and the preflight's time.

The run is a tiny one on torch-xla's CPU client with validations and checkpoints among its steps. The others are only
traced, by `tts-lab preflight`: medium as a run of the 16-minute corpus in four shapes, x-low and high in one.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tts_lab.corpus.corpus import Corpus
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.metrics import read_metrics
from tts_lab.vits.config import PRESETS

STEPS = 200
OUT = Path("build/bench/graphs")


def measure(low: Path, high: Path) -> list[dict[str, Any]]:
    """
    Args:
        low: corpus at 16 kHz, for the presets tiny and x-low.
        high: corpus at 22.05 kHz, for medium and high.
    """
    medium, seconds = _preflight("medium", high, buckets=4, max_steps=1000)
    results = [
        *_compiled(low),
        {"name": "preflight_seconds", "value": seconds, "unit": f"s, {len(medium['graphs'])} graphs of medium",
         "bar": 60, "goal": None, "samples": [seconds]},
    ]  # fmt: skip
    for preset, corpus in (("tiny", low), ("x-low", low), ("high", high)):
        graphs = _preflight(preset, corpus, buckets=1, max_steps=1)[0]["graphs"]
        _show(preset, graphs)
    _show("medium", medium["graphs"])
    return results


def _compiled(corpus: Path) -> list[dict[str, Any]]:
    """Train on XLA; metrics.csv says what had been compiled and traced by each step."""
    shutil.rmtree(OUT / "run", ignore_errors=True)
    settings = {
        "corpus": str(corpus), "run": str(OUT / "run"), "preset": "tiny", "batch_size": 2, "buckets": 2,
        "max_steps": STEPS, "limit_utterances": 24, "validate_every": 50, "checkpoint_every": 100, "log_every": 1,
        "sample_every": STEPS, "workers": 0, "keep": 0, "accelerator": "xla",
    }  # fmt: skip
    data = CorpusData(Corpus.load(corpus), PRESETS["tiny"], TrainConfig(**settings | {"corpus": corpus}))
    shapes = len(data.train_plan) + len(data.validation_plan)
    _tts_lab("train", settings)
    rows = [row for row in read_metrics(OUT / "run" / "metrics.csv") if row["graphs_compiled"] != ""]
    compiled, traced, fallbacks = (rows[-1][name] for name in ("graphs_compiled", "steps_traced", "fallbacks"))
    print(
        f"{STEPS} steps, {shapes} shapes: {compiled:.0f} graphs, {traced:.0f} steps traced, {fallbacks:.0f} fallbacks"
    )
    return [
        {"name": "graphs_per_bucket", "value": compiled / shapes, "unit": "graphs", "bar": 1, "goal": 1,
         "samples": [row["graphs_compiled"] for row in rows]},
        {"name": "recompiles_in_200_steps", "value": compiled - shapes, "unit": "graphs", "bar": 0, "goal": 0,
         "samples": [row["steps_traced"] for row in rows]},
    ]  # fmt: skip


def _preflight(preset: str, corpus: Path, **settings: Any) -> tuple[dict[str, Any], float]:
    """Its report, and its seconds with Python's own start."""
    report = OUT / f"{preset}.json"
    began = time.perf_counter()
    _tts_lab("preflight", {"corpus": str(corpus), "preset": preset, "batch_size": 16, **settings}, f"--json={report}")
    return json.loads(report.read_text()), time.perf_counter() - began


def _tts_lab(verb: str, settings: dict[str, Any], *flags: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    config = OUT / f"{verb}.yaml"
    config.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "tts_lab.cli", verb, f"--config={config}", *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])


def _show(preset: str, graphs: list[dict[str, Any]]) -> None:
    sizes = {graph["name"]: graph["instructions"] for graph in graphs}
    print(f"{preset}: {len(sizes)} graphs, HLO instructions {sizes}")
