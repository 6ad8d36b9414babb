"""Host time to trace one step for Neuron: ours against a plain port of stock Piper's, side by side, nothing compiled.

The plain port is stock's step with only what cannot be traced replaced: spline, weight norm, splits, spectrogram,
alignment, segments, host reads. Like stock it runs its discriminators twice and AdamW tensor by tensor.
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

SHAPE = (16, 192, 512)  # utterances, phonemes, frames


def measure(rounds: int = 9) -> list[dict[str, Any]]:
    """In a process of its own, which the Neuron lowering needs."""
    from tts_lab.devices.lowering import ENVIRONMENT

    # Without the names that only a reader of the graph needs, and that take time.
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(Path.cwd()), "XLA_HLO_DEBUG": "0"}
    command = [sys.executable, "-m", "benchmarks.trace", str(rounds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    found = json.loads(done.stdout.splitlines()[-1])
    ours, plain = found["ours"], found["plain"]
    ratios = [a / b for a, b in zip(ours["seconds"], plain["seconds"], strict=True)]
    print(f"tracing: plain {median(plain['seconds']):.3f} s, ours {median(ours['seconds']):.3f} s; {found}")
    return [
        {"name": "trace_seconds", "value": median(ours["seconds"]), "unit": "s", "bar": None, "goal": 0.15,
         "samples": ours["seconds"]},
        {"name": "trace_vs_plain", "value": median(ratios), "unit": "of plain", "bar": 1 / 3, "goal": 1 / 3,
         "samples": ratios},
        {"name": "hlo_instructions", "value": ours["instructions"], "unit": "instructions", "bar": None, "goal": None,
         "samples": [ours["instructions"], plain["instructions"]]},
    ]  # fmt: skip


def compare(rounds: int) -> dict[str, dict[str, Any]]:
    """Trace both steps in turn: seconds of each, and instructions of their graphs."""
    import torch_xla
    from torch_xla import _XLAC

    from tts_lab.devices.lowering import emulate_neuron, lower
    from tts_lab.preflight.hlo import Graph

    hardware = emulate_neuron()
    steps = {"plain": plain_step(hardware), "ours": our_step(hardware)}
    batch = random_batch(*SHAPE, hardware.torch)
    torch_xla.sync()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            kept = step(batch)
            seconds[name].append(time.perf_counter() - began)
            del kept
            _XLAC._clear_pending_irs(str(hardware.torch))
    sizes = {name: len(Graph.parse(lower(step, batch).text).entry) for name, step in steps.items()}
    return {name: {"seconds": seconds[name][1:], "instructions": sizes[name]} for name in steps}


def our_step(hardware):
    """The step of ``VitsTraining``, medium."""
    import torch

    module = _training(hardware)
    optimizers = module.configure_optimizers()[0]
    return lambda batch: torch.stack(list(module.update([batch], *optimizers).values()))


def plain_step(hardware):
    """Stock's order of work on traceable layers."""
    import torch
    from piper.train.vits import attentions, models
    from piper.train.vits.losses import feature_loss, generator_loss
    from torch.nn import Conv1d

    from tts_lab.training.module import DISCRIMINATED_FRAMES, MEL_WEIGHT
    from tts_lab.vits import attention, layers, synthesizer
    from tts_lab.vits.losses import discriminator_loss

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
            part.__class__ = Conv1d
        for hook in part._forward_pre_hooks.values():
            hook.__class__ = PlainWeightNorm
    optimizers = [
        torch.optim.AdamW(model.parameters(), lr=2e-4, betas=(0.8, 0.99), eps=1e-9, foreach=False)
        for model in (module.model_g, critic)
    ]

    def step(batch):
        with mock.patch.object(synthesizer, "normalise_together"):
            generated = module.model_g(batch)
        terms = module.reconstruction(generated, batch)
        heard = DISCRIMINATED_FRAMES * module.header.model.spectrogram.hop_length
        real, made = batch.segment[..., :heard], generated.audio[..., :heard]
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
    from tts_lab.training.checkpoints import Checkpoint
    from tts_lab.training.config import TrainConfig
    from tts_lab.training.module import VitsTraining
    from tts_lab.vits.config import PRESETS

    config = TrainConfig(Path("build/bench/allison"), max_steps=1)
    return VitsTraining(Checkpoint(PRESETS["medium"], {}, {}), config, 1, 1, hardware).to(hardware.torch).train()


def random_batch(rows, phonemes, frames, device):
    """Tracing looks at shapes alone, so noise will do."""
    import torch
    from lightning.fabric.utilities import move_data_to_device

    from tts_lab.vits.config import PRESETS
    from tts_lab.vits.synthesizer import Batch

    model = PRESETS["medium"]
    batch = Batch(
        phonemes=torch.ones(rows, phonemes, dtype=torch.long), phoneme_lengths=torch.full((rows,), phonemes),
        spectrogram=torch.rand(rows, model.spectrogram.bins, frames), frames=torch.full((rows,), frames),
        starts=torch.zeros(rows, dtype=torch.long), segment=torch.rand(rows, 1, model.segment_samples),
        segment_spectrogram=torch.rand(rows, model.spectrogram.bins, model.segment_frames),
    )  # fmt: skip
    return move_data_to_device(batch, device)


if __name__ == "__main__":
    print(json.dumps(compare(int(sys.argv[1]))))
