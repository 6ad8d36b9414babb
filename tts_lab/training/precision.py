"""Which number format a device multiplies in."""

import torch


def native_bfloat16(accelerator: str = "cpu") -> bool:
    """Whether bfloat16 convolutions run natively there; where they are emulated they are slower than float32.

    Args:
        accelerator: cpu, cuda, or auto for a CUDA GPU where there is one.
    """
    if accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available()):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
