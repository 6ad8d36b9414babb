"""Progress of a run and its log, for who watches it."""

import sys
import time
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, Progress, TextColumn


def log(run: Path, text: str) -> None:
    """Add to the run's log.txt, with the time."""
    with open(run / "log.txt", "a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


class Terminal(Callback):
    """Loss, steps a second and time left: a bar on a terminal, else a line now and then.

    Reads only values that were logged to the loggers anyway, so that a lazy device is never asked for more.
    """

    def __init__(self, seconds_between_lines: float = 15.0) -> None:
        self.between, self.bar, self.said = seconds_between_lines, None, 0.0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.first, self.began = trainer.global_step, time.monotonic()
        if sys.stderr.isatty():
            self.bar = Progress(TextColumn("training"), BarColumn(), TextColumn("{task.description}"))
            self.task = self.bar.add_task("", total=module.place.end, completed=self.first)
            self.bar.start()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        step, now = trainer.global_step, time.monotonic()
        speed = (step - self.first) / (now - self.began)
        left = time.strftime("%H:%M:%S", time.gmtime((module.place.end - step) / speed))
        shown = [
            f"{k} {float(v):.3f}" for k, v in trainer.logged_metrics.items() if k in ("mel", "kl", "loss_d", "val_mel")
        ]
        text = f"step {step}/{module.place.end}  {'  '.join(shown)}  {speed:.2f} steps/s  {left} left"
        if self.bar:
            self.bar.update(self.task, completed=step, description=text)
        elif now - self.said > self.between or step == module.place.end:
            self.said = now
            print(text, flush=True)

    def teardown(self, *_: object, **__: object) -> None:
        if self.bar:
            self.bar.stop()
