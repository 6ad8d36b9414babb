"""CPU and CUDA: operations run as they are called."""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from tts_lab.devices.processes import Processes
from tts_lab.errors import UserError


class HostDevice:
    """The processor, or a GPU where ``accelerator`` is "cuda".

    Raises:
        UserError: more processes than GPUs, or not all of them could be met.
    """

    def __init__(self, accelerator: str = "cpu", processes: Processes | None = None) -> None:
        processes = processes or Processes()
        gpu = accelerator == "cuda"
        self.torch = torch.device("cuda", processes.local_rank) if gpu else torch.device("cpu")
        if gpu and processes.world > 1:
            if processes.local_world > torch.cuda.device_count():
                raise UserError(
                    f"{processes.local_world} processes want a GPU each and {torch.cuda.device_count()} are here: "
                    "start torchrun with that --nproc_per_node, or train with accelerator cpu"
                )
            torch.cuda.set_device(self.torch)
        self.processes = processes.join("nccl" if gpu else "gloo")

    def seed(self, number: int) -> None:
        torch.manual_seed(number)

    def autocast(self, precision: str) -> AbstractContextManager:
        return torch.autocast(self.torch.type, torch.bfloat16, enabled=precision == "bf16")

    def adamw(self, parameters: Iterable[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(parameters, fused=True, **settings)  # one pass over memory
        optimizer.register_load_state_dict_pre_hook(_fused)
        return optimizer

    def reduce_and_clip(self, optimizer: torch.optim.Optimizer, limit: float | None) -> Tensor:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if self.processes.world > 1:
            self._average([p.grad for p in parameters])
        return nn.utils.clip_grad_norm_(parameters, limit or math.inf)

    def compute(self, work: Callable[..., Any], *inputs: Any) -> Any:
        return work(*inputs)

    def lightning(self) -> dict[str, Any]:
        from tts_lab.devices.lightning import ProcessStrategy  # a second to import, which other verbs need not wait for

        return {"accelerator": self.torch.type, "devices": 1, "strategy": ProcessStrategy(self.torch, self.processes)}

    def counters(self) -> dict[str, float]:
        return {}

    def _average(self, gradients: list[Tensor]) -> None:
        """Make them the mean over all processes, in one exchange: one by one each would wait for the slowest."""
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        self.processes.add_up(joined)
        joined /= self.processes.world
        pieces = joined.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [p.view(g.shape) for p, g in zip(pieces, gradients, strict=True)])


def _fused(_: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """The state of a run that was elsewhere: its form of AdamW would else replace this one's."""
    return state | {"param_groups": [group | {"fused": True} for group in state["param_groups"]]}
