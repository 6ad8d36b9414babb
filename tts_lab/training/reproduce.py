"""A bad step once more, from the file that the run wrote of it (`tts_lab.training.bad_numbers`), on this processor."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tts_lab.devices.host import HostDevice
from tts_lab.errors import UserError
from tts_lab.training.bad_numbers import FORMAT, TERMS, first_bad, spoilt_rows
from tts_lab.training.config import TrainConfig
from tts_lab.training.module import VitsTraining
from tts_lab.training.stages import Place
from tts_lab.vits.synthesizer import Batch
from tts_lab.voices.checkpoints import Checkpoint, checkpoint_of
from tts_lab.voices.unpickling import load_safely

MOST_THREADS = 256


@dataclass(frozen=True)
class Reproduced:
    """What came of a bad step that was done again, and where it went bad first."""

    step: int
    device: str
    """Of the run."""
    recorded: dict[str, float]
    """The step's terms in the run."""
    terms: dict[str, float]
    """Here."""
    weights: list[str]
    """Parameters that were no finite numbers before the step."""
    utterances: list[str]
    """Rows whose audio is not finite."""
    part: str | None
    """The first part of the model that made something not finite of what was."""
    gradient: str | None
    """The first parameter whose gradient was not finite, where all terms of the losses were."""

    @property
    def same(self) -> bool:
        """Whether the same term is the first bad one as in the run."""
        return first_bad(self.terms) is not None and first_bad(self.terms) == first_bad(self.recorded)

    def lines(self) -> list[str]:
        """For a terminal."""
        term, before = first_bad(self.terms), first_bad(self.recorded)
        said = [f"step {self.step}: the first bad term is {term or 'none'} here, {before} in the run on {self.device}"]
        said += [f"  {n:14} {self.terms[n]:<14.6g} in the run {self.recorded[n]:.6g}" for n in TERMS if n in self.terms]
        if self.weights:
            more = f" and {len(self.weights) - 5} more" if len(self.weights) > 5 else ""
            said.append(
                f"weights: {', '.join(self.weights[:5])}{more} held bad numbers before the step: go back to an earlier "
                "checkpoint, or start from another voice"
            )
        if self.utterances:
            said.append(
                f"audio: {', '.join(self.utterances)}: its prepared audio holds bad numbers. Delete it and prepare the "
                "corpus again, or leave it out"
            )
        if self.part:
            said.append(f"first seen: {self.part} made a bad number of good ones")
        if self.gradient:
            said.append(f"gradient: all losses are finite; the gradient of {self.gradient} is the first that is not")
        if term and not (self.weights or self.utterances):
            said.append("try: a lower learning_rate, clip, or precision 32 where it is bf16")
        return said


def reproduce(path: Path) -> Reproduced:
    """Do the step that ``path`` describes again, on the CPU, with the batches, weights and draws it had.

    Where the run was on a CPU the numbers are the same; another device draws other noise, and rounds otherwise.

    Raises:
        UserError: not such a file, or one of another version.
    """
    content = load_safely(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a bad step: a run writes bad-STEP.pt into its folder when one occurs")
    try:
        header = checkpoint_of(content, path)
        with _threads(min(content["threads"], MOST_THREADS)):
            return _again(content, header)
    except Exception as error:  # anything may be in a file
        said = str(error).splitlines()[0] if str(error) else ""
        raise UserError(
            f"{path} does not fit this version of tts_lab ({type(error).__name__}: {said}): take the commit that "
            "environment.json beside it names"
        ) from error


def _again(content: dict[str, Any], header: Checkpoint) -> Reproduced:
    hardware = HostDevice()
    place = Place(TrainConfig.recorded(content["config"]), **content["place"])
    module = VitsTraining(header, place, content["steps_per_epoch"], hardware)
    module.load_state_dict(content["state_dict"])
    batches = [Batch(**batch) for batch in content["batches"]]
    weights = [name for name, value in module.named_parameters() if not torch.isfinite(value).all()]
    spoilt = [
        "+".join(row)
        for batch, rows in zip(batches, content["utterances"], strict=True)
        for row, bad in zip(rows, spoilt_rows(batch), strict=True)
        if bad
    ]
    parts, gradients = _Parts(module), _Gradients(module)
    hardware.seed(content["draws"])
    measured = module.update(batches, *module.configure_optimizers()[0], content["adversarial"])
    terms = {name: float(value) for name, value in measured.items() if name in TERMS}
    lossy = any(not isfinite(terms[name]) for name in terms if not name.startswith("grad_norm"))
    return Reproduced(
        content["step"], content["device"], content["terms"], terms, weights, list(dict.fromkeys(spoilt)),
        parts.first, None if lossy else gradients.first,
    )  # fmt: skip


class _Parts:
    """Finds the first innermost part of a model that makes something not finite of finite inputs and weights."""

    def __init__(self, module: nn.Module) -> None:
        self.first: str | None = None
        for name, part in module.named_modules():
            if not any(True for _ in part.children()):
                part.register_forward_hook(self._hook(name, part))

    def _hook(self, name: str, part: nn.Module) -> Callable[..., None]:
        def look(_: nn.Module, given: tuple, made: Any) -> None:
            if self.first is None and not _finite(made) and _finite(given) and _finite(list(part.parameters())):
                self.first = name

        return look


class _Gradients:
    """Finds the parameter whose gradient is the first that is not finite, on the way back from the losses."""

    def __init__(self, module: nn.Module) -> None:
        self.first: str | None = None
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda p, name=name: self._look(name, p))

    def _look(self, name: str, parameter: nn.Parameter) -> None:
        if self.first is None and not torch.isfinite(parameter.grad).all():
            self.first = name


def _finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    return all(_finite(inner) for inner in value) if isinstance(value, list | tuple) else True


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """With as many threads as the run had: they divide sums, and rounding follows."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
