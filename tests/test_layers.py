"""Each static-shape replacement against the Piper layer it stands in for."""

import pytest
import torch
from piper.train.vits import attentions, models, modules, transforms

from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.vits.discriminators import Discriminators
from tts_lab.vits.layers import (
    REPLACEMENTS,
    make_static,
    normalise_together,
    rational_quadratic_spline,
)
from tts_lab.vits.synthesizer import Synthesizer

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*")


@pytest.mark.parametrize("inverse", [False, True])
def test_spline_is_bit_equal_to_pipers(inverse):
    torch.manual_seed(0)
    x = torch.randn(6, 1, 80) * 4  # inside, outside and near the bounds
    x[0, 0, :3] = torch.tensor([-5.0, 5.0, 0.0])
    shapes = [torch.randn(6, 1, 80, n) * 2 for n in (10, 10, 9)]
    theirs_in = [t.clone().requires_grad_() for t in (x, *shapes)]
    ours_in = [t.clone().requires_grad_() for t in (x, *shapes)]
    theirs = transforms.piecewise_rational_quadratic_transform(
        *theirs_in, inverse=inverse, tails="linear", tail_bound=5.0
    )
    ours = rational_quadratic_spline(*ours_in, inverse=inverse, bound=5.0)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    for outputs in (theirs, ours):
        (outputs[0].sum() + outputs[1].square().sum()).backward()
    for a, b in zip(ours_in, theirs_in, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4)


