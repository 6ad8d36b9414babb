"""Lightning's accelerator for the lazy-tensor devices, and its strategy for all of ours, without a TPU in mind.

Lightning's own (``XLAAccelerator``, ``SingleDeviceXLAStrategy``, ``XLAPrecision``) look for a TPU, cut the graph
at every optimizer step, so twice a batch for a GAN, and never in validation. Here the training step itself says
where the graph ends (``Device.compute``), and values that Lightning wants to look at go to the host.
"""

from typing import Any

import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from tts_lab.devices.monitor import NeuronMonitor
from tts_lab.devices.processes import Processes


class XlaAccelerator(Accelerator):
    """One core of an XLA client that is open already, and the monitor that watches it during a run."""

    def __init__(self, monitor: NeuronMonitor | None = None) -> None:
        self.monitor = monitor

    def setup(self, trainer: Any) -> None:
        if self.monitor:
            self.monitor.start()

    def setup_device(self, device: torch.device) -> None:
        pass

    def teardown(self) -> None:
        if self.monitor:
            self.monitor.stop()

    def get_device_stats(self, device: torch.device) -> dict[str, Any]:
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> int:
        return int(devices)

    @staticmethod
    def get_parallel_devices(devices: int) -> list[torch.device]:
        return [torch.device("xla")] * devices

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "xla"


class ProcessStrategy(SingleDeviceStrategy):
    """One of the processes that torchrun started, and its one core; rank 0 writes.

    Lightning launches and wraps nothing: the step exchanges gradients by itself. ``world_size`` stays 1, for with more
    Lightning asks all processes at every batch, by way of the device, whether one was told to stop.
    """

    def __init__(self, device: torch.device, processes: Processes) -> None:
        super().__init__(device)
        self.processes = processes
        self.global_rank, self.local_rank = processes.rank, processes.local_rank
        rank_zero_only.rank = processes.rank  # Lightning reads it off any launcher's variables, ours or not

    @property
    def is_global_zero(self) -> bool:
        return self.global_rank == 0

    def barrier(self, *_: Any, **__: Any) -> None:
        self.processes.barrier()

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Rank 0's, the only source that Lightning names."""
        return self.processes.broadcast(obj)

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        """Rank 0's: all have the same numbers, and it has the files."""
        return self.processes.broadcast(decision)

    def optimizer_step(self, *_: Any, **__: Any) -> None:
        """Nothing: the step was part of ``Device.compute``, and Lightning only counts it."""

    def reduce(self, tensor: Any | Tensor, *_: Any, **__: Any) -> Any | Tensor:
        """The value on the host: Lightning looks at it (has every rank a batch?), which would compile a graph each.

        Every process has as many batches as any other, so its own value tells.
        """
        return tensor.cpu() if isinstance(tensor, Tensor) else tensor
