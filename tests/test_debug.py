"""The setting `debug`: what each mode shows is held against figures and plants of our own, and none changes a run."""

import gzip
import inspect
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tts_lab.corpus.corpus import Corpus
from tts_lab.errors import UserError
from tts_lab.features import Spectrogram
from tts_lab.training.bad_numbers import BadNumbersError
from tts_lab.training.config import TrainConfig
from tts_lab.training.metrics import read_metrics
from tts_lab.training.module import VitsTraining
from tts_lab.training.profile import LEFT_OUT, MEASURED, WARM
from tts_lab.training.run import train
from tts_lab.training.verbose import read_gradients
from tts_lab.voices.checkpoints import load_safely

pytestmark = pytest.mark.filterwarnings("ignore")
STEPS = LEFT_OUT + WARM + MEASURED
SETTINGS = {
    "preset": "tiny", "batch_size": 2, "limit_utterances": 4, "buckets": 1, "adversarial_from": 1, "log_every": 1,
    "validate_every": 100, "sample_every": 100, "checkpoint_every": 100, "sample_clips": 0, "sentences": [],
    "workers": 0, "keep": 0, "accelerator": "cpu", "keep_steps": [2],
}  # fmt: skip


def config(corpus: Path, run: Path, **settings) -> TrainConfig:
    return TrainConfig(corpus, run, **(SETTINGS | {"max_steps": STEPS} | settings))


@pytest.fixture(scope="module")
def plain(small_corpus, tmp_path_factory) -> Path:
    """A run with no mode on."""
    run = tmp_path_factory.mktemp("plain")
    train(config(small_corpus, run))
    return run


def same_weights(run: Path, other: Path, name: str) -> bool:
    one, two = (load_safely(folder / "checkpoints" / name)["state_dict"] for folder in (run, other))
    return all(torch.equal(one[key], two[key]) for key in one)


def test_verbose_tells_shapes_and_norms_that_add_up_to_the_whole(small_corpus, plain, tmp_path, capsys):
    train(config(small_corpus, tmp_path, debug="verbose"))
    assert same_weights(tmp_path, plain, "last.ckpt")
    said, rows = capsys.readouterr().out, read_gradients(tmp_path)
    assert re.search(r"dec +\(2, 1, 8192\) float32 from -0\.\d+ to 0\.\d+", said) and said.count("what each part") == 1
    assert "step 3: gradient norms  enc_p " in (tmp_path / "log.txt").read_text()
    metrics = [row for row in read_metrics(tmp_path / "metrics.csv") if row["mel"] != ""]
    assert [row["step"] for row in rows] == list(range(STEPS))
    for row, known in zip(rows, metrics, strict=True):
        parts = [norm for name, norm in row.items() if name not in ("step", "model_d")]
        assert math.sqrt(sum(norm**2 for norm in parts)) == pytest.approx(known["grad_norm_g"], rel=1e-4)
    assert rows[0]["model_d"] == "" and rows[1]["model_d"] == pytest.approx(metrics[1]["grad_norm_d"], rel=1e-4)


def test_a_verbose_run_that_goes_on_keeps_its_rows_and_the_frozen_have_none(small_corpus, tmp_path):
    for steps in (2, 3):
        train(config(small_corpus, tmp_path, debug="verbose", max_steps=steps, freeze=["enc_p"], adversarial_from=9))
    rows = read_gradients(tmp_path)
    assert [row["step"] for row in rows] == [0, 1, 2] and {row["enc_p"] for row in rows} == {""}


def test_the_profile_names_a_planted_slow_operation_and_adds_up_to_the_clock(
    small_corpus, plain, tmp_path, monkeypatch, capsys
):
    heavy, update, took = torch.arange(4_000_000).flip(0) % 1_000_003, VitsTraining.update, []

    def slow(self, *given):
        began = time.perf_counter()
        torch.sort(heavy)
        made = update(self, *given)
        took.append(time.perf_counter() - began)
        return made

    monkeypatch.setattr(VitsTraining, "update", slow)
    train(config(small_corpus, tmp_path, debug="profile"))
    assert same_weights(tmp_path, plain, "last.ckpt")
    found = json.loads((tmp_path / "profile" / "profile.json").read_text())
    assert found["ops"][0]["op"] == "aten::sort" and found["ops"][0]["calls"] == 1
    told = capsys.readouterr().out
    assert re.search(rf"profile of {MEASURED} steps, .* s each\n +\d+\.\d% +[\d.]+ ms  aten::sort\n", told)
    computed = sum(op["seconds"] for op in found["ops"])
    assert computed + found["rest"] == pytest.approx(found["seconds"]) and found["rest"] > 0
    measured = np.mean(took[LEFT_OUT + WARM :])
    assert measured <= found["seconds"] <= 1.5 * measured and 0.5 * measured <= computed <= measured
    assert 0 < found["parts"]["dec"] < found["parts"]["the way back"] < found["seconds"]
    with gzip.open(tmp_path / "profile" / "trace.json.gz") as file:
        names = {event.get("name") for event in json.load(file)["traceEvents"]}
    assert {"aten::sort", "part: dec"} <= names


@pytest.mark.parametrize("steps", [LEFT_OUT, LEFT_OUT + WARM + 1])
def test_a_run_too_short_for_a_profile_says_so(steps, small_corpus, tmp_path, capsys):
    train(config(small_corpus, tmp_path, debug="profile", max_steps=steps))
    assert f"the run ended before its step {STEPS}, and nothing was measured" in capsys.readouterr().out


def test_anomaly_says_nothing_of_a_run_that_is_well(small_corpus, plain, tmp_path, capsys):
    train(config(small_corpus, tmp_path, debug="anomaly", max_steps=2))
    assert same_weights(tmp_path, plain, "step-2.ckpt")
    assert "first bad number" not in capsys.readouterr().out
    assert not torch.is_anomaly_enabled()


def no_floor(self, magnitude):
    energy = self.mel_filters @ magnitude
    return torch.log(energy * 0)  # planted forward


def no_slope(self, magnitude):
    energy = self.mel_filters @ magnitude
    return torch.sqrt(energy - energy.detach())  # planted backward: finite, and its gradient is not


@pytest.mark.parametrize(("mel", "planted"), [(no_floor, "torch.log"), (no_slope, "torch.sqrt")])
def test_anomaly_names_the_line_that_made_a_nan(mel, planted, small_corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Spectrogram, "mel", mel)
    with pytest.raises(BadNumbersError, match="step 0: "):
        train(config(small_corpus, tmp_path, debug="anomaly"))
    lines, first = inspect.getsourcelines(mel)
    number = first + next(n for n, line in enumerate(lines) if "# planted" in line)
    said = capsys.readouterr().out
    assert f"({__file__}, line {number}, in {mel.__name__})" in said and planted in said
    assert ("the gradient of" in said) == (mel is no_slope)
    assert said.strip().splitlines()[-1] in (tmp_path / "log.txt").read_text()
    assert not torch.is_anomaly_enabled()


def test_anomaly_leaves_bad_audio_to_who_names_the_recording(small_corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Corpus, "waveform", lambda self, u: np.full(u.samples, np.nan, np.float32))
    with pytest.raises(BadNumbersError, match="The prepared audio of"):
        train(config(small_corpus, tmp_path, debug="anomaly"))
    assert "first bad number" not in capsys.readouterr().out


def test_a_lazy_device_is_not_looked_into(small_corpus, tmp_path):
    with pytest.raises(UserError, match="debug is anomaly: .* take accelerator cpu"):
        config(small_corpus, tmp_path, debug="anomaly", accelerator="xla")
