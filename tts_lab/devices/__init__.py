"""Where a run computes. The only room that imports ``torch_xla``: everything else asks a ``Device``.

| accelerator | device | proven on |
|---|---|---|
| ``cpu``, ``cuda`` | ``host.HostDevice`` | CPU here; CUDA where one is at hand |
| ``xla`` | ``xla.XlaDevice`` on torch-xla's CPU client | here |
| ``neuron`` on trn1, inf2 | ``xla.XlaDevice`` on the Neuron client of torch-neuronx <= 2.9 | the lowering only |
| ``neuron`` on Trn2, Trn3 | TorchNeuron (torch >= 2.10) lands here, as a third module | nothing yet |
"""

import torch

from tts_lab.devices.device import Device
from tts_lab.devices.host import HostDevice
from tts_lab.devices.instances import CORES_A_CHIP, check_workers, chips
from tts_lab.devices.processes import Processes
from tts_lab.errors import UserError


def open_device(accelerator: str, replay: bool = True) -> Device:
    """The device of that name, its environment set and its client started; under torchrun, this process's of several.

    Args:
        replay: of ``XlaDevice``.

    Raises:
        UserError: when this machine has none, or not for so many processes.
    """
    accelerator, processes = find_accelerator(accelerator), Processes.of_environment()
    if accelerator not in ("xla", "neuron"):
        return HostDevice(accelerator, processes)
    if accelerator == "xla" and processes.world > 1:
        raise UserError(
            f"accelerator xla with {processes.world} processes: torch-xla's CPU client exchanges nothing between "
            "processes, so each would train alone. Start one process, or take accelerator cpu, which exchanges by gloo"
        )
    if accelerator == "neuron" and chips():
        check_workers(CORES_A_CHIP * chips(), processes.local_world, processes.nodes)
    from tts_lab.devices.xla import XlaDevice  # starts a client, so only where one is asked for

    return XlaDevice(accelerator, processes, replay)


def find_accelerator(name: str) -> str:
    """``name``, or for "auto" the best that this machine has."""
    if name != "auto":
        return name
    return "neuron" if chips() else "cuda" if torch.cuda.is_available() else "cpu"
