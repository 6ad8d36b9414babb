"""``make drill``: a run is killed again and again, and what is lost by it.

A run of the tiny preset, from a voice that it adopts, is killed (``kill -9``) at moments drawn by a seed, some of them
inside a save, a validation, the adoption or the writing of its cache. After each kill the same command is started
again with ``resume: auto``. At the end it is compared with a run that nobody disturbed: parameters and optimizers bit
for bit, rows of metrics.csv without their clocks, the curves in TensorBoard, the checkpoints that are kept, the
samples' audio.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median
from typing import Any

import torch
import yaml

from benchmarks.drilled import train
from tts_lab.corpus.prepare import PrepareSettings, prepare
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.training.columns import read_metrics
from tts_lab.voices.checkpoints import load_safely, newest_checkpoint

CLOCKS = ("seconds", "steps_per_second", "audio_per_second", "data_wait")
SETTINGS = {
    "preset": "tiny", "batch_size": 4, "max_steps": 60, "checkpoint_every": 2, "validate_every": 4, "sample_every": 20,
    "log_every": 1, "keep": 2, "workers": 1, "accelerator": "cpu", "sentences": ["The harbour was quiet."],
    "sample_clips": 1, "posterior_steps": 0,
}  # fmt: skip
PHASES = {"save": 9, "validation": 6, "adoption": 3, "cache": 2, "samples": 2, "step": 3, "anywhere": 5}
"""Where kills are aimed, and how many of 30."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["benchmarks.drilled"])


@dataclass
class Kill:
    """One kill, as it was aimed and as it fell."""

    aimed: str
    fell: str
    """What the run was doing, the innermost: "between" where nothing of `PHASES`."""
    step: int | None
    """Of the checkpoint that the next start goes on from; None: from the beginning."""
    half_written: int
    """Files under temporary names that were left."""


def make_voice(folder: Path, corpus: Path) -> Path:
    """A tiny voice to start from, of one step."""
    voice = folder / "en_US-drill-x_low.onnx"
    if not voice.is_file():
        config = write_config(folder / "voice.yaml", corpus, run=str(folder / "first"), max_steps=1)
        subprocess.run(
            [sys.executable, "-m", "tts_lab.cli", "train", "--config", config, "--posterior_steps=null"], check=True
        )
        last = str(folder / "first" / "checkpoints" / "last.ckpt")
        export = [sys.executable, "-m", "tts_lab.cli", "export", last, voice.stem, "--out", str(folder)]
        subprocess.run(export, check=True)
    return voice


def write_config(path: Path, corpus: Path, **settings: Any) -> str:
    path.write_text(yaml.safe_dump(SETTINGS | {"corpus": str(corpus)} | settings))
    return str(path)


def start(config: str, told: Path) -> BaseProcess:
    """The run, telling ``told``, in a process of its own."""
    running = SERVER.Process(target=train, args=(config, told))
    running.start()
    return running


def ended(running: BaseProcess) -> int:
    """Its status, when it has ended."""
    running.join()
    return running.exitcode


def events(told: Path) -> list[tuple[str, str, float]]:
    """``(sign, phase, time)`` of each line that a run told."""
    lines = told.read_text().splitlines() if told.is_file() else []
    return [(line[0], *(part(w) for part, w in zip((str, float), line[1:].split(), strict=True))) for line in lines]


def lengths(told: Path) -> dict[str, float]:
    """Median seconds of each phase."""
    began, took = {}, {}
    for sign, phase, at in events(told):
        if sign == "+":
            began[phase] = at
        else:
            took.setdefault(phase, []).append(at - began[phase])
    return {phase: median(times) for phase, times in took.items()}


def kill_once(config: str, told: Path, phase: str, draw: random.Random, usual: dict[str, float]) -> str | None:
    """Start the run and kill it inside ``phase``; returns what it was doing, None if it had ended by itself."""
    told.unlink(missing_ok=True)
    running = start(config, told)
    while not told.is_file():
        time.sleep(0.01)
    if phase == "anywhere":
        wait_until = time.time() + draw.uniform(0.0, usual["start"] + 10 * usual["step"])
    else:
        wanted, delay = draw.randint(1, 2 if phase in ("save", "step") else 1), draw.uniform(0, usual[phase])
        while running.is_alive() and sum(e[:2] == ("+", phase) for e in events(told)) < wanted:
            # An adoption is done once; where it is found done, the kill falls into a step in its stead.
            if phase in ("adoption", "cache") and sum(e[1] == "step" for e in events(told)) > 2:
                break
            time.sleep(0.002)
        wait_until = time.time() + delay
    while time.time() < wait_until and running.is_alive():
        time.sleep(0.0005)
    if not running.is_alive():
        return None
    os.killpg(running.pid, signal.SIGKILL)  # the loader's process with it, as when a machine goes away
    running.join()
    doing = []
    for sign, name, _ in events(told):
        if sign == "+":
            doing.append(name)
        else:
            doing.remove(name)
    return "between" if doing[-1:] in ([], ["start"]) else doing[-1]


