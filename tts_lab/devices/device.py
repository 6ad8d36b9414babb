"""What a training step asks of the thing it runs on."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tts_lab.devices.processes import Processes


class Device(Protocol):
    """CPU, GPU or NeuronCore behind one small interface; the step knows no other."""

    torch: torch.device
    """Where tensors live."""
    processes: Processes
    """Which process of how many this one is, and its way to the others."""

    def seed(self, number: int) -> None:
        """Decide what is drawn at random on the device from here on."""

    def autocast(self, precision: str) -> AbstractContextManager:
        """Convolutions and products in bfloat16 where ``precision`` is "bf16"; a no-op where it is "32"."""

    def adamw(self, parameters: Iterable[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
        """AdamW in the form that is cheapest here."""

    def reduce_and_clip(self, optimizer: torch.optim.Optimizer, limit: float | None) -> Tensor:
        """Make the gradients the mean over all processes, then scale them to a norm of at most ``limit``.

        Returns:
            The norm before the scaling, a scalar.
        """

    def compute(self, work: Callable[..., Any], *inputs: Any) -> Any:
        """``work(*inputs)``: one step, or one batch of a validation, as one graph where the device has such.

        Args:
            work: the same function each time; what it computes follows from ``inputs``, from the parameters and state
                of this device's optimizers, and from the seed. Other tensors are taken for constants.
            inputs: trees of tensors on the device and of plain values; each new shape or value is a new graph.

        Returns:
            What ``work`` returns: tensors, or a tree of them, detached.
        """

    def lightning(self) -> dict[str, Any]:
        """The arguments of ``lightning.Trainer`` that put a run on this device."""

    def counters(self) -> dict[str, float]:
        """What the device counted since the start: graphs compiled, operations that fell back to the CPU; on Neuron
        also the numbers of ``tts_lab.devices.monitor``."""
