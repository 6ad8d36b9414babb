"""The multi-period and scale discriminators of VITS, real and generated audio through each weight once.

Parameters and keys are those of ``piper.train.vits.models.MultiPeriodDiscriminator``. A period's 2-D
convolution has a kernel one wide, so it is run as a 1-D convolution over ``B * period`` rows: the same
products in the same order, and the backward pass is faster.
"""

import torch
from torch import Tensor, nn
from torch.nn import Conv1d, Conv2d
from torch.nn import functional as F
from torch.nn.utils import weight_norm

from tts_lab.vits import filtering, products
from tts_lab.vits.config import ModelConfig
from tts_lab.vits.layers import PrimitiveWeightNorm, make_static, normalise_together

PERIODS = (2, 3, 5, 7, 11)
SLOPE = 0.1  # of the leaky ReLUs
Features = list[Tensor]


def _weight(conv: nn.Module) -> Tensor:
    """The normalised kernel of a weight-normed convolution, with a graph back to ``weight_g`` and ``weight_v``."""
    hook = next(h for h in conv._forward_pre_hooks.values() if isinstance(h, PrimitiveWeightNorm))
    return hook.compute_weight(conv)


class Discriminator(nn.Module):
    """A stack of weight-normed convolutions; ``period`` folds the waveform into rows first, 1 for none."""

    def __init__(self, convs: list[nn.Module], post: nn.Module, period: int = 1) -> None:
        super().__init__()
        self.period = period
        self.convs = nn.ModuleList(weight_norm(conv) for conv in convs)
        self.conv_post = weight_norm(post)
        make_static(self)

    def forward(self, *audios: Tensor) -> list[tuple[Tensor, Features]]:
        """Score each ``audio (B, 1, samples)``: ``(scores, features of every layer)``."""
        hidden = [self._fold(audio) for audio in audios]
        features: list[Features] = [[] for _ in audios]
        for conv in [*self.convs, self.conv_post]:
            kernel = _weight(conv)  # once for all audios: its normalisation and gradient are not repeated
            kernel = kernel.squeeze(-1) if kernel.dim() == 4 else kernel
            stride, padding = conv.stride[0], conv.padding[0]
            if products.suits(conv, hidden[0]):
                hidden = [products.convolve(h, kernel, conv.bias, stride, padding, groups=conv.groups) for h in hidden]
            elif filtering.suits(conv, hidden[0]):
                transformed = filtering.transform(kernel)
                hidden = [filtering.correlate(h, transformed, conv.bias) for h in hidden]
            else:
                hidden = [F.conv1d(h, kernel, conv.bias, stride, padding, groups=conv.groups) for h in hidden]
            if conv is not self.conv_post:
                hidden = [F.leaky_relu(h, SLOPE) for h in hidden]
            for found, h in zip(features, hidden, strict=True):
                found.append(h)
        return [(h.flatten(1), found) for h, found in zip(hidden, features, strict=True)]

    def _fold(self, audio: Tensor) -> Tensor:
        """``(B, 1, samples)`` -> ``(B * period, 1, samples / period)``: row p holds every period-th sample from p."""
        if self.period == 1:
            return audio
        audio = F.pad(audio, (0, -audio.shape[-1] % self.period), "reflect")
        return audio.unflatten(-1, (-1, self.period)).permute(0, 3, 1, 2).flatten(0, 1)


class Discriminators(nn.Module):
    """One scale and five period discriminators (HiFi-GAN, section 2.3).

    Args:
        divisor: of their channels.
        gain: of the audio they hear. Samples of speech are some hundredths: at 1, Piper's, discriminators begun from
            nothing say the same to everything for hundreds of steps and more.
    """

    def __init__(self, divisor: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.discriminators = nn.ModuleList([_scale(divisor), *(_period(p, divisor) for p in PERIODS)])

    def forward(self, real: Tensor, generated: Tensor):
        """Scores and features of both waveforms ``(B, 1, samples)``.

        Returns:
            ``(real_scores, generated_scores, real_features, generated_features)``, one entry a discriminator.
        """
        if real.device.type == "xla":
            normalise_together(self)
        louder = real * self.gain, generated * self.gain
        pairs = [discriminator(*louder) for discriminator in self.discriminators]
        (real_scores, real_features), (generated_scores, generated_features) = (
            zip(*side, strict=True) for side in zip(*pairs, strict=True)
        )
        return real_scores, generated_scores, real_features, generated_features


class PictureDiscriminators(nn.Module):
    """One discriminator of what a source-filter decoder describes, seen as a picture of time and frequency.

    Where the latent leaves open when something begins, the nearest envelope to all that may be is a blur, and a blur of
    30 ms takes a voice from natural to muffled: this tells it from the real ones. Its interface is ``Discriminators``'.
    """

    def __init__(self, divisor: int = 1) -> None:
        super().__init__()
        widths = [2, *(width // divisor for width in (32, 32, 64, 64))]
        kernels, strides = (5, 5, 3, 3), ((2, 1), (2, 2), (2, 1), (2, 2))
        self.convs = nn.ModuleList(
            weight_norm(Conv2d(a, b, kernel, stride, padding=kernel // 2))
            for a, b, kernel, stride in zip(widths, widths[1:], kernels, strides, strict=False)
        )
        self.conv_post = weight_norm(Conv2d(widths[-1], 1, 3, padding=1))
        make_static(self)

    def forward(self, real: Tensor, generated: Tensor):
        """Scores and features of both pictures ``(B, 2, BANDS, T)``, as ``Discriminators`` gives them."""
        hidden, features = torch.cat([real, generated]), []
        for conv in self.convs:
            hidden = F.leaky_relu(conv(hidden), SLOPE)
            features.append(hidden)
        features.append(self.conv_post(hidden))
        of_real, of_generated = zip(*(layer.chunk(2) for layer in features), strict=True)
        return [of_real[-1].flatten(1)], [of_generated[-1].flatten(1)], [list(of_real)], [list(of_generated)]


def discriminators_of(config: ModelConfig) -> nn.Module:
    """Those that tell what the decoder of such a model makes from what is real."""
    if config.decoder == "source_filter":
        return PictureDiscriminators(config.discriminator_divisor)
    return Discriminators(config.discriminator_divisor, config.discriminator_gain)


def _period(period: int, divisor: int) -> Discriminator:
    widths = [1, *(width // divisor for width in (32, 128, 512, 1024, 1024))]
    strides = (3, 3, 3, 3, 1)
    convs = [
        Conv2d(a, b, (5, 1), (stride, 1), padding=(2, 0))
        for a, b, stride in zip(widths, widths[1:], strides, strict=False)
    ]
    return Discriminator(convs, Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)), period)


def _scale(divisor: int) -> Discriminator:
    widths = [1, *(width // divisor for width in (16, 64, 256, 1024, 1024, 1024))]
    groups = [1, *(max(1, count // divisor) for count in (4, 16, 64, 256)), 1]
    kernels, strides = (15, 41, 41, 41, 41, 5), (1, 4, 4, 4, 4, 1)
    convs = [
        Conv1d(a, b, kernel, stride, padding=kernel // 2, groups=group)
        for a, b, kernel, stride, group in zip(widths, widths[1:], kernels, strides, groups, strict=False)
    ]
    return Discriminator(convs, Conv1d(widths[-1], 1, 3, padding=1))
