"""Compiling before training: what the tool is shown, and what happens where there is none. AWS's tool is imitated."""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from conftest import python

from tts_lab.devices.host import HostDevice
from tts_lab.errors import UserError
from tts_lab.preflight.precompile import precompile
from tts_lab.training.config import TrainConfig
from tts_lab.training.run import train

SETTINGS = {
    "preset": "tiny", "batch_size": 2, "buckets": 2, "max_steps": 40, "limit_utterances": 8, "adversarial_from": 20,
    "validate_every": 20, "sample_every": 10, "checkpoint_every": 10, "workers": 0, "accelerator": "cpu",
}  # fmt: skip


@pytest.fixture
def config(small_corpus, tmp_path) -> TrainConfig:
    return TrainConfig(small_corpus, tmp_path / "run", **SETTINGS)


def test_a_run_that_only_shows_its_graphs_survives_zeros_and_writes_nothing(config, monkeypatch, capsys):
    """Under the tool every output of the device is zeros, parameters included."""
    shown = []

    compute = HostDevice.compute

    def nothing_computes(self, work, *inputs):
        results = compute(self, work, *inputs)
        with torch.no_grad():
            for tensor in (*work.__self__.parameters(), *results.values()):
                tensor.zero_()
        shown.append((work.__name__, *(each for each in inputs if isinstance(each, bool))))
        return results

    monkeypatch.setenv("NEURON_EXTRACT_GRAPHS_ONLY", "1")
    monkeypatch.setattr(HostDevice, "compute", nothing_computes)
    assert train(config) is None
    assert not config.run.exists()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("graph ")]
    names = {line.split(": ")[1].split(",")[0] for line in lines}
    # Two shapes, each with and without discriminators, and the validation's.
    assert len(names) == len(lines) == 6, lines
    assert shown.count(("update", True)) == shown.count(("update", False)) == shown.count(("validate",)) == 4


def test_a_search_on_the_host_is_a_graph_before_each_step(config, capsys, monkeypatch):
    monkeypatch.setenv("NEURON_EXTRACT_GRAPHS_ONLY", "1")
    train(replace(config, alignment="host", max_steps=30))
    times = dict(re.findall(r"^graph \d+ of \d+: (\S+), (\d+) times", capsys.readouterr().out, re.M))
    shapes = {name.split("-")[2]: int(count) for name, count in times.items() if name.startswith("align-train")}
    assert len(shapes) == 2 and sum(shapes.values()) == 30
    for shape, count in shapes.items():
        assert count == int(times[f"train-{shape}"]) + int(times[f"train-{shape}-without-discriminators"])
    validated = [name for name in times if name.startswith("validate")]
    assert validated and all(times[f"align-{name}"] == times[name] for name in validated)


def tool(folder: Path, script: str, monkeypatch) -> None:
    """An imitation of AWS's tool, first on PATH."""
    path = folder / "bin" / "neuron_parallel_compile"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.mark.slow
def test_the_tool_gets_the_run_in_as_many_processes_as_it_will_have(config, tmp_path, monkeypatch, capfd):
    tool(tmp_path, 'NEURON_EXTRACT_GRAPHS_ONLY=1 exec "$@"', monkeypatch)
    monkeypatch.setenv("PYTHONPATH", ".")
    assert precompile(config, 2, tmp_path / "graphs") == []
    said = capfd.readouterr().out
    assert said.startswith("neuron_parallel_compile torchrun --nproc_per_node=2 -m tts_lab.training --config ")
    assert said.count("graph 6 of 6: ") == 2 and said.count("nothing was trained and nothing written") == 2
    assert not config.run.exists()


def test_the_tool_starts_without_what_stands_in_for_neuron_elsewhere(config, tmp_path, monkeypatch):
    """The client chosen for a preflight is refused by a run on Neuron, and debug names change the keys of the cache."""
    tool(tmp_path, 'env | grep -E "^(PJRT_|XLA_|PYTORCH_JIT)" || echo "nothing but: $*"', monkeypatch)
    where = [f"--corpus={config.corpus}", f"--out={tmp_path / 'graphs'}", "--max_steps=1", "--accelerator=neuron"]
    printed = python("-m", "tts_lab.cli", "precompile", *where, "--processes=2")
    assert "nothing but: torchrun --nproc_per_node=2 -m tts_lab.training --config" in printed


def test_a_tool_that_fails_is_told_of(config, tmp_path, monkeypatch):
    tool(tmp_path, "exit 3", monkeypatch)
    with pytest.raises(UserError, match="ended with status 3.*retry_failed_compilation"):
        precompile(config, 1, tmp_path / "graphs")
    again = yaml.safe_load((tmp_path / "graphs" / "run.yaml").read_text())
    assert TrainConfig(**again | {"corpus": Path(again["corpus"]), "run": Path(again["run"])}) == config


def test_elsewhere_each_graph_is_saved_with_the_line_that_compiles_it(config, tmp_path):
    out = tmp_path / "graphs"
    flags = [f"--{name}={value}" for name, value in (SETTINGS | {"buckets": 1, "adversarial_from": 0}).items()]
    where = [f"--corpus={config.corpus}", f"--run={config.run}", f"--out={out}"]
    printed = python("-m", "tts_lab.cli", "precompile", *where, *flags)
    saved = sorted(out.glob("*.hlo.pb"))
    assert len(saved) == 2 and min(path.stat().st_size for path in saved) > 10_000
    assert all(f"neuronx-cc compile {path} --framework XLA --target trn1" in printed for path in saved)
    assert not config.run.exists()
