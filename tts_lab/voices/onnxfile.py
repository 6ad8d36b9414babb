"""An ONNX file that may be anybody's: read without what it points to, and run within limits."""

import functools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.external_data_helper import uses_external_data

from tts_lab.errors import UserError

NO_LOOPS = ("If", "Loop", "Scan", "SequenceMap")
"""Operators with a graph inside, which no Piper voice has: each may run for ever."""
OF_TWO = ("Conv", "ConvTranspose", "Gather", "Sub", "Mul")
"""Operators by whose second input a voice is read."""
MOST_BYTES = 4 << 30
"""Memory that the tensors of running voices may take; a long sentence of a voice of high quality takes an eighth."""
MOST_SECONDS = 120.0
"""Time for one sentence."""


def read_graph(path: Path) -> onnx.ModelProto:
    """The model in a file, weights and all.

    Raises:
        UserError: no such file, no ONNX file, or one whose weights lie elsewhere: they would be read from wherever it
            says. Or it holds what no voice does and that may run for ever.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise UserError(f"There is no voice at {path}.") from None
    except Exception as error:  # protobuf and onnx raise many kinds on broken files
        raise UserError(f"{path} is not a readable ONNX file: {error}") from error
    for tensor in _tensors(model.graph):
        if uses_external_data(tensor):
            where = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            raise UserError(
                f"{path} is refused: its weight {tensor.name[:60]!r} lies in another file ({where[:200]!r}), and a "
                "Piper voice is one file. Ask its author for one that holds its weights."
            )
    plain = ("", "ai.onnx")
    strange = {node.op_type for node in model.graph.node if node.op_type in NO_LOOPS or node.domain not in plain}
    if strange or model.functions:
        what = ", ".join(sorted(strange)) or model.functions[0].name
        raise UserError(f"{path} is refused: it holds {what[:200]!r}, and a Piper voice is of plain operators only.")
    for node in model.graph.node:
        if not node.output or (node.op_type in OF_TWO and len(node.input) < 2):
            raise UserError(
                f"{path} is damaged: its {node.op_type[:60]!r} {node.name[:60]!r} lacks an end. Fetch it again."
            )
    parts = [tensor.name for tensor in model.graph.initializer]
    parts += [part for node in model.graph.node for part in (node.op_type, *node.input, *node.output)]
    if any(isinstance(part, bytes) for part in parts):  # as protobuf hands over what is no text
        raise UserError(f"{path} is damaged: it holds names that are no text. Fetch it again.")
    return model


def arrays(path: Path, tensors: dict[str, onnx.TensorProto]) -> dict[str, np.ndarray]:
    """Tensors as arrays. Raises `UserError` for one whose shape is not that of its numbers."""
    found = {}
    for name, tensor in tensors.items():
        try:
            found[name] = onnx.numpy_helper.to_array(tensor)
        except Exception as error:
            raise UserError(
                f"{path} is damaged: the weight {name[:60]!r} has the shape {list(tensor.dims)[:6]} and other numbers "
                f"({_short(error)}). Fetch it again."
            ) from error
    return found


class Session:
    """A voice in ONNX Runtime on the CPU, within `MOST_BYTES` and `MOST_SECONDS`, its noise drawn from `seed`.

    Raises `UserError`, when it is made and when it runs, for what ONNX Runtime refuses.
    """

    def __init__(self, model: onnx.ModelProto, path: Path, seed: int) -> None:
        self.path = path
        _limit_memory()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it refuses is raised, and other news are none to anyone
        options.add_session_config_entry("session.use_env_allocators", "1")
        onnxruntime.set_seed(seed)  # read when the session is made
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # one class for each of its error codes
            raise UserError(f"{path} is not a model that ONNX Runtime can run: {_short(error)}") from error

    def run(self, outputs: Sequence[str] | None, feeds: dict[str, Any]) -> list[np.ndarray]:
        """As `onnxruntime.InferenceSession.run`."""
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        ending = threading.Timer(MOST_SECONDS, setattr, (options, "terminate", True))
        ending.daemon = True
        ending.start()
        try:
            return self._session.run(outputs, feeds, options)
        except Exception as error:
            why = f"it was not done in {MOST_SECONDS:.0f} s" if options.terminate else _short(error)
            raise UserError(f"{self.path} does not speak: {why}") from error
        finally:
            ending.cancel()


@functools.cache
def _limit_memory() -> None:
    where = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg({"max_mem": MOST_BYTES}))


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that a graph holds, in attributes and graphs inside, too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
