"""Host time of one step for Neuron: ours against a plain port of stock Piper's, side by side in the Neuron lowering.

The plain port is stock's step with only what cannot be traced replaced: spline, weight norm, splits, spectrogram,
alignment, segments, host reads. Like stock it runs its discriminators twice and AdamW tensor by tensor, and like
every lazy step it is traced each time. Ours is traced for two steps of a shape; after them its graph is replayed.

The medium step is too large to compile here. What its replay costs the host depends on the number of tensors that go
in and come out, not on the graph or their size: it is measured on additions to as many tensors of one number each,
so that computing, which torch-xla's CPU client does in the same thread, takes none of the time.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from lightning.fabric.utilities import move_data_to_device
from piper.train.vits import attentions, models
from piper.train.vits.losses import feature_loss, generator_loss
from torch import nn

from tts_lab.devices import open_device
from tts_lab.devices.lowering import ENVIRONMENT, emulate_neuron, lower
from tts_lab.preflight.hlo import Graph
from tts_lab.training.config import TrainConfig
from tts_lab.training.module import DISCRIMINATED_FRAMES, MEL_WEIGHT, VitsTraining
from tts_lab.training.stages import Place
from tts_lab.vits import attention, layers, synthesizer
from tts_lab.vits.config import PRESETS
from tts_lab.vits.losses import discriminator_loss
from tts_lab.vits.synthesizer import Batch
from tts_lab.voices.checkpoints import Checkpoint

SHAPE = (16, 192, 512)  # utterances, phonemes, frames
ADAMW = {"lr": 2e-4, "betas": (0.8, 0.99), "eps": 1e-9}
CONSTANTS = 80  # inputs that are neither state nor batch: 69 in the tiny preset's step, the numbers of scalars alike


def measure(rounds: int = 9) -> list[dict[str, Any]]:
    """Each in a process of its own: the Neuron lowering cannot be undone, and its emulation replays nothing."""
    # Without the names that only a reader of the graph needs, and that take time.
    found = _in_a_process("compare", rounds, ENVIRONMENT | {"XLA_HLO_DEBUG": "0"})
    found["seconds"]["replayed"] = _in_a_process("replay", rounds, {})
    plain, traced, replayed = (found["seconds"][name] for name in ("plain", "ours", "replayed"))
    ratios = [a / b for a, b in zip(replayed, plain, strict=True)]
    print(f"host time of a step: plain {median(plain):.3f} s, ours traced {median(traced):.3f} s; {found}")
    return [
        {"name": "trace_seconds", "value": median(replayed), "unit": "s", "bar": None, "goal": 0.15,
         "samples": replayed},
        {"name": "trace_vs_plain", "value": median(ratios), "unit": "of plain", "bar": 1 / 3, "goal": 1 / 3,
         "samples": ratios},
        {"name": "first_trace_vs_plain", "value": median(traced) / median(plain), "unit": "of plain", "bar": None,
         "goal": None, "samples": traced},
        {"name": "hlo_instructions", "value": found["instructions"]["ours"], "unit": "instructions", "bar": None,
         "goal": None, "samples": list(found["instructions"].values())},
    ]  # fmt: skip


def _in_a_process(task: str, rounds: int, environment: dict[str, str]) -> Any:
    command = [sys.executable, "-m", "benchmarks.trace", task, str(rounds)]
    environment = os.environ | environment | {"PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def compare(rounds: int) -> dict[str, dict[str, Any]]:
    """Host seconds of a step, both traced in turn; and instructions of the two graphs."""
    import torch_xla

    hardware = emulate_neuron()
    steps = {"plain": plain_step(hardware), "ours": our_step(hardware)}
    batch = random_batch(*SHAPE, hardware.torch)
    torch_xla.sync()
    sizes = {name: len(Graph.parse(lower(step, batch).text).entry) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            kept = step(batch)
            seconds[name].append(time.perf_counter() - began)
            del kept
            torch_xla._XLAC._clear_pending_irs(str(hardware.torch))  # nothing has its value any more, nor needs it
    return {"seconds": {name: each[1:] for name, each in seconds.items()}, "instructions": sizes}


def replay(rounds: int) -> list[float]:
    """Host seconds of steps that are not traced, with as many tensors as our step reads and changes."""
    hardware = open_device("xla")
    from torch_xla.core import xla_model

    batch = random_batch(*SHAPE, hardware.torch)
    training = _training(hardware)
    optimizers = [
        hardware.adamw([nn.Parameter(torch.zeros(1, device=hardware.torch)) for _ in part.parameters()], **ADAMW)
        for part in (training.model_g, training.model_d)
    ]
    constants = [torch.full((), float(n)).to(hardware.torch) for n in range(CONSTANTS)]

    @torch.no_grad()
    def work(batch: Batch) -> list[torch.Tensor]:
        read = sum(tensor.flatten()[0].float() for tensor in vars(batch).values() if tensor is not None)
        for optimizer in optimizers:
            for tensor in optimizer.tensors():
                tensor.add_(optimizer.numbers[0])
        return [constant + read for constant in constants]

    seconds = []
    for _ in range(rounds + 3):
        hardware.compute(work, batch)
        seconds.append(hardware.host_seconds)
        xla_model.wait_device_ops()  # the host alone is timed
    assert hardware.traced == 2, "the step was traced again"
    return seconds[3:]


def our_step(hardware):
    """The step of ``VitsTraining``, medium."""
    module = _training(hardware)
    optimizers = module.configure_optimizers()[0]
    return lambda batch: module.update([batch], *optimizers)


def plain_step(hardware):
    """Stock's order of work on traceable layers."""

    class PlainWeightNorm(layers.PrimitiveWeightNorm):
        def compute_weight(self, module):
            norm = torch.linalg.vector_norm(module.weight_v, dim=self.axes(module), keepdim=True)
            return module.weight_v * (module.weight_g / norm)

    module = _training(hardware)
    critic = layers.make_static(models.MultiPeriodDiscriminator()).to(hardware.torch)
    for part in (*module.model_g.modules(), *critic.modules()):  # what is here to be faster, not to be traceable
        if type(part) is attention.MultiHeadAttention:
            part.__class__ = attentions.MultiHeadAttention
        elif type(part) is layers.Conv1d:
            part.__class__ = nn.Conv1d
        for hook in part._forward_pre_hooks.values():
            hook.__class__ = PlainWeightNorm
    optimizers = [torch.optim.AdamW(model.parameters(), foreach=False, **ADAMW) for model in (module.model_g, critic)]

    def step(batch):
        with mock.patch.object(synthesizer, "normalise_together"):
            generated = module.model_g(batch)
        terms = module.reconstruction(generated, batch)
        heard = DISCRIMINATED_FRAMES * module.header.model.spectrogram.hop_length
        real, made = batch.segment[..., :heard], generated.made[..., :heard]
        _, scores_g, features_r, features_g = critic(real, made)
        loss_g = MEL_WEIGHT * terms["mel"] + terms["kl"] + terms["duration"]
        loss_g = loss_g + generator_loss(scores_g)[0] + feature_loss(features_r, features_g)
        scores_r, scores_g, _, _ = critic(real, made.detach())
        loss_d = discriminator_loss(scores_r, scores_g)
        for loss, optimizer in zip((loss_g, loss_d), optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss_g, loss_d

    return step


def _training(hardware):
    config = TrainConfig(Path("build/bench/allison-22050"), max_steps=1)
    return VitsTraining(Checkpoint(PRESETS["medium"], {}, {}), Place(config, 1), 1, hardware).to(hardware.torch).train()


def random_batch(rows, phonemes, frames, device):
    """Tracing looks at shapes alone, so noise will do."""
    model = PRESETS["medium"]
    batch = Batch(
        phonemes=torch.ones(rows, phonemes, dtype=torch.long), phoneme_lengths=torch.full((rows,), phonemes),
        spectrogram=torch.rand(rows, model.spectrogram.bins, frames), frames=torch.full((rows,), frames),
        starts=torch.zeros(rows, dtype=torch.long), segment=torch.rand(rows, 1, model.segment_samples),
        segment_spectrogram=torch.rand(rows, model.spectrogram.bins, model.segment_frames),
    )  # fmt: skip
    return move_data_to_device(batch, device)


if __name__ == "__main__":
    print(json.dumps({"compare": compare, "replay": replay}[sys.argv[1]](int(sys.argv[2]))))
