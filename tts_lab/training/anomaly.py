"""``debug: anomaly``: the line of Python that makes a number that is none, in the process that trains."""

import os
import re
import traceback
from contextlib import ExitStack
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tts_lab.training.config import TrainConfig
from tts_lab.training.terminal import log

LIBRARIES = (os.path.dirname(torch.__file__), os.path.dirname(L.__file__), __file__)
"""Whose lines are not looked for."""


class Anomaly(Callback):
    """Of a step whose numbers are bad, says the line that made the first: on the terminal and in log.txt.

    PyTorch's own anomaly detection looks at gradients alone: of a NaN that was made on the way forward it names the
    line that the gradient meets first, which is another. This looks at every operation, both ways, for the first that
    makes something not finite of what is finite; from PyTorch it has only the line that a gradient belongs to. Steps
    take some ten times as long.

    Give it to the trainer first: it sees the step and nothing else, and speaks before `BadNumbers` ends the run.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.run, self.watching = config.run, ExitStack()

    def on_train_batch_start(self, *_: Any) -> None:
        self.watching.enter_context(torch.autograd.set_detect_anomaly(True, check_nan=False))
        self.seen = self.watching.enter_context(_EveryOperation())

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        self.watching.close()
        # What overflows on the way and is masked in the end does no harm.
        if self.seen.first and float(module.halted):
            text = f"step {trainer.global_step - 1}: {self.seen.first}"
            print(text, flush=True)
            log(self.run, text)

    def on_exception(self, *_: Any) -> None:
        self.watching.close()


class _EveryOperation(TorchDispatchMode):
    """Keeps in words the first operation that makes bad numbers; it raises nothing, for that hangs autograd."""

    first: str | None = None

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        # What only finds room for numbers ("empty") makes none yet.
        if self.first is None and "empty" not in operation.name():
            bad = [value for value in tree_leaves(made) if not _finite(value)]
            given = tree_leaves((args, kwargs))
            if bad and any(isinstance(value, Tensor) for value in given) and all(map(_finite, given)):
                self.first = _words(operation.name().removeprefix("aten::"), bad[0])
        return made


def _words(operation: str, made: Tensor) -> str:
    values = made[~torch.isfinite(made)]
    node = torch._C._current_autograd_node()
    stack = node.metadata.get("traceback_", []) if node else traceback.format_stack()
    return (
        f"{'the gradient of ' if node else ''}{_line(stack)} is the first bad number: {float(values[0])}, in "
        f"{len(values)} of {made.numel()} places, made by {operation} of numbers that were all finite"
    )


def _line(stack: list[str]) -> str:
    """Of a stack as Python prints it the innermost line that is not a library's."""
    for entry in reversed(stack):
        found = re.match(r'\s*File "(.+)", line (\d+), in (.+)\n\s*(.*)', entry)
        if found and not found[1].startswith(LIBRARIES):
            return f"`{found[4]}` ({found[1]}, line {found[2]}, in {found[3]})"
    return "a line that is not known"


def _finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    return not isinstance(value, float) or abs(value) < float("inf")
