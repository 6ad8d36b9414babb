"""Lightning's accelerator and strategy for the lazy-tensor devices, without its assumption of a TPU.

Lightning's own (``XLAAccelerator``, ``SingleDeviceXLAStrategy``, ``XLAPrecision``) look for a TPU, cut the graph
at every optimizer step, so twice a batch for a GAN, and never in validation. Here the training step itself says
where the graph ends (``Device.compute``), and values that Lightning wants to look at go to the host.
"""

from typing import Any

import torch
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from tts_lab.devices.monitor import NeuronMonitor


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


class OneDevice(SingleDeviceStrategy):
    """One process, one device."""

    def optimizer_step(self, *_: Any, **__: Any) -> None:
        """Nothing: the step was part of ``Device.compute``, and Lightning only counts it."""

    def reduce(self, tensor: Any | Tensor, *_: Any, **__: Any) -> Any | Tensor:
        """The value on the host: Lightning looks at it (has every rank a batch?), which would compile a graph each."""
        return tensor.cpu() if isinstance(tensor, Tensor) else tensor
