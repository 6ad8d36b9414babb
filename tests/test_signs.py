"""Signs that a run goes wrong: each told once, when it begins, and none told of a run that is well."""

import math
import re

import numpy as np
import pytest

from tts_lab.training.signs import BLIND, LONG, Signs, decibels

HEALTHY = {"align_skipped": 0.1, "free_skipped": 0.05}


def told(rows: list[dict[str, float]]) -> list[tuple[int, str]]:
    signs = Signs()
    return [(number, said) for number, row in enumerate(rows) for said in signs.losses(row)]


def noisy(seed: int, count: int) -> list[dict[str, float]]:
    """Losses as of a run: they fall, and scatter by a tenth."""
    draw = np.random.default_rng(seed)
    falls = 1 + 3 * np.exp(-np.arange(count) / 60)
    levels = {"mel": 0.5, "kl": 2.0, "feature": 8.0}
    return [
        {name: float(level * fall * draw.normal(1, 0.1)) for name, level in levels.items()}
        | {"loss_d": float(draw.normal(BLIND, 0.3)), "adversarial": float(draw.normal(3, 0.4))}
        for fall in falls
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_said_of_a_run_that_is_well(seed):
    assert told(noisy(seed, 400)) == []


def test_a_spike_is_told_when_it_begins_and_again_when_it_comes_again():
    rows = noisy(0, 200)
    for number in (100, 101, 150):
        rows[number]["kl"] *= 10
    found = told(rows)
    assert [number for number, _ in found] == [100, 150]
    assert all(said.startswith("kl jumped to") for _, said in found)
    usual = float(re.search(r"from ([\d.]+) give", found[0][1])[1])
    assert usual == pytest.approx(np.median([row["kl"] for row in rows[50:100]]), rel=1e-3)


def test_a_level_that_stays_high_is_one_spike():
    rows = noisy(1, 300)
    for row in rows[120:]:
        row["mel"] *= 30
    assert [number for number, _ in told(rows)] == [120]


def test_discriminators_that_join_are_no_spike():
    rows = noisy(4, 120)
    for row in rows[:60]:
        del row["adversarial"], row["loss_d"]
    for row in rows:
        row["grad_norm_g"] = row["mel"] * (100 if "loss_d" in row else 1)
    assert told(rows) == []


def test_numbers_that_are_none_are_left_to_others():
    rows = noisy(2, 60)
    rows[40]["mel"] = math.nan
    assert told(rows) == []


@pytest.mark.parametrize(
    ("name", "dead", "said"),
    [
        ("loss_d", 0.1, "the discriminators' loss is below 0.3"),
        ("adversarial", 5.9, "the adversarial term is above 5.7"),
    ],
)
def test_dead_discriminators_are_told_once_they_are_dead_for_long(name, dead, said):
    rows = noisy(3, 100)
    for number in range(30, 80):
        rows[number][name] = dead
    rows[35][name] = BLIND  # alive for a moment
    ((number, text),) = [(n, t) for n, t in told(rows) if "jumped" not in t]
    assert number == 35 + LONG and text.startswith(said)


def test_without_discriminators_they_are_not_missed():
    assert told([{"mel": 0.5, "kl": 1.0} for _ in range(60)]) == []


def test_an_alignment_that_was_and_is_no_more_has_collapsed():
    signs = Signs()
    assert signs.alignment(HEALTHY) == []
    (said,) = signs.alignment({"align_skipped": 0.8, "free_skipped": 0.9})
    assert "has collapsed: 80%" in said
    assert signs.alignment({"align_skipped": 0.9, "free_skipped": 0.9}) == [], "said before"
    assert signs.alignment(HEALTHY) == []
    assert signs.alignment({"align_skipped": 0.8, "free_skipped": 0.9}), "it began again"


def test_an_alignment_that_never_was_is_waited_for():
    signs = Signs()
    said = [signs.alignment({"align_skipped": 0.8, "free_skipped": 0.1}) for _ in range(7)]
    assert [len(one) for one in said] == [0, 0, 0, 0, 1, 0, 0] and "has not formed in 5 samplings" in said[4][0]


def test_durations_that_fail_alone_are_told_apart():
    (said,) = Signs().alignment({"align_skipped": 0.1, "free_skipped": 0.7})
    assert "duration predictor" in said


def test_silence_is_told_beside_the_recordings():
    signs = Signs()
    whisper, silent = {"0": -40.0, "1": -42.0, "2": -90.0}, {"0": -40.0, "1": -80.0, "2": -90.0}
    assert signs.loudness(whisper, -20.0) == []
    (said,) = signs.loudness(silent, -20.0)
    assert "2 of 3 samples are silent (-90 dB" in said and signs.loudness(silent, -20.0) == []
    assert signs.loudness(silent, -60.0) == [] and len(signs.loudness(silent, -20.0)) == 1


def test_a_validation_that_is_no_number_is_told():
    signs = Signs()
    assert signs.validation({"val_mel": 0.5, "val_kl": 1.0}) == []
    assert "val_kl is no number" in signs.validation({"val_mel": 0.5, "val_kl": math.inf})[0]


def test_loudness_is_that_of_a_sine():
    wave = np.sin(np.arange(16000) * 0.2).astype(np.float32)
    assert decibels(wave) == pytest.approx(-3.01, abs=0.02) and decibels(wave * 0.1) == pytest.approx(-23.01, abs=0.02)
    assert decibels(np.zeros(10, np.float32)) == decibels(np.zeros(0, np.float32)) == -120


def test_a_run_says_what_it_sees(small_corpus, tmp_path, monkeypatch, capsys):
    """A decoder that makes nothing is told once; and each row that is looked at is one that was logged."""
    import torch

    from tts_lab.training.config import TrainConfig
    from tts_lab.training.metrics import read_metrics
    from tts_lab.training.module import VitsTraining
    from tts_lab.training.run import train

    made, losses, rows = VitsTraining.__init__, Signs.losses, []

    def mute(self, *given):
        made(self, *given)
        torch.nn.init.zeros_(self.model_g.dec.conv_post.weight)

    monkeypatch.setattr(VitsTraining, "__init__", mute)
    monkeypatch.setattr(Signs, "losses", lambda self, row: rows.append(dict(row)) or losses(self, row))
    train(
        TrainConfig(
            small_corpus, tmp_path, preset="tiny", batch_size=2, limit_utterances=4, buckets=1, max_steps=4,
            log_every=2, sample_every=1, sample_clips=1, sentences=["A short one."], validate_every=100,
            checkpoint_every=100, workers=0, keep=0, accelerator="cpu", freeze=["dec"], adversarial_from=100,
        )
    )  # fmt: skip
    said = "warning: step 1: 2 of 2 samples are silent (-120 dB"
    assert capsys.readouterr().out.count("silent") == 1 and said in (tmp_path / "log.txt").read_text()
    logged = [row for row in read_metrics(tmp_path / "metrics.csv") if row["mel"] != ""]
    assert [row["step"] for row in logged] == [1, 3] and len(rows) == 2
    for seen, row in zip(rows, logged, strict=True):
        assert seen.keys() == {"mel", "kl", "duration", "loss_g", "grad_norm_g"}
        assert all(value == pytest.approx(row[name], rel=1e-5) for name, value in seen.items())
