"""The training step against stock Piper's own, on real speech: losses, gradients, updates."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.stock import segment_starts, stock_batch, stock_model, stock_step
from benchmarks.train_step import real_batches, update_error
from tts_lab import buckets
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.prepare import PrepareSettings, prepare
from tts_lab.devices.processor import native_bfloat16
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import collate
from tts_lab.training.module import MEL_WEIGHT, VitsTraining
from tts_lab.training.stages import Place
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices.checkpoints import Checkpoint

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus22")
    return prepare("data_samples", folder, PrepareSettings(), Frontend("en-us"), jobs=2)


@pytest.fixture(scope="module")
def pair(corpus):
    """Stock Piper and ours, medium, with equal parameters, and the same two utterances for each."""
    torch.manual_seed(0)
    stock = stock_model()
    ours = training(corpus)
    ours.model_g.load_state_dict(stock.model_g.state_dict())
    ours.model_d.load_state_dict(stock.model_d.state_dict())
    (batch,) = real_batches(corpus, 2, 1)
    return stock, ours, batch, stock_batch(batch)


def training(corpus: Corpus, **settings) -> VitsTraining:
    config = TrainConfig(corpus.folder, max_steps=100, **settings)
    module = VitsTraining(Checkpoint(PRESETS["medium"], {}, {}), Place(config, 100), 10)
    module.log_dict = lambda *_, **__: None
    return module


def test_whole_model_loss_equals_pipers(pair):
    stock, ours, batch, theirs = pair
    torch.manual_seed(3)
    with segment_starts(batch.starts):
        loss_g, loss_d, terms = stock._compute_loss(theirs)
    torch.manual_seed(3)
    found = ours.accumulate_gradients(batch)
    ours.zero_grad()
    torch.testing.assert_close(found["loss_g"], loss_g.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["loss_d"], loss_d.detach(), rtol=1e-4, atol=1e-4)
    names = {"mel": "mel", "kl": "kl", "dur": "duration", "fm": "feature", "gen": "adversarial"}
    for theirs_name, name in names.items():
        torch.testing.assert_close(found[name], terms[theirs_name], rtol=1e-4, atol=1e-4)


def test_gradients_equal_pipers(pair):
    stock, ours, batch, theirs = pair
    torch.manual_seed(3)
    with segment_starts(batch.starts):
        loss_g, loss_d, _ = stock._compute_loss(theirs)
    generator, discriminator = list(stock.model_g.parameters()), list(stock.model_d.parameters())
    expected_g = torch.autograd.grad(loss_g, generator)
    expected_d = torch.autograd.grad(loss_d, discriminator)
    torch.manual_seed(3)
    ours.accumulate_gradients(batch)
    found_g, found_d = ([p.grad for p in side.parameters()] for side in (ours.model_g, ours.model_d))
    ours.zero_grad()
    # Within the tensor's own size; and a hair of the largest, for tensors whose gradient is zero but for rounding.
    # A leaky ReLU whose input rounds to the other side of zero moves a discriminator by more; in float64 the two
    # are equal (test_layers).
    for side, found, expected, tolerance in (("g", found_g, expected_g, 1e-4), ("d", found_d, expected_d, 2e-3)):
        hair = 1e-7 * max(float(e.norm()) for e in expected)
        for f, e, (name, _) in zip(found, expected, getattr(ours, f"model_{side}").named_parameters(), strict=True):
            assert float((f - e).norm()) <= tolerance * float(e.norm()) + hair, name


@pytest.mark.slow
def test_three_updates_give_the_same_parameters(corpus, pair):
    stock, ours, batch, theirs = pair
    stock_optimizers, (ours_g, ours_d) = stock.configure_optimizers()[0], ours.configure_optimizers()[0]
    for step in range(3):
        torch.manual_seed(step)
        with segment_starts(batch.starts):
            stock_step(stock, stock_optimizers, theirs)
        torch.manual_seed(step)
        ours.update([batch], ours_g, ours_d)
    assert update_error(stock.model_g, ours.model_g) < 1e-4
    assert update_error(stock.model_d, ours.model_d) < 1e-4


def test_accumulated_batches_give_the_gradient_of_their_mean(pair):
    _, ours, batch, _ = pair
    ours.zero_grad()
    torch.manual_seed(3)
    ours.accumulate_gradients(batch)
    once = ours.model_g.dec.conv_pre.weight.grad.clone()
    ours.zero_grad()
    for _ in range(2):
        torch.manual_seed(3)
        ours.accumulate_gradients(batch, share=0.5)
    torch.testing.assert_close(ours.model_g.dec.conv_pre.weight.grad, once, rtol=1e-4, atol=1e-6)
    ours.zero_grad()


def test_without_discriminators_only_reconstruction_is_trained(pair):
    _, ours, batch, _ = pair
    ours.zero_grad()
    terms = ours.accumulate_gradients(batch, adversarial=False)
    assert all(p.grad is None for p in ours.model_d.parameters())
    total = MEL_WEIGHT * terms["mel"] + terms["kl"] + terms["duration"]
    torch.testing.assert_close(terms["loss_g"], total)
    ours.zero_grad()


def test_bf16_stays_near_float32(corpus, pair):
    _, ours, batch, _ = pair
    half = training(corpus, precision="bf16")
    half.load_state_dict(ours.state_dict())
    results = []
    for module in (ours, half):
        torch.manual_seed(3)
        results.append(module.accumulate_gradients(batch))
        module.zero_grad()
    for name, exact in results[0].items():
        assert results[1][name].dtype == torch.float32
        torch.testing.assert_close(results[1][name], exact, rtol=0.03, atol=0.02)
    assert not torch.equal(results[1]["mel"], results[0]["mel"]), "autocast was not on"


def test_frozen_parts_do_not_move_and_do_not_drop_out(corpus):
    module = training(corpus, freeze=["enc_p", "dp"])
    module.train()
    assert not module.model_g.enc_p.training and module.model_g.flow.training
    (optimizer, _), _ = module.configure_optimizers()
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in module.model_g.enc_p.parameters()}
    assert {id(p) for p in module.model_g.dec.parameters()} <= trained
    with pytest.raises(UserError, match="its parts are enc_p, dec, enc_q, flow, dp"):
        training(corpus, freeze=["encoder"])


@pytest.mark.parametrize(
    "schedule, warmup, expected",
    [
        ("constant", 4, {0: 0.25, 3: 1.0, 50: 1.0}),
        ("exponential", 0, {0: 1.0, 10: 0.9, 25: 0.9**2.5}),
        ("cosine", 20, {19: 1.0, 60: 0.5, 100: 0.0}),
    ],
)
def test_learning_rate_schedule(corpus, schedule, warmup, expected):
    module = training(corpus, schedule=schedule, warmup_steps=warmup, lr_decay=0.9)
    optimizers, schedulers = module.configure_optimizers()
    found = {}
    for step in range(101):
        found[step] = optimizers[0].param_groups[0]["lr"] / module.config.learning_rate
        optimizers[0].step()
        schedulers[0].step()
    for step, factor in expected.items():
        assert found[step] == pytest.approx(factor, abs=1e-9), step


def test_longer_segments_are_for_the_mel_loss_alone(corpus):
    sizes = PRESETS["tiny"].to_dict() | {"sample_rate": 22050, "segment_frames": 64}
    header = Checkpoint(ModelConfig.from_dict(sizes), {}, {})
    module = VitsTraining(header, Place(TrainConfig(corpus.folder, max_steps=1), 1), 1)
    lengths = [(len(u.phoneme_ids), u.samples // 256) for u in corpus.train[:2]]
    (bucket,) = buckets.plan(lengths, 1, groups=range(2))
    batch = collate(corpus, [[u] for u in corpus.train[:2]], bucket, header.model, np.random.default_rng(0))
    heard = []
    module.model_d.register_forward_pre_hook(lambda _, audios: heard.extend(audio.shape[-1] for audio in audios))
    assert module.model_g(batch).made.shape[-1] == batch.segment.shape[-1] == 64 * 256
    module.accumulate_gradients(batch)
    assert heard == [32 * 256] * 2
    assert module.model_g.dec.conv_pre.weight.grad.any()


@pytest.mark.parametrize("speakers", [1, 3])
def test_free_rows_are_decoded_from_the_text(corpus, speakers):
    """Against the text's means laid out by duration, through the flow and the decoder, without noise."""
    sizes = PRESETS["tiny"].to_dict() | {"sample_rate": 22050, "noise_scale": 0.0}
    sizes |= {"speakers": speakers, "speaker_channels": 16 * (speakers > 1)}
    torch.manual_seed(0)
    model = Synthesizer(ModelConfig.from_dict(sizes)).eval()
    for value in model.flow.parameters():
        if not value.any():  # as they begin, a flow changes nothing
            torch.nn.init.normal_(value, 0, 0.1)
    lengths = [(len(u.phoneme_ids), u.samples // 256) for u in corpus.train[:2]]
    (bucket,) = buckets.plan(lengths, 1, groups=range(2))
    one = ModelConfig.from_dict(sizes | {"speakers": 1, "speaker_channels": 0})
    batch = collate(corpus, [[u] for u in corpus.train[:2]], bucket, one, np.random.default_rng(0))
    batch.speakers = torch.tensor([2, 1])
    voice = model.emb_g(batch.speakers[:1]).unsqueeze(-1) if speakers > 1 else None
    made = []
    for free in (0, 1, 2):
        torch.manual_seed(1)
        made.append(model(batch, free))
    count, start = int(batch.phoneme_lengths[0]), int(batch.starts[0])
    _, mean, _, _ = model.enc_p(batch.phonemes[:1, :count], batch.phoneme_lengths[:1])
    laid = mean.repeat_interleave(made[1].path[0].sum(0)[:count].long(), dim=2)
    z = model.flow(laid, torch.ones(1, 1, laid.shape[-1]), g=voice, reverse=True)
    expected = model.dec(z[..., start : start + model.segment_size], g=voice)
    assert laid.shape[-1] == batch.frames[0] and not torch.allclose(made[0].made[0], expected[0], atol=1e-3)
    torch.testing.assert_close(made[1].made[:1], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made[1].made[1], made[0].made[1])
    torch.testing.assert_close(made[2].made[0], made[1].made[0])
    made[2].made.square().sum().backward()
    assert not model.enc_q.proj.weight.grad.any() and model.dec.conv_pre.weight.grad.any()


def test_auto_precision_takes_what_is_native():
    # The kernel's own list of the processor's abilities is the independent witness.
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert native_bfloat16("cpu") == bool(flags & {"avx512_bf16", "amx_bf16"})
