"""The processes of a run, one a core, as torchrun started them, and what they tell one another by way of the host."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tts_lab.errors import UserError

PATIENCE = timedelta(minutes=10)  # rank 0 writes and speaks while the others wait; a dead process is noticed at once


class LostProcessError(UserError):
    """Another process of the run is gone: it died, hangs, or cannot be reached."""


@dataclass(frozen=True)
class Processes:
    """Which process of how many this one is. A single one is world 1, needs no group, and every exchange is nothing."""

    rank: int = 0
    """Of all processes; rank 0 alone writes."""
    world: int = 1
    local_rank: int = 0
    """On this machine: the core to use."""
    local_world: int = 1
    """Processes on this machine."""
    host: Any = None
    """The gloo group, for values in the host's memory."""

    @classmethod
    def of_environment(cls) -> "Processes":
        """What torchrun says, or the single process where it did not start this one."""
        if not dist.is_torchelastic_launched():
            return cls()
        return cls(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.world // self.local_world

    def join(self, backend: str) -> "Processes":
        """Meet the others.

        Args:
            backend: moves gradients: gloo, nccl, or xla, whose exchanges are part of the traced graph.

        Returns:
            The same with a group for the host's values.

        Raises:
            LostProcessError: not all came.
        """
        if self.world == 1:
            return self
        if backend == "xla":
            import torch_xla.distributed.xla_backend  # noqa: F401 - makes the backend known
        self._together(lambda: dist.init_process_group(backend, timeout=PATIENCE))
        group = self._together(lambda: dist.new_group(backend="gloo", timeout=PATIENCE))
        return replace(self, host=group)

    def mean(self, values: Tensor) -> Tensor:
        """Of host values, over all processes; the same bits everywhere."""
        if self.world == 1:
            return values
        values = values.clone()
        self._together(lambda: dist.all_reduce(values, group=self.host))
        return values / self.world

    def add_up(self, values: Tensor) -> None:
        """Make ``values``, on the device, their sum over all processes, in place."""
        self._together(lambda: dist.all_reduce(values))

    def broadcast(self, value: Any) -> Any:
        """Rank 0's ``value``, small and picklable."""
        if self.world == 1:
            return value
        box = [value]
        self._together(lambda: dist.broadcast_object_list(box, group=self.host, device=torch.device("cpu")))
        return box[0]

    def barrier(self) -> None:
        """Return when every process has come here."""
        if self.world > 1:
            self._together(lambda: dist.barrier(group=self.host))

    def leave(self) -> None:
        """Part from the others, when all are done."""
        if self.world > 1:
            self.barrier()
            dist.destroy_process_group()

    def _together(self, exchange: Callable[[], Any]) -> Any:
        try:
            return exchange()
        except RuntimeError as error:  # gloo's have no type of their own, the others' are of this one
            if dist.is_initialized():
                dist.destroy_process_group()  # what is still under way would abort the interpreter at its end
            cause = str(error).strip().splitlines()[0]
            raise LostProcessError(
                f"another of the {self.world} processes died, hangs or cannot be reached ({cause}). What it said "
                "last, or torchrun's root cause below, tells why; signal 9 that nobody sent means out of memory"
            ) from error
