"""Convolutions as products against PyTorch's own in float64; a whole update and its graph with them and without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from tts_lab.corpus.corpus import Corpus
from tts_lab.preflight import rules
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining
from tts_lab.vits import products
from tts_lab.vits.config import PRESETS
from tts_lab.vits.layers import ConvTranspose1d
from tts_lab.voices.checkpoints import Checkpoint

# Piper's own layers made narrow: channels in and out, taps, and what else conv1d is told.
PLAIN = {
    "decoder's first": (6, 8, 7, {"padding": 3}),
    "decoder's last, no bias": (4, 1, 7, {"padding": 3}),
    "text feed-forward, padded outside": (3, 8, 3, {}),
    "one tap": (4, 6, 1, {}),
    "even taps": (4, 6, 4, {"padding": 2}),
    "residual, fewer taps than the dilation": (4, 4, 5, {"padding": 12, "dilation": 6}),
    "residual, wider": (4, 4, 7, {"padding": 36, "dilation": 12}),
    "depthwise, dilated": (6, 6, 3, {"padding": 9, "dilation": 9, "groups": 6}),
    "depthwise, two from one": (3, 6, 3, {"padding": 1, "groups": 3}),
    "scale's first": (1, 4, 15, {"padding": 7}),
    "scale, grouped": (8, 16, 41, {"stride": 4, "padding": 20, "groups": 4}),
    "scale, stride 4 of 4 taps": (8, 8, 4, {"stride": 4, "groups": 2}),
    "period's first": (1, 4, 5, {"stride": 3, "padding": 2}),
    "inputs left over at the end": (2, 3, 3, {"stride": 5, "padding": 1}),
}
TRANSPOSED = {"16 taps by 8": (6, 4, 16, 8), "4 by 2": (4, 2, 4, 2), "taps no multiple of the stride": (3, 2, 7, 4),
              "fewer taps than the stride": (3, 2, 2, 3), "odd rest": (3, 2, 5, 2)}  # fmt: skip


def assert_same(ours, theirs, *shapes: tuple[int, ...]) -> None:
    """Values and gradients of ``ours(*inputs)`` and ``theirs(*inputs)`` on float64 inputs of the shapes."""
    torch.manual_seed(0)
    values = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    sides = []
    for way in (ours, theirs):
        inputs = [v.clone().requires_grad_() for v in values]
        out = way(*inputs)
        pull = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        sides.append([out, *torch.autograd.grad(out, inputs, pull)])
    for a, b in zip(*sides, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("length", [64, 65, 83])
@pytest.mark.parametrize("case", PLAIN)
def test_a_convolution_is_equal(case, length):
    inputs, outputs, taps, settings = PLAIN[case]
    shapes = [(3, inputs, length), (outputs, inputs // settings.get("groups", 1), taps), (outputs,)]
    if "no bias" in case:
        assert_same(lambda x, w: products.convolve(x, w, None, **settings),
                    lambda x, w: F.conv1d(x, w, None, **settings), *shapes[:2])  # fmt: skip
    else:
        assert_same(lambda *i: products.convolve(*i, **settings), lambda *i: F.conv1d(*i, **settings), *shapes)


@pytest.mark.parametrize("length", [1, 32, 33])
@pytest.mark.parametrize("padded", [0, 1, None])
@pytest.mark.parametrize("case", TRANSPOSED)
def test_a_transposed_convolution_is_equal(case, padded, length):
    inputs, outputs, taps, stride = TRANSPOSED[case]
    padding = max(0, taps - stride) // 2 if padded is None else min(padded, (taps - 1) // 2)
    assert_same(
        lambda *i: products.convolve_transposed(*i, stride, padding),
        lambda *i: F.conv_transpose1d(*i, stride, padding),
        (3, inputs, length), (inputs, outputs, taps), (outputs,),
    )  # fmt: skip


def test_risk_begins_where_the_preflight_warns():
    assert products.LONG_WINDOW == rules.LONG_WINDOW


def test_stride_with_dilation_is_refused():
    with pytest.raises(ValueError, match="one of them must be 1"):
        products.convolve(torch.ones(1, 1, 9), torch.ones(1, 1, 3), None, stride=2, dilation=2)


def test_only_risky_layers_that_are_chosen_take_it():
    def suits(conv: nn.Module, length: int = 100) -> bool:
        products.choose(conv)
        return products.suits(conv, torch.ones(1, 8, length))

    assert suits(nn.Conv1d(8, 8, 3, groups=2)) and suits(nn.Conv1d(8, 8, 7)) and suits(nn.Conv1d(8, 8, 3, dilation=4))
    assert suits(ConvTranspose1d(8, 4, 4, 2)) and suits(nn.Conv1d(8, 8, 3, padding=1), products.LONG_WINDOW)
    assert not suits(nn.Conv1d(8, 8, 3, padding=1), products.LONG_WINDOW - 1)
    assert not suits(nn.Conv1d(8, 8, 3, stride=2, padding=1), products.LONG_WINDOW)
    assert not suits(nn.Conv1d(8, 8, 1, dilation=4)) and not suits(nn.Conv1d(8, 8, 5, dilation=5))
    wide = nn.Conv1d(8, 8, 7)
    assert not products.suits(wide, torch.ones(1, 8, 100)), "native unless chosen"
    products.choose(wide)
    products.choose(wide, False)
    assert not products.suits(wide, torch.ones(1, 8, 100))


def updated(corpus: Path, convolutions: str) -> dict[str, torch.Tensor]:
    """One update of a tiny model: its loss terms, gradients, and how far its parameters went, each as one vector."""
    config = TrainConfig(corpus, max_steps=1, preset="tiny", batch_size=2, workers=0, convolutions=convolutions)
    data = CorpusData(Corpus.load(corpus), PRESETS["tiny"], config)
    torch.manual_seed(1)
    module = VitsTraining(Checkpoint(PRESETS["tiny"], {}, {}), config, 1, 1).train()
    with torch.no_grad():  # what starts at zero would hide a fault
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.02)
    # Softmax cancels a key's bias: its gradient is rounding alone, and AdamW makes a full step of its sign.
    sides = {
        side: [p for name, p in getattr(module, f"model_{side}").named_parameters() if not name.endswith("k.bias")]
        for side in "gd"
    }
    before = {side: [p.detach().clone() for p in parameters] for side, parameters in sides.items()}
    found = {"terms": torch.stack(list(module.accumulate_gradients(*data.train_dataloader().dataset[0]).values()))}
    for (side, parameters), optimizer in zip(sides.items(), module.configure_optimizers()[0], strict=True):
        found[f"gradient of {side}"] = torch.cat([p.grad.flatten() for p in parameters])
        optimizer.step()
        moved = [p.detach() - b for p, b in zip(parameters, before[side], strict=True)]
        found[f"update of {side}"] = torch.cat([m.flatten() for m in moved])
    return found


def test_an_update_of_the_whole_model_is_the_same(small_corpus):
    found, native = (updated(small_corpus, form) for form in ("products", "native"))
    for name, value in native.items():
        apart = float((found[name] - value).norm() / value.norm())
        # AdamW divides by the gradient's own size: one that is nearly zero steps by its rounding.
        assert 0 < apart < (5e-5 if name.startswith("update") else 1e-5), (name, apart)


@pytest.mark.slow
def test_the_graph_has_none_of_the_findings_that_products_are_for(small_corpus, tmp_path):
    from tts_lab.devices.lowering import ENVIRONMENT

    removed = {"kernel smaller than its dilation", "weight gradient over a long window", "grouped weight gradient",
               "weight gradient of a wide kernel"}  # fmt: skip
    reports = {}
    for form in ("native", "products"):
        config = {
            "corpus": str(small_corpus), "run": str(tmp_path / "run"), "preset": "tiny", "batch_size": 2, "buckets": 1,
            "max_steps": 1, "limit_utterances": 2, "convolutions": form,
        }  # fmt: skip
        (tmp_path / f"{form}.yaml").write_text(yaml.safe_dump(config))
        command = ["preflight", f"--config={tmp_path / form}.yaml", f"--json={tmp_path / form}.json"]
        done = subprocess.run(
            [sys.executable, "-m", "tts_lab.cli", *command],
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": "."}, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        reports[form] = json.loads((tmp_path / f"{form}.json").read_text()) | {"printed": done.stdout}
    found = {form: {finding["rule"] for finding in report["findings"]} for form, report in reports.items()}
    assert removed <= found["native"]
    assert found["products"] == found["native"] - removed  # and it brings none of its own
    native, chosen = reports["native"], reports["products"]
    assert native["native"] is None and "as products" not in native["printed"]
    (graph,) = (graph for graph in native["graphs"] if graph["name"].startswith("train"))
    assert chosen["native"]["instructions"] == graph["instructions"]
    line = chosen["printed"].partition("Convolutions as products")[2].split("\n\n")[0]
    assert f"{graph['instructions']:,} HLO" in " ".join(line.split())
