"""The preflight as a whole: stock Piper's step has every fault that is known of it, ours has none."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from tts_lab.devices.instances import find_instance
from tts_lab.preflight.forecast import Work, seconds, work
from tts_lab.preflight.hlo import Graph


def python(*arguments: str) -> str:
    from tts_lab.devices.lowering import ENVIRONMENT

    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": "."}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_stock_pipers_step_shows_every_fault_with_its_line():
    findings = json.loads(python("-m", "benchmarks.preflight_stock").splitlines()[-1])
    found = {(f["rule"], f["code"], f["source"].rpartition("vits/")[2].split(":")[0]) for f in findings}
    fallback, read, wrong = "fallback to the CPU", "value read on the host", "silently wrong"
    assert found >= {
        (fallback, "aten._weight_norm_interface", "modules.py"),
        (fallback, "aten._weight_norm_interface_backward", "modules.py"),
        (fallback, "aten._fft_r2c", "mel_processing.py"),
        (fallback, "aten.index.Tensor", "transforms.py"),  # the spline's boolean masks
        (fallback, "aten.index_put_", "transforms.py"),
        (read, "aten._local_scalar_dense", "losses.py"),  # .item() of each discriminator
        (read, "aten._local_scalar_dense", "commons.py"),  # segments cut one by one
        (read, "aten._to_copy", "monotonic_align/__init__.py"),
        (wrong, "aten.split_with_sizes", "modules.py"),
        (wrong, "aten.split_with_sizes", "models.py"),
        (wrong, "aten.transpose_", "mel_processing.py"),
    }
    assert all(f["source"] for f in findings if f["severity"] == "error")


def test_our_run_has_no_error_and_its_graphs_can_be_taken_away(small_corpus, tmp_path):
    config = {
        "corpus": str(small_corpus), "run": str(tmp_path / "run"), "preset": "tiny", "batch_size": 2, "buckets": 2,
        "max_steps": 40, "limit_utterances": 8, "adversarial_from": 20, "validate_every": 20, "clip": 5.0,
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "report.json"
    printed = python(
        "-m", "tts_lab.cli", "preflight", f"--config={tmp_path / 'run.yaml'}", "--hourly_rate=2",
        f"--save_hlo={tmp_path / 'hlo'}", f"--json={out}",
    )  # fmt: skip
    report = json.loads(out.read_text())
    assert not [finding for finding in report["findings"] if finding["severity"] == "error"]
    assert {"reverse", "kernel smaller than its dilation"} <= {finding["rule"] for finding in report["findings"]}
    names = [graph["name"] for graph in report["graphs"]]
    training = [name for name in names if name.startswith("train")]
    assert len(training) == 4 and sum(name.endswith("-without-discriminators") for name in training) == 2
    assert sum(graph["runs"] for graph in report["graphs"] if graph["name"] in training) == 40
    assert all(
        graph["trace_seconds"] and graph["flops"] > 1e9 for graph in report["graphs"] if graph["name"] in training
    )
    assert report["price"][0] == pytest.approx(2 * report["run_seconds"][0] / 3600)
    for name in names:
        assert (tmp_path / "hlo" / f"{name}.hlo.pb").stat().st_size > 10_000
        assert f"neuronx-cc compile {tmp_path / 'hlo' / name}.hlo.pb --framework XLA --target trn1" in printed


def test_work_is_counted_from_shapes():
    graph = Graph.parse(
        "ENTRY %Main.9 (a: f32[8,16,1,100]) -> f32[8,32,1,100] {\n"
        "  %a = f32[8,16,1,100]{3,2,1,0} parameter(0)\n"
        "  %b = f32[32,16,1,5]{3,2,1,0} parameter(1)\n"
        "  %c = f32[8,32,1,100]{3,2,1,0} convolution(f32[8,16,1,100]{3,2,1,0} %a, f32[32,16,1,5]{3,2,1,0} %b), "
        "window={size=1x5 pad=0_0x2_2}, dim_labels=bf01_oi01->bf01\n"
        "  %d = f32[8,32,1,100]{3,2,1,0} tanh(f32[8,32,1,100]{3,2,1,0} %c)\n"
        "  ROOT %t = (f32[8,32,1,100]{3,2,1,0}) tuple(f32[8,32,1,100]{3,2,1,0} %d)\n}\n"
    )
    counted = work(graph)
    assert counted.flops == 2 * 8 * 32 * 100 * 16 * 5
    inputs, output = 4 * (8 * 16 * 100 + 32 * 16 * 5), 4 * 8 * 32 * 100
    assert counted.state_bytes == inputs + output and counted.peak_bytes == inputs + 2 * output


def test_the_longer_of_computing_and_tracing_is_forecast():
    core, load = find_instance("trn1.2xlarge"), Work(1e12, 1e9, 1e10, 0, 0)
    fast, slow = seconds(load, core, bf16=True, trace=0.0)
    assert fast == pytest.approx(1e12 / 47.5e12) and slow == pytest.approx(1e12 / 4.75e12 + 1e10 / (410 * 2**30))
    assert seconds(load, core, bf16=True, trace=9.0) == (9.0, 9.0)
