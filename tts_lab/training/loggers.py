"""Where a run's numbers, sounds and pictures go: metrics.csv and TensorBoard, and by config other services."""

import os
import uuid
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError

if TYPE_CHECKING:  # a second to import, which a config need not wait for
    from lightning.pytorch.loggers import Logger

    from tts_lab.training.config import TrainConfig

MODULES = {"wandb": "wandb", "comet": "comet_ml"}  # a service to the module that logs to it
IDENTITY = "logged_as.txt"
OFFLINE = {
    "wandb": "log in with `wandb login`, or set WANDB_MODE=offline and send it later with `wandb sync`",
    "comet": "log in with `comet login`, or set COMET_START_ONLINE=0 and send it later with `comet upload`",
}


def missing(names: Sequence[str]) -> list[str]:
    """A sentence for each of the services ``names`` that is unknown, or whose package is not here."""
    said = [f"loggers: {name!r} is unknown; there are {' and '.join(MODULES)}" for name in names if name not in MODULES]
    return said + [
        f"loggers: {name} needs the package {MODULES[name]}: `pip install {MODULES[name].replace('_', '-')}`"
        for name in names
        if name in MODULES and find_spec(MODULES[name]) is None
    ]


def run_loggers(config: "TrainConfig", steps_per_epoch: int, resume_step: int) -> "list[Logger]":
    """The loggers of a run, opened. A resumed run goes on in the curves it began, by the id in ``logged_as.txt``.

    Raises:
        UserError: a service could not be opened: not logged in, no network, or its package is too old.
    """
    from lightning.pytorch.loggers import TensorBoardLogger

    from tts_lab.training.metrics import MetricsCsv

    opened = [
        MetricsCsv(config.run, steps_per_epoch, resume_step),
        # Steps that will be done again are taken out of the curves that are there.
        TensorBoardLogger(config.run, name="", version="tensorboard", purge_step=resume_step),
    ]
    for name in config.loggers:
        try:
            logger = _open(name, config, identity(config.run))
            logger.log_hyperparams(config.to_dict())  # opens it, if that is not done
        except UserError:
            raise
        except Exception as error:
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"loggers: {name} could not be opened ({said}): {OFFLINE[name]}") from error
        opened.append(logger)
    return opened


def _open(name: str, config: "TrainConfig", identity: str) -> "Logger":
    from lightning.pytorch.loggers import CometLogger, WandbLogger

    if name == "wandb":
        project = os.environ.get("WANDB_PROJECT", "tts_lab")
        return WandbLogger(name=config.run.name, save_dir=config.run, id=identity, project=project)
    project = os.environ.get("COMET_PROJECT_NAME", "tts_lab")
    folder = str(config.run / "comet")
    return CometLogger(project=project, experiment_key=identity, name=config.run.name, offline_directory=folder)


def identity(run: Path) -> str:
    """The run's id, 32 hex digits, made once: services and a mirror know it by that."""
    path = run / IDENTITY
    if not path.is_file():
        write_atomically(path, f"{uuid.uuid4().hex}\n".encode())
    return path.read_text(encoding="utf-8").strip()


def log_audio(loggers: "Sequence[Logger]", name: str, audio: np.ndarray, rate: int, step: int) -> None:
    """Give ``audio``, float32 ``(samples,)`` at ``rate`` Hz, to every logger that can play it."""
    for kind, logger in _services(loggers):
        if kind == "tensorboard":
            logger.experiment.add_audio(name, audio[None], step, rate)
        elif kind == "wandb":
            logger.log_audio(name, [audio], step, sample_rate=[rate])
        elif kind == "comet":
            logger.experiment.log_audio(audio, sample_rate=rate, file_name=f"{name}.wav", step=step)


def log_picture(loggers: "Sequence[Logger]", name: str, pixels: np.ndarray, step: int) -> None:
    """Give ``pixels``, uint8 ``(height, width, 3)``, to every logger that can show them."""
    for kind, logger in _services(loggers):
        if kind == "tensorboard":
            logger.experiment.add_image(name, pixels, step, dataformats="HWC")
        elif kind == "wandb":
            logger.log_image(name, [pixels], step)
        elif kind == "comet":
            logger.experiment.log_image(pixels, name=name, step=step)


def _services(loggers: "Sequence[Logger]") -> list[tuple[str, Any]]:
    from lightning.pytorch.loggers import CometLogger, TensorBoardLogger, WandbLogger

    kinds = {TensorBoardLogger: "tensorboard", WandbLogger: "wandb", CometLogger: "comet"}
    return [(kind, logger) for logger in loggers for cls, kind in kinds.items() if isinstance(logger, cls)]
