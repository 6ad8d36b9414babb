"""The boot script of a spot instance: an imitated S3, a home of its own, and commands that say what they are told."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tts_lab.training.mirror.remote import Remote

BOOT = Path("spot/boot.sh").absolute()
ECHO = """#!/bin/sh
echo "$(basename "$0") $* in $(pwd) NEURON_COMPILE_CACHE_URL=${NEURON_COMPILE_CACHE_URL:-}"
exit ${STATUS:-0}
"""


@pytest.fixture
def booting(s3, tmp_path):
    """Start the script with variables; returns its status, what it said, and its errors."""
    remote = Remote(f"s3://voices/{tmp_path.name}")
    for name in ("run.yaml", "corpus/corpus.json", "corpus/wavs/a b.wav", "voice.onnx"):
        remote.fs.pipe_file(f"{remote.root}/{name}", name.encode())
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    for command in ("tts-lab", "torchrun"):
        (binaries / command).write_text(ECHO)
        (binaries / command).chmod(0o755)
    # By exec, not by a link: an interpreter finds its packages from where it is called.
    (binaries / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (binaries / "python").chmod(0o755)

    def boot(**variables: str) -> tuple[int, str, str]:
        own = {
            "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "VENV": str(tmp_path / "venv"), "INPUT": remote.url,
            "WORK": str(tmp_path / "work"), "MIRROR": "s3://voices/run", **s3.environment,
        }  # fmt: skip
        environment = {name: value for name, value in (own | variables).items() if value}
        done = subprocess.run([BOOT], env=environment, capture_output=True, text=True, cwd="/", timeout=300)
        return done.returncode, done.stdout, done.stderr

    boot.remote, boot.work = remote, tmp_path / "work"
    return boot


def test_it_fetches_the_input_once_and_trains_with_the_mirror(booting):
    status, said, _ = booting(NEURON_COMPILE_CACHE_URL="s3://voices/graphs")
    work = booting.work
    command = f"tts-lab train --config run.yaml --run {work}/run --mirror s3://voices/run in {work}/input"
    assert status == 0 and f"{command} NEURON_COMPILE_CACHE_URL=s3://voices/graphs" in said and "fetching" in said
    fetched = {str(path.relative_to(work / "input")) for path in (work / "input").rglob("*") if path.is_file()}
    assert fetched == {"run.yaml", "corpus/corpus.json", "corpus/wavs/a b.wav", "voice.onnx"}
    (work / "input" / "voice.onnx").write_text("kept")
    status, said, _ = booting(STATUS="75", PROCESSES="2")
    assert status == 75 and "fetching" not in said and (work / "input" / "voice.onnx").read_text() == "kept"
    assert f"torchrun --nproc_per_node=2 -m -- tts_lab.training --config run.yaml --run {work}/run --mirror" in said


def test_a_fetch_that_was_cut_short_is_done_again(booting):
    half = booting.work / "input.part"
    half.mkdir(parents=True)
    (half / "left over").write_text("of the last boot")
    status, _, _ = booting()
    assert status == 0 and not half.exists() and not (booting.work / "input" / "left over").exists()
    shutil.rmtree(booting.work)
    status, said, told = booting(INPUT="s3://nobodys/input")
    assert status != 0 and "tts-lab" not in said and "bucket does not exist" in told
    assert not (booting.work / "input").exists()


@pytest.mark.parametrize("name", ["INPUT", "MIRROR"])
def test_a_variable_that_is_empty_is_named_and_nothing_is_trained(booting, name):
    status, said, told = booting(**{name: ""})
    assert status != 0 and f"{name}: address" in told and not said and not booting.work.exists()
