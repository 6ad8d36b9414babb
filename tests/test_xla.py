"""The lazy-tensor path on torch-xla's CPU client, each case in a process of its own, against eager PyTorch."""

import json
from pathlib import Path

import pytest
import torch
from conftest import python

from tts_lab.devices import open_device
from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.metrics import read_metrics
from tts_lab.training.run import train

# Softmax cancels a key's bias, so its gradient is rounding alone, and AdamW makes a full step of its sign.
ROUNDING_ALONE = "attn_layers.0.conv_k.bias"


@pytest.fixture(scope="module")
def eager(small_corpus, tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("eager") / "states.pt"
    python("tests/xla_step.py", "eager", str(small_corpus), str(out))
    return torch.load(out)


@pytest.mark.slow
@pytest.mark.parametrize("functionalization", ["on", "off"])
@pytest.mark.parametrize("lowering", ["plain", "neuron"])
def test_one_and_ten_updates_are_those_of_eager_pytorch(lowering, functionalization, eager, small_corpus, tmp_path):
    disabled = "1" if functionalization == "off" else "0"
    printed = python(
        "tests/xla_step.py",
        lowering,
        str(small_corpus),
        str(tmp_path / "states.pt"),
        XLA_DISABLE_FUNCTIONALIZATION=disabled,
    )
    counts = json.loads(printed.splitlines()[-1])
    # The emulation's virtual device takes what was uploaded for another thing than what was computed.
    steady = counts[1 if lowering == "neuron" else 0]
    assert counts[-1]["fallbacks"] == 0 and counts[-1]["graphs_compiled"] == steady["graphs_compiled"]
    found = torch.load(tmp_path / "states.pt")
    for step in (1, 10):
        apart = {
            name: float((found[step][name] - value).norm() / value.norm().clamp(min=1e-6))
            for name, value in eager[step].items()
            if ROUNDING_ALONE not in name
        }
        assert len(apart) > 400 and max(apart.values()) < 1e-4, sorted(apart.items(), key=lambda p: -p[1])[:5]
        assert any(not torch.equal(eager[1][name], eager[10][name]) for name in apart)


SPLIT = """
import torch
from tts_lab.devices import open_device
from piper.train.vits import modules
from tts_lab.vits.layers import make_static
torch.manual_seed(0)
piper = modules.ResidualCouplingLayer(8, 16, 5, 1, 2).eval()
torch.nn.init.normal_(piper.post.weight, 0, 0.3)
x, mask = torch.randn(2, 8, 20), torch.ones(2, 1, 20)
ours = make_static(modules.ResidualCouplingLayer(8, 16, 5, 1, 2).eval())
ours.load_state_dict(piper.state_dict())
expected = piper(x, mask)[0]
device = open_device("xla").torch
for layer in (piper, ours):
    print(float((layer.to(device)(x.to(device), mask.to(device))[0].cpu() - expected).abs().max()))
"""


def test_pipers_split_is_silently_wrong_without_functionalization_and_ours_is_not():
    pipers, ours = map(float, python("-c", SPLIT, XLA_DISABLE_FUNCTIONALIZATION="1").split())
    assert pipers > 0.1, "the trap is gone: see whether the static coupling layer is still needed"
    assert ours < 1e-5


@pytest.mark.slow
def test_a_run_on_xla_compiles_each_graph_once_and_goes_on_elsewhere(small_corpus, tmp_path):
    settings = {
        "preset": "tiny", "batch_size": 2, "buckets": 1, "limit_utterances": 6, "validate_every": 3,
        "sample_every": 100, "checkpoint_every": 6, "log_every": 1, "workers": 0, "keep": 0, "recompile": "error",
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in settings.items()]
    run = [f"--corpus={small_corpus}", f"--run={tmp_path}", "--max_steps=6", "--accelerator=xla"]
    python("-m", "tts_lab.cli", "train", *run, *flags)
    rows = [row for row in read_metrics(tmp_path / "metrics.csv") if row["graphs_compiled"] != ""]
    assert [row["graphs_compiled"] for row in rows] == [1, 1, 1, 2, 2, 2]  # the second is the validation's
    assert not any(row["fallbacks"] for row in rows)
    train(TrainConfig(small_corpus, tmp_path, max_steps=8, accelerator="cpu", **settings))
    steps = [row["step"] for row in read_metrics(tmp_path / "metrics.csv") if row["mel"] != ""]
    assert steps == list(range(8))
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0]["state"]
    assert float(state[0]["step"]) == 8


@pytest.mark.skipif(Path("/dev/neuron0").exists(), reason="it is known here")
def test_an_unknown_device_is_refused_in_words():
    with pytest.raises(UserError, match="there is no /dev/neuron. here"):
        open_device("neuron")
