"""The lazy-tensor devices of PyTorch/XLA: its CPU client, and the NeuronCores of trn1.

Operations are noted down, not run, until ``step_end``; then the whole step is one graph, compiled where it is new.
Reading a value before that would cut the graph in two, so nothing here does.
"""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from glob import glob
from typing import Any

import torch
from torch import Tensor, nn

from tts_lab.devices.flat_adamw import FlatAdamW
from tts_lab.devices.processes import Processes
from tts_lab.errors import UserError

PIECE_BYTES = 50 * 2**20  # of gradient in one all-reduce, torch-neuronx's default


class XlaDevice:
    """A core of the XLA client; the client starts with the first one.

    Raises:
        UserError: "neuron" is asked for where there is no Neuron driver, or a client runs that is another one's.
    """

    def __init__(self, accelerator: str = "xla", processes: Processes | None = None) -> None:
        choose_client(accelerator)
        self.processes = (processes or Processes()).join("xla")
        import torch_xla

        self.torch_xla = torch_xla
        self.torch = torch_xla.device()

    def autocast(self, precision: str) -> AbstractContextManager:
        return torch.autocast("xla", torch.bfloat16, enabled=precision == "bf16")

    def adamw(self, parameters: Iterable[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
        return FlatAdamW(parameters, **settings)

    def reduce_and_clip(self, optimizer: FlatAdamW, limit: float | None) -> Tensor:
        gradient = optimizer.join_gradients()
        if self.processes.world > 1:
            gradient.copy_(self._average(gradient))
        norm = torch.linalg.vector_norm(gradient)
        if limit:
            gradient.mul_(torch.clamp(limit / (norm + 1e-6), max=1.0))  # always multiplied: a branch would read it
        return norm

    def step_end(self) -> None:
        self.torch_xla.sync()

    def lightning(self) -> dict[str, Any]:
        from tts_lab.devices.lightning import ProcessStrategy, XlaAccelerator

        strategy = ProcessStrategy(self.torch, self.processes)
        return {"accelerator": XlaAccelerator(), "devices": 1, "strategy": strategy}

    def counters(self) -> dict[str, float]:
        from torch_xla.debug import metrics

        compiled = metrics.counter_value("UncachedCompile") or 0
        fallbacks = sum(metrics.counter_value(name) or 0 for name in metrics.executed_fallback_ops())
        return {"graphs_compiled": float(compiled), "fallbacks": float(fallbacks)}

    def _average(self, gradient: Tensor) -> Tensor:
        """The mean over all processes, as part of the graph."""
        from torch_xla.core import xla_model

        pieces = gradient.split(PIECE_BYTES // gradient.element_size())
        share = 1 / self.processes.world
        return torch.cat([xla_model.all_reduce(xla_model.REDUCE_SUM, piece, scale=share) for piece in pieces])


def choose_client(accelerator: str) -> None:
    """Set the environment for the client of ``accelerator``, which starts with the first device.

    Raises:
        UserError: as ``XlaDevice``.
    """
    if accelerator == "neuron" and not glob("/dev/neuron*"):
        raise UserError(
            "accelerator neuron: there is no /dev/neuron* here, so no NeuronCore or no driver. On a trn1 instance "
            "install aws-neuronx-dkms and see `neuron-ls`; on any other machine train with accelerator xla, cpu "
            "or cuda."
        )
    wanted = "NEURON" if accelerator == "neuron" else "CPU"
    if os.environ.setdefault("PJRT_DEVICE", wanted) != wanted:
        raise UserError(f"accelerator {accelerator} needs PJRT_DEVICE={wanted}; it is {os.environ['PJRT_DEVICE']}")
    if wanted == "CPU":  # compiling is the slow part there, and a first compile of minutes looks like a hang
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
