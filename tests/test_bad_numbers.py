"""Losses and gradients that are no numbers: the step is not taken, told, written down, and seen again elsewhere."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import python

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices.flat_adamw import FlatAdamW
from tts_lab.errors import UserError
from tts_lab.training import bad_numbers, run
from tts_lab.training.bad_numbers import BadNumbers, BadNumbersError, first_bad
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.metrics import read_metrics
from tts_lab.training.module import VitsTraining
from tts_lab.training.reproduce import reproduce
from tts_lab.training.run import train
from tts_lab.training.stages import Place
from tts_lab.vits.config import PRESETS
from tts_lab.voices.checkpoints import Checkpoint, load_safely

pytestmark = pytest.mark.filterwarnings("ignore")
SETTINGS = {
    "preset": "tiny", "batch_size": 2, "validate_every": 100, "sample_every": 100, "checkpoint_every": 100,
    "log_every": 4, "workers": 0, "keep": 0, "accelerator": "cpu", "sample_clips": 0, "sentences": [], "buckets": 1,
}  # fmt: skip


@pytest.fixture
def corpus(small_corpus, tmp_path) -> Path:
    """Eight clips of training, two of validation, to be spoilt."""
    whole, folder = Corpus.load(small_corpus), tmp_path / "corpus"
    clips = sorted(whole.train, key=lambda u: u.samples)
    whole.utterances = clips[len(clips) // 2 :][:8] + whole.validation[:2]
    (folder / "audio").mkdir(parents=True)
    for utterance in whole.utterances:
        shutil.copyfile(small_corpus / utterance.audio, folder / utterance.audio)
    whole.folder = folder
    whole.save()
    return folder


def step_of(corpus: Path, config: TrainConfig, later_than: int) -> tuple[int, str]:
    """A step, and a clip that it is the first to see."""
    data = CorpusData(Corpus.load(corpus), PRESETS["tiny"], config)
    steps = data.train_dataloader().dataset
    seen = set()
    for step in range(config.max_steps):
        fresh = [i for batch in steps.ids(step) for row in batch for i in row if i not in seen]
        if fresh and step > later_than:
            return step, fresh[0]
        seen.update(fresh)
    raise AssertionError("no such step")


def spoil(corpus: Path, clip: str) -> Path:
    """Make the clip's prepared audio NaN; returns what it was."""
    path = corpus / next(u.audio for u in Corpus.load(corpus).train if u.id == clip)
    kept = path.with_suffix(".kept")
    shutil.copyfile(path, kept)
    np.save(path, np.full_like(np.load(path), np.nan))
    return kept


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_safely(path)["state_dict"]


