"""CPU and CUDA: operations run as they are called."""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn


class HostDevice:
    """The processor, or a GPU where ``accelerator`` is "cuda", or "auto" and there is one."""

    def __init__(self, accelerator: str = "cpu") -> None:
        gpu = accelerator == "cuda" or accelerator == "auto" and torch.cuda.is_available()
        self.torch = torch.device("cuda" if gpu else "cpu")

    def seed(self, number: int) -> None:
        torch.manual_seed(number)

    def autocast(self, precision: str) -> AbstractContextManager:
        return torch.autocast(self.torch.type, torch.bfloat16, enabled=precision == "bf16")

    def adamw(self, parameters: Iterable[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, fused=True, **settings)  # one pass over memory

    def reduce_and_clip(self, optimizer: torch.optim.Optimizer, limit: float | None) -> Tensor:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        return nn.utils.clip_grad_norm_(parameters, limit or math.inf)

    def compute(self, work: Callable[..., Any], *inputs: Any) -> Any:
        return work(*inputs)

    def lightning(self) -> dict[str, Any]:
        from tts_lab.devices.lightning import OneDevice

        return {"accelerator": self.torch.type, "devices": 1, "strategy": OneDevice(self.torch)}

    def counters(self) -> dict[str, float]:
        return {}
