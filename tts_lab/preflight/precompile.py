"""Compiling before training: on a Neuron machine with AWS's own tool, elsewhere by saving the graphs for one."""

import shutil
import subprocess
from pathlib import Path

from tts_lab.devices.environment import COMPILING_TOOL
from tts_lab.errors import UserError
from tts_lab.preflight.run import preflight_run
from tts_lab.training.config import TrainConfig


def precompile(config: TrainConfig, processes: int, out: Path) -> list[str]:
    """Every graph that ``config`` trains and validates with, compiled into the cache, or saved under ``out``.

    Under the tool a run computes nothing: it shows each of its graphs (``training.run``), and the tool compiles what
    it collected, several at a time. Graphs of several processes hold their exchange, so their number counts.

    Returns:
        What to say: the lines that compile the graphs where this machine could not.

    Raises:
        UserError: as ``train`` would before its first step; or the tool failed.
    """
    if shutil.which(COMPILING_TOOL) is None:
        result = preflight_run(config, processes).preflight
        return [
            f"no {COMPILING_TOOL} here; {len(result.graphs)} graphs are saved, each compiled by:",
            *result.save_hlo(out),
        ]
    file = config.save(out / "run.yaml")
    command = [
        COMPILING_TOOL,
        "torchrun",
        f"--nproc_per_node={processes}",
        "-m",
        "tts_lab.training",
        "--config",
        str(file),
    ]
    said = " ".join(command)
    print(said, flush=True)
    status = subprocess.run(command).returncode
    if status:
        raise UserError(
            f"{said}\nended with status {status}. What failed is kept in the cache as failed: once mended, run it "
            "again with --retry_failed_compilation in NEURON_CC_FLAGS"
        )
    return []
