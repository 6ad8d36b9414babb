"""Read a PyTorch file without running any code that is in it.

A checkpoint is a pickle, and a pickle may call anything. ``torch.load(weights_only=True)`` calls only what is on a
list: PyTorch's own tensors, and what `STAND_INS` adds for published Piper checkpoints. Their hyperparameters hold the
trainer's command line, so paths, its namespace and now and then a numpy number. Each is read as plain data by a class
of this module, never by the one the file names.

That list still has what asks for any amount of memory, and PyTorch 2.9 believes the file how long a tensor's storage
is: of a longer one than was saved it reads what else lies in memory. So the archive is looked at first: it holds no
more than its own length, and names nothing but what `READ` and `STAND_INS` have. Then it is mapped into memory, beyond
whose end there is nothing to read, and what is taken out of it is counted.
"""

import pickletools
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

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
"""What a file may name beside `READ`, to what reads it here."""


_TYPES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
READ = frozenset(
    {f"torch.{kind}Storage" for kind in _TYPES}
    | {f"torch.{kind}" for kind in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8")}
    | {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.nn.parameter.Parameter"}
    | {"torch.Size", "torch.device", "torch.uint8", "torch.bool"}
    | {"collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.complex", "_codecs.encode"}
)  # fmt: skip
"""What a file may name of PyTorch's own list."""
PICKLE_BYTES = 64 << 20
"""Of the part of a checkpoint that says what its tensors are; Piper's have some hundred KB."""
VALUES = 500_000
"""That one may hold beside the numbers in its tensors."""
VIEWS = 4
"""Times its own length that its tensors may come to, where several are of one storage."""


def load_safely(path: Path | str) -> Any:
    """``torch.load`` with ``weights_only=True``, and `STAND_INS`, on the CPU, failures told in words.

    Raises:
        UserError: no such file, no PyTorch file, cut short, packed to be larger than it is, or it holds objects that
            only running code could read.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        _look_at(path)
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in STAND_INS.items()]):
            return _Copy(path).of(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a checkpoint ({path.stat().st_size} bytes; {_first_line(error)}): "
            "it is cut short or no PyTorch file. Take an earlier checkpoint, or fetch it again."
        ) from error


def _look_at(path: Path) -> None:
    """Raise `UserError` for an archive that is not to be read; nothing of it is built."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            _refuse_names(path, _names_before_it_breaks(file))
        raise ValueError("it is no zip archive, as PyTorch writes since 2020")
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if any(record.filename.endswith("constants.pkl") for record in records):
            raise UserError(
                f"{path} is refused: it is a TorchScript archive, a program and no training checkpoint. "
                "Take the .ckpt it was made from."
            )
        unpacked = sum(record.file_size for record in records)
        if unpacked > size or any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise UserError(
                f"{path} is refused: its {size} bytes would unpack to {unpacked}, and PyTorch packs nothing. It was "
                "made by another program, or to fill the memory of whoever reads it."
            )
        pickles = [record for record in records if record.filename.endswith(".pkl")]
        if largest := max((record.file_size for record in pickles if record.file_size > PICKLE_BYTES), default=0):
            raise UserError(
                f"{path} is refused: the part that says what its tensors are has {largest >> 20} MB, at most "
                f"{PICKLE_BYTES >> 20} are read."
            )
        for record in pickles:
            with archive.open(record) as file:
                _refuse_names(path, _names(file))


def _names(file: IO[bytes]) -> Iterator[str]:
    """Everything that a pickle names, by whichever of its ways."""
    said: list[str] = []
    memo: dict[int, str] = {}
    for code, argument, _ in pickletools.genops(file):
        match code.name:
            case "GLOBAL" | "INST":
                module, _, name = argument.partition(" ")
                module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
                yield f"{module}.{name}"
            case "STACK_GLOBAL":
                yield ".".join(said[-2:]) or "something without a name"
            case "EXT1" | "EXT2" | "EXT4":
                yield f"extension {argument}"
            case "MEMOIZE":
                memo[len(memo)] = said[-1] if said else ""
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = said[-1] if said else ""
            case "GET" | "BINGET" | "LONG_BINGET":
                said.append(memo.get(argument, ""))
        if isinstance(argument, str):
            said.append(argument)
        del said[:-2]


def _names_before_it_breaks(file: IO[bytes]) -> Iterator[str]:
    """Of the pickles that a file begins with, as PyTorch's files did before 2020; it may be none at all."""
    try:
        while True:
            yield from _names(file)
    except Exception:  # pickletools raises many kinds
        return


def _refuse_names(path: Path, names: Iterator[str]) -> None:
    if refused := sorted(set(names) - READ - set(STAND_INS)):
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise UserError(
            f"{path} is refused: reading it would unpickle {', '.join(refused[:5])}{more}, which can run code or is of "
            "no checkpoint. Ask its author for a file with tensors and plain types only."
        )


class _Copy:
    """What was loaded, copied out of the file: namespaces and Lightning's dictionaries as dictionaries.

    What is in it twice becomes two, so a list that holds itself ten times over and over is not unrolled: it is counted.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.values, self.bytes = path, VALUES, VIEWS * path.stat().st_size

    def of(self, value: Any) -> Any:
        self.values -= 1
        if self.values < 0:
            raise UserError(f"{self.path} is refused: it holds over {VALUES} values beside its tensors.")
        if isinstance(value, _Namespace):
            return self.of(vars(value))
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, dict):
            return {key: self.of(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.of(item) for item in value)
        return value

    def _tensor(self, value: torch.Tensor) -> torch.Tensor:
        size = value.numel() * value.element_size()
        self.bytes -= size
        if self.bytes < 0:
            raise UserError(
                f"{self.path} is refused: its tensors come to over {VIEWS} times its length, so they show the same "
                "numbers again and again."
            )
        return value.detach().clone()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
