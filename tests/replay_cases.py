"""Cases of a replayed step, each a function, run one after another in one process; test_replay reads what came out.

Arguments: the corpus, and the cases' names.
"""

import json
import sys
import traceback
from pathlib import Path

import torch
from lightning.fabric.utilities import move_data_to_device

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices import open_device
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining
from tts_lab.vits.config import PRESETS
from tts_lab.voices.checkpoints import Checkpoint

device = open_device("xla")


def new_model(seed=0):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1)).to(device.torch)
    return model, device.adamw(model.parameters(), lr=0.1, betas=(0.8, 0.99), eps=1e-9)


def stepper(model, optimizer, factor=lambda: 1.0):
    def step(x):
        loss = (model(x) * torch.tensor(factor()).to(x.device)).square().mean()
        loss.backward()
        norm = device.reduce_and_clip(optimizer, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return {"loss": loss.detach(), "norm": norm}

    return step


def train(step, batches, seeds):
    losses = []
    for x, seed in zip(batches, seeds, strict=False):
        if seed is not None:
            device.seed(seed)
        losses.append(device.compute(step, x.to(device.torch))["loss"].cpu().item())
    return losses


def values(model, optimizer):
    state = optimizer.state_dict()["state"]
    return [p.cpu() for p in model.parameters()] + [t for s in state.values() for t in s.values()]


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def always_traced():
    """Until the next case."""
    from tts_lab.devices.replay import Recording

    Recording.same = lambda self, other: False


torch.manual_seed(1)
batches = [torch.randn(3 + n % 2, 4) for n in range(10)]


def replayed_steps_equal_traced_ones_bit_for_bit():
    model, optimizer = new_model()
    replayed = train(stepper(model, optimizer), batches, range(10))
    assert device.traced == 4, device.traced  # two for each of the two shapes
    first = values(model, optimizer)
    device.optimizers.clear()
    always_traced()
    model, optimizer = new_model()
    assert train(stepper(model, optimizer), batches, range(10)) == replayed
    assert device.traced == 14
    assert same(first, values(model, optimizer)) and optimizer.steps == 10
    assert device.counters()["fallbacks"] == 0


def the_seed_alone_decides_what_is_drawn_traced_or_replayed():
    def draw(x):
        return x + torch.randn(3, device=device.torch)

    def drawn(seed):
        if seed is not None:
            device.seed(seed)
        return device.compute(draw, torch.zeros(3).to(device.torch)).cpu()

    sevens = [drawn(7) for _ in range(4)]
    assert all(torch.equal(each, sevens[0]) for each in sevens) and device.traced == 2
    assert not torch.equal(drawn(8), sevens[0])
    device.seed(7)
    rows = [drawn(None) for _ in range(3)]
    assert torch.equal(rows[0], sevens[0]) and not torch.equal(rows[1], rows[0]) and not torch.equal(rows[2], rows[1])


def what_changes_without_being_an_input_is_never_replayed():
    counter = iter(range(1, 100))
    model, optimizer = new_model()
    losses = train(stepper(model, optimizer, lambda: float(next(counter))), [batches[0]] * 5, [3] * 5)
    assert device.traced == 5, "a factor that changes from step to step was taken for a constant"
    device.optimizers.clear()
    counter = iter(range(1, 100))
    model, optimizer = new_model()
    eager = []
    for _ in range(5):
        device.seed(3)
        step = stepper(model, optimizer, lambda: float(next(counter)))
        eager.append(step(batches[0].to(device.torch))["loss"].item())
        device.torch_xla.sync()
    assert losses == eager


def what_the_step_leaves_alone_keeps_its_value():
    model, optimizer = new_model()
    idle, other = new_model(5)
    before = values(idle, other)

    def step(x):
        frozen = idle(x).detach()
        return stepper(model, optimizer)(x + frozen)

    train(step, [batches[0]] * 5, range(5))
    assert device.traced == 2
    assert same(before, values(idle, other)) and other.steps == 0 and optimizer.steps == 5


def a_rate_that_changes_reaches_a_replayed_step():
    def run():
        model, optimizer = new_model()
        step = stepper(model, optimizer)
        for n in range(6):
            optimizer.param_groups[0]["lr"] = 0.1 / (n + 1)
            device.seed(n)
            device.compute(step, batches[0].to(device.torch))
        return values(model, optimizer)

    replayed = run()
    assert device.traced == 2
    always_traced()
    device.optimizers.clear()
    assert same(replayed, run())


def two_inputs_that_were_one_tensor_are_not_taken_for_one():
    x, y = (torch.full((3,), value).to(device.torch) for value in (1.0, 2.0))

    def add(pair):
        return pair[0] + 10 * pair[1]

    for _ in range(3):
        assert device.compute(add, (x, x)).cpu().tolist() == [11.0] * 3
    assert device.compute(add, (x, y)).cpu().tolist() == [21.0] * 3


def the_training_step_is_replayed_bit_for_bit():
    corpus = Corpus.load(Path(sys.argv[1]))
    config = TrainConfig(
        corpus.folder, max_steps=8, preset="tiny", batch_size=2, buckets=1, limit_utterances=4, clip=50.0
    )
    data = CorpusData(corpus, PRESETS["tiny"], config)
    steps = data.train_dataloader().dataset

    def run():
        device.optimizers.clear()
        torch.manual_seed(0)
        module = VitsTraining(Checkpoint(PRESETS["tiny"], {}, {}), config, 1, 8, device).to(device.torch).train()
        optimizers = module.configure_optimizers()[0]
        for n in range(6):
            device.seed(n)
            terms = device.compute(module.update, move_data_to_device(steps[n], device.torch), *optimizers, True)
        return [t.cpu() for t in terms.values()] + [t for o in optimizers for t in values(module, o)]

    replayed = run()
    assert device.traced == 2, device.traced
    always_traced()
    traced = run()
    assert device.traced == 8
    assert len(replayed) > 1000 and same(replayed, traced)
    assert device.counters()["graphs_compiled"] <= 2, "the same step must be the same graph, in another module too"


if __name__ == "__main__":
    from tts_lab.devices.replay import Recording  # torch_xla is imported by it, and after the client is chosen

    same_recording = Recording.same
    outcomes = {}
    for name in sys.argv[2:]:
        device.optimizers.clear()
        device.repeated.clear()
        device.traced, Recording.same = 0, same_recording
        try:
            globals()[name]()
            outcomes[name] = ""
        except Exception:
            outcomes[name] = traceback.format_exc()
    print(json.dumps(outcomes))