def test_spline_gradient_is_finite_far_outside():
    x = torch.tensor([[[1e4, -1e4, float(5.0 + 1e-6)]]], requires_grad=True)
    y, log_det = rational_quadratic_spline(x, *(torch.zeros(1, 1, 3, n) for n in (10, 10, 9)), inverse=True, bound=5.0)
    (y.sum() + log_det.sum()).backward()
    assert torch.isfinite(x.grad).all() and torch.equal(y, x)


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """Zero-initialised projections would hide a fault, so every parameter gets a value."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module.eval()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize(
    "build",
    [
        lambda g: models.ResidualCouplingBlock(8, 16, 5, 1, 2, n_flows=2, gin_channels=g),
        lambda g: models.StochasticDurationPredictor(8, 8, 3, 0.5, gin_channels=g),
        lambda g: modules.WN(8, 5, 2, 3, gin_channels=g),
    ],
    ids=["flow", "duration", "wavenet"],
)
def test_layer_equals_pipers(build, conditioned, reverse):
    piper = randomised(build(6 if conditioned else 0))
    ours = make_static(build(6 if conditioned else 0)).eval()
    ours.load_state_dict(piper.state_dict())
    assert {type(m) for m in ours.modules()} & set(REPLACEMENTS.values())
    assert list(ours.state_dict()) == list(piper.state_dict())
    x, mask = torch.randn(2, 8, 20), torch.ones(2, 1, 20)
    mask[1, :, 15:] = 0
    g = torch.randn(2, 6, 1) if conditioned else None
    kwargs = {} if isinstance(piper, modules.WN) else {"reverse": reverse}
    if isinstance(piper, models.StochasticDurationPredictor) and not reverse:
        kwargs["w"] = torch.randint(1, 9, (2, 1, 20)).float() * mask
    results = []
    for model in (piper, ours):
        torch.manual_seed(2)
        results.append(model(x * mask, mask, g=g, **kwargs))
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [2, 5, 40])  # shorter than the window, about it, longer
def test_attention_equals_pipers_with_its_gradients(length):
    piper = randomised(attentions.MultiHeadAttention(12, 12, 2, window_size=4))
    ours = make_static(attentions.MultiHeadAttention(12, 12, 2, window_size=4)).eval()
    ours.load_state_dict(piper.state_dict())
    x, lengths = torch.randn(3, 12, length), torch.tensor([length, length - 1, 1])
    valid = (torch.arange(length) < lengths[:, None]).float()[:, None]
    mask = valid.unsqueeze(2) * valid.unsqueeze(-1)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [model(i, i, mask) for model, i in zip((piper, ours), inputs, strict=True)]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)
    for output in outputs:
        (output * valid).square().sum().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-4, atol=1e-5)
    for (name, a), b in zip(ours.named_parameters(), piper.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4, msg=name)


def test_weight_norm_from_primitives_equals_torchs_with_its_gradient():
    torch.manual_seed(0)
    conv, ours = (torch.nn.utils.weight_norm(torch.nn.ConvTranspose1d(6, 4, 8, 4)) for _ in range(2))
    make_static(ours).load_state_dict(conv.state_dict())
    x = torch.randn(2, 6, 9)
    for layer in (conv, ours):
        layer(x).square().sum().backward()
    torch.testing.assert_close(ours.weight_v.grad, conv.weight_v.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight_g.grad, conv.weight_g.grad, rtol=1e-4, atol=1e-5)
    assert not hasattr(ours, "weight")  # it lives as long as a pass: a lazy device would hand it out at every step
    torch.nn.utils.remove_weight_norm(ours)
    torch.nn.utils.remove_weight_norm(conv)
    torch.testing.assert_close(ours.weight, conv.weight)
    for _ in range(2):  # now it is a parameter, and stays
        torch.testing.assert_close(ours(x), conv(x))
    assert list(ours.state_dict()) == list(conv.state_dict())


def test_weights_normalised_together_are_those_of_each_alone_with_their_gradients():
    torch.manual_seed(0)
    alone = make_static(modules.WN(8, 5, 1, 3))
    together = make_static(modules.WN(8, 5, 1, 3))
    together.load_state_dict(alone.state_dict())
    x, mask = torch.randn(2, 8, 20), torch.ones(2, 1, 20)
    normalise_together(together)
    assert all("ready" in vars(hook) for m in together.in_layers for hook in m._forward_pre_hooks.values())
    outputs = [model(x, mask) for model in (alone, together)]
    torch.testing.assert_close(outputs[1], outputs[0])
    for output in outputs:
        output.square().sum().backward()
    for a, b in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    with torch.no_grad():  # used once: the next pass sees the weights as they then are
        alone.in_layers[0].weight_g.mul_(2)
        together.in_layers[0].weight_g.mul_(2)
    torch.testing.assert_close(together(x, mask), alone(x, mask))


@pytest.mark.parametrize("preset", ["x-low", "medium", "high"])
@pytest.mark.parametrize("speakers", [1, 3])
def test_state_dict_has_pipers_keys_and_shapes(preset, speakers):
    config = ModelConfig.from_dict(PRESETS[preset].to_dict() | {"speakers": speakers})
    piper = models.SynthesizerTrn(
        config.symbols, 513, 32, config.inter_channels, config.hidden_channels, config.filter_channels, 2, 6, 3, 0.1,
        config.resblock, config.resblock_kernel_sizes, config.resblock_dilation_sizes, config.upsample_rates,
        config.upsample_initial_channel, config.upsample_kernel_sizes, speakers, config.speaker_channels,
    )  # fmt: skip
    expected = {key: value.shape for key, value in piper.state_dict().items()}
    assert {key: value.shape for key, value in Synthesizer(config).state_dict().items()} == expected


def test_discriminators_equal_pipers():
    torch.manual_seed(0)
    piper, ours = models.MultiPeriodDiscriminator(), Discriminators()
    ours.load_state_dict(piper.state_dict())  # strict: the same keys and shapes
    real, made = torch.randn(2, 1, 8192), torch.randn(2, 1, 8192)
    with torch.no_grad():
        expected, found = piper(real, made), ours(real, made)
    for piper_side, our_side in zip(expected[:2], found[:2], strict=True):
        for a, b in zip(
            piper_side, our_side, strict=True
        ):  # our rows are folded by period: the same numbers, regrouped
            torch.testing.assert_close(b.flatten().sort().values, a.flatten().sort().values, rtol=1e-4, atol=1e-5)
    for piper_side, our_side in zip(expected[2:], found[2:], strict=True):
        for a, b in zip(piper_side, our_side, strict=True):
            assert len(a) == len(b)
            for c, d in zip(a, b, strict=True):
                torch.testing.assert_close(d.abs().mean(), c.abs().mean(), rtol=1e-5, atol=1e-6)


def test_discriminator_gradients_equal_pipers_in_float64():
    torch.manual_seed(0)
    piper, ours = models.MultiPeriodDiscriminator().double(), Discriminators().double()
    ours.load_state_dict(piper.state_dict())
    real, made = torch.randn(1, 1, 2048).double(), torch.randn(1, 1, 2048).double()
    gradients = []
    for model in (piper, ours):
        scores_r, scores_g, *_ = model(real, made)
        loss = sum((1 - r).square().mean() + g.square().mean() for r, g in zip(scores_r, scores_g, strict=True))
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12)
