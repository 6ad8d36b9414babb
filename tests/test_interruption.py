"""A run that is interrupted in every way ends as one that nobody disturbed, bit for bit. More kills: `make drill`."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import own_environment, python
from jupyter_client.manager import start_new_kernel

from benchmarks.drill import differences
from tts_lab.corpus.corpus import Corpus
from tts_lab.devices import spot
from tts_lab.devices.processes import Processes
from tts_lab.errors import UserError
from tts_lab.training import space, stopping
from tts_lab.training.__main__ import main
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.metrics import MetricsCsv
from tts_lab.training.module import VitsTraining
from tts_lab.training.run import train, voice_header
from tts_lab.training.stages import Place
from tts_lab.training.stopping import Stop, StoppedError
from tts_lab.vits.config import PRESETS
from tts_lab.voices import checkpoints
from tts_lab.voices.checkpoints import load_safely, newest_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")
SETTINGS = {
    "preset": "tiny", "batch_size": 2, "max_steps": 16, "checkpoint_every": 3, "validate_every": 4, "sample_every": 6,
    "log_every": 1, "workers": 0, "keep": 2, "accelerator": "cpu", "sentences": ["Yes."], "sample_clips": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def straight(small_corpus, tmp_path_factory) -> Path:
    """A run that nobody disturbs."""
    run = tmp_path_factory.mktemp("straight")
    train(TrainConfig(small_corpus, run, **SETTINGS))
    return run


@pytest.fixture(scope="module")
def straight_elsewhere(small_corpus, tmp_path_factory) -> Path:
    """The same in a process of its own: this one's last bits may be others."""
    run = tmp_path_factory.mktemp("elsewhere")
    python("-m", "tts_lab.training", "--config", str(config_file(small_corpus, run)), OMP_NUM_THREADS="1")
    return run


def config_file(corpus: Path, run: Path) -> Path:
    file = run.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(SETTINGS | {"corpus": str(corpus), "run": str(run)}))
    return file


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch):
    """Wherever the tests run, nobody asks for spot notices but who says so."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def step_of(path: Path) -> int:
    return load_safely(path)["global_step"]


def doing(monkeypatch, name: str, at: int, act: Callable[[], None]) -> None:
    """In the module's ``name`` (a training or validation step), ``act`` once, when so many steps are done."""
    usual, done = getattr(VitsTraining, name), []

    def acting(module, *given):
        if module.global_step == at and not done:
            done.append(act())
        return usual(module, *given)

    monkeypatch.setattr(VitsTraining, name, acting)


def signals(*numbers: int) -> Callable[[], None]:
    return lambda: [os.kill(os.getpid(), number) for number in numbers]


