"""A loss or gradient that is no finite number: noticed, named, written down so that it can be seen again."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from tts_lab.devices.flat_adamw import FlatAdamW
from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.module import VitsTraining
from tts_lab.training.stopping import Stop
from tts_lab.training.terminal import log
from tts_lab.vits.synthesizer import Batch
from tts_lab.voices.checkpoints import save_atomically

FORMAT = "tts_lab/bad/1"
TERMS = ("mel", "kl", "duration", "adversarial", "feature", "loss_d", "loss_g", "grad_norm_g", "grad_norm_d")
"""In the order in which a step computes them: a bad one makes those after it bad."""
IN_A_ROW = 10
"""Steps skipped one after another, each of them bad by itself, after which a run stops whatever it was told."""
FILES = 3
"""Written in a run at most: each holds all weights."""


class BadNumbersError(UserError):
    """A run was stopped by a loss or a gradient that is no finite number."""


def first_bad(terms: dict[str, float]) -> str | None:
    """The first of a step's terms, in the order they are computed, that is no finite number."""
    return next((name for name in TERMS if name in terms and not isfinite(terms[name])), None)


@dataclass(frozen=True)
class BadStep:
    """A step that was not taken."""

    step: int
    """Updates done before it."""
    terms: dict[str, float]
    utterances: list[list[list[str]]]
    """The ids of this process's rows, of each of the step's batches."""
    spoilt: list[str]
    """Those of them whose recording itself holds what is no number."""

    @property
    def words(self) -> str:
        term = first_bad(self.terms)
        value = self.terms[term] if term else float("nan")
        named = ", ".join(dict.fromkeys(i for batch in self.utterances for row in batch for i in row))
        said = f"step {self.step}: {term or 'a term of another process'} is {value}. Its utterances: {named}"
        if self.spoilt:
            said += f". The prepared audio of {', '.join(self.spoilt)} holds values that are no numbers"
        return said


class BadNumbers(Callback):
    """Stops a run at a step that would have spoilt it, or skips the step, as ``config.bad_numbers`` says.

    The device itself takes no such step and, until somebody has looked, none after it (`VitsTraining.update`). This
    looks: on a CPU, where that costs nothing, after each step, elsewhere when a value is read anyway, which is when a
    row is logged and before validations, samples and checkpoints. So weights and optimizers are those before the bad
    step, and are written with all else that it needs as ``bad-STEP.pt`` (`tts_lab.training.reproduce`). Steps that the
    device left out in between are made up for where the run stops there, and lost where it skips.

    Give it to the trainer before all that writes checkpoints.

    Raises:
        BadNumbersError: to stop, after it has made ``last`` a whole checkpoint of the run as it was before the step.
    """

    def __init__(self, config: TrainConfig, last: Path, stop: Stop, every_step: bool) -> None:
        self.config, self.last, self.stop, self.every_step = config, last, stop, every_step
        self.steps: list[tuple[int, dict[str, Tensor], Tensor]] = []
        self.row = 0
        self.written = 0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        done = trainer.global_step
        self.steps.append((done - 1, module.measured, module.halted))
        if not self._due(done, module):
            return
        steps, self.steps = self.steps, []
        if not float(module.halted.cpu()):  # read by a copy: a value asked for by itself is a fallback on XLA
            self.row = 0
            return
        at = next(n for n, (_, _, halted) in enumerate(steps) if float(halted.cpu()))
        self.row = self.row + 1 if at == 0 else 1
        step, terms, _ = steps[at]
        _take_off(trainer, module, [number for number, _, _ in steps[at:]])
        bad = self._describe(trainer, step, {name: float(value.cpu()) for name, value in terms.items()})
        said = [bad.words]
        if file := self._write(trainer, module, bad, said):
            said.append(f"`tts-lab reproduce {file}` shows it again")
        if self.config.bad_numbers == "stop" or self.row == IN_A_ROW:
            self._stop(trainer, module, step, said)
        module.let_go()
        left_out = f"it and the steps to {done - 1} were" if done - 1 > step else "it was"
        self._say(trainer, ". ".join([*said, f"bad_numbers is skip: {left_out} left out"]), aloud=True)

    def _due(self, done: int, module: VitsTraining) -> bool:
        c = self.config
        often = (c.log_every, c.checkpoint_every, c.validate_every, c.sample_every)
        last = done in c.keep_steps or done == module.place.end or self.stop.agreed
        return self.every_step or last or any(done % every == 0 for every in often)

    def _describe(self, trainer: L.Trainer, step: int, terms: dict[str, float]) -> BadStep:
        dataset = trainer.train_dataloader.dataset
        self.batches, ids = dataset[step], dataset.ids(step)
        spoilt = [
            "+".join(row)
            for batch, rows in zip(self.batches, ids, strict=True)
            for row, bad in zip(rows, spoilt_rows(batch), strict=True)
            if bad
        ]
        return BadStep(step, terms, ids, list(dict.fromkeys(spoilt)))

    def _write(self, trainer: L.Trainer, module: VitsTraining, bad: BadStep, said: list[str]) -> Path | None:
        """The file, by every process that saw something bad of its own, and by rank 0; what failed goes to ``said``."""
        processes = module.hardware.processes
        if processes.rank and not any(name for name in TERMS[:7] if not isfinite(bad.terms.get(name, 0))):
            return None
        if self.written == FILES:
            said.append(f"{FILES} files were written before, and no more are")
            return None
        rank = f"-rank-{processes.rank}" if processes.rank else ""
        path = self.config.run / f"bad-{bad.step:06}{rank}.pt"
        try:
            save_atomically(move_data_to_device(_content(module, bad, self.batches), torch.device("cpu")), path)
        except UserError as error:  # a full disk is no reason to lose the run too
            said.append(str(error).replace("checkpoint ", "", 1))
            return None
        self.written += 1
        return path

    def _stop(self, trainer: L.Trainer, module: VitsTraining, step: int, said: list[str]) -> None:
        if self.config.bad_numbers == "skip":
            said.append(f"It is the last of {IN_A_ROW} in a row, so skipping does not help")
        if step:
            rewind(trainer, module, step)
            trainer.save_checkpoint(self.last)
            said.append(f"{self.last} is the run as it was before this step, and the same command goes on from it")
        else:
            said.append("Nothing had been trained yet")
        said.append("Mend or leave out what is named, or lower the learning rate, or set bad_numbers to skip")
        self._say(trainer, ". ".join(said), aloud=False)  # the command says it as it ends
        raise BadNumbersError(". ".join(said))

    def _say(self, trainer: L.Trainer, text: str, aloud: bool) -> None:
        if not trainer.is_global_zero:
            return
        log(self.config.run, text)
        if aloud:
            print(text, flush=True)


