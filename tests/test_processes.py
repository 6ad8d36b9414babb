"""Several processes over gloo: one machine's, two agents', a dead one; and what a batch is divided into."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from conftest import ROUNDING_ALONE, own_environment

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices import open_device
from tts_lab.devices.instances import check_workers
from tts_lab.devices.processes import Processes
from tts_lab.errors import UserError
from tts_lab.notebook import launch
from tts_lab.training.columns import ALIGNMENT
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.metrics import read_metrics
from tts_lab.training.module import VitsTraining
from tts_lab.vits.config import PRESETS
from tts_lab.voices.checkpoints import load_safely

BASE = own_environment(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
TORCHRUN = ["-m", "torch.distributed.run"]
# Clocks; and what rank 0 makes alone, for which one_of_several draws twice as much where two train.
ITS_OWN = {"seconds", "steps_per_second", "audio_per_second", "data_wait", *ALIGNMENT}
ONE_MACHINE = [*TORCHRUN, "--standalone", "--nproc_per_node=2"]


def start(*arguments: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], env=BASE, **pipes)


def wait(running: subprocess.Popen, there: Callable[[], bool]) -> None:
    """Until something is there, while it runs."""
    began = time.monotonic()
    while not there():
        assert running.poll() is None and time.monotonic() - began < 300, running.communicate()
        time.sleep(0.02)


def finish(*running: subprocess.Popen) -> list[str]:
    """What each printed, when all have ended well."""
    try:
        said = [process.communicate(timeout=600) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, said, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [out for out, _ in said]


def state(run: Path) -> dict[str, torch.Tensor]:
    return load_safely(run / "checkpoints" / "last.ckpt")["state_dict"]


@pytest.fixture(scope="module")
def recipe(small_corpus, tmp_path_factory) -> str:
    """A config file for 5 updates: 11 utterances in two shapes, so fewer rows than a batch, and not a multiple."""
    settings = {
        "corpus": str(small_corpus), "preset": "tiny", "batch_size": 4, "accumulate": 2, "clip": 50.0, "buckets": 2,
        "limit_utterances": 11, "max_steps": 5, "validate_every": 5, "checkpoint_every": 5, "sample_every": 5,
        "log_every": 1, "workers": 0, "keep": 1, "accelerator": "cpu", "sentences": ["Hello."],
    }  # fmt: skip
    file = tmp_path_factory.mktemp("recipe") / "run.yaml"
    file.write_text(yaml.safe_dump(settings))
    return f"--config={file}"


@pytest.fixture(scope="module")
def two(recipe, tmp_path_factory) -> Path:
    """The run folder of two processes with batches of 4."""
    run = tmp_path_factory.mktemp("two")
    (printed,) = finish(start(*ONE_MACHINE, "--", "tests/one_of_several.py", recipe, f"--run={run}"))
    assert printed.count("4 a batch x 2 accumulated x 2 processes = 16 rows an update") == 1  # rank 0 alone says it
    return run


@pytest.mark.slow
def test_two_processes_with_half_the_batch_train_what_one_does(recipe, two, tmp_path):
    finish(start("tests/one_of_several.py", recipe, f"--run={tmp_path}", "--batch_size=8"))
    one, other = state(tmp_path), state(two)
    for name, value in one.items():
        if ROUNDING_ALONE not in name:
            torch.testing.assert_close(other[name], value, atol=1e-5, rtol=0, msg=lambda said, n=name: f"{n}: {said}")
    for a, b in zip(read_metrics(tmp_path / "metrics.csv"), read_metrics(two / "metrics.csv"), strict=True):
        a, b = ({k: v for k, v in row.items() if v != "" and k not in ITS_OWN} for row in (a, b))
        assert a == pytest.approx(b, rel=1e-4)  # means over processes are the whole batch's


@pytest.mark.slow
def test_rank_0_alone_writes_and_writes_all(two):
    # one_of_several ends a process that writes and is not the first; here is what must be there all the same.
    found = {path.relative_to(two).parts[0] for path in two.rglob("*") if path.is_file()}
    assert found == {
        "config.yaml", "environment.json", "corpus.json", "log.txt", "metrics.csv", "samples", "checkpoints",
        "tensorboard", "alignments",
    }  # fmt: skip
    assert len(list((two / "tensorboard").glob("events*"))) == 1
    assert sorted(path.name for path in (two / "samples").glob("step-*")) == ["step-0", "step-5"]
    assert (two / "log.txt").read_text().count("done: step 5") == 1


@pytest.mark.slow
def test_two_nodes_of_one_process_are_one_node_of_two_bit_for_bit(recipe, two, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = ["--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={port}"]
    script = ["--", "tests/one_of_several.py", recipe, f"--run={tmp_path}"]
    finish(*(start(*TORCHRUN, *nodes, f"--node_rank={rank}", *script) for rank in range(2)))
    one, other = state(two), state(tmp_path)
    assert all(torch.equal(one[name], value) for name, value in other.items())


@pytest.mark.slow
def test_a_dead_process_ends_the_run_in_words_and_the_next_start_resumes(recipe, tmp_path):
    command = [*ONE_MACHINE, "-m", "--", "tts_lab.training", recipe, f"--run={tmp_path}", "--checkpoint-every=2"]
    running, last = start(*command, "--max_steps=100000"), tmp_path / "checkpoints" / "last.ckpt"
    try:
        wait(running, last.exists)
        launch.lose(running, rank=1)
        began = time.monotonic()
        _, errors = running.communicate(timeout=60)
    finally:
        running.terminate()  # torchrun passes it on
    assert running.returncode != 0 and time.monotonic() - began < 60
    assert re.search(r"rank 0: step \d+: another of the 2 processes died.*newest checkpoint in ", errors), errors
    reached = load_safely(last)["global_step"]
    assert reached >= 2
    (printed,) = finish(start(*command, f"--max_steps={reached + 2}"))
    assert f"resuming from {last} at step {reached}" in printed
    assert load_safely(last)["global_step"] == reached + 2


@pytest.mark.slow
def test_torchrun_asked_to_end_has_all_processes_end_with_one_step_and_the_next_start_goes_on(recipe, two, tmp_path):
    command = [*ONE_MACHINE, "--", "tests/one_of_several.py", recipe, f"--run={tmp_path}"]
    running, rows = start(*command), tmp_path / "metrics.csv"
    try:
        wait(running, lambda: rows.exists() and len(rows.read_text().splitlines()) > 1)
        running.terminate()
        _, errors = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode != 0
    assert errors.count("SIGTERM: a checkpoint is written after this step, then the run ends") == 2
    (step,) = set(re.findall(r"step (\d+): SIGTERM was received", errors))
    assert load_safely(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == int(step) < 5
    finish(start(*command))
    other = state(tmp_path)
    assert all(torch.equal(other[name], value) for name, value in state(two).items())


def test_the_parts_of_a_batch_are_the_whole_one_and_read_no_others_audio(small_corpus, monkeypatch):
    corpus = Corpus.load(small_corpus)
    settings = {"max_steps": 4, "preset": "tiny", "workers": 0}
    undivided = CorpusData(corpus, PRESETS["tiny"], TrainConfig(small_corpus, batch_size=6, **settings))
    (whole,) = undivided.train_dataloader().dataset[1]
    read = []
    monkeypatch.setattr(Corpus, "waveform", lambda c, u, real=Corpus.waveform: read.append(u.id) or real(c, u))
    parts = []
    for rank in range(3):
        config = TrainConfig(small_corpus, batch_size=2, **settings)
        data = CorpusData(corpus, PRESETS["tiny"], config, Processes(rank, 3))
        parts += data.train_dataloader().dataset[1]
        rows = undivided.schedule.batch(1).rows[2 * rank :][:2]
        assert read == [undivided.utterances[i].id for row in rows for i in row]
        read.clear()
    for name in ("phonemes", "phoneme_lengths", "spectrogram", "frames", "starts", "segment", "segment_spectrogram"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name)), name
    assert whole.shares is None
    for part in parts:
        pairs = (part.phoneme_lengths, whole.phoneme_lengths), (part.frames, whole.frames)
        np.testing.assert_allclose(part.shares, [3 * a.sum() / b.sum() for a, b in pairs], rtol=1e-6)


def test_torchrun_names_the_process_and_nothing_else_does(monkeypatch):
    for name, value in {"RANK": 40, "WORLD_SIZE": 64, "LOCAL_RANK": 8, "LOCAL_WORLD_SIZE": 32}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert Processes.of_environment() == Processes()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    here = Processes.of_environment()
    assert here == Processes(40, 64, 8, 32) and here.nodes == 2
    with pytest.raises(UserError, match="exchanges nothing between processes.*accelerator cpu"):
        open_device("xla")


def test_each_process_draws_for_itself_and_a_single_one_as_ever():
    def seeded(number: int, *place: int) -> int:
        return VitsTraining.own_seed(SimpleNamespace(hardware=SimpleNamespace(processes=Processes(*place))), number)

    assert seeded(1234 * 1_000_003 + 7) == 1234 * 1_000_003 + 7
    seeds = [seeded(1234 * 1_000_003 + step, rank, 32) for step in range(50) for rank in range(32)]
    assert len(set(seeds)) == 50 * 32
    assert 0 <= seeded(10**15 * 1_000_003, 31, 32) < 2**63 and seeded(-5) >= 0


@pytest.mark.parametrize(
    "cores, workers, nodes, wrong",
    [
        *((2, n, 1, None) for n in (1, 2)), *((32, n, 1, None) for n in (1, 2, 8, 32)), (32, 32, 4, None),
        (12, 5, 1, None),
        (2, 8, 1, "8 processes on trn1.2xlarge: it runs 1 or 2"),
        (32, 4, 1, "4 processes on trn1.32xlarge: it runs 1 or 2 or 8 or 32"),
        (32, 8, 2, "8 processes on each of 2 nodes of trn1.32xlarge: it runs 32"),
        (2, 2, 2, "2 nodes of trn1.2xlarge: only trn1.32xlarge"),
        (12, 13, 1, "13 processes on a machine with 12 NeuronCores"),
    ],
)  # fmt: skip
def test_worker_counts_are_those_of_the_instance(cores, workers, nodes, wrong):
    if wrong is None:
        check_workers(cores, workers, nodes)
    else:
        with pytest.raises(UserError, match=wrong):
            check_workers(cores, workers, nodes)
