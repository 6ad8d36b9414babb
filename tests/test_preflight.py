"""The preflight as a whole: stock Piper's step has every fault that is known of it, ours has none."""

import json
import re

import pytest
import yaml
from conftest import python

from tts_lab.cli import preflight
from tts_lab.devices.instances import find_instance
from tts_lab.devices.lowering import ENVIRONMENT
from tts_lab.errors import UserError
from tts_lab.preflight.forecast import Work, seconds, work
from tts_lab.preflight.hlo import Graph
from tts_lab.training.config import TrainConfig
from tts_lab.vits.config import PRESETS
from tts_lab.vits.discriminators import Discriminators
from tts_lab.vits.synthesizer import Synthesizer


@pytest.mark.slow
def test_stock_pipers_step_shows_every_fault_with_its_line():
    findings = json.loads(python("-m", "benchmarks.preflight_stock", **ENVIRONMENT).splitlines()[-1])
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
        "precision": "auto",
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "report.json"
    printed = python(
        "-m", "tts_lab.cli", "preflight", f"--config={tmp_path / 'run.yaml'}", "--hourly_rate=2",
        f"--save_hlo={tmp_path / 'hlo'}", f"--json={out}", **ENVIRONMENT,
    )  # fmt: skip
    report = json.loads(out.read_text())
    assert not [finding for finding in report["findings"] if finding["severity"] == "error"]
    assert report["bf16"]  # the forecast is for the core that auto means, not for this computer
    assert {"reverse", "kernel smaller than its dilation"} <= {finding["rule"] for finding in report["findings"]}
    names = [graph["name"] for graph in report["graphs"]]
    training = [name for name in names if name.startswith("train")]
    assert len(training) == 4 and sum(name.endswith("-without-discriminators") for name in training) == 2
    assert sum(graph["runs"] for graph in report["graphs"] if graph["name"] in training) == 40
    assert all(
        graph["trace_seconds"] and graph["flops"] > 1e9 for graph in report["graphs"] if graph["name"] in training
    )
    steps = [graph["seconds"][0] for graph in report["graphs"] if graph["name"] in training]
    assert min(steps) <= report["epoch_seconds"][0] / 4 <= max(steps)  # 8 utterances, 2 a batch
    assert report["price"][0] == pytest.approx(2 * report["run_seconds"][0] / 3600)
    for name in names:
        assert (tmp_path / "hlo" / f"{name}.hlo.pb").stat().st_size > 10_000
        assert f"neuronx-cc compile {tmp_path / 'hlo' / name}.hlo.pb --framework XLA --target trn1" in printed


TWO_PROCESSES = """
import sys
from pathlib import Path
from tts_lab import preflight
from tts_lab.devices import xla
from tts_lab.preflight.run import preflight_run
from tts_lab.training.config import TrainConfig
xla.PIECE_BYTES, texts, lower = 2**19, [], preflight.lower
def keep(*arguments):
    lowered = lower(*arguments)
    texts.append(lowered.text)
    return lowered
preflight.lower = keep
config = TrainConfig(Path(sys.argv[1]), preset="tiny", batch_size=2, buckets=1, max_steps=1, validate_every=1, clip=5.0)
result = preflight_run(config, processes=2).preflight
assert not result.errors, result.errors
for graph, text in zip(result.graphs, texts, strict=True):
    Path(sys.argv[2], graph.name).write_text(text)
"""


@pytest.mark.slow
def test_the_exchange_of_gradients_is_in_the_training_graph_before_the_clipping(small_corpus, tmp_path):
    python("-c", TWO_PROCESSES, str(small_corpus), str(tmp_path), **ENVIRONMENT)
    (training,), (validation,) = (
        [Graph.parse(path.read_text()) for path in tmp_path.glob(f"{kind}-*")] for kind in ("train", "validate")
    )
    assert not [i for i in validation if i.opcode == "all-reduce"]
    exchanges = [i for i in training if i.opcode == "all-reduce"]
    assert all(array.dtype == "f32" for i in exchanges for array in i.operands)
    sizes = [sum(p.numel() for p in side.parameters()) for side in (Synthesizer(PRESETS["tiny"]), Discriminators(16))]
    pieces = [-(-size * 4 // 2**19) for size in sizes]
    assert len(exchanges) == sum(pieces) and min(pieces) > 1
    assert (work(training).exchanges, work(training).exchanged_bytes) == (sum(pieces), 4 * sum(sizes))
    assert work(validation).exchanges == 0
    lines = re.findall(r"%([\w.-]+) = (.*)", training.text)
    operands = {name: set(re.findall(r"%([\w.-]+)", rest)) & training.by_name.keys() for name, rest in lines}
    for number, size in enumerate(sizes):
        (norm,) = (i for i in training.entry if i.opcode == "reduce" and i.operands[0].shape == (size,))
        before, queue = set(), [norm.name]
        while queue:
            added = operands[queue.pop()] - before
            before |= added
            queue += added
        # A chain keeps all processes in one order, so the discriminators' wait for the generator's.
        exchanged = [i.results[0].elements for i in exchanges if i.name in before]
        assert len(exchanged) == sum(pieces[: number + 1]) and sum(exchanged) == sum(sizes[: number + 1])


def test_a_count_of_processes_that_the_instance_cannot_run_is_refused(small_corpus):
    config = TrainConfig(small_corpus, max_steps=1)
    with pytest.raises(UserError, match="4 processes on trn1.32xlarge: it runs 1 or 2 or 8 or 32"):
        preflight(config, "trn1.32xlarge", processes=4)
    with pytest.raises(UserError, match="2 nodes of trn1.2xlarge"):
        preflight(config, "trn1.2xlarge", processes=4)


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


def test_times_lie_between_all_fused_at_half_the_peak_and_nothing_fused_at_a_twentieth():
    core, load = find_instance("trn1.2xlarge"), Work(1e12, 1e9, 1e10, 0, 0)
    fast, slow = seconds(load, core, bf16=True)
    assert fast == pytest.approx(1e12 / 47.5e12) and slow == pytest.approx(1e12 / 4.75e12 + 1e10 / (410 * 2**30))
