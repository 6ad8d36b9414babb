"""The stages of a run, and where in them it stands."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from tts_lab.training.config import TrainConfig


@dataclass(frozen=True)
class Place:
    """A stage of a run as it is trained."""

    config: TrainConfig
    """The run's with the stage's own settings in it."""
    steps: int
    """It takes so many, or fewer where ``config.patience`` runs out."""
    began: int = 0
    """Step at which the stage began; rates, warm-up and ``adversarial_from`` count from here."""
    number: int = 0
    """0 is the first."""
    count: int = 1
    """Stages in the run."""

    @property
    def end(self) -> int:
        return self.began + self.steps

    def __str__(self) -> str:
        until = f"step {self.end}"
        if self.config.patience:
            until += f", or {self.config.patience} validations without a better {self.config.keep_by}"
        frozen = f"; {', '.join(self.config.freeze)} frozen" if self.config.freeze else ""
        return f"stage {self.number + 1} of {self.count}: from step {self.began} to {until}{frozen}"


def stage_steps(config: TrainConfig, total: int) -> list[int]:
    """``total`` steps divided by the stages' shares: whole numbers that add up to it."""
    shares = [stage.share for stage in config.stages] or [1.0]
    ends = [round(total * sum(shares[: n + 1]) / sum(shares)) for n in range(len(shares))]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def stage_config(config: TrainConfig, number: int) -> TrainConfig:
    """``config`` as that stage changes it, without stages."""
    if not config.stages:
        return config
    own = {name: value for name, value in asdict(config.stages[number]).items() if value is not None}
    own.pop("share")
    return replace(config, stages=[], **own)


def next_place(config: TrainConfig, total: int, checkpoint: dict[str, Any]) -> Place | None:
    """Where a run of ``total`` steps goes on after ``checkpoint`` (empty: at its beginning), None at its end.

    A stage that ended before its time leaves the length of those after it as it is.
    """
    step, at = checkpoint.get("global_step", 0), stage_of(checkpoint)
    steps, number = stage_steps(config, total), at["number"]
    if number < len(steps):
        place = Place(stage_config(config, number), steps[number], at["began"], number, len(steps))
        if step < place.end and not (at["ended"] and place.config.patience):
            return place
    number += 1
    return Place(stage_config(config, number), steps[number], step, number, len(steps)) if number < len(steps) else None


def places(config: TrainConfig, total: int) -> Iterator[Place]:
    """All stages of a run of ``total`` steps, as they are when none ends before its time."""
    place = next_place(config, total, {})
    while place:
        yield place
        stage = {"number": place.number, "began": place.began, "ended": False}
        place = next_place(config, total, {"global_step": place.end, "stage": stage})


def stage_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """``number`` of the stage a checkpoint was written in, the step it ``began`` at, and whether it had ``ended``."""
    return checkpoint.get("stage") or {"number": 0, "began": 0, "ended": False}
