"""Checkpoints: tensors and plain types only, written whole or not at all, read without unpickling."""

import os
import pathlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities import move_data_to_device

from tts_lab.errors import UserError
from tts_lab.vits.config import ModelConfig

FORMAT = "tts_lab/1"
# Plain data that published Piper checkpoints carry in their hyperparameters; nothing here runs code.
HARMLESS = [pathlib.PosixPath, pathlib.PurePosixPath, pathlib.WindowsPath, pathlib.PureWindowsPath]


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
    """Read a checkpoint of ours, or one that Piper's trainer wrote.

    Raises:
        UserError: no such file, not a checkpoint, cut short, or it holds objects that only unpickling could read.
    """
    content = load_safely(path)
    if not isinstance(content, dict) or "state_dict" not in content:
        raise UserError(
            f"{path} is not a training checkpoint: it has no state_dict. Was an exported model meant for adopt?"
        )
    header = content.get("tts_lab")
    if header is None:
        return _from_piper(content, path)
    if header.get("format") != FORMAT:
        raise UserError(f"{path} has checkpoint format {header.get('format')!r}, this tts_lab reads {FORMAT!r}")
    return Checkpoint(
        model=ModelConfig.from_dict(header["model"]), frontend=header["frontend"], speakers=header["speakers"],
        provenance=header["provenance"], state_dict=content["state_dict"], step=int(content.get("global_step", 0)),
    )  # fmt: skip


def _from_piper(content: dict[str, Any], path: Path | str) -> Checkpoint:
    """A checkpoint of ``piper.train``: sizes from its hyperparameters, the default symbol map."""
    ours = {
        "num_symbols": "symbols", "num_speakers": "speakers", "sample_rate": "sample_rate", "n_heads": "heads",
        "n_layers": "text_layers", "p_dropout": "dropout", "gin_channels": "speaker_channels",
        **{name: name for name in (
            "inter_channels", "hidden_channels", "filter_channels", "kernel_size", "resblock",
            "resblock_kernel_sizes", "resblock_dilation_sizes", "upsample_rates", "upsample_initial_channel",
            "upsample_kernel_sizes",
        )},
    }  # fmt: skip
    settings = content.get("hyper_parameters")
    if not settings:
        raise UserError(f"{path} says nothing about its sizes: no tts_lab header and no hyper_parameters in it")
    model = ModelConfig.from_dict({name: settings[key] for key, name in ours.items() if key in settings})
    return Checkpoint(model, {}, content["state_dict"], step=int(content.get("global_step", 0)))


def load_safely(path: Path | str) -> Any:
    """``torch.load`` with ``weights_only=True`` and a narrow allow-list, failures told in words."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(_reason(path, error)) from error


def _reason(path: Path, error: Exception) -> str:
    try:
        classes = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:
        said = (str(error) or type(error).__name__).splitlines()[0]
        return (
            f"{path} cannot be read as a checkpoint ({path.stat().st_size} bytes; {said}): "
            "it is cut short or no PyTorch file. Take an earlier checkpoint, or fetch it again."
        )
    allowed = {f"{cls.__module__}.{cls.__qualname__}" for cls in HARMLESS}
    refused = sorted(set(classes) - allowed)
    return (
        f"{path} is refused: reading it would unpickle {', '.join(refused) or 'objects'}, which can run code. "
        "Ask its author for a file with tensors and plain types only."
    )


def save_atomically(content: Any, path: Path | str) -> None:
    """``torch.save`` under a temporary name, flushed to the disk, then renamed over ``path``.

    Raises:
        UserError: the disk is full or cannot be written; what was at ``path`` before is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__ or error
        raise UserError(
            f"checkpoint {path} could not be written: {cause}. Earlier checkpoints are untouched; "
            "free some disk space and run the same command again: it resumes."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


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
