"""Whether what computes here computes right."""

import json
import math
from collections.abc import Mapping
from importlib.util import find_spec

import torch

from tts_lab.devices.trial import LIMITS, trial
from tts_lab.doctor.limited import Failed, Found, second_process

BUILD = {
    "cpu": "Install torch anew: pip install --force-reinstall torch==2.9.1.",
    "cuda": "Install the build of torch for this GPU's CUDA (pytorch.org), or train with accelerator cpu; nvidia-smi "
            "shows whether the driver answers.",
    "xla": "torch and torch-xla must be one pair: pip install torch==2.9.1 torch-xla==2.9.0.",
}  # fmt: skip


def processor() -> Found:
    """Products and spectra on the processor, in this process."""
    return judge(trial(torch.device("cpu")), BUILD["cpu"])


def elsewhere(device: str, seconds: float) -> Found:
    """The same on "cuda", or on "xla", torch-xla's CPU client, in a process of its own."""
    if device == "xla" and find_spec("torch_xla") is None:
        return "torch-xla is not installed: it is needed for Trainium and for preflight alone", ""
    try:
        said = second_process("-m", "tts_lab.devices.trial", device, seconds=seconds)
        off = json.loads(said.strip().splitlines()[-1])
    except Failed as problem:
        return str(problem), BUILD[device]
    except (ValueError, IndexError):
        return "the trial gave no numbers", BUILD[device]
    return judge(off, BUILD[device])


def judge(off: Mapping[str, float], fix: str) -> Found:
    """Differences against `LIMITS`, in words."""
    wrong = [
        f"{name} is off by {value:.1g} of its largest value"
        for name, value in off.items()
        if not math.isfinite(value) or value > LIMITS[name]
    ]
    return ("; ".join(wrong), fix) if wrong else (f"{', '.join(off)} agree with float64", "")
