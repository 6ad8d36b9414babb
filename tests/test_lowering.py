"""A step in the Neuron lowering can be traced again and again: what it changes has its values back each time."""

import json

import pytest
from conftest import python

from tts_lab.devices.lowering import ENVIRONMENT

STEP = """
import json, sys, torch
from tts_lab.devices.lowering import emulate_neuron
from tts_lab.preflight import preflight

cut = sys.argv[1] == "cut"
hardware = emulate_neuron()
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
model.register_buffer("history", torch.rand(3, 2))
model.register_buffer("turned", torch.rand(3, 2))
before = {name: value.clone() for name, value in model.state_dict().items()}
model.to(hardware.torch)
make = torch.optim.AdamW if cut else hardware.adamw
optimizer = make(model.parameters(), lr=0.1, betas=(0.8, 0.99), eps=1e-9)

def step(x):
    hidden = model[1](model[0](x))
    if cut:
        hidden = hidden[hidden > 0].reshape(-1, 1).expand(-1, 8)
        model.turned.t_()
    loss = model[2](hidden).square().mean()
    loss.backward()
    model.history[1].add_(1.0)  # by way of a view
    model.history[2].add_(1.0)
    if cut and loss.item() < 0:
        raise ValueError("the shadow has another loss")
    if not cut:
        hardware.reduce_and_clip(optimizer, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()

batches = {"six": torch.randn(6, 4).to(hardware.torch), "nine": torch.randn(9, 4).to(hardware.torch)}
compiled = hardware.counters()["graphs_compiled"]
results = [preflight(step, batches), preflight(step, batches)]
compiled = hardware.counters()["graphs_compiled"] - compiled
print(json.dumps({
    "apart": {name: float((value.cpu() - before[name]).abs().max()) for name, value in model.state_dict().items()},
    "compiled": compiled,
    "shapes": [list(model.turned.shape), list(before["turned"].shape)],
    "moments": max(float(s["exp_avg"].abs().max()) for s in optimizer.state_dict()["state"].values()),
    "graphs": [[(g.name, g.instructions, g.trace_seconds) for g in result.graphs] for result in results],
    "errors": [sorted((f.rule, f.code, f.count) for f in result.errors) for result in results],
    "alone": [sorted((f.rule, f.code, f.count) for f in preflight(step, {n: b}).errors) for n, b in batches.items()],
}))
"""


@pytest.mark.parametrize("kind", ["cut", "whole"])
def test_a_step_is_traced_on_every_batch_and_leaves_its_state_as_it_was(kind):
    found = json.loads(python("-c", STEP, kind, **ENVIRONMENT).splitlines()[-1])
    assert set(found["apart"].values()) == {0.0} and len(found["apart"]) == 11
    assert found["shapes"][0] == found["shapes"][1] and found["moments"] == 0.0
    assert found["compiled"] == 0  # neither to keep a value nor to give it back
    first, second = found["graphs"]
    assert [name for name, *_ in first] == ["six", "nine"]
    assert first[1][1] == second[1][1]  # not the very first: PyTorch's AdamW makes its state there
    assert all((seconds is None) == (kind == "cut") for _, _, seconds in first + second)
    expected = [
        ["fallback to the CPU", "aten.index.Tensor", 1],
        ["fallback to the CPU", "aten.index_put", 1],
        ["silently wrong", "aten.t_", 1],
        ["value read on the host", "aten._local_scalar_dense", 1],
    ]
    for errors in found["errors"] + found["alone"]:
        assert errors == (expected if kind == "cut" else [])


def test_a_step_hands_out_its_state_and_what_it_returns_and_nothing_else(small_corpus):
    counts = json.loads(python("tests/lowered_outputs.py", str(small_corpus), **ENVIRONMENT).splitlines()[-1])
    # An optimizer's state is three vectors: the parameters' values, and both averages of their gradients.
    assert counts["outputs"] == counts["parameters"] + 3 * counts["optimizers"] + 1
