"""Read a PyTorch file without running any code that is in it.

A checkpoint is a pickle, and a pickle may call anything. ``torch.load(weights_only=True)`` calls only what is on a
list: PyTorch's own tensors, and what `STAND_INS` adds for published Piper checkpoints. Their hyperparameters hold the
trainer's command line, so paths, its namespace and now and then a numpy number. Each is read as plain data by a class
of this module, never by the one the file names.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from tts_lab.errors import UserError


class _Namespace:
    """Attributes and nothing else, for argparse's."""


class _Attributes(dict):
    """A dictionary, for Lightning's."""


class _Dtype:
    """The type of a numpy number: its name and byte order."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


def _path(*parts: str) -> str:
    return str(PurePosixPath(*parts))


def _windows_path(*parts: str) -> str:
    return "\\".join(part.rstrip("\\") for part in parts)


def _number(dtype: _Dtype, raw: bytes) -> float | int | bool:
    """A numpy scalar as Python's own number."""
    if not re.fullmatch(r"[biuf]\d", dtype.name):
        raise ValueError(f"a numpy value of type {dtype.name!r}")
    return np.frombuffer(raw, np.dtype(dtype.name).newbyteorder(dtype.order))[0].item()


STAND_INS: dict[str, Any] = {
    "argparse.Namespace": _Namespace,
    "numpy.dtype": _Dtype,
    **{f"numpy.{core}.multiarray.scalar": _number for core in ("core", "_core")},
    **{f"{home}.{name}": _path for home in ("pathlib", "pathlib._local") for name in ("PosixPath", "PurePosixPath")},
    **{
        f"{home}.{name}": _windows_path
        for home in ("pathlib", "pathlib._local")
        for name in ("WindowsPath", "PureWindowsPath")
    },
    # Lightning's dictionary of hyperparameters, by the names of its packages over the years.
    "pytorch_lightning.utilities.parsing.AttributeDict": _Attributes,
    "lightning.pytorch.utilities.parsing.AttributeDict": _Attributes,
    "lightning_fabric.utilities.data.AttributeDict": _Attributes,
    "lightning.fabric.utilities.data.AttributeDict": _Attributes,
}
"""What a file may name beside tensors, to what reads it here."""


def load_safely(path: Path | str) -> Any:
    """``torch.load`` with ``weights_only=True`` and `STAND_INS`, on the CPU, failures told in words.

    Raises:
        UserError: no such file, no PyTorch file, cut short, or it holds objects that only running code could read.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in STAND_INS.items()]):
            return _plain(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise UserError(_reason(path, error)) from error


def _plain(value: Any) -> Any:
    """Namespaces and Lightning's dictionaries as dictionaries; tensors and all else as they are."""
    if isinstance(value, _Namespace):
        return _plain(vars(value))
    if type(value) in (dict, _Attributes):
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    return value


def _reason(path: Path, error: Exception) -> str:
    said = str(error) or type(error).__name__
    refused = set(re.findall(r"(?:GLOBAL|Unsupported class|function) ([\w.]+)", said))
    try:
        refused |= set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - set(STAND_INS)
    except Exception:  # the old format, or no PyTorch file at all: what was said above must do
        pass
    if "TorchScript" in said:
        return (
            f"{path} is refused: it is a TorchScript archive, a program and no training checkpoint. "
            "Take the .ckpt it was made from."
        )
    if refused:
        return (
            f"{path} is refused: reading it would unpickle {', '.join(sorted(refused))}, which can run code. "
            "Ask its author for a file with tensors and plain types only."
        )
    return (
        f"{path} cannot be read as a checkpoint ({path.stat().st_size} bytes; {said.splitlines()[0]}): "
        "it is cut short or no PyTorch file. Take an earlier checkpoint, or fetch it again."
    )
