"""Counts the outputs of a training step's graph, in a process of its own: test_lowering knows what they must be.

Arguments: the corpus, and the preset (tiny by default).
"""

import json
import sys
from pathlib import Path

import torch
from lightning.fabric.utilities import move_data_to_device

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices.lowering import emulate_neuron, lower
from tts_lab.preflight.hlo import Graph
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining
from tts_lab.vits.config import PRESETS
from tts_lab.voices.checkpoints import Checkpoint


def main(folder: Path, preset: str = "tiny") -> None:
    hardware, corpus, model = emulate_neuron(), Corpus.load(folder), PRESETS[preset]
    config = TrainConfig(folder, max_steps=1, preset=preset, batch_size=2, buckets=1, limit_utterances=4, clip=50.0)
    data = CorpusData(corpus, model, config)
    module = VitsTraining(Checkpoint(model, {}, {}), config, 1, 1, hardware).to(hardware.torch).train()
    optimizers = module.configure_optimizers()[0]
    batch = move_data_to_device(data.train_dataloader().dataset[0], hardware.torch)
    step = lower(lambda: torch.stack(list(module.update(batch, *optimizers).values())))
    outputs = Graph.parse(step.text).entry[-1].operands
    counts = {
        "outputs": len(outputs),
        "bytes": sum(array.bytes for array in outputs),
        "parameters": sum(1 for _ in module.parameters()),
        "optimizers": len(optimizers),
    }
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
