"""Whole runs of the tiny preset on real speech: the run folder, resuming, debugging modes, bad input."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tts_lab.cli import main
from tts_lab.corpus.corpus import Corpus
from tts_lab.errors import UserError
from tts_lab.notebook import plots
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.metrics import MetricsCsv, read_metrics
from tts_lab.training.run import train
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.voices.checkpoints import read_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")
TINY = {
    "preset": "tiny", "batch_size": 4, "validate_every": 10, "sample_every": 10, "checkpoint_every": 5,
    "log_every": 1, "workers": 0, "keep": 1, "accelerator": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def straight(small_corpus, tmp_path_factory) -> Path:
    """Twenty steps without a stop."""
    run = tmp_path_factory.mktemp("straight")
    train(TrainConfig(small_corpus, run, max_steps=20, **TINY))
    return run


@pytest.fixture(scope="module")
def interrupted(small_corpus, tmp_path_factory) -> Path:
    """Ten steps, and ten more in another Trainer, with a loader process of its own."""
    run = tmp_path_factory.mktemp("interrupted")
    train(TrainConfig(small_corpus, run, max_steps=10, **TINY))
    torch.manual_seed(999)  # whatever happened in between must not matter
    train(TrainConfig(small_corpus, run, max_steps=20, **(TINY | {"workers": 1})))
    return run


def last(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def test_ten_and_ten_equal_twenty_bit_for_bit(straight, interrupted):
    a, b = last(straight), last(interrupted)
    assert a["global_step"] == b["global_step"] == 20
    for key, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][key]), key
    for one, other in zip(a["optimizer_states"], b["optimizer_states"], strict=True):
        for number, state in one["state"].items():
            assert all(torch.equal(value, other["state"][number][name]) for name, value in state.items())
    assert a["lr_schedulers"] == b["lr_schedulers"]


def test_resuming_says_where_and_what_has_changed(interrupted):
    log = (interrupted / "log.txt").read_text()
    assert re.search(
        r"resuming from \S+\.ckpt at step 10\n  max_steps was 10, is 20 from here on\n  workers was 0, is 1", log
    )


def test_metrics_go_on_in_one_file(straight, interrupted):
    timed = dict.fromkeys(("seconds", "steps_per_second", "audio_per_second", "data_wait"), "")
    a, b = ([row | timed for row in read_metrics(run / "metrics.csv")] for run in (straight, interrupted))
    assert a == b
    assert [row["step"] for row in a if row["mel"] != ""] == list(range(20))
    assert [row["step"] for row in a if row["val_mel"] != ""] == [9, 19]


def test_the_learning_rate_really_decays(straight):
    rates = [row["learning_rate_g"] for row in read_metrics(straight / "metrics.csv") if row["learning_rate_g"] != ""]
    assert rates[0] == pytest.approx(2e-4) and all(b < a for a, b in zip(rates, rates[1:], strict=False))


def test_the_run_folder_tells_the_whole_story(straight, small_corpus):
    config = yaml.safe_load((straight / "config.yaml").read_text())
    assert config["corpus"] == str(small_corpus) and config["max_steps"] == 20 and config["preset"] == "tiny"
    assert (
        json.loads((straight / "environment.json").read_text())["packages"]["torch"] == torch.__version__.split("+")[0]
    )
    assert (straight / "corpus.json").read_bytes() == (small_corpus / "corpus.json").read_bytes()
    assert (
        "batch shapes" in (straight / "log.txt").read_text() and "done: step 20" in (straight / "log.txt").read_text()
    )
    assert sorted(p.name for p in (straight / "samples").glob("step-*")) == ["step-0", "step-10", "step-20"]
    assert len(list((straight / "samples" / "step-20").glob("[0-9].wav"))) == 3  # the rest: test_ears.py
    assert sorted(p.name for p in (straight / "alignments").iterdir()) == ["step-0.png", "step-10.png", "step-20.png"]
    assert list((straight / "tensorboard").glob("events*"))
    names = sorted(p.name for p in (straight / "checkpoints").iterdir())
    assert names[-1] == "last.ckpt" and len(names) == 2 and names[0].startswith("best-step=")


def test_a_finished_run_has_nothing_left_to_do(straight, small_corpus, capsys):
    before = last(straight)["global_step"]
    train(TrainConfig(small_corpus, straight, max_steps=20, **TINY))
    assert "nothing left to do" in capsys.readouterr().out and last(straight)["global_step"] == before
    with pytest.raises(UserError, match="resume is never"):
        train(TrainConfig(small_corpus, straight, max_steps=30, **TINY, resume="never"))


def test_its_checkpoint_starts_another_run(straight, small_corpus, tmp_path, capsys):
    checkpoint = read_checkpoint(straight / "checkpoints" / "last.ckpt")
    assert checkpoint.model == PRESETS["tiny"] and checkpoint.provenance["corpus"]["fingerprint"]
    settings = TINY | {"preset": None}
    train(
        TrainConfig(small_corpus, tmp_path, max_steps=1, start_from=straight / "checkpoints" / "last.ckpt", **settings)
    )
    assert "100.0% of the generator" in capsys.readouterr().out


@pytest.mark.slow
def test_one_batch_can_be_overfitted(small_corpus, tmp_path):
    settings = TINY | {"validate_every": 1000, "sample_every": 1000, "checkpoint_every": 1000}
    train(TrainConfig(small_corpus, tmp_path, max_steps=80, overfit_batches=1, learning_rate=2e-3, **settings))
    mel = [row["mel"] for row in read_metrics(tmp_path / "metrics.csv") if row["mel"] != ""]
    assert np.mean(mel[-5:]) < 0.6 * mel[0], "a model that cannot learn one batch by heart is broken"


def test_limit_epochs_and_accumulation(small_corpus):
    corpus = Corpus.load(small_corpus)
    config = TrainConfig(small_corpus, max_epochs=3, limit_utterances=9, accumulate=2, **(TINY | {"buckets": 1}))
    data = CorpusData(corpus, PRESETS["tiny"], config)
    assert sum(len(row) for bucket in data.train_plan for row in bucket.rows) == 9
    assert (
        data.steps_per_epoch == -(-data.schedule.batches_per_epoch // 2)
        and data.total_steps == 3 * data.steps_per_epoch
    )
    batches = next(iter(data.train_dataloader()))
    assert len(batches) == 2 and all(len(batch.frames) == 4 for batch in batches)


def test_batches_hold_what_they_say(small_corpus):
    corpus = Corpus.load(small_corpus)
    data = CorpusData(corpus, PRESETS["tiny"], TrainConfig(small_corpus, max_steps=4, **TINY))
    hop = PRESETS["tiny"].spectrogram.hop_length
    shapes = {(bucket.phonemes, bucket.frames) for bucket in data.train_plan}
    for (batch,), number in zip(data.train_dataloader(), range(4), strict=True):
        assert (batch.phonemes.shape[1], batch.spectrogram.shape[2]) in shapes
        plan = data.schedule.batch(number)
        for n, row in enumerate(plan.rows):
            utterances = [data.utterances[i] for i in row]
            assert batch.phoneme_lengths[n] == sum(len(u.phoneme_ids) for u in utterances)
            assert batch.frames[n] == sum(u.samples // hop for u in utterances)
            audio = np.concatenate([corpus.waveform(u)[: u.samples // hop * hop] for u in utterances])
            start = int(batch.starts[n])
            assert 0 <= start <= batch.frames[n] - 32
            np.testing.assert_array_equal(batch.segment[n, 0], audio[start * hop : (start + 32) * hop])
            assert torch.equal(batch.segment_spectrogram[n], batch.spectrogram[n, :, start : start + 32])
            assert (
                not batch.spectrogram[n, :, batch.frames[n] :].any()
                and not batch.phonemes[n, batch.phoneme_lengths[n] :].any()
            )


def test_weights_of_the_corpus_reach_the_batches(small_corpus):
    """Over many epochs a clip that weighs 0.25 is drawn a quarter as often; a loader that starts late agrees."""
    corpus = Corpus.load(small_corpus)
    for number, utterance in enumerate(corpus.utterances):
        utterance.weight = 0.25 if number % 2 else 1.0
    config = TrainConfig(small_corpus, max_epochs=40, **(TINY | {"batch_size": 1, "buckets": 2}))
    data = CorpusData(corpus, PRESETS["tiny"], config)
    drawn = dict.fromkeys(range(len(data.utterances)), 0)
    for number in range(data.total_steps):
        for row in data.schedule.batch(number).rows:
            assert len({data.utterances[i].weight for i in row}) == 1
            for i in row:
                drawn[i] += 1
    trained = {i for bucket in data.train_plan for row in bucket.rows for i in row}
    heavy, light = ([drawn[i] for i in trained if data.utterances[i].weight == w] for w in (1.0, 0.25))
    assert set(heavy) == {40} and np.mean(light) == pytest.approx(10, rel=0.12) and min(light) > 0
    late = CorpusData(corpus, PRESETS["tiny"], config)
    late.first_step = 30
    straight = [batch for step, (batch,) in zip(range(33), data.train_dataloader(), strict=False) if step >= 30]
    resumed = [batch for _, (batch,) in zip(range(3), late.train_dataloader(), strict=False)]
    for one, other in zip(straight, resumed, strict=True):
        assert torch.equal(one.phonemes, other.phonemes) and torch.equal(one.segment, other.segment)


def test_several_speakers_train(small_corpus, tmp_path):
    corpus = Corpus.load(small_corpus)
    for number, utterance in enumerate(corpus.utterances):
        utterance.speaker = "ada" if number % 2 else "bob"
    corpus = replace(corpus, folder=tmp_path / "two", speakers={"ada": 0, "bob": 1})
    corpus.folder.mkdir()
    (corpus.folder / "audio").symlink_to(small_corpus / "audio")
    corpus.save()
    train(TrainConfig(corpus.folder, tmp_path / "run", max_steps=2, **TINY))
    checkpoint = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert checkpoint.speakers == {"ada": 0, "bob": 1} and checkpoint.model.speakers == 2
    embedding = checkpoint.state_dict["model_g.emb_g.weight"]
    assert embedding.shape == (2, checkpoint.model.speaker_channels)
    data = CorpusData(corpus, checkpoint.model, TrainConfig(corpus.folder, max_steps=1, **TINY))
    for bucket in data.train_plan:
        assert all(len({data.utterances[i].speaker for i in row}) == 1 for row in bucket.rows)


def test_all_that_is_wrong_with_a_config_is_said_at_once(tmp_path):
    with pytest.raises(UserError) as caught:
        TrainConfig(tmp_path, clip=-1, batch_size=0, lr_decay=1.5, resume="yesterday", start_from=Path("no.ckpt"),
                    keep_by="val_mell", loggers=["mlflow"])  # fmt: skip
    said = str(caught.value)
    for part in (
        "keep_by is 'val_mell': a validation measures val_mel, val_kl, val_duration",
        "'mlflow' is unknown",
        "clip is -1",
        "batch_size is 0",
        "lr_decay",
        "yesterday",
        "no.ckpt",
        "max_steps",
        "tts-lab prepare",
    ):
        assert part in said


def test_a_corpus_that_cannot_be_trained_on_is_refused(small_corpus, tmp_path):
    corpus = Corpus.load(small_corpus)
    config = TrainConfig(small_corpus, max_steps=1, **TINY)
    with pytest.raises(UserError, match="16000 Hz, the model speaks at 22050 Hz.*--sample-rate 22050"):
        CorpusData(corpus, PRESETS["medium"], config)
    with pytest.raises(UserError, match="phoneme id .* the model has 10 symbols"):
        CorpusData(corpus, ModelConfig.from_dict(PRESETS["tiny"].to_dict() | {"symbols": 10}), config)
    with pytest.raises(UserError, match="names no speaker, the model has 2"):
        CorpusData(corpus, ModelConfig.from_dict(PRESETS["tiny"].to_dict() | {"speakers": 2}), config)
    short = replace(corpus, utterances=[replace(u, samples=4000) for u in corpus.utterances])
    with pytest.raises(UserError, match="too small.*\n.*shorter than a segment"):
        CorpusData(short, PRESETS["tiny"], config)
    crowded = replace(
        corpus, utterances=[replace(u, phoneme_ids=[5] * 2000) for u in corpus.utterances[:1]] + corpus.utterances[1:]
    )
    assert "text and audio do not match" in CorpusData(crowded, PRESETS["tiny"], config).describe()


@pytest.mark.parametrize("dump, suffix", [(yaml.safe_dump, "yaml"), (json.dumps, "json")])
def test_train_reads_yaml_and_json_and_flags_win(small_corpus, tmp_path, dump, suffix, capsys):
    file = tmp_path / f"recipe.{suffix}"
    settings = TINY | {"corpus": str(small_corpus), "run": str(tmp_path / "run"), "max_steps": 50}
    file.write_text(dump(settings))
    assert main(["train", "--config", str(file), "--max-steps", "1"]) == 0
    assert last(tmp_path / "run")["global_step"] == 1
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["max_steps"] == 1


def test_a_wrong_flag_ends_in_words_and_not_in_a_traceback(tmp_path, capsys):
    assert main(["train", "--corpus", str(tmp_path), "--max-steps", "1"]) == 1
    said = capsys.readouterr().err
    assert "no corpus.json" in said and "Traceback" not in said
    with pytest.raises(SystemExit) as caught:
        main(["train", "--corpus", str(tmp_path), "--max-stepss", "1"])
    assert caught.value.code == 2 and "--max_stepss" in capsys.readouterr().err


def test_metrics_of_an_older_version_get_the_columns_they_lack(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,mel,val_mel,gone\n0,1.5,,7\n9,1.25,0.5,7\n10,1,,7\n")
    MetricsCsv(tmp_path, steps_per_epoch=10, resume_step=10).log_metrics({"mel": 1.0, "data_wait": 0.25}, 10)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [(row["step"], row["mel"], row["val_mel"], row["data_wait"]) for row in rows] == [
        (0, 1.5, "", ""), (9, 1.25, 0.5, ""), (10, 1.0, "", 0.25),
    ]  # fmt: skip
    frame = plots.read_metrics(tmp_path / "metrics.csv")
    assert frame["data_wait"].isna().tolist() == [True, True, False] and frame["mel"].tolist() == [1.5, 1.25, 1.0]


def test_metrics_drop_only_the_steps_that_will_be_done_again(tmp_path):
    first = MetricsCsv(tmp_path, steps_per_epoch=10, resume_step=0)
    for step in range(5):
        first.log_metrics({"mel": 1.0 + step}, step)
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("5,0.5,1")  # the machine went away in the middle of a line
    MetricsCsv(tmp_path, steps_per_epoch=10, resume_step=3).log_metrics({"mel": 99.0}, 3)
    rows = list(csv.DictReader(open(tmp_path / "metrics.csv")))
    assert [(row["step"], row["mel"]) for row in rows] == [("0", "1.0"), ("1", "2.0"), ("2", "3.0"), ("3", "99")]