def equal(a, b) -> bool:
    """Bit for bit, all the way down."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.mark.parametrize("every_step", [True, False])
def test_a_spoilt_clip_stops_the_run_with_the_checkpoint_of_the_step_before(corpus, tmp_path, every_step, monkeypatch):
    """And the run goes on from there, when the clip is mended, as if nothing had been; looked at each step or not."""
    made = BadNumbers.__init__
    monkeypatch.setattr(BadNumbers, "__init__", lambda self, *given, **_: made(self, *given, every_step))
    config = TrainConfig(corpus, tmp_path / "run", max_steps=8, **SETTINGS)
    straight = TrainConfig(corpus, tmp_path / "straight", max_steps=8, keep_steps=[2], **SETTINGS)
    step, clip = step_of(corpus, config, 1)
    assert step == 2
    train(straight)
    kept = spoil(corpus, clip)
    with pytest.raises(
        BadNumbersError, match=rf"step {step}: \w+ is nan.*{clip}.*The prepared audio of {clip}"
    ) as told:
        train(config)
    file, last = tmp_path / "run" / f"bad-{step:06}.pt", tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert f"tts-lab reproduce {file}" in str(told.value) and str(last) in str(told.value)
    stopped, before = load_safely(last), load_safely(tmp_path / "straight" / "checkpoints" / f"step-{step}.ckpt")
    assert stopped["global_step"] == step
    assert equal(stopped["state_dict"], before["state_dict"])
    for name in ("optimizer_states", "lr_schedulers", "loops"):
        assert equal(stopped[name], before[name]), name
    # Another process sees the same.
    shown = "\n".join(reproduce(file).lines()) if every_step else python("-m", "tts_lab.cli", "reproduce", str(file))
    term = first_bad(load_safely(file)["terms"])
    assert f"step {step}: the first bad term is {term} here, {term} in the run on cpu" in shown
    assert f"audio: {clip}" in shown
    # Mended, it goes on.
    shutil.move(kept, corpus / "audio" / kept.with_suffix(".npy").name)
    train(config)
    assert equal(weights(last), weights(tmp_path / "straight" / "checkpoints" / "last.ckpt"))
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.csv")] == [3, 7]


def test_skipping_leaves_all_as_it_was_and_goes_on(corpus, tmp_path, capsys):
    config = TrainConfig(
        corpus, tmp_path / "run", max_steps=4, keep_steps=[2, 3], bad_numbers="skip",
        **(SETTINGS | {"log_every": 1}),
    )  # fmt: skip
    step, clip = step_of(corpus, config, 1)
    assert step == 2
    spoil(corpus, clip)
    train(config)
    said = capsys.readouterr().out
    assert re.search(rf"step {step}: \w+ is nan.*{clip}.*bad_numbers is skip: it was left out", said)
    before, after = (load_safely(tmp_path / "run" / "checkpoints" / f"step-{n}.ckpt") for n in (2, 3))
    assert before["global_step"] == 2 and after["global_step"] == 3
    assert equal(before["state_dict"], after["state_dict"])
    for one, other in zip(before["optimizer_states"], after["optimizer_states"], strict=True):
        assert one["state"] and equal(one["state"], other["state"])
    logged = [row["mel"] for row in read_metrics(tmp_path / "run" / "metrics.csv")]
    assert [value == "" for value in logged] == [False, False, True, False], (
        "a cell that would spoil a mean stays empty"
    )
    end = weights(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert not equal(end, after["state_dict"]) and all(torch.isfinite(value).all() for value in end.values())
    assert equal(weights(tmp_path / "run" / f"bad-{step:06}.pt"), before["state_dict"])


def test_weights_that_are_no_numbers_are_named(corpus, tmp_path, monkeypatch):
    spoilt = VitsTraining.__init__

    def spoil_weights(self, *given):
        spoilt(self, *given)
        self.model_g.dec.conv_pre.weight.data[0, 0, 0] = math.inf

    monkeypatch.setattr(VitsTraining, "__init__", spoil_weights)
    with pytest.raises(BadNumbersError, match="step 0: mel is nan") as told:
        train(TrainConfig(corpus, tmp_path / "run", max_steps=4, **SETTINGS))
    assert "Nothing had been trained yet" in str(told.value)
    assert not list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    monkeypatch.undo()
    found = reproduce(tmp_path / "run" / "bad-000000.pt")
    assert found.same and found.weights == ["model_g.dec.conv_pre.weight"] and not found.utterances
    numbers = {name: value for name, value in found.recorded.items() if math.isfinite(value)}
    assert "kl" in numbers and all(found.terms[name] == value for name, value in numbers.items())  # bit for bit


def test_a_gradient_alone_is_enough(corpus, tmp_path):
    """Finite losses, and one gradient that is not: seen by its norm, found by the parameter's name."""
    module, batches, optimizers = small_step(corpus)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.model_g.enc_q.pre.weight.register_hook(lambda gradient: gradient * math.inf)
    measured = {name: float(value) for name, value in module.update(batches, *optimizers).items()}
    assert measured["halted"] == 1 and first_bad(measured) == "grad_norm_g"
    assert equal(module.state_dict(), before)


