"""A step as the Neuron compiler would get it, on a machine without one: traced, never compiled.

PyTorch/XLA lowers some operations another way for Neuron (no f64, dense gathers, resize calls); it asks for the
client's name when it does, so a CPU client that says NEURON gives that lowering. Operations that have no lowering at
all would cut the graph, run on the CPU and come back; here they are noted with their Python line, and their values
come from a shadow of the whole step on the CPU, so that the trace goes on as the real step would.
"""

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from tts_lab.devices.xla import XlaDevice, choose_client
from tts_lab.errors import UserError

ENVIRONMENT = {
    "PJRT_DEVICE": "CPU",
    "XLA_DISABLE_FUNCTIONALIZATION": "1",  # torch-neuronx's default, and what makes `split` with sizes wrong
    "PYTORCH_JIT": "0",  # scripted functions would hide what is in them
    "XLA_HLO_DEBUG": "1",  # names in the graph, where the Python lines go
}
"""What must be set before torch_xla is imported, so in a process of its own."""


@dataclass
class Lowered:
    """One graph, and what could not become part of it."""

    text: str
    """HLO."""
    proto: bytes
    """The same as ``neuronx-cc compile --framework XLA`` reads it."""
    trace_seconds: float | None
    """Host time to note down the step once; None where it cannot be one graph."""
    fallbacks: Counter = field(default_factory=Counter)
    """``(operation, file:line)`` of what has no lowering: the graph is cut there and the CPU computes."""
    reads: Counter = field(default_factory=Counter)
    """``(operation, file:line)`` where the host asks for a value: the graph is cut and the device waits."""
    wrong: Counter = field(default_factory=Counter)
    """The same for what is silently wrong without functionalization: ``split`` with sizes, shapes changed in place."""


def require_environment() -> None:
    """Raises UserError where Python was started without what ``ENVIRONMENT`` asks for."""
    wrong = [f"{name}={value}" for name, value in ENVIRONMENT.items() if os.environ.get(name) not in (value, "NEURON")]
    if wrong:
        raise UserError(
            f"the Neuron lowering needs {' '.join(wrong)} in the environment before Python starts: run `tts-lab "
            "preflight`, which starts its own process, or set them and start this one again"
        )


def emulate_neuron() -> XlaDevice:
    """Make this process's CPU client give the Neuron lowering, for good; before anything else uses torch_xla."""
    choose_client("xla")
    import torch_xla.runtime

    torch_xla.runtime.use_spmd()  # its virtual device is what keeps the client from noticing
    hardware = XlaDevice("xla")
    (torch.ones(1, device=hardware.torch) + 1).cpu()  # the client must be up before the name changes
    os.environ["PJRT_DEVICE"] = "NEURON"
    return hardware


def lower(step: Callable[..., Any], *inputs: Any) -> Lowered:
    """Trace ``step(*inputs)``, whose tensors are on the XLA device, into one graph.

    The tensors it changes have their values back afterwards, and what it made and kept (gradients, the state of an
    optimizer) is zero, so that it can be traced again. What it counts in Python or on the host has moved on.
    """
    import torch_xla

    core, device = torch_xla._XLAC, str(torch_xla.device())
    torch_xla.sync(wait=True)
    for shadowed in (False, True):
        recorder = _Recorder(core, shadowed)
        try:
            with recorder, torch.autograd.detect_anomaly(check_nan=False):  # it keeps each backward's forward line
                kept = step(*inputs)
            break
        except _Cut:  # the rest depends on values: once more, with a shadow that has them
            pass
        core._clear_pending_irs(device)
        recorder.restore()
    outputs = recorder.pending()
    lowered = Lowered(core._get_xla_tensors_hlo(outputs), core._get_xla_tensors_hlo_proto(outputs), None,
                      recorder.fallbacks, recorder.reads, recorder.wrong)  # fmt: skip
    del outputs, kept
    core._clear_pending_irs(device)
    if not recorder.shadowed:
        began = time.perf_counter()
        kept = step(*inputs)
        lowered.trace_seconds = time.perf_counter() - began
        del kept
        core._clear_pending_irs(device)
    recorder.restore()
    return lowered


