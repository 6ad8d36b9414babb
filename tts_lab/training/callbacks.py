"""What happens beside the steps: progress on the terminal, spoken samples, kept checkpoints."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import soundfile
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from rich.progress import BarColumn, Progress, TextColumn

from tts_lab.devices import Device
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.training.config import TrainConfig
from tts_lab.vits.synthesizer import Batch, Synthesizer

PATIENCE = 3  # batches of a shape that may be traced before one is replayed; two are enough
SAMPLE_NOISE = (0.667, 1.0, 0.8)  # noise, length and duration-noise scales: Piper's defaults


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
            self.task = self.bar.add_task("", total=module.total_steps, completed=self.first)
            self.bar.start()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        step, now = trainer.global_step, time.monotonic()
        speed = (step - self.first) / (now - self.began)
        left = time.strftime("%H:%M:%S", time.gmtime((module.total_steps - step) / speed))
        shown = [
            f"{k} {float(v):.3f}" for k, v in trainer.logged_metrics.items() if k in ("mel", "kl", "loss_d", "val_mel")
        ]
        text = f"step {step}/{module.total_steps}  {'  '.join(shown)}  {speed:.2f} steps/s  {left} left"
        if self.bar:
            self.bar.update(self.task, completed=step, description=text)
        elif now - self.said > self.between or step == module.total_steps:
            self.said = now
            print(text, flush=True)

    def teardown(self, *_: object, **__: object) -> None:
        if self.bar:
            self.bar.stop()


class Samples(Callback):
    """Speaks the fixed sentences every so many steps, before the first and after the last, with one fixed noise."""

    def __init__(self, config: TrainConfig, folder: Path, frontend: Frontend) -> None:
        self.config, self.folder = config, folder
        self.ids = [frontend.encode(sentence).ids for sentence in config.sentences]

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.global_step == 0:
            self.speak(trainer, module)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        if trainer.global_step % self.config.sample_every == 0 or trainer.global_step == module.total_steps:
            self.speak(trainer, module)

    def speak(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write ``samples/step-N/K.wav`` and the TensorBoard audio of the model as it is now."""
        folder = self.folder / "samples" / f"step-{trainer.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        rate = module.header.model.sample_rate
        module.eval()
        speaker = on_host(module.model_g)
        for number, ids in enumerate(self.ids):
            torch.manual_seed(number)
            audio = spoken(speaker, ids)
            soundfile.write(folder / f"{number}.wav", audio, rate)
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_audio(f"sample/{number}", audio[None], trainer.global_step, rate)
        module.train()


def on_host(generator: Synthesizer) -> Synthesizer:
    """The generator itself, or a copy on the CPU where each sentence would be a new graph to compile."""
    if next(generator.parameters()).device.type != "xla":
        return generator
    copy = Synthesizer(generator.config)
    copy.load_state_dict({name: value.cpu() for name, value in generator.state_dict().items()})
    return copy.eval()


@torch.no_grad()
def spoken(model, ids: list[int]):
    """Free-running speech of ``ids``: float32 samples ``(samples,)`` on the host, clipped to [-1, 1]."""
    device = next(model.parameters()).device
    noise, length, duration_noise = SAMPLE_NOISE
    speaker = torch.zeros(1, dtype=torch.long, device=device) if model.n_speakers > 1 else None
    text, count = torch.tensor([ids], device=device), torch.tensor([len(ids)], device=device)
    audio = model.infer(text, count, speaker, noise, length, duration_noise)[0]
    return audio[0, 0].float().clamp(-1, 1).cpu().numpy()


class CompileAlarm(Callback):
    """Says when a batch of a shape seen before made the device compile again: time, and on trn1 money, is running out.

    Says too, once, when such batches are still traced by the host, where they should be replayed.

    Raises:
        UserError: instead of a warning of compiling, where ``error``.
    """

    def __init__(self, hardware: Device, error: bool) -> None:
        self.hardware, self.error = hardware, error
        self.seen: Counter[str] = Counter()
        self.before: dict[str, float] = {}
        self.told = False

    def check(self, phase: str, batches: Sequence[Batch]) -> None:
        shapes = ", ".join(f"{tuple(b.phonemes.shape)} phonemes, {tuple(b.spectrogram.shape)} frames" for b in batches)
        key, now = f"{phase} {shapes}", self.hardware.counters()
        compiled, traced = (now.get(n, 0.0) - self.before.get(n, 0.0) for n in ("graphs_compiled", "steps_traced"))
        self.before = now
        if compiled and self.seen[key]:
            said = (
                f"{compiled:.0f} more graphs compiled for a {phase} batch of known shape ({shapes}): something else is "
                "new. PT_XLA_DEBUG_LEVEL=2 names the lines; a tensor that lives longer than its step is a common one"
            )
            if self.error:
                raise UserError(said)
            print(f"warning: {said}", flush=True)
        if traced and self.seen[key] > PATIENCE and not self.told:
            self.told = True
            print(
                f"warning: a {phase} batch of known shape ({shapes}) is traced anew at every step, which the device "
                "waits for: a tensor made on the host has another value each time. Make it an input of the step",
                flush=True,
            )
        self.seen[key] += 1

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, _: object, batch, *__: object) -> None:
        self.check("training", batch)

    def on_validation_batch_end(self, trainer, module, _: object, batch, *__: object) -> None:
        self.check("validation", [batch])


class KeepSteps(Callback):
    """Keeps the checkpoints of named steps, whatever their score."""

    def __init__(self, folder: Path, steps: list[int]) -> None:
        self.folder, self.steps = folder, set(steps)

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step in self.steps:
            trainer.save_checkpoint(self.folder / f"step-{trainer.global_step}.ckpt")


def best_and_last(config: TrainConfig, folder: Path) -> list[ModelCheckpoint]:
    """``last.ckpt`` every so many steps, and the ``keep`` best by validation mel, named with step and score."""
    last = ModelCheckpoint(
        folder, filename="last", every_n_train_steps=config.checkpoint_every, enable_version_counter=False,
        save_top_k=1, save_on_train_epoch_end=False,
    )  # fmt: skip
    best = ModelCheckpoint(
        folder, filename="best-{step}-{val_mel:.4f}", monitor="val_mel", save_top_k=config.keep,
        enable_version_counter=False,
    )  # fmt: skip
    return [last, best] if config.keep else [last]
