"""The sizes of a voice model, and the presets that Piper's qualities name."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from tts_lab.corpus.plain import typed
from tts_lab.errors import UserError
from tts_lab.features import SpectrogramSettings

Sizes = tuple[int, ...]
SMALLEST_DISCRIMINATORS = 16
DURATION_NOISE = 0.8
"""How far from the mean of all rhythms a voice speaks, in standard deviations: Piper's."""


@dataclass(frozen=True)
class ModelConfig:
    """What a voice is, but for its weights. Defaults are Piper's medium quality.

    Names follow ``piper.train.vits.models.SynthesizerTrn``; the fields after ``speaker_channels`` are fixed
    numbers in Piper and stand here so that the tiny preset can shrink every part.
    """

    symbols: int = 256
    """Rows of the phoneme embedding."""
    speakers: int = 1
    """Speakers; above one the model gets a speaker embedding of ``speaker_channels``."""
    sample_rate: int = 22050
    """Samples a second of the audio it makes."""
    inter_channels: int = 192
    """Channels of the latent z."""
    hidden_channels: int = 192
    """Channels of the text encoder, the flow and the posterior encoder."""
    filter_channels: int = 768
    """Channels inside the text encoder's feed-forward layers."""
    heads: int = 2
    """Attention heads of the text encoder."""
    text_layers: int = 6
    """Layers of the text encoder."""
    kernel_size: int = 3
    """Kernel of the feed-forward layers."""
    dropout: float = 0.1
    """Dropout of the text encoder."""
    decoder: Literal["hifigan", "source_filter"] = "hifigan"
    """What makes audio of z. hifigan: Piper's, all of it learnt; source_filter: pulses and noise through predicted
    filters (``tts_lab.vits.source_filter``), as wide as ``hidden_channels``; the five fields below are not its."""
    resblock: str = "2"
    """Residual block of the decoder: "1" (HiFi-GAN v1, high quality) or "2"."""
    resblock_kernel_sizes: Sizes = (3, 5, 7)
    resblock_dilation_sizes: tuple[Sizes, ...] = ((1, 2), (2, 6), (3, 12))
    upsample_rates: Sizes = (8, 8, 4)
    """Upsampling of each decoder stage; their product is the hop length, 256."""
    upsample_initial_channel: int = 256
    upsample_kernel_sizes: Sizes = (16, 16, 8)
    segment_frames: int = 32
    """Frames decoded in a training step."""
    speaker_channels: int = 0
    """Width of the speaker embedding; 512 where there are several speakers."""
    posterior_layers: int = 16
    """WaveNet layers of the posterior encoder."""
    flows: int = 4
    """Coupling layers of the flow."""
    flow_layers: int = 4
    """WaveNet layers inside a coupling layer."""
    discriminator_divisor: int = 1
    """Divides the discriminators' channels; 1 is Piper's 47 million parameters."""
    discriminator_gain: float = 1.0
    """Multiplies the audio that the discriminators hear; 1 is Piper's."""
    noise_scale: float = 0.667
    """How far from the prior's mean it speaks, in standard deviations; training draws so for free rows alone."""

    def __post_init__(self) -> None:
        if self.speakers > 1 and self.speaker_channels == 0:
            object.__setattr__(self, "speaker_channels", 512)
        if not 1 <= self.discriminator_divisor <= SMALLEST_DISCRIMINATORS:
            raise UserError(
                f"discriminator_divisor is {self.discriminator_divisor}; it must be 1 to {SMALLEST_DISCRIMINATORS}, "
                "with which a layer of theirs has one channel"
            )

    @property
    def spectrogram(self) -> SpectrogramSettings:
        """The spectrogram the model reads and is scored with."""
        return SpectrogramSettings(sample_rate=self.sample_rate)

    @property
    def segment_samples(self) -> int:
        """Audio samples decoded in a training step."""
        return self.segment_frames * self.spectrogram.hop_length

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for a checkpoint or JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Read back what ``to_dict`` wrote, tuples restored.

        Raises:
            UserError: for a field this version does not know, or one of another type.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise UserError(f"model config has unknown fields {unknown}; it was written by another version of tts_lab")
        return typed(cls, values, "model config")


PRESETS: dict[str, ModelConfig] = {
    # Every part shrunk: trains on a laptop core in seconds, for tests and first looks. It cannot sound good.
    "tiny": ModelConfig(
        inter_channels=32, hidden_channels=32, filter_channels=64, text_layers=1, upsample_initial_channel=64,
        posterior_layers=2, flows=2, flow_layers=1, discriminator_divisor=16, sample_rate=16000,
    ),
    "x-low": ModelConfig(inter_channels=96, hidden_channels=96, filter_channels=384, sample_rate=16000),
    # Medium's sizes at 16 kHz. It may start from a medium voice, to which recordings then sound slower and deeper.
    "low": ModelConfig(sample_rate=16000),
    "medium": ModelConfig(),
    "high": ModelConfig(
        resblock="1", resblock_kernel_sizes=(3, 7, 11), resblock_dilation_sizes=((1, 3, 5),) * 3,
        upsample_rates=(8, 8, 2, 2), upsample_initial_channel=512, upsample_kernel_sizes=(16, 16, 4, 4),
    ),
}  # fmt: skip
