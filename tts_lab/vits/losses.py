"""The terms of VITS training (Kim et al. 2021, section 2). All in float32, whatever the autocast.

Piper's own where they are free of host reads; its discriminator loss calls ``.item()`` twelve times a step.
"""

import torch
from piper.train.vits.losses import feature_loss, generator_loss, kl_loss
from torch import Tensor

__all__ = ["discriminator_loss", "feature_loss", "generator_loss", "kl_loss"]


def discriminator_loss(real: list[Tensor], generated: list[Tensor]) -> Tensor:
    """Least-squares GAN loss (Mao et al. 2017): real scores to 1, generated to 0, summed over discriminators."""
    return sum(
        torch.mean((1 - r.float()).square()) + torch.mean(g.float().square())
        for r, g in zip(real, generated, strict=True)
    )
