"""What neuron-monitor prints, as numbers. No line here was recorded on hardware: `REPORT` and `IDLE` are made by the
schema and the sample values of AWS's user guide (tools/neuron-sys-tools/neuron-monitor-user-guide.rst)."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from tts_lab.devices.monitor import NeuronMonitor, numbers

BREAKDOWN = {"application_memory": 6996594688, "constants": 0, "dma_buffers": 1048576, "tensors": 0}
LATENCY = {"p0": 0.0100, "p1": 0.0101, "p25": 0.0104, "p50": 0.0108, "p75": 0.0110, "p99": 0.0112, "p100": 0.0113}


def process(pid: int) -> dict:
    """A process that trains on both cores of a trn1.2xlarge."""
    return {
        "pid": pid, "neuron_runtime_tag": str(pid), "error": "",
        "report": {
            "neuroncore_counters": {
                "period": 5.0001, "error": "",
                "neuroncores_in_use": {
                    "0": {"neuroncore_utilization": 42.0, "flops": 1234567891011},
                    "1": {"neuroncore_utilization": 12.5, "flops": 234567891021},
                },
            },
            "execution_stats": {
                "period": 5.0306, "error": "",
                "error_summary": {
                    "generic": 0, "numerical": 2, "transient": 0, "model": 0, "runtime": 1, "hardware": 0
                },
                "execution_summary": {
                    "completed": 123, "completed_with_err": 1, "completed_with_num_err": 2, "timed_out": 3,
                    "incorrect_input": 0, "failed_to_queue": 4,
                },
                "latency_stats": {
                    "total_latency": {name: value + 0.001 for name, value in LATENCY.items()},
                    "device_latency": LATENCY,
                },
            },
            "memory_used": {
                "period": 5.00001, "error": "", "loaded_models": [],
                "neuron_runtime_used_bytes": {
                    "host": 6997643264, "neuron_device": 12519788544,
                    "usage_breakdown": {"host": BREAKDOWN, "neuroncore_memory_usage": {}},
                },
            },
            "neuron_runtime_vcpu_usage": {
                "period": 5.0306, "error": "", "vcpu_usage": {"user": 42.01, "system": 12.34}
            },
        },
    }  # fmt: skip


REPORT = {
    "neuron_runtime_data": [process(4711)],
    "system_data": {
        "memory_info": {"period": 5.3, "error": "", "memory_total_bytes": 33e9, "memory_used_bytes": 16e9},
        "neuron_hw_counters": {
            "period": 5.03, "error": "",
            "neuron_devices": [{
                "neuron_device_index": 0, "mem_ecc_corrected": 7, "mem_ecc_uncorrected": 1, "sram_ecc_corrected": 0,
                "sram_ecc_uncorrected": 2,
            }],
        },
    },
    "instance_info": {"instance_type": "trn1.2xlarge", "instance_id": "i-0011223344556677a", "error": ""},
    "neuron_hardware_info": {"neuron_device_type": "trainium", "neuron_device_count": 1, "error": ""},
}  # fmt: skip
IDLE = {
    "neuron_runtime_data": [{
        "pid": 4711, "neuron_runtime_tag": "4711", "error": "cannot read this process",
        "report": {
            "neuroncore_counters": {"period": 5.0, "neuroncores_in_use": {}, "error": "no core is in use"},
            "execution_stats": {
                "period": 5.0, "error": "", "error_summary": None, "execution_summary": {"completed": 0},
                "latency_stats": {"total_latency": None, "device_latency": None},
            },
            "memory_used": {"period": 5.0, "error": "not there", "neuron_runtime_used_bytes": {"host": 1048576}},
        },
    }],
    "system_data": {"neuron_hw_counters": {"period": 5.0, "neuron_devices": None, "error": "no driver"}},
    "instance_info": {"error": "no metadata service"},
    "neuron_hardware_info": {"error": "no driver"},
}  # fmt: skip


def test_a_whole_report_is_eight_numbers():
    assert numbers(REPORT, 4711) == {
        "core_utilization": (42.0 + 12.5) / 2, "device_bytes": 12519788544, "host_bytes": 6997643264,
        "numerical_errors": 2, "other_errors": 1 + 3 + 4, "latency_p50": 0.0108, "latency_p99": 0.0112,
        "ecc_uncorrected": 1 + 2,
    }  # fmt: skip


def test_another_process_is_not_counted_and_all_are_where_none_is_named():
    both = REPORT | {"neuron_runtime_data": [process(4711), process(4712)]}
    both["neuron_runtime_data"][1]["report"]["execution_stats"]["latency_stats"]["device_latency"] = {"p50": 0.5}
    assert numbers(both, 4711) == numbers(REPORT, 4711)
    every = numbers(both)
    assert every["device_bytes"] == 2 * 12519788544 and every["core_utilization"] == (42.0 + 12.5) / 2
    assert (every["latency_p50"], every["latency_p99"], every["ecc_uncorrected"]) == (0.5, 0.0112, 3)
    assert numbers(both, 4713) == {"ecc_uncorrected": 3}


@pytest.mark.parametrize("report", [{}, [], None, "error", 3, {"neuron_runtime_data": None}, {"system_data": "error"}])
def test_a_report_that_tells_nothing_is_no_numbers(report):
    assert numbers(report, 4711) == {}


def test_an_idle_process_has_no_latency_and_no_utilization():
    assert numbers(IDLE, 4711) == {"host_bytes": 1048576}


@pytest.fixture
def imitation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a program of that Python text on PATH as neuron-monitor; ``pid`` in it is that of the test."""

    def write(text: str) -> None:
        path = tmp_path / "neuron-monitor"
        path.write_text(f"#!{sys.executable}\nimport json, sys, time\npid = {os.getpid()}\n{text}")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return write


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def says(*lines: str) -> str:
    return f"for line in {lines!r}:\n    print(line, flush=True)\n"