def test_a_bad_loss_with_fine_gradients_is_not_taken_either(corpus):
    module, batches, optimizers = small_step(corpus)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    usual = module.reconstruction
    module.reconstruction = lambda *given: {n: t + (math.inf if n == "mel" else 0) for n, t in usual(*given).items()}
    measured = module.update(batches, *optimizers)
    assert float(measured["halted"]) == 1 and math.isinf(float(measured["mel"])) and equal(module.state_dict(), before)
    module.reconstruction = usual
    held = module.update(batches, *optimizers, True, measured["halted"])  # nobody has looked yet
    assert float(held["halted"]) == 1 and math.isfinite(float(held["mel"])) and equal(module.state_dict(), before)
    module.update(batches, *optimizers, True, torch.zeros(1))
    assert not equal(module.state_dict(), before)


def test_a_term_that_is_bad_in_an_earlier_batch_is_not_lost(corpus):
    module, batches, optimizers = small_step(corpus)
    usual, calls = module.reconstruction, []

    def first_is_bad(*given):
        calls.append(0)
        return {n: t + (math.nan if n == "kl" and len(calls) == 1 else 0) for n, t in usual(*given).items()}

    module.reconstruction = first_is_bad
    measured = {name: float(value) for name, value in module.update(batches * 2, *optimizers).items()}
    assert len(calls) == 2 and first_bad(measured) == "kl" and math.isfinite(measured["mel"])


def test_the_flat_optimizer_holds_still_bit_for_bit():
    """The lazy devices' own, as PyTorch's does on a CPU."""
    torch.manual_seed(0)
    network = torch.nn.Linear(5, 3)
    optimizer = FlatAdamW(network.parameters(), lr=0.01, betas=(0.8, 0.99), eps=1e-9)

    def step(spoilt: float, halted: float) -> list[torch.Tensor]:
        (network(torch.ones(2, 5)).square().mean() * spoilt).backward()
        optimizer.join_gradients()
        optimizer.found_inf = torch.tensor(halted)
        optimizer.step()
        optimizer.zero_grad()
        states = optimizer.state_dict()["state"].values()
        return [p.detach().clone() for p in network.parameters()] + [
            s[n] for s in states for n in ("exp_avg", "exp_avg_sq")
        ]

    before = step(1.0, 0.0)
    held = step(math.nan, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, held, strict=True))
    assert all(not torch.equal(a, b) for a, b in zip(held, step(1.0, 0.0), strict=True))


def test_what_is_bad_again_and_again_stops_a_run_that_skips(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(bad_numbers, "IN_A_ROW", 3)
    for utterance in Corpus.load(corpus).train:
        spoil(corpus, utterance.id)
    with pytest.raises(BadNumbersError, match=r"step 2: .*the last of 3 in a row"):
        train(TrainConfig(corpus, tmp_path / "run", max_steps=9, bad_numbers="skip", **SETTINGS))
    assert len(list((tmp_path / "run").glob("bad-*.pt"))) == 3


def test_a_file_that_is_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at"):
        reproduce(tmp_path / "none.pt")
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="is not a bad step"):
        reproduce(tmp_path / "other.pt")
    torch.save({"format": bad_numbers.FORMAT, "threads": 1}, tmp_path / "half.pt")
    with pytest.raises(UserError, match="does not fit this version"):
        reproduce(tmp_path / "half.pt")
    torch.save({"format": bad_numbers.FORMAT, "run": run.train}, tmp_path / "code.pt")
    with pytest.raises(UserError, match="can run code"):
        reproduce(tmp_path / "code.pt")


def small_step(corpus: Path):
    """A tiny module, the batches of its first step, and its optimizers."""
    config = TrainConfig(corpus, max_steps=4, **SETTINGS)
    torch.manual_seed(3)
    module = VitsTraining(Checkpoint(PRESETS["tiny"], {}, {}), Place(config, 4), 4)
    batches = CorpusData(Corpus.load(corpus), PRESETS["tiny"], config).train_dataloader().dataset[0]
    return module, batches, module.configure_optimizers()[0]
