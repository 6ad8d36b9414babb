"""Checkpoints: tensors and plain types only, written whole or not at all, read without unpickling."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities import move_data_to_device
from torch.utils._pytree import tree_leaves
from typing_extensions import TypedDict

from tts_lab.corpus.plain import Count, typed
from tts_lab.corpus.wholefile import replacing
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.vits.config import ModelConfig
from tts_lab.voices.foreign import from_piper
from tts_lab.voices.sizes import contradictions
from tts_lab.voices.unpickling import load_safely

FORMAT = "tts_lab/1"


@dataclass
class Checkpoint:
    """A voice in training: what is needed to go on with it, export it or start another from it."""

    model: ModelConfig
    frontend: dict[str, Any]
    """How text becomes ids (``Frontend.to_dict``); ids mean nothing without it."""
    state_dict: dict[str, torch.Tensor]
    """Piper's keys: ``model_g.`` generator, ``model_d.`` discriminators (absent in an adopted voice)."""
    speakers: dict[str, int] = field(default_factory=dict)
    """Speaker names to ids, for a multi-speaker voice."""
    step: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where it came from: the voice adopted, the corpus, licences."""

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors under ``prefix`` (such as ``model_g.``), with it taken off."""
        return {key.removeprefix(prefix): value for key, value in self.state_dict.items() if key.startswith(prefix)}

    def header(self) -> dict[str, Any]:
        """All but the tensors, in plain types: stored beside the state dict under ``tts_lab``."""
        return {
            "format": FORMAT,
            "model": self.model.to_dict(),
            "frontend": self.frontend,
            "speakers": self.speakers,
            "provenance": self.provenance,
        }


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write ``checkpoint`` to ``path``, whole or not at all."""
    save_atomically(
        {"tts_lab": checkpoint.header(), "state_dict": checkpoint.state_dict, "global_step": checkpoint.step}, path
    )


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of ours, or one that a trainer of Piper's wrote.

    Raises:
        UserError: no such file, not a checkpoint, cut short, it holds objects that only unpickling could read, or its
            header and its tensors differ in the generator's sizes.
    """
    return checkpoint_of(load_safely(path), path)


def checkpoint_of(content: Any, path: Path | str) -> Checkpoint:
    """What the file at ``path`` says, from its ``content`` (``load_safely``). Raises UserError as above."""
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise UserError(
            f"{path} is not a training checkpoint: it has no state_dict. Was an exported model meant for adopt?"
        )
    if strange := [key for key, value in content["state_dict"].items() if not _is_tensor(key, value)]:
        raise UserError(f"{path} is not a training checkpoint: {strange[0]!r} in its state_dict is no tensor")
    if content.get("tts_lab") is None:
        return Checkpoint(**from_piper(content, path))
    if (version := typed(dict[str, Any], content["tts_lab"], path).get("format")) != FORMAT:
        raise UserError(f"{path} has checkpoint format {version!r}, this tts_lab reads {FORMAT!r}")
    header = typed(_Header, content["tts_lab"], path)
    found = Checkpoint(
        model=ModelConfig.from_dict(header["model"]), frontend=header["frontend"], speakers=header["speakers"],
        provenance=header["provenance"], state_dict=content["state_dict"],
        step=typed(Count, content.get("global_step", 0), f"{path}: global_step"),
    )  # fmt: skip
    if found.frontend:
        Frontend.from_dict(found.frontend)
    # A model is built from the header's sizes first, and these may ask for more memory than there is.
    shapes = {name: tuple(value.shape) for name, value in found.part("model_g.").items()}
    if wrong := contradictions(found.model, shapes):
        raise UserError(f"{path} does not hold the generator its own header describes: {'; '.join(wrong[:3])}")
    return found


class _Header(TypedDict):
    """As `Checkpoint.header` writes it."""

    model: dict[str, Any]
    frontend: dict[str, Any]
    speakers: dict[str, int]
    provenance: dict[str, Any]


def _is_tensor(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, torch.Tensor) and not value.is_complex()


def save_atomically(content: Any, path: Path | str) -> None:
    """``torch.save`` under a temporary name, flushed to the disk, then renamed over ``path``.

    Raises:
        UserError: the disk is full or cannot be written; what was at ``path`` before is untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__ or error
        tensors = [value for value in tree_leaves(content) if isinstance(value, torch.Tensor)]
        needed, free = sum(value.nbytes for value in tensors), shutil.disk_usage(path.parent).free
        raise UserError(
            f"checkpoint {path} could not be written: {cause}. It takes about {needed / 1e6:.1f} MB, and "
            f"{free / 1e6:.1f} MB are free. Earlier checkpoints are untouched; free some disk space and run the same "
            "command again: it resumes."
        ) from error


class SafeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, written and read by the rules of this module."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        # Files name no device: what was saved on one loads on any.
        save_atomically(move_data_to_device(checkpoint, torch.device("cpu")), path)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        return load_safely(path)


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to resume from: the last written one; half-written files never carry the name."""
    return max(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns, default=None)