@pytest.fixture
def metadata():
    """EC2's metadata service (IMDSv2) on loopback: its address, and an event from which on there is a spot notice."""
    taken_away = threading.Event()

    class Service(BaseHTTPRequestHandler):
        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            known = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self.answer(200 if known else 400, b"secret")

        def do_GET(self) -> None:
            if self.headers["X-aws-ec2-metadata-token"] != "secret":
                self.answer(401, b"")
            elif self.path != "/latest/meta-data/spot/instance-action" or not taken_away.is_set():
                self.answer(404, b"")
            else:
                self.answer(200, json.dumps({"action": "terminate", "time": "2026-11-28T20:00:00Z"}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", taken_away
    server.shutdown()


def test_a_run_told_to_end_in_every_way_goes_on_as_if_nothing_had_happened(
    small_corpus, straight, tmp_path, monkeypatch, metadata
):  # fmt: skip
    run = tmp_path / "run"
    last = run / "checkpoints" / "last.ckpt"
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupted(reason: str, *steps: int, error: type = StoppedError, **settings) -> None:
        with pytest.raises(error, match=f"{reason}.*The same command goes on from .*{last.parent}") as told:
            train(TrainConfig(small_corpus, run, **(SETTINGS | settings)))
        monkeypatch.undo()
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        assert step_of(last) in steps and str(told.value).startswith(f"step {step_of(last)}: ")
        assert newest_checkpoint(last.parent) == last
        assert {number: signal.getsignal(number) for number in before} == before

    doing(monkeypatch, "training_step", 0, signals(signal.SIGTERM))
    interrupted("SIGTERM was received", 1)
    doing(monkeypatch, "training_step", 1, signals(signal.SIGINT, signal.SIGINT, signal.SIGTERM))
    interrupted("SIGINT was received", 2)
    saving, save, interrupt = [], checkpoints.torch.save, signals(signal.SIGINT)
    monkeypatch.setattr(checkpoints.torch, "save", lambda *given: (saving.append(interrupt()), save(*given)))
    doing(monkeypatch, "training_step", 2, signals(signal.SIGTERM))
    interrupted("SIGTERM was received", 3)  # the second signal came inside the save
    assert saving
    doing(monkeypatch, "training_step", 3, signals(signal.SIGTERM))
    interrupted("SIGTERM was received", 4)  # before a validation, which is owed
    an_hour_later = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600)
    doing(monkeypatch, "training_step", 4, lambda: monkeypatch.setattr(stopping, "time", an_hour_later))
    interrupted("the 0.9 hours of stop_after_hours are over", 5, stop_after_hours=0.9)
    doing(monkeypatch, "training_step", 5, kill_workers)
    interrupted("a data worker died", 6, 7, 8, error=UserError, workers=1)  # up to two batches were there already
    doing(monkeypatch, "validation_step", 12, signals(signal.SIGINT))
    interrupted("SIGINT was received", 12, workers=1)  # inside a validation, whose batches a process loads
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    address, taken_away = metadata
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
    monkeypatch.setattr(spot, "BETWEEN", 0.01)
    noticed = threading.Event()
    noting = Stop.note
    monkeypatch.setattr(Stop, "note", lambda stop, reason: (noting(stop, reason), noticed.set()))
    doing(monkeypatch, "training_step", 12, lambda: (taken_away.set(), noticed.wait(20)))
    interrupted(r"AWS takes this spot instance away \(terminate at 2026-11-28T20:00:00Z\)", 13)
    train(TrainConfig(small_corpus, run, **SETTINGS))
    assert differences(straight, run) == []
    log = (run / "log.txt").read_text()
    assert log.count("The same command goes on from") == 7 and log.count("done: step 16") == 1


def kill_workers() -> None:
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()


KILLED = """
import os, signal, sys
from tts_lab.corpus import wholefile
from tts_lab.training.module import VitsTraining
from tts_lab.training.__main__ import main

def between_writing_and_renaming(temporary, path):
    if path.name == "last.ckpt" and os.path.exists(path):  # the second time
        os.kill(os.getpid(), signal.SIGKILL)
    rename(temporary, path)

def inside_a_validation(module, *given):
    if module.global_step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return validate(module, *given)

rename, validate = os.replace, VitsTraining.validation_step
if sys.argv[1] == "save":
    wholefile.os.replace = between_writing_and_renaming
else:
    VitsTraining.validation_step = inside_a_validation
sys.exit(main(sys.argv[2:]))
"""


def test_a_kill_inside_a_save_or_a_validation_is_made_up_for(small_corpus, straight_elsewhere, tmp_path):
    run = tmp_path / "run"
    config = config_file(small_corpus, run)
    start = ("-m", "tts_lab.training", "--config", str(config))

    def killed(where: str) -> list[Path]:
        command = [sys.executable, "-c", KILLED, where, "--config", str(config)]
        ended = subprocess.run(command, env=own_environment(OMP_NUM_THREADS="1"), capture_output=True, timeout=300)
        assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
        return [path for path in (run / "checkpoints").iterdir() if path.suffix == ".tmp"]

    (half,) = killed("save")
    whole = newest_checkpoint(run / "checkpoints")
    assert step_of(whole) == 4 and whole.name.startswith("best-step=4"), "written since step 3; the next was 6"
    assert half.stat().st_size > 1e6
    with open(run / "metrics.csv", "a") as file:
        file.write("6,0.5,1")  # as a disk that filled up breaks it off
    assert not killed("validation"), "what the kill before had left was cleared away"
    assert step_of(newest_checkpoint(run / "checkpoints")) == 6
    python(*start, OMP_NUM_THREADS="1")
    assert differences(straight_elsewhere, run) == []


def full(path: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_full_disk_leaves_the_last_whole_checkpoint_and_says_what_is_needed(
    small_corpus, straight, tmp_path, monkeypatch
):  # fmt: skip
    run = tmp_path / "run"
    last, log_metrics, save = run / "checkpoints" / "last.ckpt", MetricsCsv.log_metrics, checkpoints.torch.save

    def filling_up(logger, metrics, step=None):
        if step == 4:
            raise full(logger.path)
        log_metrics(logger, metrics, step)

    monkeypatch.setattr(MetricsCsv, "log_metrics", filling_up)
    with pytest.raises(UserError, match=r"step 5: the disk is full .*metrics.csv.*4 checkpoints of 6.0 MB.*goes on"):
        train(TrainConfig(small_corpus, run, **SETTINGS))
    assert step_of(newest_checkpoint(last.parent)) == 4
    monkeypatch.setattr(MetricsCsv, "log_metrics", log_metrics)

    def no_room(content, file):
        save(content, file)
        if content["global_step"] == 9:
            raise full(last)

    monkeypatch.setattr(checkpoints.torch, "save", no_room)
    with pytest.raises(UserError, match=r"last.ckpt could not be written: .*No space.* about 5.4 MB, and \S+ MB are"):
        train(TrainConfig(small_corpus, run, **SETTINGS))
    assert step_of(newest_checkpoint(last.parent)) == 8 and not list(last.parent.glob(".*"))
    monkeypatch.undo()
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    train(TrainConfig(small_corpus, run, **SETTINGS))
    assert differences(straight, run) == []


def test_a_run_that_the_disk_cannot_hold_is_refused_before_it_begins(small_corpus, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=20e6)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="not enough disk space: .* 4 checkpoints of 6.0 MB.*0.02 GB are free"):
        train(TrainConfig(small_corpus, tmp_path, **SETTINGS))
    assert not (tmp_path / "checkpoints").exists()
    needed = space.Need(checkpoint=6_000_000, checkpoints=4, sampling=1_000_000, samplings=100)
    config = TrainConfig(small_corpus, tmp_path, **SETTINGS)
    usage.free = 30e6
    assert "the disk may become full" in space.check(needed, config)
    usage.free = 200e6
    assert space.check(needed, config) is None
    config.disk_gb = 0.02
    with pytest.raises(UserError, match="and disk_gb is 0.02"):
        space.check(needed, config)
    config.disk_gb = 0.03  # the samples take turns
    assert space.check(needed, config) is None


def test_what_a_checkpoint_takes_is_known_beforehand(small_corpus, straight):
    config = TrainConfig(small_corpus, straight, **SETTINGS)
    corpus = Corpus.load(small_corpus)
    data = CorpusData(corpus, PRESETS["tiny"], config)
    module = VitsTraining(voice_header(config, corpus, None), Place(config, 16), 36)
    written = (straight / "checkpoints" / "last.ckpt").stat().st_size
    assert space.need(module, data, 16).checkpoint == pytest.approx(written, rel=0.05)


def test_the_oldest_samples_make_room(small_corpus, tmp_path):
    for step in (0, 500, 1000, 1500):
        (tmp_path / "samples" / f"step-{step}").mkdir(parents=True)
        (tmp_path / "samples" / f"step-{step}" / "0.wav").write_bytes(bytes(1000))
        (tmp_path / "alignments").mkdir(exist_ok=True)
        (tmp_path / "alignments" / f"step-{step}.png").write_bytes(bytes(100))
    space.make_room(tmp_path, 5000)
    assert len(list((tmp_path / "samples").iterdir())) == 4
    space.make_room(tmp_path, 3300)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["step-0", "step-1000", "step-1500"]
    assert not (tmp_path / "alignments" / "step-500.png").exists()
    space.make_room(tmp_path, 0)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["step-0", "step-1500"]


def test_one_process_that_is_asked_is_enough(monkeypatch):
    stop = Stop(Processes(world=2))
    monkeypatch.setattr(Processes, "mean", lambda processes, value: (value + 0.0) / 2)
    stop.on_train_batch_end()
    assert stop.agreed is None
    monkeypatch.setattr(Processes, "mean", lambda processes, value: (value + 1.0) / 2)
    stop.on_train_batch_end()
    assert stop.agreed == "another process was asked to end"


def test_a_stopped_run_has_a_status_of_its_own(small_corpus, tmp_path, monkeypatch, capsys):
    doing(monkeypatch, "training_step", 0, signals(signal.SIGTERM))
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(SETTINGS | {"corpus": str(small_corpus)}))
    assert main([f"--config={config}", f"--run={tmp_path}"]) == 75
    assert "rank 0: step 1: SIGTERM was received. The same command goes on from" in capsys.readouterr().err