def spoilt_rows(batch: Batch) -> list[bool]:
    """Which rows of a batch hold values that are not finite."""
    parts = (batch.spectrogram, batch.segment, batch.segment_spectrogram)
    return [not all(torch.isfinite(part[row]).all() for part in parts) for row in range(len(batch.phonemes))]


def rewind(trainer: L.Trainer, module: VitsTraining, step: int) -> None:
    """Count as if, after so many steps, no more had been tried: what the device did not do leaves no trace.

    Loops, schedules and rates; parameters and optimizers are already as they were.
    """
    loop, back = trainer.fit_loop.epoch_loop, trainer.global_step - step
    for progress in (loop.batch_progress, loop.manual_optimization.optim_step_progress):
        for counts in (progress.total, progress.current):
            for name in (field.name for field in fields(counts)):
                setattr(counts, name, getattr(counts, name) - back)
    loop._batches_that_stepped -= back
    for schedule in (config.scheduler for config in trainer.lr_scheduler_configs):
        schedule.last_epoch -= back
        schedule._step_count -= back
        rates = [b * f(schedule.last_epoch) for b, f in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)]
        for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        schedule._last_lr = rates


def _take_off(trainer: L.Trainer, module: VitsTraining, steps: Sequence[int]) -> None:
    """What an optimizer counted by itself of steps that were not taken."""
    adversarial = sum(module.is_adversarial(step) for step in steps)
    for optimizer, count in zip(trainer.optimizers, (len(steps), adversarial), strict=True):
        if isinstance(optimizer, FlatAdamW):
            optimizer.steps -= count


def _content(module: VitsTraining, bad: BadStep, batches: Sequence[Batch]) -> dict[str, Any]:
    """All that the step was made of, in tensors and plain types.

    The optimizers are not: a step asks them only after its losses and gradients are known.
    """
    place, processes = module.place, module.hardware.processes
    return {
        "format": FORMAT,
        "step": bad.step,
        "terms": bad.terms,
        "utterances": bad.utterances,
        "adversarial": module.is_adversarial(bad.step),
        "draws": module.own_seed(module.draws(bad.step)),
        "batches": [{name: value for name, value in vars(batch).items() if value is not None} for batch in batches],
        "config": place.config.to_dict(),
        "place": {"steps": place.steps, "began": place.began, "number": place.number, "count": place.count},
        "steps_per_epoch": module.steps_per_epoch,
        "device": module.hardware.torch.type,
        "processes": processes.world,
        "rank": processes.rank,
        "threads": torch.get_num_threads(),
        "tts_lab": module.header.header(),
        "state_dict": module.state_dict(),
    }
