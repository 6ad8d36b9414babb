"""A step traced twice and then only run: the graph again, from other inputs, with no Python in between.

A lazy device is told every operation anew at every step, some 11,000 for a medium one, and waits for it. But a step of
fixed shape is always the same graph. Its outputs replace its inputs, and that is all there is to do. The primitives
are those of torch_xla's own bridge for ``torch.compile`` (torch_xla/_dynamo/dynamo_bridge.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_xla
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch_xla.core import xla_model
from torch_xla.utils.buffer_donor_context import alias_with_buffer_donor_config

_core = torch_xla._XLAC


class Repeated:
    """One work on inputs of one shape: traced until two recordings in a row are the same, then replayed.

    What the work does must follow from ``tensors`` alone, or be constant.
    """

    def __init__(self) -> None:
        self.recording: Recording | None = None
        self.steady = False
        """Whether the next call is a replay."""
        self.counted: list[int] = []
        """Steps that each optimizer counted by itself while this was traced."""

    def __call__(self, work: Callable[[], Any], tensors: Sequence[Tensor], state: int) -> Any:
        """As ``record``; returns what ``work`` returns."""
        if self.steady:
            return self.recording.run(tensors)
        before = self.recording
        self.recording, results = record(work, tensors, state)
        self.steady = before is not None and self.recording.same(before)
        return results


@dataclass
class Recording:
    """A compiled graph and where each of its inputs comes from."""

    graph: bytes
    """The key of the compiled graph."""
    sources: list[int | Tensor | None]
    """For each input the position of its tensor, or a constant, or None for the random seed."""
    changed: list[int]
    """Positions of the tensors that the first outputs replace."""
    layout: TreeSpec
    """Of the outputs after those."""
    certain: bool
    """Whether no two of the tensors were one in memory, for which the sources could not be told apart."""

    def run(self, tensors: Sequence[Tensor]) -> Any:
        """Run the graph on ``tensors``, of which those that it changes get their new values; returns the rest."""
        device = str(torch_xla.device())
        inputs = [
            _core._get_base_seed_as_tensor(device) if s is None else tensors[s] if isinstance(s, int) else s
            for s in self.sources
        ]
        outputs = _core._run_cached_graph(self.graph, inputs)
        for position, output in zip(self.changed, outputs, strict=False):
            _core._replace_xla_tensor(tensors[position], output)
        # As a sync does, or a second run without a new seed would draw the same.
        xla_model.set_rng_state((1012031 + _core._xla_get_rng_seed() * 7012063) % 2**64)
        return tree_unflatten(outputs[len(self.changed) :], self.layout)

    def same(self, other: "Recording") -> bool:
        """Whether both would do the same to any tensors: only then is nothing taken for constant that changes."""
        if (self.graph, self.changed, self.layout) != (other.graph, other.changed, other.layout):
            return False
        if not (self.certain and other.certain):
            return False
        return all(
            torch.equal(a.cpu(), b.cpu()) if isinstance(a, Tensor) and isinstance(b, Tensor) else a is b or a == b
            for a, b in zip(self.sources, other.sources, strict=True)
        )


def record(work: Callable[[], Any], tensors: Sequence[Tensor], state: int) -> tuple[Recording, Any]:
    """Trace ``work()``, compile it where it is new, run it.

    Args:
        tensors: all that ``work`` may find changed when it is called again.
        state: from this position on they are what it may change itself; their memory becomes that of the new values.

    Returns:
        The recording, and what ``work`` returns, with values.
    """
    seed = _core._xla_get_rng_seed()  # a sync and the clearing below draw a new one
    torch_xla.sync(wait=True)
    xla_model.set_rng_state(seed)
    positions = {_core._unique_id_for_ir_and_data(tensor): n for n, tensor in enumerate(tensors)}
    results, layout = tree_flatten(work())
    changed = [n for n, new in enumerate(_core._check_tensor_need_materialization(tensors)) if new]
    outputs = [*(tensors[n] for n in changed), *results]
    numbers, inputs = _core._get_tensors_xla_device_data_node(outputs)
    seed_number = _core._get_seed_info_id()
    sources: list[int | Tensor | None] = [
        None if number == seed_number else positions.get(_core._unique_id_for_ir_and_data(value), value)
        for number, value in zip(numbers, inputs, strict=True)
    ]
    given_up = {n for n in changed if n >= state}
    for source, value in zip(sources, inputs, strict=True):
        if isinstance(source, int) and source in given_up:
            _core._set_buffer_donation(value, True)
    with alias_with_buffer_donor_config():
        certain = len(positions) == len(tensors)
        recording = Recording(_core._get_graph_hash(outputs), sources, changed, layout, certain)
        _core._xla_warm_up_cache(outputs, [])
    for source, value in zip(sources, inputs, strict=True):  # what was traced is dropped, what went in comes back
        if isinstance(source, int):
            _core._replace_xla_tensor(tensors[source], value)
    del outputs, results
    _core._clear_pending_irs(str(torch_xla.device()))
    xla_model.set_rng_state(seed)
    return recording, recording.run(tensors)
