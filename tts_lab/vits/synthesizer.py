"""The generator of VITS: text and audio in, a decoded segment and everything its losses need out."""

from dataclasses import dataclass

import torch
from piper.train.vits import models
from torch import Tensor

from tts_lab.vits import alignment
from tts_lab.vits.config import ModelConfig
from tts_lab.vits.layers import make_static, normalise_together
from tts_lab.vits.source_filter import SourceFilter


@dataclass
class Batch:
    """One training batch of a bucket's shape: ``B`` utterances, ``T`` phonemes, ``F`` frames, ``S`` segment frames."""

    phonemes: Tensor
    """Phoneme ids ``(B, T)``, zero-padded."""
    phoneme_lengths: Tensor
    """``(B,)``."""
    spectrogram: Tensor
    """Magnitude spectrogram ``(B, bins, F)``, zero-padded."""
    frames: Tensor
    """True frames ``(B,)``."""
    starts: Tensor
    """First frame of each segment ``(B,)``, drawn on the host so that nothing on the device needs a length."""
    segment: Tensor
    """The real audio of each segment ``(B, 1, S * hop)``, cut on the host."""
    segment_spectrogram: Tensor
    """The spectrogram of each segment ``(B, bins, S)``, cut from the whole one's."""
    path: Tensor | None = None
    """Alignment ``(B, F, T)`` where it is known before the pass; the pass searches it where it is not."""
    speakers: Tensor | None = None
    """Speaker ids ``(B,)`` for a multi-speaker model."""
    acoustics: Tensor | None = None
    """WORLD's analysis of each segment ``(B, 1 + 2 * BANDS, S * PER_FRAME)``, for a source-filter decoder."""
    shares: Tensor | None = None
    """Of all processes' phonemes and frames, the part in this batch times their number ``(2,)``; none where it is all.
    A loss per phoneme or frame, times it, has the mean over processes that the undivided batch would have."""


torch.export.register_dataclass(Batch)  # a tree of tensors, for who must find them


@dataclass
class Posterior:
    """What the Kullback-Leibler term compares, each ``(B, C, F)``, with ``mask (B, 1, F)``."""

    z_p: Tensor
    log_q: Tensor
    mean_p: Tensor
    log_p: Tensor
    mask: Tensor


@dataclass
class Generated:
    """A pass of the generator."""

    made: Tensor
    """Decoded segments ``(B, 1, S * hop)``; of a source-filter decoder their acoustics (``SourceFilter.describe``)."""
    duration: Tensor
    """Duration loss, a scalar; zero when the duration predictor is frozen."""
    path: Tensor
    """Alignment ``(B, F, T)``."""
    posterior: Posterior


