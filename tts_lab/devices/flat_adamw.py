"""AdamW on one flat buffer: a dozen operations an update, where one tensor after another takes a dozen each.

On a lazy device every operation is noted down anew at every step, and the host's time for that is what a step waits
for. Here the gradients are joined once, reduced, clipped and applied as one vector.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class FlatAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2019, algorithm 2), the numbers and the state dict of ``torch.optim.AdamW``.

    It keeps the parameters' values as one vector of its own: what else changes them must make a new optimizer.

    The learning rate and the bias corrections enter the graph as data, so that no value of them compiles anew.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], eps: float,
        weight_decay: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        (self.group,) = self.param_groups
        self.parameters: list[nn.Parameter] = self.group["params"]
        self.steps = 0
        self.gradient: Tensor | None = None
        self.numbers: Tensor | None = None
        self.found_inf: Tensor | None = None
        """As of PyTorch's fused optimizers: where this scalar is 1 a step leaves parameters and averages as they are.
        It is counted all the same: the host does not know of it, and takes it off `steps` when it does."""
        self.master = self._joined(self.parameters)
        zeros = torch.zeros(self.master.shape)
        self.exp_avg, self.exp_avg_sq = (zeros.to(self.master.device, copy=True) for _ in range(2))

    @torch.no_grad()
    def join_gradients(self) -> Tensor:
        """All gradients end to end; what is done to this vector in place is what ``step`` applies."""
        self.gradient = torch.cat([p.grad.flatten() for p in self.parameters])
        return self.gradient

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:
        if closure is not None:  # Lightning's, which does nothing where the optimization is manual
            closure()
        if self.numbers is None:
            self.prepare()
        (decay, rate, root), (beta1, beta2) = self.numbers.unbind(), self.group["betas"]
        gradient, now = self.gradient, (self.exp_avg, self.exp_avg_sq, self.master)
        average = self.exp_avg.lerp(gradient, 1 - beta1)
        square = (self.exp_avg_sq * beta2).addcmul(gradient, gradient, value=1 - beta2)
        moved = self.master * decay - rate * average / (square.sqrt() / root + self.group["eps"])
        for kept, new in zip(now, (average, square, moved), strict=True):
            kept.copy_(new if self.found_inf is None else torch.where(self.found_inf > 0, kept, new))
        for parameter, part in zip(self.parameters, self._parts(self.master), strict=True):
            parameter.copy_(part)
        self.gradient = self.numbers = None
        self.steps += 1

    def prepare(self) -> None:
        """Put the numbers of the next step on the device, for a step that is run without being traced."""
        (beta1, beta2), lr, steps = self.group["betas"], self.group["lr"], self.steps + 1
        numbers = [1 - lr * self.group["weight_decay"], lr / (1 - beta1**steps), math.sqrt(1 - beta2**steps)]
        self.numbers = torch.tensor(numbers).to(self.master.device)

    def tensors(self) -> list[Tensor]:
        """All that a step changes."""
        return [*self.parameters, self.master, self.exp_avg, self.exp_avg_sq]

    def state_dict(self) -> dict[str, Any]:
        """As ``torch.optim.AdamW`` has it, so that a run can go on elsewhere."""
        averages = zip(self._parts(self.exp_avg.cpu()), self._parts(self.exp_avg_sq.cpu()), strict=True)
        state = {
            i: {"step": torch.tensor(float(self.steps)), "exp_avg": a.clone(), "exp_avg_sq": b.clone()}
            for i, (a, b) in enumerate(averages)
        }
        settings = {key: value for key, value in self.group.items() if key != "params"}
        return {"state": state, "param_groups": [settings | {"params": list(range(len(self.parameters)))}]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        (group,), states = state_dict["param_groups"], state_dict["state"]
        own = self.group.keys() - {"params"}
        self.master = self._joined(self.parameters)
        self.group.update({key: value for key, value in group.items() if key in own | {"initial_lr"}})
        if states:
            ordered = [states[i] for i in group["params"]]
            self.steps = int(ordered[0]["step"])
            for name in ("exp_avg", "exp_avg_sq"):
                setattr(self, name, self._joined(state[name] for state in ordered))

    def _joined(self, tensors: Iterable[Tensor]) -> Tensor:
        """End to end, by the host: on a lazy device it would be part of the first step's graph, and of no other's."""
        return torch.cat([t.detach().cpu().flatten() for t in tensors]).to(self.parameters[0].device)

    def _parts(self, joined: Tensor) -> list[Tensor]:
        """The pieces of a flat vector in the parameters' shapes."""
        pieces = joined.split([p.numel() for p in self.parameters])  # off the first axis this would be a trap
        return [piece.view(p.shape) for piece, p in zip(pieces, self.parameters, strict=True)]
