"""How fast a run trains, and how much of its time it waits for data."""

import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler


class DataWait(Profiler):
    """Counts the seconds in which the training loop waited for its next batch; Lightning tells when it asks."""

    seconds = 0.0
    _began = 0.0

    def start(self, action_name: str) -> None:
        if action_name.endswith("train_dataloader_next"):
            self._began = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if action_name.endswith("train_dataloader_next"):
            self.seconds += time.perf_counter() - self._began


class Throughput(Callback):
    """Logs, over the steps since it last did, what a second of training brings.

    ``steps_per_second``; ``audio_per_second``, seconds of recordings that went through the model, in all processes;
    ``data_wait``, the share of the time that went by in waiting for the next batch. The time is that of steps and of
    waiting: validation, samples and checkpoints do not count. Give it to the trainer before other callbacks, whose
    work would count as the step's.
    """

    def __init__(self, waiting: DataWait, log_every: int) -> None:
        self.waiting, self.log_every = waiting, log_every
        self._forget()

    def on_train_batch_start(self, *_: Any) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        self.busy += time.perf_counter() - self.began
        self.steps += 1
        # From the plan: of the batch on a lazy device only a computation would tell.
        self.audio += trainer.train_dataloader.dataset.seconds(trainer.global_step - 1)
        if trainer.global_step % self.log_every:
            return
        waited = self.waiting.seconds - self.waited
        seconds = self.busy + waited
        measured = {
            "steps_per_second": self.steps / seconds,
            "audio_per_second": self.audio / seconds,
            "data_wait": waited / seconds,
        }
        module.log_dict({name: torch.tensor(value) for name, value in measured.items()})
        self._forget()

    def _forget(self) -> None:
        self.steps, self.busy, self.audio, self.waited = 0, 0.0, 0.0, self.waiting.seconds
