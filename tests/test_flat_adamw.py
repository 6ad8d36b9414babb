"""AdamW on one flat buffer against PyTorch's, update for update, and their state dicts both ways."""

import pytest
import torch
from torch import nn

from tts_lab.devices.flat_adamw import FlatAdamW

SETTINGS = {"lr": 3e-3, "betas": (0.8, 0.99), "eps": 1e-9}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 4, 5), nn.Tanh(), nn.Conv1d(4, 2, 3))


def update(network: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(seed))
    network(x).square().mean().backward()
    if isinstance(optimizer, FlatAdamW):
        optimizer.join_gradients()
    optimizer.step()
    optimizer.zero_grad()


def same(a: nn.Module, b: nn.Module) -> None:
    for left, right in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-7)


def test_updates_are_pytorchs_at_a_moving_rate():
    flat, plain = model(), model()
    optimizers = FlatAdamW(flat.parameters(), **SETTINGS), torch.optim.AdamW(plain.parameters(), **SETTINGS)
    for step in range(30):
        for network, optimizer in zip((flat, plain), optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = 3e-3 * 0.9**step
            update(network, optimizer, step)
        same(flat, plain)


@pytest.mark.parametrize("first, second", [(FlatAdamW, torch.optim.AdamW), (torch.optim.AdamW, FlatAdamW)])
def test_a_run_goes_on_with_the_other(first, second):
    moved, straight = model(), model()
    before, reference = first(moved.parameters(), **SETTINGS), torch.optim.AdamW(straight.parameters(), **SETTINGS)
    after = second(moved.parameters(), **(SETTINGS | {"lr": 1.0}))  # made before, as Lightning does; then loaded
    for step in range(5):
        update(moved, before, step)
        update(straight, reference, step)
    after.load_state_dict(before.state_dict())
    for step in range(5, 10):
        update(moved, after, step)
        update(straight, reference, step)
    same(moved, straight)


def test_what_is_done_to_the_joined_gradient_is_what_is_applied():
    clipped, plain = model(), model()
    ours, theirs = FlatAdamW(clipped.parameters(), **SETTINGS), torch.optim.AdamW(plain.parameters(), **SETTINGS)
    x = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(1))
    for network in (clipped, plain):
        network(x).square().mean().backward()
    joined = ours.join_gradients()
    norm = nn.utils.clip_grad_norm_(plain.parameters(), 0.01)
    torch.testing.assert_close(torch.linalg.vector_norm(joined), norm)
    joined.mul_(0.01 / (norm + 1e-6))
    ours.step()
    theirs.step()
    same(clipped, plain)