class _Cut(Exception):
    """The graph cannot go on without a value."""


class _Recorder(TorchDispatchMode):
    """Sees every operation below autograd; ``shadowed`` runs each on a CPU copy of its inputs as well."""

    def __init__(self, core: Any, shadowed: bool) -> None:
        super().__init__()
        self.core, self.shadowed = core, shadowed
        self.shadows: dict[int, Tensor] = {}
        self.lazy: dict[int, ref] = {}
        self.made: set[int] = set()  # numbers of what the step made, all else was there before
        self.viewed: dict[int, Tensor] = {}  # what was there before, by the number of a view of it
        self.saved: dict[int, tuple[Tensor, Tensor]] = {}  # what was there and is changed, and its value before
        self.fallbacks, self.reads, self.wrong = Counter(), Counter(), Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        flat = tree_flatten((args, kwargs))[0]
        lazy = any(isinstance(x, Tensor) and x.device.type == "xla" for x in flat)
        if not lazy and not any(isinstance(x, torch.device) and x.type == "xla" for x in flat):
            return operation(*args, **kwargs)
        read = operation is torch.ops.aten._local_scalar_dense.default or (
            lazy and any(isinstance(x, torch.device) and x.type == "cpu" for x in flat)
        )
        if operation._schema.is_mutable or operation is torch.ops.aten.native_batch_norm.default:  # it does not say so
            self._save(flat)
        if operation is torch.ops.aten.split_with_sizes.default and (args[2] if len(args) > 2 else 0):
            self.wrong[str(operation), _python_line()] += 1
        lowered = _has_lowering(operation) and not _hides_a_fallback(operation, args, flat)
        if not self.shadowed:
            if read or not lowered or operation in _RESHAPING:
                raise _Cut
            results = self._traced(operation, args, kwargs)
            for result in tree_flatten(results)[0]:
                if isinstance(result, Tensor):
                    self.lazy[self.core._xla_get_tensor_id(result)] = ref(result)
            self._origin(operation, args, results)
            return results
        shadow_args, shadow_kwargs = tree_map(self._shadow, (args, kwargs))
        if operation is torch.ops.aten.view.default:  # lazy tensors have no strides that could forbid it
            values = shadow_args[0].reshape(shadow_args[1])
        else:
            values = operation(*shadow_args, **shadow_kwargs)
        if read:
            self.reads[str(operation), _python_line()] += 1
            return values
        if not lowered or operation in _RESHAPING:
            kind = self.wrong if operation in _RESHAPING else self.fallbacks
            kind[str(operation), _python_line()] += 1
            if not operation._schema.is_mutable:
                return tree_map(self._back, values)
            if values.shape != args[0].shape:
                args[0].data = self._back(values)
            return args[0]
        results = self._traced(operation, args, kwargs)
        for result, value in zip(tree_flatten(results)[0], tree_flatten(values)[0], strict=True):
            if isinstance(result, Tensor):
                self._remember(result, value)
        self._origin(operation, args, results)
        return results

    def _traced(self, operation: Any, args: Any, kwargs: Any) -> Any:
        """Run on the XLA device, the instructions named by their Python line."""
        scope = self.core.profiler.scope_pusher(_python_line())
        try:
            return operation(*args, **kwargs)
        finally:
            del scope

    def pending(self) -> list[Tensor]:
        """The tensors that are still wanted and not computed: the outputs of the graph."""
        tensors = [tensor for tensor in (reference() for reference in self.lazy.values()) if tensor is not None]
        needed = self.core._check_tensor_need_materialization(tensors)
        return [tensor for tensor, wanted in zip(tensors, needed, strict=True) if wanted]

    @torch.no_grad()
    def restore(self) -> None:
        """Give what the step changed its value back, and zeros to what it made and somebody keeps."""
        alive = [(number, reference()) for number, reference in self.lazy.items() if number in self.made]
        for number, tensor in alive:
            if tensor is not None and number not in self.saved:
                tensor.copy_(torch.zeros(tensor.shape, dtype=tensor.dtype))
        for tensor, value in self.saved.values():
            if tensor.shape == value.shape:
                tensor.copy_(value)
            else:  # turned in place
                tensor.data = value.to("xla")

    def _save(self, flat: list[Any]) -> None:
        """Keep the values of the tensors among ``flat``, one of which is about to change, that were there before."""
        for x in flat:
            if isinstance(x, Tensor) and x.device.type == "xla":
                before = self._before(x)
                number = None if before is None else self.core._xla_get_tensor_id(before)
                if before is not None and number not in self.saved:
                    self.saved[number] = before, before.cpu()

    def _origin(self, operation: Any, args: Any, results: Any) -> None:
        """Note whether the results are of the step's own making, or views of what was there before."""
        for result in tree_flatten(results)[0]:
            if isinstance(result, Tensor):
                if operation.is_view and (base := self._before(args[0])) is not None:
                    self.viewed[self.core._xla_get_tensor_id(result)] = base
                else:
                    self.made.add(self.core._xla_get_tensor_id(result))

    def _before(self, x: Tensor) -> Tensor | None:
        """The tensor that was there before the step and that ``x`` is, or is a view of."""
        number = self.core._xla_get_tensor_id(x)
        return self.viewed.get(number, None if number in self.made else x)

    def _shadow(self, x: Any) -> Any:
        if isinstance(x, torch.device):
            return torch.device("cpu")
        if not isinstance(x, Tensor) or x.device.type != "xla":
            return x
        number = self.core._xla_get_tensor_id(x)  # `y.data` is another tensor with y's number
        if number not in self.shadows:
            self.shadows[number] = x.cpu()  # an input: its value is there already
        return self.shadows[number]

    def _back(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        lazy = value.to("xla")
        self._remember(lazy, value)
        self.made.add(self.core._xla_get_tensor_id(lazy))
        return lazy

    def _remember(self, lazy: Tensor, value: Tensor) -> None:
        number = self.core._xla_get_tensor_id(lazy)
        self.shadows[number], self.lazy[number] = value, ref(lazy)


@cache
def _has_lowering(operation: Any) -> bool:
    """Whether torch_xla lowers the operation, or PyTorch composes it of others."""
    keys = ("XLA", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional", "CompositeImplicitAutograd")
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), key) for key in keys)


