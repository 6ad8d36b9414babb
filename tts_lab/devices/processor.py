"""What the processor at hand is good at, and how its memory is kept."""

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # mallopt's names for them, malloc.h of glibc


def native_bfloat16(accelerator: str = "cpu") -> bool:
    """Whether bfloat16 convolutions run natively there; where they are emulated they are slower than float32.

    Args:
        accelerator: as in a run's config, but for auto.
    """
    if accelerator in ("xla", "neuron"):
        return accelerator == "neuron"  # the XLA client for CPUs emulates it
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def keep_freed_memory() -> None:
    """Keep what tensors free for the next ones, for the life of this process; where there is no glibc, do nothing.

    By default glibc hands large blocks back, and every step takes them anew, a page fault for each 4 KiB: a tenth
    of a step's time.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
