"""The disk space of a run: what it will take, whether that is there, and older samples that make room for new ones."""

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.module import VitsTraining

GB = 1e9
LETTERS = 14.0
"""Spoken in a second, about."""
TENSOR = 300
"""Bytes that a checkpoint takes for each tensor beside its values, about."""
PICTURE = 150_000
"""Bytes of an alignment picture, about."""


@dataclass(frozen=True)
class Need:
    """What a run will have on the disk, in bytes; an estimate but for ``checkpoint``."""

    checkpoint: int
    checkpoints: int
    """How many at most: the last, those kept, and the one that is being written."""
    sampling: int
    """Samples made at one time."""
    samplings: int
    """How many times in the run."""

    @property
    def of_checkpoints(self) -> int:
        return self.checkpoint * self.checkpoints

    @property
    def total(self) -> int:
        return self.of_checkpoints + self.sampling * self.samplings

    def __str__(self) -> str:
        return (
            f"{self.checkpoints} checkpoints of {self.checkpoint / 1e6:.1f} MB at most, and samples "
            f"{self.samplings} times of about {self.sampling / 1e6:.1f} MB: {self.total / GB:.2f} GB"
        )


def need(module: VitsTraining, data: CorpusData, total_steps: int) -> Need:
    """Of a whole run of ``total_steps``."""
    config, rate = data.config, data.model.sample_rate
    # AdamW has a count, and two numbers beside each weight; a later stage may train what this one does not.
    state, trained = list(module.state_dict().values()), list(module.parameters())
    tensors = sum(value.nbytes for value in state) + 2 * sum(value.nbytes for value in trained)
    clips = [u.samples / rate for u in data.utterances if u.split == "validation"]
    seconds = sum(len(sentence) / LETTERS for sentence in config.sentences)
    seconds += 2 * config.sample_clips * sum(clips) / len(clips)
    copies = 1 if config.disk_gb else 2  # TensorBoard has its own
    return Need(
        checkpoint=tensors + TENSOR * (len(state) + 3 * len(trained)),
        checkpoints=2 + config.keep + len([step for step in config.keep_steps if step <= total_steps]),
        sampling=int(copies * (2 * rate * seconds + PICTURE * bool(config.sample_clips))),
        samplings=2 + total_steps // config.sample_every,
    )


def check(need: Need, config: TrainConfig) -> str | None:
    """Whether the disk, and ``config.disk_gb``, hold what a run needs: a warning where its samples may not fit.

    Raises:
        UserError: its checkpoints do not fit.
    """
    used, free = size(config.run), shutil.disk_usage(config.run).free
    room = min(used + free, config.disk_gb * GB if config.disk_gb else used + free)
    where = f"{config.run} has {used / GB:.2f} GB, {free / GB:.2f} GB are free on its disk"
    if config.disk_gb:
        where += f", and disk_gb is {config.disk_gb:g}"
    if need.of_checkpoints + need.sampling > room:
        raise UserError(
            f"not enough disk space: this run keeps {need}, and {where}. Make room, keep fewer checkpoints "
            "(keep, keep_steps), or name a --run folder on another disk"
        )
    if need.total > room and not config.disk_gb:
        return (
            f"warning: the disk may become full: this run keeps {need}, and {where}. Make room, set disk_gb, which "
            "lets the oldest samples go, or a greater sample_every"
        )
    return None


def full(error: BaseException | None) -> OSError | None:
    """That a disk, or a user's share of it, is full, where it is what ``error`` came from."""
    while error and not (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        error = error.__cause__ or error.__context__
    return error


def make_room(run: Path, limit: float) -> list[Path]:
    """Delete the oldest samples of a run, but for the first and the newest, until it has at most ``limit`` bytes.

    Returns the folders that went.
    """
    folders = sorted((run / "samples").glob("step-*"), key=lambda folder: int(folder.name.removeprefix("step-")))
    gone = []
    for folder in folders[1:-1]:
        if size(run) <= limit:
            break
        shutil.rmtree(folder)
        (run / "alignments" / f"{folder.name}.png").unlink(missing_ok=True)
        gone.append(folder)
    return gone


def size(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
