"""Our training step against stock Piper's: the same modules, draws and batches, alternating in one process."""

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.stock import segment_starts, stock_batch, stock_model, stock_step
from tts_lab.corpus.corpus import Corpus
from tts_lab.devices.processor import keep_freed_memory
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining
from tts_lab.vits.config import PRESETS
from tts_lab.vits.synthesizer import Batch
from tts_lab.voices.checkpoints import Checkpoint


def real_batches(corpus: Corpus, rows: int, count: int) -> list[Batch]:
    """The first ``count`` batches of ``rows`` rows that a run on ``corpus`` trains on, of all its shapes."""
    data = CorpusData(corpus, PRESETS["medium"], TrainConfig(corpus.folder, max_steps=count, batch_size=rows))
    steps = data.train_dataloader().dataset
    return [steps[step][0] for step in range(count)]


def pair(corpus: Corpus):
    """Stock and ours with equal parameters: two functions that update from a batch, and the two models."""
    torch.manual_seed(0)
    stock = stock_model()
    ours = VitsTraining(Checkpoint(PRESETS["medium"], {}, {}), TrainConfig(corpus.folder, max_steps=1), 1, 1)
    ours.log_dict = lambda *_: None
    ours.model_g.load_state_dict(stock.model_g.state_dict())
    ours.model_d.load_state_dict(stock.model_d.state_dict())
    stock_optimizers, (ours_g, ours_d) = stock.configure_optimizers()[0], ours.configure_optimizers()[0]

    def stock_update(batch: Batch) -> None:
        with segment_starts(batch.starts):
            stock_step(stock, stock_optimizers, stock_batch(batch))

    def our_update(batch: Batch) -> None:
        ours.update([batch], ours_g, ours_d)

    return stock_update, our_update, stock, ours


def update_error(stock: nn.Module, ours: nn.Module) -> float:
    """``|ours - stock| / |stock|`` over all parameters as one vector (Euclidean norms).

    Not tensor by tensor: AdamW turns a gradient that is zero but for rounding (the attention's key biases, which
    softmax cancels) into a full step of random sign, in stock Piper from one thread count to the next as well.
    """
    with torch.no_grad():
        apart = [(a - b).norm() for a, b in zip(stock.parameters(), ours.parameters(), strict=True)]
        return float(torch.stack(apart).norm() / torch.stack([p.norm() for p in stock.parameters()]).norm())


def measure(corpus_folder: Path, pairs: int = 8) -> list[dict[str, Any]]:
    keep_freed_memory()  # as our training does; stock gains by it too
    corpus = Corpus.load(corpus_folder)
    stock_update, our_update, stock, ours = pair(corpus)
    batches = real_batches(corpus, 8, 3 + pairs)
    for step, batch in enumerate(batches[:3]):
        for update in (stock_update, our_update):
            torch.manual_seed(step)
            update(batch)
    error = max(update_error(stock.model_g, ours.model_g), update_error(stock.model_d, ours.model_d))
    print(f"parameters after 3 steps: {error:.1e} apart")
    samples = []
    for batch in batches[3:]:
        seconds = []
        for update in (stock_update, our_update):
            began = time.perf_counter()
            update(batch)
            seconds.append(time.perf_counter() - began)
        samples.append(seconds[0] / seconds[1])
        shape = f"{batch.phonemes.shape[1]} phonemes x {batch.spectrogram.shape[2]} frames"
        print(f"{shape}: stock {seconds[0]:.2f} s, ours {seconds[1]:.2f} s: {samples[-1]:.2f}", flush=True)
    return [
        {"name": "train_step_vs_stock", "value": median(samples), "unit": "x", "bar": 1.4, "goal": 2.0,
         "samples": samples},
        {"name": "update_error_vs_stock", "value": error, "unit": "relative", "bar": 1e-4, "goal": 1e-5,
         "samples": [error]},
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("build/corpus"))
    parser.add_argument("--pairs", type=int, default=8)
    options = parser.parse_args()
    print(measure(options.corpus, options.pairs))