def test_who_is_asked_for_spot_notices(monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setattr(spot, "VENDOR", tmp_path / "sys_vendor")
    assert spot.metadata_address() is None
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    assert spot.metadata_address() == "http://169.254.169.254"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1/")
    assert spot.metadata_address() == "http://127.0.0.1:1"
    ended, warned = threading.Event(), []
    spot.watch("http://127.0.0.1:1", None, lambda said: (warned.append(said), ended.set()), ended)
    assert len(warned) == 1 and "spot notices cannot be read from http://127.0.0.1:1" in warned[0]
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert spot.metadata_address() is None


@pytest.mark.slow
def test_a_notebooks_stop_button_ends_its_training_in_words_and_the_cell_run_again_goes_on(
    small_corpus, straight_elsewhere, tmp_path, monkeypatch
):  # fmt: skip
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    cell = (
        "from tts_lab.training.config import TrainConfig\nfrom tts_lab.training.run import train\n"
        f"train(TrainConfig({str(small_corpus)!r}, {str(tmp_path)!r}, **{SETTINGS | {'workers': 1}}))"
    )
    manager, kernel = start_new_kernel(kernel_name="python3", env=own_environment(OMP_NUM_THREADS="1"))
    rows = tmp_path / "metrics.csv"

    def press_stop() -> None:
        while not rows.exists() or len(rows.read_text().splitlines()) < 2:
            time.sleep(0.02)
        manager.interrupt_kernel()

    try:
        threading.Thread(target=press_stop, daemon=True).start()
        stopped = kernel.execute_interactive(cell, timeout=300)["content"]
        assert (stopped["status"], stopped["ename"]) == ("error", "StoppedError"), stopped
        assert "SIGINT was received. The same command goes on from" in stopped["evalue"]
        assert stopped["traceback"] == [f"StoppedError: {stopped['evalue']}"]  # and nothing above it
        step = step_of(tmp_path / "checkpoints" / "last.ckpt")
        assert stopped["evalue"].startswith(f"step {step}: ") and step < SETTINGS["max_steps"]
        again = kernel.execute_interactive(cell, timeout=300)["content"]
        assert again["status"] == "ok", again
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert differences(straight_elsewhere, tmp_path) == []