def _hides_a_fallback(operation: Any, args: Any, flat: list[Any]) -> bool:
    """A mask as an index is lowered by ``nonzero``, which is not; nor are windows that overlap."""
    if operation.name().startswith(("aten::index", "aten::_index_put")):
        return any(isinstance(x, Tensor) and x.dtype == torch.bool for x in flat)
    return operation is torch.ops.aten.as_strided.default and prod(args[1]) > args[0].numel()


_RESHAPING = {torch.ops.aten.transpose_.default, torch.ops.aten.t_.default, torch.ops.aten.squeeze_.dim,
              torch.ops.aten.unsqueeze_.default}  # fmt: skip
"""In place they change the shape; a lazy tensor without functionalization keeps the one it had."""

_TRACEBACK = re.compile(r'File "([^"]+)", line (\d+)')
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__)))


def _python_line() -> str:
    """``file:line`` of the nearest caller outside PyTorch; of an operation of a backward pass, its forward's."""
    node = torch._C._current_autograd_node()
    if node is not None and "traceback_" in node.metadata:
        lines = [_TRACEBACK.search(text) for text in reversed(node.metadata["traceback_"])]
        return next((f"{f[1]}:{f[2]}" for f in lines if f and not f[1].startswith(_LIBRARIES)), "")
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else ""
