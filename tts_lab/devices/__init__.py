"""Where a run computes. The only room that imports ``torch_xla``: everything else asks a ``Device``.

| accelerator | device | proven on |
|---|---|---|
| ``cpu``, ``cuda`` | ``host.HostDevice`` | CPU here; CUDA where one is at hand |
| ``xla`` | ``xla.XlaDevice`` on torch-xla's CPU client | here |
| ``neuron`` on trn1, inf2 | ``xla.XlaDevice`` on the Neuron client of torch-neuronx <= 2.9 | the lowering only |
| ``neuron`` on Trn2, Trn3 | TorchNeuron (torch >= 2.10) lands here, as a third module | nothing yet |
"""

from tts_lab.devices.device import Device
from tts_lab.devices.host import HostDevice


def open_device(accelerator: str) -> Device:
    """The device of that name, its environment set and its client started.

    Raises:
        UserError: when this machine has none.
    """
    if accelerator in ("xla", "neuron"):
        from tts_lab.devices.xla import XlaDevice  # starts a client, so only where one is asked for

        return XlaDevice(accelerator)
    return HostDevice(accelerator)
