"""What ``neuron-monitor`` says of a run: how busy the NeuronCores are, what they hold, what went wrong on them.

The tool prints one JSON a period of five seconds (AWS's neuron-monitor user guide); here the newest is flat numbers:

| number | unit |
|---|---|
| ``core_utilization`` | percent, mean over the cores in use |
| ``device_bytes``, ``host_bytes`` | bytes that the Neuron runtime holds on the device and on the host |
| ``numerical_errors``, ``other_errors`` | executions that gave NaN, and that failed otherwise |
| ``latency_p50``, ``latency_p99`` | seconds an execution on the device |
| ``ecc_uncorrected`` | memory errors of the instance's devices that nothing could mend |
"""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterable
from typing import IO, Any

OTHER_ERRORS = ("completed_with_err", "timed_out", "incorrect_input", "failed_to_queue")
COUNTED_A_PERIOD = ("numerical_errors", "other_errors")  # the rest is a state, or counted since the driver started


def numbers(report: dict[str, Any], pid: int | None = None) -> dict[str, float]:
    """The numbers in one parsed line; what it does not tell is left out.

    Args:
        pid: only this process's; of all processes by default, their slowest latency.
    """
    entries = [e for e in _list(report, "neuron_runtime_data") if pid is None or _at(e, "pid") == pid]
    cores = [core for e in entries for core in _values(e, "report", "neuroncore_counters", "neuroncores_in_use")]
    devices = _list(report, "system_data", "neuron_hw_counters", "neuron_devices")
    used, ran = ("report", "memory_used", "neuron_runtime_used_bytes"), ("report", "execution_stats")
    found = {
        "core_utilization": _numbers(cores, ("neuroncore_utilization",)),
        "device_bytes": _numbers(entries, (*used, "neuron_device")),
        "host_bytes": _numbers(entries, (*used, "host")),
        "numerical_errors": _numbers(entries, (*ran, "execution_summary", "completed_with_num_err")),
        "other_errors": _numbers(entries, *((*ran, "execution_summary", name) for name in OTHER_ERRORS)),
        "latency_p50": _numbers(entries, (*ran, "latency_stats", "device_latency", "p50")),
        "latency_p99": _numbers(entries, (*ran, "latency_stats", "device_latency", "p99")),
        "ecc_uncorrected": _numbers(devices, ("mem_ecc_uncorrected",), ("sram_ecc_uncorrected",)),
    }
    joined = {"core_utilization": lambda values: sum(values) / len(values), "latency_p50": max, "latency_p99": max}
    return {name: float(joined.get(name, sum)(values)) for name, values in found.items() if values}


class NeuronMonitor:
    """``neuron-monitor`` beside a run, where it is on PATH; its failing never stops the run."""

    def __init__(self) -> None:
        self.newest: dict[str, float] = {}
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, with a thread that reads; does nothing where it is not there or runs already."""
        path = shutil.which("neuron-monitor")
        if path is None or self.process is not None:
            return
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        try:
            self.process = subprocess.Popen([path], text=True, errors="replace", **streams)
        except OSError:  # a file that is no program
            return
        threading.Thread(target=self._read, args=(self.process.stdout, os.getpid()), daemon=True).start()

    def counters(self) -> dict[str, float]:
        """The newest numbers of this process, errors added up since the start; none before the first line or after
        the last."""
        return self.newest

    def stop(self) -> None:
        """End the program, and with it the thread."""
        if self.process is not None:
            self.process.kill()  # it has nothing to save, and a run must not wait for it
            self.process.wait()
            self.process = None

    def _read(self, lines: IO[str], pid: int) -> None:
        errors: dict[str, float] = {}
        for line in lines:
            try:
                report = json.loads(line)
            except ValueError:  # half a line, or a word of warning
                continue
            found = numbers(report, pid)
            for name in COUNTED_A_PERIOD:  # a run reads one line in many
                if name in found:
                    errors[name] = errors.get(name, 0.0) + found[name]
            self.newest = found | errors
        lines.close()
        self.newest = {}  # it has ended: what it said last is no longer so


def _at(tree: Any, *path: str) -> Any:
    """What is at the end of ``path``, or None where it does not lead there."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _list(tree: Any, *path: str) -> list[Any]:
    found = _at(tree, *path)
    return found if isinstance(found, list) else []


def _values(tree: Any, *path: str) -> list[Any]:
    found = _at(tree, *path)
    return list(found.values()) if isinstance(found, dict) else []


def _numbers(trees: Iterable[Any], *paths: tuple[str, ...]) -> list[float]:
    """The numbers at the ends of the paths, in every tree; what else is there is passed over."""
    found = [_at(tree, *path) for tree in trees for path in paths]
    return [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]