def check_folder(run: Path, cache: Path) -> tuple[int | None, int]:
    """After a kill: every file that carries a checkpoint's name is whole, metrics.csv can be read.

    Returns the newest checkpoint's step, and how many half-written files lie about.
    """
    for path in [*run.glob("checkpoints/*.ckpt"), *cache.glob("*.ckpt")]:
        load_safely(path)
    read_metrics(run / "metrics.csv")
    newest = newest_checkpoint(run / "checkpoints")
    left = [path for folder in (run, cache) for path in folder.rglob(".*.tmp")]
    return load_safely(newest)["global_step"] if newest else None, len(left)


def differences(one: Path, other: Path) -> list[str]:
    """In what two runs differ that should be the same."""
    a, b = (load_safely(run / "checkpoints" / "last.ckpt") for run in (one, other))
    found = [] if a["global_step"] == b["global_step"] else ["steps"]
    for name in ("state_dict", "optimizer_states", "lr_schedulers"):
        if not equal(a[name], b[name]):
            found.append(name)
    for name, look in {"metrics.csv": rows, "TensorBoard": curves, "checkpoints": kept, "samples": sounds}.items():
        if (x := look(one)) != (y := look(other)):
            unlike = [f"{u} / {v}" for u, v in zip(x, y, strict=False) if u != v][:2]
            found.append(f"{name}: {len(x)} and {len(y)}; {'; '.join(unlike)[:600]}")
    return found


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def rows(run: Path) -> list[Any]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in read_metrics(run / "metrics.csv")]


def curves(run: Path) -> list[Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    tags = sorted(tag for tag in shown.Tags()["scalars"] if tag not in CLOCKS)
    return [(tag, [(event.step, event.value) for event in shown.Scalars(tag)]) for tag in tags]


def kept(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def sounds(run: Path) -> list[Any]:
    return [(str(path.relative_to(run)), path.read_bytes()) for path in sorted(run.glob("samples/**/*.wav"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/drill"))
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    out, draw = options.out, random.Random(options.seed)
    out.mkdir(parents=True, exist_ok=True)
    corpus = out / "corpus"
    prepare("data_samples", corpus, PrepareSettings(sample_rate=16000), Frontend("en-us"), jobs=1)
    voice = make_voice(out, corpus)
    straight, killed = out / "straight", out / "killed"
    config = {}
    for run in (straight, killed):
        own = {"run": str(run), "start_from": str(voice), "voice_cache": str(out / f"voices-{run.name}")}
        config[run] = write_config(out / f"{run.name}.yaml", corpus, **own)
    told = out / "straight.told"
    if ended(start(config[straight], told)):
        raise UserError(f"the run that nobody disturbs failed; see {told.with_suffix('.log')}")
    usual = lengths(told)
    first = next(at for sign, phase, at in events(told) if phase == "step")
    usual["start"] = first - events(told)[0][2]
    aims = [phase for phase, count in PHASES.items() for _ in range(count)]
    draw.shuffle(aims)
    aims.sort(key=lambda phase: phase not in ("adoption", "cache"))  # done once, at the beginning
    kills, cache = [], out / f"voices-{killed.name}"
    for aimed in aims[: options.kills]:
        fell = kill_once(config[killed], out / "killed.told", aimed, draw, usual)
        if fell is None:
            print("the run reached its end before all kills were done", flush=True)
            break
        kills.append(Kill(aimed, fell, *check_folder(killed, cache)))
        print(f"kill {len(kills)}: {kills[-1]}", flush=True)
    if ended(start(config[killed], out / "killed.told")):
        raise UserError(f"the last start failed; see {out / 'killed.log'}")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    report = {
        "commit": commit, "seed": options.seed, "kills": [asdict(k) for k in kills],
        "fell": Counter(k.fell for k in kills), "differences": differences(straight, killed),
        "left": check_folder(killed, cache)[1],
    }  # fmt: skip
    (out / "drill.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: report[name] for name in ("fell", "differences", "left")}, indent=1))
    sys.exit(bool(report["differences"]))


if __name__ == "__main__":
    main()