class Synthesizer(models.SynthesizerTrn):
    """Piper's ``SynthesizerTrn`` with static shapes: same parameters, same keys, same ``infer``."""

    def __init__(self, config: ModelConfig) -> None:
        spectrogram = config.spectrogram
        super().__init__(
            n_vocab=config.symbols, spec_channels=spectrogram.bins, segment_size=config.segment_frames,
            inter_channels=config.inter_channels, hidden_channels=config.hidden_channels,
            filter_channels=config.filter_channels, n_heads=config.heads, n_layers=config.text_layers,
            kernel_size=config.kernel_size, p_dropout=config.dropout, resblock=config.resblock,
            resblock_kernel_sizes=config.resblock_kernel_sizes,
            resblock_dilation_sizes=config.resblock_dilation_sizes, upsample_rates=config.upsample_rates,
            upsample_initial_channel=config.upsample_initial_channel,
            upsample_kernel_sizes=config.upsample_kernel_sizes, n_speakers=config.speakers,
            gin_channels=config.speaker_channels,
        )  # fmt: skip
        # Piper fixes these depths in its constructor; only the tiny preset asks for others.
        widths = (config.hidden_channels, 5, 1)
        if config.posterior_layers != ModelConfig.posterior_layers:
            self.enc_q = models.PosteriorEncoder(
                spectrogram.bins, config.inter_channels, *widths, config.posterior_layers, config.speaker_channels
            )
        if (config.flows, config.flow_layers) != (ModelConfig.flows, ModelConfig.flow_layers):
            self.flow = models.ResidualCouplingBlock(
                config.inter_channels, *widths, config.flow_layers, config.flows, config.speaker_channels
            )
        if config.decoder == "source_filter":
            self.dec = SourceFilter(config.inter_channels, config.hidden_channels, spectrogram, config.speaker_channels)
        self.config = config
        make_static(self)

    def forward(self, batch: Batch, free: int = 0) -> Generated:
        """Encode, align and decode one segment of each utterance (VITS, figure 1a).

        The segments of the first ``free`` rows are decoded from the text, along the alignment, as the voice will speak
        (figure 1b): what the decoder is shown of recordings alone it makes clear, and what it is shown later, not.

        Under bf16 autocast the text encoder, posterior encoder and decoder run in bfloat16; the flow, the
        alignment and the duration predictor stay in float32, whose log-determinants need it.
        """
        text, mean_p, log_p, text_mask, z, log_q, mask, z_p, speaker = self._encode(batch)
        with torch.autocast(z.device.type, enabled=False):
            path = batch.path
            if path is None:
                with torch.no_grad():
                    score = alignment.log_likelihood(z_p, mean_p, log_p)
                    path = alignment.maximum_path(score, batch.frames, batch.phoneme_lengths)
            duration = z.new_zeros(())
            if not self.training or any(p.requires_grad for p in self.dp.parameters()):
                nll = self.dp(text, text_mask, path.sum(1, keepdim=True), g=speaker)
                duration = torch.sum(nll / text_mask.sum())
            mean_p, log_p = mean_p @ path.transpose(1, 2), log_p @ path.transpose(1, 2)
            # Segments by one-hot product: a gather over the frame axis is dense on Neuron.
            offsets = torch.arange(self.segment_size, device=z.device) + batch.starts[:, None]
            picked = torch.arange(z.shape[-1], device=z.device)[None, :, None] == offsets[:, None, :]
            if free:
                z = torch.cat([self._of_text(mean_p[:free], log_p[:free], mask[:free], speaker), z[free:]])
            z_segment = z @ picked.to(z)

        decode = self.dec if batch.acoustics is None else self.dec.describe
        made = decode(z_segment, g=speaker)
        return Generated(made, duration, path, Posterior(z_p, log_q, mean_p, log_p, mask))

    @torch.no_grad()
    def _of_text(self, mean_p: Tensor, log_p: Tensor, mask: Tensor, speaker: Tensor | None) -> Tensor:
        drawn = mean_p + torch.randn_like(mean_p) * torch.exp(log_p) * self.config.noise_scale
        return self.flow(drawn * mask, mask, g=None if speaker is None else speaker[: len(mask)], reverse=True)

    @torch.no_grad()
    def score(self, batch: Batch) -> Tensor:
        """What the alignment is searched in, ``(B, F, T)``; the same seed draws the same for it as for ``forward``."""
        _, mean_p, log_p, _, _, _, _, z_p, _ = self._encode(batch)
        return alignment.log_likelihood(z_p, mean_p, log_p)

    @torch.no_grad()
    def follow(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Decode whole recordings from their own posterior, and align them: teacher forcing.

        Returns:
            Audio ``(B, 1, F * hop)``, of which a row's is what its frames make, and the alignment ``(B, F, T)``.
        """
        _, mean_p, log_p, _, z, _, mask, z_p, speaker = self._encode(batch)
        score = alignment.log_likelihood(z_p, mean_p, log_p)
        path = alignment.maximum_path(score, batch.frames, batch.phoneme_lengths)
        return self.dec(z * mask, g=speaker), path

    def _encode(self, batch: Batch) -> tuple[Tensor | None, ...]:
        if batch.phonemes.device.type == "xla":
            normalise_together(self)
        text, mean_p, log_p, text_mask = self.enc_p(batch.phonemes, batch.phoneme_lengths)
        speaker = self.emb_g(batch.speakers).unsqueeze(-1) if self.n_speakers > 1 else None
        z, _, log_q, mask = self.enc_q(batch.spectrogram, batch.frames, g=speaker)
        with torch.autocast(z.device.type, enabled=False):
            text, mean_p, log_p, text_mask = text.float(), mean_p.float(), log_p.float(), text_mask.float()
            z, log_q, mask = z.float(), log_q.float(), mask.float()
            z_p = self.flow(z, mask, g=speaker)
        return text, mean_p, log_p, text_mask, z, log_q, mask, z_p, speaker
