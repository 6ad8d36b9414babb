"""A spot instance taken away again and again: `spot/boot.sh`, killed and its disk wiped, against an imitated S3.

    python -m benchmarks.spot_drill --kills 5 --out build/spot_drill.json

Each boot is on a bare machine: only the bucket is left. At a moment drawn by a seed, some steps after training has
begun, all its processes are killed (``kill -9``) and its folder is deleted. Once, as soon as there are two checkpoints,
the newest in the bucket is cut short, too. The last boot runs to the end and is compared with a run nobody disturbed:
parameters and optimizers bit for bit, rows of metrics.csv without their clocks.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from tests.imitated_s3 import S3
from tts_lab.corpus.prepare import PrepareSettings, prepare
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.training.columns import read_metrics
from tts_lab.training.mirror.remote import Remote

CLOCKS = dict.fromkeys(("seconds", "steps_per_second", "audio_per_second", "data_wait"))
SETTINGS = {
    "corpus": "corpus", "preset": "tiny", "batch_size": 4, "max_steps": 60, "checkpoint_every": 3, "validate_every": 12,
    "sample_every": 1000, "sample_clips": 0, "sentences": ["Yes."], "log_every": 1, "keep": 1, "workers": 1,
    "accelerator": "cpu",
}  # fmt: skip
ROOT = Path(__file__).parents[1]


def boot(work: Path, s3: S3, log: Path, kill_at: tuple[int, float] | None) -> int:
    """Run the script on a bare machine; returns its status, -9 where it was killed after so many steps and seconds."""
    shutil.rmtree(work, ignore_errors=True)
    own = {"INPUT": "s3://voices/input", "MIRROR": "s3://voices/run", "WORK": str(work), "VENV": sys.prefix}
    environment = os.environ | s3.environment | own | {"PYTHONPATH": str(ROOT)}
    with open(log, "wb") as said:
        running = subprocess.Popen(
            [ROOT / "spot" / "boot.sh"], env=environment, stdout=said, stderr=said, start_new_session=True
        )
    began = None
    while kill_at and running.poll() is None:
        metrics = work / "run" / "metrics.csv"
        rows = metrics.read_bytes().count(b"\n") if metrics.is_file() and b"steps in all" in log.read_bytes() else None
        began = rows if began is None else began
        if rows is not None and rows >= began + kill_at[0]:
            time.sleep(kill_at[1])
            os.killpg(running.pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    return running.wait()


def differences(one: Path, other: Path) -> list[str]:
    """In what two runs differ that should be the same."""
    a, b = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (one, other))
    found = [name for name, value in a["state_dict"].items() if not torch.equal(value, b["state_dict"][name])]
    for first, second in zip(a["optimizer_states"], b["optimizer_states"], strict=True):
        for number, state in first["state"].items():
            same = all(torch.equal(value, second["state"][number][name]) for name, value in state.items())
            found += [] if same else [f"optimizer state {number}"]
    rows = [[row | CLOCKS for row in read_metrics(run / "metrics.csv")] for run in (one, other)]
    return found + ([] if rows[0] == rows[1] else ["metrics.csv"])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--kills", type=int, default=5)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--folder", type=Path, default=Path("build/spot_drill"))
    options.add_argument("--out", type=Path, default=Path("build/spot_drill.json"))
    asked = options.parse_args()
    folder, draw = asked.folder.absolute(), random.Random(asked.seed)
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "input"
    prepare("data_samples", source / "corpus", PrepareSettings(sample_rate=16000), Frontend("en-us"), jobs=2)
    (source / "run.yaml").write_text(yaml.safe_dump(SETTINGS))
    straight = [sys.executable, "-m", "tts_lab.cli", "train", "--config", "run.yaml", "--run", str(folder / "straight")]
    subprocess.run(straight, cwd=source, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)

    s3 = S3()
    os.environ |= s3.environment
    s3.make_bucket("voices")
    remote = Remote("s3://voices/input")
    remote.fs.put(f"{source}/", remote.root, recursive=True)
    boots, cut = [], None
    for number in range(asked.kills + 1):
        log = folder / f"boot-{number}.log"
        kill_at = (draw.randint(1, 12), draw.uniform(0.0, 2.0)) if number < asked.kills else None
        status = boot(folder / "machine", s3, log, kill_at)
        said = log.read_text(errors="replace")
        boots.append(
            {
                "status": status,
                "killed_after_steps": kill_at and kill_at[0],
                "resumed": [line for line in said.splitlines() if line.startswith(("resuming", "warning: "))],
            }
        )
        print(boots[-1], flush=True)
        mirror = Remote("s3://voices/run")
        listed = mirror.read()
        if not cut and listed and sum(bool(kept.sha256) for kept in listed.files) > 1:
            cut, path = listed.newest, f"{mirror.root}/{listed.newest.stored}"
            mirror.fs.pipe_file(path, mirror.fs.cat_file(path)[: cut.bytes // 2])
    s3.stop()
    found = differences(folder / "straight", folder / "machine" / "run")
    asked.out.write_text(json.dumps({"boots": boots, "differences": found}, indent=1) + "\n")
    print(f"{asked.kills} kills; {'no difference' if not found else found[:5]}")
    if found or boots[-1]["status"]:
        raise UserError(f"the run that was interrupted is not the other: see {asked.out}")


if __name__ == "__main__":
    main()
