"""Every graph of a run without the run: what to trace before it, and to compile before it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices import Device
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining
from tts_lab.training.stages import places
from tts_lab.vits.synthesizer import Batch
from tts_lab.voices.checkpoints import Checkpoint


@dataclass(frozen=True)
class Part:
    """A step, a batch of a validation, or the search for an alignment that stands for all of its shape."""

    work: Callable[..., Any]
    """A method of the training module."""
    training: bool
    inputs: tuple

    @property
    def module(self) -> VitsTraining:
        return self.work.__self__

    def __call__(self, hardware: Device | None = None) -> Any:
        """Compute it, on ``hardware`` as a run does, or only note it down."""
        self.module.train(self.training)
        return hardware.compute(self.work, *self.inputs) if hardware else self.work(*self.inputs)


def rehearsal(
    config: TrainConfig, header: Checkpoint, corpus: Corpus, hardware: Device
) -> tuple[dict[str, Part], Counter]:
    """One part for every graph that ``config`` would compile, by name, and how many times the run would run it.

    Raises:
        UserError: as ``train`` would before its first step.
    """
    data = CorpusData(corpus, header.model, config, hardware.processes)
    parts, runs = {}, Counter()
    for place in places(config, data.total_steps):
        prefix = f"stage-{place.number + 1}-" if place.count > 1 else ""
        own, times = _stage(VitsTraining(header, place, data.steps_per_epoch, hardware).to(hardware.torch), data)
        parts |= {prefix + name: part for name, part in own.items()}
        runs.update({prefix + name: count for name, count in times.items()})
    return parts, runs


def _stage(module: VitsTraining, data: CorpusData) -> tuple[dict[str, Part], Counter]:
    """As ``rehearsal``, of the stage that ``module`` trains."""
    place, config, hardware = module.place, module.config, module.hardware
    optimizers = module.configure_optimizers()[0]
    steps, validation = data.train_dataloader().dataset, data.val_dataloader().dataset
    parts: dict[str, Part] = {}
    runs, searches = Counter(), Counter()

    def aligned(batches: list[Batch], name: str, training: bool) -> list[Batch]:
        """On the device; where the host searches alignments, with one, and with the graph that comes before it."""
        batches = move_data_to_device(batches, hardware.torch)
        if config.alignment == "device":
            return batches
        for batch in batches:
            phonemes, frames = batch.phonemes.shape[1], batch.spectrogram.shape[2]
            search = f"align-{'train' if training else 'validate'}-{phonemes}x{frames}"
            parts.setdefault(search, Part(module.score, training, (batch, training)))
            searches[name, search] += 1
        shapes = [(len(b.phonemes), b.spectrogram.shape[2], b.phonemes.shape[1]) for b in batches]
        return [replace(b, path=torch.zeros(s, device=hardware.torch)) for b, s in zip(batches, shapes, strict=True)]

    for step in range(place.began, place.end):
        adversarial = module.is_adversarial(step)
        name = f"train-{steps.shapes(step)}" + ("" if adversarial else "-without-discriminators")
        if name not in parts:
            inputs = aligned(steps[step], name, True), *optimizers, adversarial, module.halted
            parts[name] = Part(module.update, True, inputs)
        runs[name] += 1
    for number in range(len(validation)):
        name = f"validate-{validation.shapes(number)}"
        if name not in parts:
            parts[name] = Part(module.validate, False, tuple(aligned([validation[number]], name, False)))
        runs[name] += place.end // config.validate_every - place.began // config.validate_every
    for (name, search), times in searches.items():
        runs[search] += times * runs[name]
    return parts, runs
