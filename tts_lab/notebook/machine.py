"""What this machine is: versions found against versions expected, devices, and what an hour on another would cost."""

from __future__ import annotations

import platform
import re
import shutil
from glob import glob
from pathlib import Path

import torch

from tts_lab.doctor.checkup import checkup
from tts_lab.doctor.packages import versions
from tts_lab.doctor.room import cores, memory

__all__ = ["checkup", "cores", "describe", "devices", "memory", "price", "versions"]


def describe() -> str:
    """Processor, cores, memory, system and Python in one line."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file() and (named := re.search(r"model name\s*: (.+)", info.read_text())):
        processor = named[1]
    return f"{processor}, {cores()} cores, {memory():.0f} GB, {platform.system()}, Python {platform.python_version()}"


def devices() -> list[dict[str, str]]:
    """What could train here. Looks without touching: asking the Neuron runtime for its cores would take them."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    neuron = glob("/dev/neuron*")
    rows = [
        ("CPU", f"{cores()} cores, {memory():.0f} GB"),
        ("CUDA GPU", ", ".join(gpus) or "none"),
        ("AWS Neuron", f"{len(neuron)} devices" if neuron else "none"),
        ("neuron-ls, neuron-top", "found" if shutil.which("neuron-ls") else "not here (AWS Neuron tools)"),
    ]
    return [{"device": device, "found": found} for device, found in rows]


def price(seconds: float, dollars_per_hour: float) -> str:
    """What took `seconds` here, as a forecast of its price on a rented trn1: hours into dollars, assumptions too."""
    dollars = seconds / 3600 * dollars_per_hour
    return (
        f"Measured here: {seconds / 60:.1f} minutes, from the first import.\n"
        f"Forecast for a trn1.2xlarge, not measured: {f'${dollars:.2f}' if dollars >= 0.01 else 'under a cent'}, if it "
        f"is no slower than this machine,\nat ${dollars_per_hour:.2f} an hour (your figure, see Settings), compiling "
        "not counted.\nAn idle instance costs as much as a busy one: stop or terminate it when you are done."
    )
