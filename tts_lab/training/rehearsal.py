"""Every graph of a run without the run: what to trace before it, and to compile before it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from lightning.fabric.utilities import move_data_to_device

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices import Device
from tts_lab.training.checkpoints import Checkpoint
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining


@dataclass(frozen=True)
class Part:
    """A step, or a batch of a validation, that stands for all of its shape."""

    module: VitsTraining
    training: bool
    inputs: tuple
    """Of ``module.update`` or ``module.validate``."""

    def __call__(self, hardware: Device | None = None) -> Any:
        """Compute it, on ``hardware`` as a run does, or only note it down."""
        self.module.train(self.training)
        work = self.module.update if self.training else self.module.validate
        return hardware.compute(work, *self.inputs) if hardware else work(*self.inputs)


def rehearsal(
    config: TrainConfig, header: Checkpoint, corpus: Corpus, hardware: Device
) -> tuple[dict[str, Part], Counter]:
    """One part for every graph that ``config`` would compile, by name, and how many times the run would run it.

    Raises:
        UserError: as ``train`` would before its first step.
    """
    data = CorpusData(corpus, header.model, config, hardware.processes)
    module = VitsTraining(header, config, data.steps_per_epoch, data.total_steps, hardware).to(hardware.torch)
    optimizers = module.configure_optimizers()[0]
    runs, parts = Counter(), {}
    steps, validation = data.train_dataloader().dataset, data.val_dataloader().dataset
    for step in range(data.total_steps):
        adversarial = step >= config.adversarial_from
        name = f"train-{steps.shapes(step)}" + ("" if adversarial else "-without-discriminators")
        if name not in parts:
            parts[name] = Part(
                module, True, (move_data_to_device(steps[step], hardware.torch), *optimizers, adversarial)
            )
        runs[name] += 1
    for number in range(len(validation)):
        name = f"validate-{validation.shapes(number)}"
        if name not in parts:
            parts[name] = Part(module, False, (move_data_to_device(validation[number], hardware.torch),))
        runs[name] += data.total_steps // config.validate_every
    return parts, runs
