"""One process of a run, its draws the rows of those that a single process would make: test_processes starts several.

A process other than the first that writes anything into the run folder ends the run. Arguments: tts_lab.training's.
"""

import os
import sys

import torch

from tts_lab.training.__main__ import main
from tts_lab.training.module import VitsTraining

RANK, WORLD = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.utime", "shutil.copyfile"}


def draw_own_rows() -> None:
    """Normal draws and dropout from one generator, seeded alike everywhere; the first axis is the batch's rows."""
    generator, normal = torch.Generator(), torch.randn

    def rows(draw, size):
        return draw(size[0] * WORLD, *size[1:], generator=generator)[RANK * size[0] :][: size[0]]

    def dropout(layer, x):
        return x * (rows(torch.rand, x.shape) >= layer.p) / (1 - layer.p) if layer.training else x

    def seed(module, number):  # from here on: initial weights are drawn by all alike
        torch.randn = lambda *size, **_: rows(normal, size)
        torch.randn_like = lambda t: rows(normal, t.shape)
        torch.nn.Dropout.forward = dropout
        generator.manual_seed(number)

    VitsTraining._seed = seed


def forbid_writing(folder: str) -> None:
    def watch(event: str, arguments: tuple) -> None:
        for_writing = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (for_writing or event in WRITES) and any(str(a).startswith(folder) for a in arguments[:2]):
            print(f"rank {RANK}: {event} {arguments}", file=sys.stderr, flush=True)
            os._exit(3)

    sys.addaudithook(watch)


if __name__ == "__main__":
    draw_own_rows()
    if RANK:
        forbid_writing(next(a for a in sys.argv if a.startswith("--run=")).removeprefix("--run="))
    sys.exit(main(sys.argv[1:]))
