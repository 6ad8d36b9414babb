"""Ten updates of a tiny model with the draws made on the host, in a process of its own: test_xla compares several.

Arguments: eager, plain or neuron (the lowering), the corpus, the file for the parameters after 0, 1 and 10 updates, and
settings of the run as name=value. Or trace, which writes the HLO of an update there and runs none.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices import open_device
from tts_lab.devices.lowering import emulate_neuron, lower
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining
from tts_lab.training.stages import Place
from tts_lab.vits.config import PRESETS
from tts_lab.voices.checkpoints import Checkpoint


def draw_on_the_host(module: VitsTraining) -> None:
    """Normal draws from one generator of the CPU, wherever they go, and no dropout."""
    generator, normal = torch.Generator(), torch.randn
    module._seed = generator.manual_seed
    torch.randn = lambda *size, device: normal(*size, generator=generator).to(device)
    torch.randn_like = lambda t: normal(t.shape, generator=generator).to(t)
    torch.nn.Dropout.forward = lambda self, x: x


def main(lowering: str, folder: Path, out: Path, **settings: Any) -> None:
    devices = {
        "eager": lambda: open_device("cpu"), "plain": lambda: open_device("xla"), "neuron": emulate_neuron,
        "trace": emulate_neuron,
    }  # fmt: skip
    hardware = devices[lowering]()
    corpus = Corpus.load(folder)
    corpus.utterances.sort(key=lambda u: u.samples)
    sizes = {"max_steps": 10, "preset": "tiny", "batch_size": 2, "buckets": 1, "limit_utterances": 2, "clip": 50.0}
    config = TrainConfig(folder, **sizes, **settings)
    model = PRESETS["tiny"]
    data = CorpusData(corpus, model, config)
    torch.manual_seed(1)
    module = VitsTraining(Checkpoint(model, {}, {}), Place(config, 10), 1, hardware)
    with torch.no_grad():  # what starts at zero would hide a fault
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.02)
    module.to(hardware.torch).train()
    batch = move_data_to_device(data.train_dataloader().dataset[0], hardware.torch)
    optimizers = module.configure_optimizers()[0]
    if lowering == "trace":
        out.write_text(lower(module.update, batch, *optimizers).text)
        return
    draw_on_the_host(module)
    states, counts = {0: {name: value.cpu().clone() for name, value in module.state_dict().items()}}, []
    for step in range(1, 11):
        terms = hardware.compute(module.update, module.begin(batch, step), *optimizers)
        assert not float(terms.pop("halted").cpu())
        counts.append(hardware.counters())
        if step in (1, 10):
            states[step] = {name: value.cpu().clone() for name, value in module.state_dict().items()} | {
                "terms": torch.stack([value.cpu() for value in terms.values()])
            }
    torch.save(states, out)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), **dict(setting.split("=") for setting in sys.argv[4:]))
