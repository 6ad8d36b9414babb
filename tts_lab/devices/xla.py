"""The lazy-tensor devices of PyTorch/XLA: its CPU client, and the NeuronCores of trn1.

Operations are noted down, not run; ``compute`` makes one graph of a whole step, compiled where it is new, and from
its third time on runs that graph with nothing noted down again. Reading a value on the way would cut it in two.
"""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from tts_lab.devices.flat_adamw import FlatAdamW
from tts_lab.devices.instances import chips
from tts_lab.devices.monitor import NeuronMonitor
from tts_lab.devices.processes import Processes
from tts_lab.errors import UserError

PIECE_BYTES = 50 * 2**20  # of gradient in one all-reduce, torch-neuronx's default


class XlaDevice:
    """A core of the XLA client; the client starts with the first one.

    Args:
        replay: whether ``compute`` runs a step of known shape without tracing it.

    Raises:
        UserError: "neuron" is asked for where there is no Neuron driver, or a client runs that is another one's.
    """

    def __init__(
        self, accelerator: str = "xla", processes: Processes | None = None, replay: bool = True
    ) -> None:  # fmt: skip
        choose_client(accelerator)
        self.processes = (processes or Processes()).join("xla")
        import torch_xla

        self.torch_xla = torch_xla
        self.monitor = NeuronMonitor() if accelerator == "neuron" else None
        self.torch = torch_xla.device()
        # With functionalization parameters are wrapped, and cannot be replaced.
        self.replay = replay and os.environ["XLA_DISABLE_FUNCTIONALIZATION"] == "1"
        self.optimizers: list[FlatAdamW] = []
        self.repeated: dict[Any, Any] = {}
        self.traced = 0
        self.host_seconds = 0.0

    def seed(self, number: int) -> None:
        self.torch_xla.manual_seed(number % 2**32)  # torch.manual_seed does not reach it, and Neuron takes 32 bits

    def autocast(self, precision: str) -> AbstractContextManager:
        return torch.autocast("xla", torch.bfloat16, enabled=precision == "bf16")

    def adamw(self, parameters: Iterable[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
        self.optimizers.append(FlatAdamW(parameters, **settings))
        return self.optimizers[-1]

    def reduce_and_clip(self, optimizer: FlatAdamW, limit: float | None) -> Tensor:
        gradient = optimizer.join_gradients()
        if self.processes.world > 1:
            gradient.copy_(self._average(gradient))
        norm = torch.linalg.vector_norm(gradient)
        if limit:
            gradient.mul_(torch.clamp(limit / (norm + 1e-6), max=1.0))  # always multiplied: a branch would read it
        return norm

    def compute(self, work: Callable[..., Any], *inputs: Any) -> Any:
        from tts_lab.devices.replay import Repeated  # imports torch_xla, which reads the environment set above

        began = time.perf_counter()
        if not self.replay:
            results = work(*inputs)
            self.torch_xla.sync()
            self.host_seconds = time.perf_counter() - began
            return results
        leaves, layout = tree_flatten(inputs)
        shapes = tuple((leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf for leaf in leaves)
        known = self.repeated.setdefault((work, str(layout), shapes), Repeated())
        for optimizer in self.optimizers:
            optimizer.prepare()
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)] + [o.numbers for o in self.optimizers]
        state = [tensor for optimizer in self.optimizers for tensor in optimizer.tensors()]
        replayed, counts = known.steady, [optimizer.steps for optimizer in self.optimizers]
        results = known(partial(work, *inputs), [*given, *state], len(given))
        if replayed:  # what the trace counted by itself
            for optimizer, steps in zip(self.optimizers, known.counted, strict=True):
                optimizer.steps += steps
        else:
            self.traced += 1
            known.counted = [o.steps - before for o, before in zip(self.optimizers, counts, strict=True)]
        self.host_seconds = time.perf_counter() - began
        return results

    def lightning(self) -> dict[str, Any]:
        from tts_lab.devices.lightning import ProcessStrategy, XlaAccelerator

        strategy = ProcessStrategy(self.torch, self.processes)
        return {"accelerator": XlaAccelerator(self.monitor), "devices": 1, "strategy": strategy}

    def counters(self) -> dict[str, float]:
        from torch_xla.debug import metrics

        compiled = metrics.counter_value("UncachedCompile") or 0
        fallbacks = sum(metrics.counter_value(name) or 0 for name in metrics.executed_fallback_ops())
        counted = {"graphs_compiled": compiled, "fallbacks": fallbacks, "host_seconds": self.host_seconds}
        counted |= {"steps_traced": self.traced} if self.replay else {}
        counted |= self.monitor.counters() if self.monitor else {}
        return {name: float(value) for name, value in counted.items()}

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
    if accelerator == "neuron" and not chips():
        raise UserError(
            "accelerator neuron: there is no /dev/neuron* here, so no NeuronCore or no driver. On a trn1 instance "
            "install aws-neuronx-dkms and see `neuron-ls`; on any other machine train with accelerator xla, cpu "
            "or cuda."
        )
    wanted = "NEURON" if accelerator == "neuron" else "CPU"
    if os.environ.setdefault("PJRT_DEVICE", wanted) != wanted:
        raise UserError(f"accelerator {accelerator} needs PJRT_DEVICE={wanted}; it is {os.environ['PJRT_DEVICE']}")
    os.environ.setdefault("XLA_DISABLE_FUNCTIONALIZATION", "1")  # torch-neuronx's default, so everywhere's
    if wanted == "CPU":  # compiling is the slow part there, and a first compile of minutes looks like a hang
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
