"""What this machine is: versions found against versions expected, devices, and what an hour on another would cost."""

from __future__ import annotations

import os
import platform
import re
import shutil
from glob import glob
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from packaging.requirements import Requirement


def describe() -> str:
    """Processor, cores, memory, system and Python in one line."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file() and (named := re.search(r"model name\s*: (.+)", info.read_text())):
        processor = named[1]
    return f"{processor}, {cores()} cores, {memory():.0f} GB, {platform.system()}, Python {platform.python_version()}"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> float:
    """Main memory in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def versions(project: str = "tts-lab") -> list[dict[str, str]]:
    """Every package the project asks for: what it expects, what is found, and whether that fits.

    Expectations are read from the installed project itself, so they cannot go stale. A package of an extra (`eval`,
    `joe`) may be missing; one that the project always needs may not.
    """
    rows = []
    for line in requires(project) or []:
        wanted = Requirement(line)
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if wanted.marker and not wanted.marker.evaluate({"extra": extra[1] if extra else ""}):
            continue  # for another system
        try:
            found = version(wanted.name)
            fits = "yes" if wanted.specifier.contains(found, prereleases=True) else "no"
        except PackageNotFoundError:
            found, fits = "missing", "no" if extra is None else f"needs tts-lab[{extra[1]}]"
        rows.append({"package": wanted.name, "expected": str(wanted.specifier) or "any", "found": found, "fits": fits})
    return sorted(rows, key=lambda row: row["package"].lower())


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
