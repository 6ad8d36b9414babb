"""Whether a device computes right: products and a spectrum, against float64 on the host.

`python -m tts_lab.devices.trial cpu|cuda|xla` prints how far off each is, as JSON. A build of torch that does not fit a
GPU fails in the FFT or a convolution first, and a wedged driver hangs: hence a process of its own.
"""

import json
import sys

import numpy as np
import torch
from torch.nn import functional as F

from tts_lab.features import fourier_basis

LIMITS = {"matrix product": 1e-4, "convolution": 5e-3, "FFT": 1e-4, "spectrum as a product": 1e-3}
"""Greatest difference to float64, as a share of the largest value. A GPU's convolutions may round to TF32."""


def trial(device: torch.device) -> dict[str, float]:
    """How far off ``device`` is, by the names of ``LIMITS``; an FFT is no operation of a lazy device."""
    draw = np.random.default_rng(0)
    left, right = draw.normal(size=(256, 512)), draw.normal(size=(512, 128))
    sound, kernel = draw.normal(size=4096), draw.normal(size=7)
    frame = sound[:1024]

    def there(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(device)

    convolved = F.conv1d(there(sound)[None, None], there(kernel)[None, None])
    expected = np.correlate(sound, kernel, "valid")
    spectrum = np.fft.rfft(frame * np.hanning(1025)[:-1])
    basis = there(frame)[None] @ fourier_basis(1024).to(device)
    found = {
        "matrix product": _off((there(left) @ there(right)).cpu(), left @ right),
        "convolution": _off(convolved.flatten().cpu(), expected),
        "spectrum as a product": _off(basis.flatten().cpu(), np.concatenate([spectrum.real, -spectrum.imag])),
    }
    if device.type != "xla":
        found["FFT"] = _off(torch.view_as_real(torch.fft.rfft(there(frame))).cpu(), _pairs(np.fft.rfft(frame)))
    return found


def _pairs(numbers: np.ndarray) -> np.ndarray:
    return np.stack([numbers.real, numbers.imag], axis=-1)


def _off(found: torch.Tensor, expected: np.ndarray) -> float:
    """The largest difference over the largest value; NaN stays NaN, which is within no limit."""
    return float(np.abs(found.double().numpy() - expected).max() / np.abs(expected).max())


def main(name: str) -> None:
    if name == "xla":
        import os

        os.environ["PJRT_DEVICE"] = "CPU"  # also on a Trainium, whose cores would be taken
        from tts_lab.devices.xla import choose_client

        choose_client("xla")
        import torch_xla

        device = torch_xla.device()
    else:
        device = torch.device(name)
    print(json.dumps(trial(device)))


if __name__ == "__main__":
    main(sys.argv[1])
