"""``python -m tts_lab.notebook.lazy FOLDER``: sums on torch-xla's CPU client, with and without what makes it slow.

Each writes its counters after every step, as a run does, to ``FOLDER/NAME/metrics.csv``: ``shapes`` is given another
shape each time, ``spectrum`` asks for an FFT, which this device has not, ``healthy`` does the same with one shape and
with a matrix product. Nothing is replayed, for that hides what tracing costs.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from tts_lab.devices import open_device
from tts_lab.features import fourier_basis
from tts_lab.training.metrics import MetricsCsv

STEPS, FRAMES, LONG = 12, 8, 256


def by_product(frames: Tensor) -> dict[str, Tensor]:
    """A spectrum's energy, of frames ``(F, LONG)``, as `tts_lab.features` says it."""
    return {"energy": (frames @ fourier_basis(LONG).to(frames.device)).square().sum()}


def by_fft(frames: Tensor) -> dict[str, Tensor]:
    """The same by the operation that everybody takes."""
    return {"energy": torch.fft.rfft(frames).abs().square().sum()}


def main(folder: Path) -> None:
    device = open_device("xla", replay=False)
    cases = {"shapes": (by_product, 1), "spectrum": (by_fft, 0), "healthy": (by_product, 0)}
    for name, (work, growth) in cases.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        log, before = MetricsCsv(folder / name, 1, 0), device.counters()
        for step in range(STEPS):
            frames = torch.ones(FRAMES + growth * step, LONG).to(device.torch)
            device.compute(work, frames)["energy"].cpu()
            counted = {key: value - before.get(key, 0.0) for key, value in device.counters().items()}
            log.log_metrics(counted, step)
        graphs, fallbacks = counted["graphs_compiled"], counted["fallbacks"]
        print(f"{name}: in {STEPS} steps {graphs:.0f} graphs compiled, {fallbacks:.0f} operations fell back")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
