"""Which checkpoints of a run are kept: the last, the best, and those asked for by step."""

from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from tts_lab.training.config import TrainConfig


class KeepSteps(Callback):
    """Keeps the checkpoints of named steps, whatever their score."""

    def __init__(self, folder: Path, steps: list[int]) -> None:
        self.folder, self.steps = folder, set(steps)

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step in self.steps:
            trainer.save_checkpoint(self.folder / f"step-{trainer.global_step}.ckpt")


def best_and_last(config: TrainConfig, folder: Path) -> list[ModelCheckpoint]:
    """``last.ckpt`` every so many steps, and the ``keep`` best by ``keep_by``, named with step and score."""
    last = ModelCheckpoint(
        folder, filename="last", every_n_train_steps=config.checkpoint_every, enable_version_counter=False,
        save_top_k=1, save_on_train_epoch_end=False,
    )  # fmt: skip
    best = ModelCheckpoint(
        folder, filename=f"best-{{step}}-{{{config.keep_by}:.4f}}", monitor=config.keep_by, mode="min",
        save_top_k=config.keep, enable_version_counter=False,
    )  # fmt: skip
    return [last, best] if config.keep else [last]