def line(**changed) -> str:
    own = process(os.getpid())
    own["report"]["execution_stats"]["execution_summary"] |= changed
    return json.dumps(REPORT | {"neuron_runtime_data": [process(1), own]})


def test_the_newest_line_counts_and_errors_add_up_past_broken_lines(imitation):
    lines = line(), "neuron-monitor: a warning", line()[:200], "[]", line(completed_with_num_err=5)
    imitation(says(*lines) + "time.sleep(600)\n")
    monitor = NeuronMonitor()
    assert monitor.counters() == {}
    monitor.start()
    until(lambda: monitor.counters().get("numerical_errors") == 2 + 5)
    assert monitor.counters() == numbers(json.loads(line()), os.getpid()) | {"numerical_errors": 7, "other_errors": 16}
    program, threads = monitor.process, threading.active_count()
    monitor.stop()
    assert program.poll() is not None
    until(lambda: threading.active_count() < threads)
    assert monitor.counters() == {}
    monitor.stop()  # twice does no harm


@pytest.mark.parametrize("end", ["sys.exit(3)", "sys.stdout.buffer.write(b'\\xff\\xfe{'); sys.exit()"])
def test_a_monitor_that_dies_leaves_no_numbers_behind(imitation, end):
    imitation(says(line()) + "time.sleep(0.5)\n" + end)
    monitor = NeuronMonitor()
    monitor.start()
    until(lambda: monitor.counters())
    until(lambda: not monitor.counters())
    monitor.stop()


def test_without_the_program_nothing_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monitor = NeuronMonitor()
    monitor.start()
    assert monitor.process is None and monitor.counters() == {}
    (tmp_path / "neuron-monitor").write_text("no program")
    (tmp_path / "neuron-monitor").chmod(0o755)
    monitor.start()
    assert monitor.process is None


def test_the_monitor_lives_as_long_as_the_trainer_and_its_numbers_have_columns(imitation):
    import lightning as L
    import torch

    from tts_lab.devices.lightning import XlaAccelerator
    from tts_lab.training.metrics import COLUMNS

    class Waits(L.LightningModule):
        def training_step(self, *_: object) -> None:
            assert monitor.process.poll() is None
            until(lambda: monitor.counters().keys() == numbers(REPORT).keys())
            raise KeyError("the run fails")

        def configure_optimizers(self) -> None:
            pass

    imitation(says(line()) + "time.sleep(600)\n")
    monitor = NeuronMonitor()
    strategy = L.pytorch.strategies.SingleDeviceStrategy("cpu")
    trainer = L.Trainer(
        accelerator=XlaAccelerator(monitor), devices=1, strategy=strategy, logger=False, enable_checkpointing=False,
        enable_model_summary=False, enable_progress_bar=False, max_steps=1,
    )  # fmt: skip
    with pytest.raises(KeyError):
        trainer.fit(Waits(), torch.zeros(2, 1))
    assert monitor.process is None
    assert numbers(REPORT).keys() <= set(COLUMNS)
