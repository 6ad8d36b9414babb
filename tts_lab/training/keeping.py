"""Which checkpoints of a run are kept: the last, the best, and those asked for by step; and when it ends early."""

from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from tts_lab.training.config import TrainConfig
from tts_lab.voices.best import direction, name_format


class KeepSteps(Callback):
    """Keeps the checkpoints of named steps, whatever their score."""

    def __init__(self, folder: Path, steps: list[int]) -> None:
        self.folder, self.steps = folder, set(steps)

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step in self.steps:
            trainer.save_checkpoint(self.folder / f"step-{trainer.global_step}.ckpt")


class Ending(EarlyStopping):
    """Ends a stage when its validation has not become better for so long, and tells the module why."""

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        super().on_validation_end(trainer, module)
        module.out_of_patience = trainer.should_stop


def ending(config: TrainConfig) -> list[Ending]:
    """What ends a stage before its last step, if anything is asked to."""
    if config.patience is None:
        return []
    return [Ending(config.keep_by, config.least_gain, config.patience, mode=direction(config.keep_by))]


def best_and_last(config: TrainConfig, last: Path) -> list[ModelCheckpoint]:
    """``last`` every so many steps, and beside it the ``keep`` best by ``keep_by``, named with step and score."""
    folder = last.parent
    latest = ModelCheckpoint(
        folder, filename=last.stem, every_n_train_steps=config.checkpoint_every, enable_version_counter=False,
        save_top_k=1, save_on_train_epoch_end=False,
    )  # fmt: skip
    best = ModelCheckpoint(
        folder, filename=name_format(config.keep_by), monitor=config.keep_by, mode=direction(config.keep_by),
        save_top_k=config.keep, enable_version_counter=False,
    )  # fmt: skip
    return [latest, best] if config.keep else [latest]
