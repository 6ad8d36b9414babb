"""The graphs of a training run: one a batch shape, for training and for validation."""

import os
from collections import Counter

import torch
from lightning.fabric.utilities import move_data_to_device

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices.lowering import emulate_neuron
from tts_lab.devices.processes import Processes
from tts_lab.preflight import Preflight, preflight
from tts_lab.training.checkpoints import read_checkpoint
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining
from tts_lab.training.run import voice_header
from tts_lab.vits.synthesizer import Batch


def preflight_run(config: TrainConfig, processes: int = 1) -> tuple[Preflight, Counter]:
    """Trace every graph that ``config`` would compile on trn1.

    Args:
        processes: one a core; of more than one, all compile what the first does.

    Returns:
        What was found, and how many times the run would run each graph.

    Raises:
        UserError: as ``train`` would before its first step; or the environment for the Neuron lowering is not set.
    """
    corpus = Corpus.load(config.corpus)
    header = voice_header(config, corpus, read_checkpoint(config.warm_start) if config.warm_start else None)
    data = CorpusData(corpus, header.model, config, Processes(world=processes))
    hardware = emulate_neuron()
    hardware.processes = data.processes
    if processes > 1:
        os.environ["XLA_ALWAYS_ALLREDUCE"] = "1"  # else the one client that is here leaves all-reduces out
    module = VitsTraining(header, config, data.steps_per_epoch, data.total_steps, hardware).to(hardware.torch)
    optimizers = module.configure_optimizers()[0]

    def train(case: tuple[list[Batch], bool]) -> torch.Tensor:
        batches, adversarial = case
        module.train()
        return torch.stack(list(module.update(batches, *optimizers, adversarial).values()))

    @torch.no_grad()
    def validate(batch: Batch) -> list[torch.Tensor]:
        module.eval()
        return list(module.reconstruction(module.model_g(batch), batch).values())

    runs, training, validation = Counter(), {}, {}
    steps = data.train_dataloader().dataset
    for step in range(data.total_steps):
        adversarial = step >= config.adversarial_from
        name = f"train-{steps.shapes(step)}" + ("" if adversarial else "-without-discriminators")
        if name not in training:
            training[name] = (move_data_to_device(steps[step], hardware.torch), adversarial)
        runs[name] += 1
    batches = data.val_dataloader().dataset
    for number in range(len(batches)):
        name = f"validate-{batches.shapes(number)}"
        if name not in validation:
            validation[name] = move_data_to_device(batches[number], hardware.torch)
        runs[name] += data.total_steps // config.validate_every
    return preflight(train, training) + preflight(validate, validation), runs
