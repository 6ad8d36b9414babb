"""Stages of a run: what each trains, where the next begins, and that stopping anywhere changes nothing."""

from pathlib import Path

import pytest
import torch

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices import open_device
from tts_lab.errors import UserError
from tts_lab.training.config import Stage, TrainConfig
from tts_lab.training.metrics import read_metrics
from tts_lab.training.rehearsal import rehearsal
from tts_lab.training.run import train, voice_header
from tts_lab.training.stages import next_place, stage_steps

pytestmark = pytest.mark.filterwarnings("ignore")
TINY = {
    "preset": "tiny", "batch_size": 2, "validate_every": 2, "sample_every": 1000, "checkpoint_every": 1,
    "log_every": 1, "workers": 0, "keep": 0, "accelerator": "cpu", "schedule": "cosine", "buckets": 1,
}  # fmt: skip
TEXT, SOUND = ["enc_p", "dp"], ["enc_q", "flow"]
STAGES = [
    Stage(share=3, freeze=TEXT, learning_rate=1e-3, adversarial_from=1000),
    Stage(share=2, freeze=SOUND, learning_rate=5e-4, adversarial_from=1),
]


@pytest.fixture(scope="module")
def staged(small_corpus, tmp_path_factory) -> Path:
    """Ten steps: six with the text side frozen, four with what hears and what ties the two together."""
    run = tmp_path_factory.mktemp("staged")
    train(TrainConfig(small_corpus, run, max_steps=10, stages=STAGES, keep_steps=[6, 8], **TINY))
    return run


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def of(parts: list[str], state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if key.split(".")[1] in parts}


def test_steps_are_shared_out_and_none_is_lost(tmp_path, small_corpus):
    for shares in ([1.0], [1, 1, 1], [0.7, 0.3], [3, 2, 1.5]):
        config = TrainConfig(small_corpus, max_steps=1, stages=[Stage(share=share) for share in shares])
        for total in range(1, 200, 7):
            steps = stage_steps(config, total)
            assert sum(steps) == total
            assert all(abs(n - total * share / sum(shares)) <= 1 for n, share in zip(steps, shares, strict=True))


def test_the_first_stage_is_the_run_that_it_would_be_alone(staged, small_corpus, tmp_path):
    train(TrainConfig(small_corpus, tmp_path, max_steps=6, freeze=TEXT, learning_rate=1e-3, adversarial_from=6, **TINY))
    alone, first = weights(tmp_path), weights(staged, "step-6")
    assert alone.keys() == first.keys() and all(torch.equal(alone[key], first[key]) for key in alone)


def test_the_second_stage_moves_what_the_first_left(staged):
    first, second = weights(staged, "step-6"), weights(staged)
    assert all(torch.equal(value, second[key]) for key, value in of(SOUND, first).items())
    assert any(not torch.equal(value, second[key]) for key, value in of(["enc_p"], first).items())
    assert any(not torch.equal(value, second[key]) for key, value in of(["dp"], first).items())
    discriminators = {key: value for key, value in first.items() if key.startswith("model_d.")}
    assert any(not torch.equal(value, second[key]) for key, value in discriminators.items())


def test_rates_begin_anew_and_steps_go_on(staged):
    rows = [row for row in read_metrics(staged / "metrics.csv") if row["learning_rate_g"] != ""]
    assert [row["step"] for row in rows] == list(range(10))
    rates = [row["learning_rate_g"] for row in rows]
    assert rates[0] == pytest.approx(1e-3) and rates[6] == pytest.approx(5e-4) and rates[5] < rates[6] > rates[9]
    assert [row["learning_rate_d"] != "" for row in rows] == [False] * 7 + [True] * 3
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("stop", (4, 6, 8))  # in the first stage, at its end, in the second
def test_stopped_and_resumed_it_is_the_same_run(staged, small_corpus, tmp_path, stop, monkeypatch):
    import lightning as L

    class Kill(L.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == stop:
                trainer.save_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
                raise ConnectionAbortedError

    from tts_lab.training import run

    config = TrainConfig(small_corpus, tmp_path, max_steps=10, stages=STAGES, **TINY)
    with monkeypatch.context() as patched:
        patched.setattr(run, "ending", lambda _: [Kill()])
        with pytest.raises(ConnectionAbortedError):
            train(config)
    torch.manual_seed(999)
    train(config)
    straight, resumed = weights(staged), weights(tmp_path)
    assert all(torch.equal(value, resumed[key]) for key, value in straight.items())


def test_a_stage_without_patience_left_gives_way_to_the_next(small_corpus, tmp_path, capsys):
    stages = [Stage(share=8, learning_rate=1e-12, patience=2), Stage(share=2, adversarial_from=1000)]
    config = TrainConfig(small_corpus, tmp_path, max_steps=30, stages=stages, **TINY)
    train(config)
    # Validations after 2, 4 and 6 steps: one to compare with, and two that are no better. Then 2 tenths of 30.
    said = capsys.readouterr().out
    assert "step 6: val_mel becomes no better" in said and "done: step 12 " in said
    train(config)
    assert "at step 12, where the run asks to end" in capsys.readouterr().out


def test_every_stage_has_graphs_of_its_own(small_corpus, tmp_path):
    config = TrainConfig(small_corpus, tmp_path, max_steps=10, stages=STAGES, **TINY)
    corpus = Corpus.load(small_corpus)
    parts, runs = rehearsal(config, voice_header(config, corpus, None), corpus, open_device("cpu"))
    assert parts.keys() == runs.keys()
    training = {name: count for name, count in runs.items() if "train-" in name}
    assert sum(training.values()) == 10
    assert [count for name, count in training.items() if name.endswith("without-discriminators")] == [6, 1]
    assert {name.split("-")[1] for name in parts} == {"1", "2"}
    first, second = (next(part for name, part in parts.items() if name.startswith(f"stage-{n}-")) for n in (1, 2))
    assert first.module.place.config.freeze == TEXT and second.module.place.config.freeze == SOUND


def test_no_place_is_left_after_the_last_stage(small_corpus):
    config = TrainConfig(small_corpus, max_steps=10, stages=STAGES)
    assert next_place(config, 10, {}).steps == 6
    second = next_place(config, 10, {"global_step": 4, "stage": {"number": 0, "began": 0, "ended": True}})
    assert (second.number, second.began, second.end) == (0, 0, 6)  # no patience was asked for: it cannot have ended
    assert next_place(config, 10, {"global_step": 10, "stage": {"number": 1, "began": 6, "ended": False}}) is None


def test_a_share_of_nothing_is_refused(small_corpus):
    with pytest.raises(UserError, match="least_gain is -1(.|\\n)*share that is not above zero"):
        TrainConfig(small_corpus, max_steps=10, stages=[Stage(share=0)], least_gain=-1)


def test_where_nothing_that_sounds_is_trained_no_discriminator_is_asked(small_corpus, tmp_path):
    frozen = ["enc_q", "flow", "dec"]
    train(TrainConfig(small_corpus, tmp_path, max_steps=2, freeze=frozen, keep_steps=[1], **TINY))
    rows = read_metrics(tmp_path / "metrics.csv")
    assert all(row["loss_d"] == row["adversarial"] == "" for row in rows) and any(row["kl"] != "" for row in rows)
    one, two = weights(tmp_path, "step-1"), weights(tmp_path)
    moved = {key.split(".")[1] for key in one if not torch.equal(one[key], two[key])}
    assert moved == {"enc_p", "dp"}
