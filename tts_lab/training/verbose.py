"""``debug: verbose``: what goes through each part of a model, and how strongly each is pulled."""

import csv
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tts_lab.training.config import TrainConfig
from tts_lab.training.terminal import log

NAME = "gradients.csv"
FEW = 4
"""Tensors of a part that are described."""


class Verbose(Callback):
    """Says at the first step what each part makes, and at each logged one the norm of each part's gradient.

    Shapes, types and range of values go to the terminal and log.txt; the norms there too, and into ``gradients.csv``
    in the run's folder, a column a part: the generator's by name, and ``model_d``. They are those that the optimizer
    is given, after ``clip``. Of a part that is frozen, or that does not take part yet, the cell is empty.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.run, self.log_every = config.run, config.log_every

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.parts = dict(module.model_g.named_children()) | {"model_d": module.model_d}
        self.norms: dict[str, float] = {}
        rows = [row for row in read_gradients(self.run) if row["step"] < trainer.global_step]
        with open(self.run / NAME, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["step", *self.parts])
            writer.writeheader()
            writer.writerows(rows)
        for optimizer in trainer.optimizers:
            optimizer.register_step_pre_hook(lambda *_: self._look(trainer))
        self.said: list[str] = []
        self.hooks = [part.register_forward_hook(self._note(name)) for name, part in self.parts.items()]

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if not trainer.is_global_zero:
            return
        if self.said:
            self._say("\n  ".join([f"step {trainer.global_step - 1}: what each part makes", *self.said]))
            self.said = []
            for hook in self.hooks:
                hook.remove()
        if self.norms:
            row = {"step": trainer.global_step - 1} | {name: f"{norm:.6g}" for name, norm in self.norms.items()}
            with open(self.run / NAME, "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, ["step", *self.parts]).writerow(row)
            told = "  ".join(f"{name} {norm:.3g}" for name, norm in self.norms.items())
            self._say(f"step {row['step']}: gradient norms  {told}")
            self.norms = {}

    def _note(self, name: str):
        def note(_: nn.Module, given: tuple, made: Any) -> None:
            tensors = [value for value in tree_leaves(made) if isinstance(value, Tensor)]
            self.said += [f"{name:8} {describe(value)}" for value in tensors[:FEW]]
            self.said += [f"{name:8} and {len(tensors) - FEW} more"] if len(tensors) > FEW else []

        return note

    def _look(self, trainer: L.Trainer) -> None:
        """Before an optimizer's step, when the gradients are whole."""
        if (trainer.global_step + 1) % self.log_every:
            return
        for name, part in self.parts.items():
            gradients = [p.grad for p in part.parameters() if p.grad is not None]
            if gradients:
                self.norms[name] = float(nn.utils.get_total_norm(gradients))

    def _say(self, text: str) -> None:
        print(text, flush=True)
        log(self.run, text)


def describe(value: Tensor) -> str:
    """Shape, type and range of a tensor."""
    least, most = value.detach().aminmax()
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')} from {least:.3g} to {most:.3g}"


def read_gradients(run: Path) -> list[dict[str, Any]]:
    """Rows of a run's gradients.csv, ``step`` as an integer, norms as numbers or ""; none where there is no file."""
    if not (run / NAME).is_file():
        return []
    with open(run / NAME, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{k: int(v) if k == "step" else float(v) if v else "" for k, v in row.items()} for row in rows]
