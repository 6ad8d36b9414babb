"""AWS Neuron: driver, tools and packages, looked at without taking a core from whoever holds it.

Nothing here has been run on a Trainium yet; what is expected is AWS's documentation (setup/pytorch/manual,
tools/neuron-sys-tools).
"""

import json
import re
import shutil
from glob import glob
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tts_lab.doctor.limited import Failed, Found, program

EXPECTED = {"torch-neuronx": "2.9", "neuronx-cc": "2", "libneuronxla": "2"}
"""How each version begins on a machine that trains on trn1 (environment.trn1.yml)."""
DRIVER = Path("/sys/module/neuron/version")
TOOLS = Path("/opt/aws/neuron/bin")
APT = "sudo apt-get install aws-neuronx-dkms aws-neuronx-runtime-lib aws-neuronx-collectives aws-neuronx-tools"


def on_neuron() -> bool:
    """Whether anything of Neuron is here: a device, a tool or a package."""
    return bool(glob("/dev/neuron*") or tool("neuron-ls") or _found("torch-neuronx") or _found("neuronx-cc"))


def driver() -> Found:
    """Devices that the kernel shows, and the driver's version."""
    devices = glob("/dev/neuron*")
    if devices:
        told = DRIVER.read_text().strip() if DRIVER.is_file() else "unknown"
        return f"{len(devices)} devices, driver {told}", ""
    said = "no /dev/neuron*, though Neuron's tools or packages are here"
    return said, f"On a Trainium instance: {APT}, then sudo modprobe neuron. In a container: --device=/dev/neuron0."


def tools(seconds: float) -> Found:
    """What `neuron-ls` tells: devices, cores, and which processes hold them."""
    path = tool("neuron-ls")
    if path is None:
        return "neuron-ls is not found", f"{APT}; export PATH=$PATH:{TOOLS}"
    try:
        rows = json.loads(program(path, "-j", seconds=seconds))
        cores = sum(int(row.get("nc_count") or 0) for row in rows)
        held = [entry for row in rows for entry in row.get("neuron_processes") or []]
    except Failed as problem:
        return f"neuron-ls: {problem}", f"The driver does not answer: sudo modprobe neuron, or restart. {APT}"
    except (ValueError, TypeError, AttributeError):
        return "neuron-ls gives no list of devices", f"Driver and tools must be of one release: {APT}"
    busy = ", ".join(f"{entry.get('pid')} ({entry.get('command', '?')})" for entry in held)
    return f"{len(rows)} devices, {cores} cores, {f'held by {busy}' if busy else 'all free'}", ""


def packages(seconds: float) -> Found:
    """The packages that train on trn1; and that the compiler is one, for on the public index they are empty."""
    install = "Install what environment.trn1.yml lists, from AWS's index: https://pip.repos.neuron.amazonaws.com."
    found = {name: _found(name) for name in EXPECTED}
    bad = [
        f"{name} {here or 'missing'}"
        for name, here in found.items()
        if here is None or not re.match(rf"{re.escape(EXPECTED[name])}\b", here)
    ]
    if bad:
        return ", ".join(bad), install
    path = tool("neuronx-cc")
    if path is None:
        return "neuronx-cc is installed without its compiler: a placeholder", install
    try:
        program(path, "--version", seconds=seconds)
    except Failed as problem:
        return f"neuronx-cc: {problem}", install
    return ", ".join(f"{name} {here}" for name, here in found.items()), ""


def tool(name: str) -> str | None:
    """Path of a program of Neuron's, also where it is installed and not on PATH."""
    return shutil.which(name) or shutil.which(name, path=str(TOOLS))


def _found(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
