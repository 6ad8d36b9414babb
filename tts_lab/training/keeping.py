"""Which checkpoints of a run are kept, the last, the best and those asked for by step; and when it ends early."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping, ModelCheckpoint

from tts_lab.training.config import TrainConfig
from tts_lab.training.stopping import Stop, StoppedError
from tts_lab.training.terminal import log
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


class Latest(Checkpoint):
    """Writes ``last``: every so many steps, at the end of the stage, and before the run ends for another reason.

    A step that is validated is written once its validation is done, with all that follows from it: what is best, and
    how much patience is left. Where the run ends before that, its checkpoints say that the validation is owed, and the
    run that resumes makes up for it first. Give it to the trainer after all that changes what a checkpoint holds.

    Raises:
        StoppedError: the run was asked to end (``stop``), and ``last`` has been written.
    """

    def __init__(self, config: TrainConfig, last: Path, stop: Stop) -> None:
        self.config, self.last, self.stop = config, last, stop
        self.saved_at = self.validated_at = -1  # steps done
        self.owed = False

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self.owed = checkpoint.get("validation_owed", False)
        self.validated_at = -1 if self.owed else checkpoint["global_step"]

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["validation_owed"] = self._validates(trainer) and self.validated_at != trainer.global_step

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.owed:
            loop = trainer.fit_loop.epoch_loop.val_loop
            loop.restarting = False  # from its first batch
            loop.reset_restart_stage()
            trainer.validating = True
            loop.run()
            loop._has_run = False  # or Lightning takes a step that was its epoch's last for the end of training
            trainer.training = True

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        if self._is_asked(trainer, module):
            trainer._logger_connector.update_train_step_metrics()  # Lightning logs the step only after this
            self._stop(trainer)
        if trainer.global_step % self.config.checkpoint_every == 0 and not self._validates(trainer):
            self._save(trainer)

    def on_validation_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        if self._is_asked(trainer, module):
            self._stop(trainer)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.validated_at = trainer.global_step

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.global_step % self.config.checkpoint_every == 0:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.saved_at != trainer.global_step:
            self._save(trainer)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Of an error that came between two steps, as that of a dead data worker: all until there is written.

        Not where the disk fails, nor where several processes train: the newest whole checkpoint stays.
        """
        step, batches = trainer.global_step, trainer.fit_loop.epoch_loop.batch_progress.current
        concluding = trainer.validating and self.validated_at == step  # what is best is half decided
        between = batches.ready == batches.completed and not concluding
        alone = module.hardware.processes.world == 1
        if between and alone and step not in (0, self.saved_at) and not isinstance(exception, OSError):
            with suppress(Exception):  # that of a full disk comes again; what came first is what will be told
                self._save(trainer)

    def _validates(self, trainer: L.Trainer) -> bool:
        return trainer.global_step % self.config.validate_every == 0

    def _is_asked(self, trainer: L.Trainer, module: L.LightningModule) -> bool:
        """To stop; not after the last step, where the end is as near."""
        return self.stop.agreed is not None and trainer.global_step < module.place.end

    def _stop(self, trainer: L.Trainer) -> None:
        self._save(trainer)
        said = f"step {trainer.global_step}: {self.stop.agreed}. The same command goes on from {self.last}"
        if trainer.is_global_zero:
            log(self.config.run, said)
        raise StoppedError(said)

    def _save(self, trainer: L.Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()  # TensorBoard's waits up to two minutes, and who dies then has lost its curve until here
        trainer.save_checkpoint(self.last)
        self.saved_at = trainer.global_step


def ending(config: TrainConfig) -> list[Ending]:
    """What ends a stage before its last step, if anything is asked to."""
    if config.patience is None:
        return []
    return [Ending(config.keep_by, config.least_gain, config.patience, mode=direction(config.keep_by))]


class Best(ModelCheckpoint):
    """Keeps the best checkpoints by a measure; the new one is whole before an old one goes."""

    def _should_remove_checkpoint(self, trainer: L.Trainer, previous: str, current: str) -> bool:
        """Lightning spares the file that the run resumed from: one more would stay for each time it was stopped."""
        return previous != current and Path(previous).absolute().parent == Path(self.dirpath).absolute()


def keep_best(config: TrainConfig, folder: Path) -> list[Best]:
    """What keeps the ``keep`` best by ``keep_by``, named with step and score."""
    if not config.keep:
        return []
    return [
        Best(
            folder, filename=name_format(config.keep_by), monitor=config.keep_by, mode=direction(config.keep_by),
            save_top_k=config.keep, enable_version_counter=False,
        )
    ]  # fmt: skip
