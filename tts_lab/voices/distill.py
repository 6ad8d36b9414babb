"""Recover the posterior encoder that a published voice leaves out, without any recording.

The voice reads sentences to itself through ONNX Runtime. Each gives audio and the latent z that the decoder made
it from, and the posterior encoder is what predicts z from the spectrogram of the audio: a Gaussian fitted by maximum
likelihood. How well it does is told by the mel distance between held-out speech and the decoding of the
predicted mean: about 1.9 from random weights, 0.3 when recovered.
"""

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional as F

from tts_lab.devices.processor import keep_freed_memory, native_bfloat16
from tts_lab.features import Spectrogram, host_spectrogram
from tts_lab.frontend import NOT_SYMBOLS, Frontend
from tts_lab.vits.config import DURATION_NOISE
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices.graph import VoiceGraph
from tts_lab.voices.reading import reading

NOISE_SCALES = (0.333, 0.667, 0.667, 1.0)  # of the prior; the loud end shows latents that human speech reaches too
LENGTH_SCALES = (0.85, 1.2)
HELD_OUT_SECONDS = 25.0  # or a fifth of the speech, where that is less


@dataclass(frozen=True)
class DistillSettings:
    """How the posterior encoder is recovered; the defaults take about two and a half minutes on two cores."""

    steps: int = 300
    """Updates. 0 leaves the posterior encoder random: enough to export, useless to train from."""
    minutes: float = 8.0
    """Speech to synthesize, most of it to learn from and 25 s to measure by."""
    batch_size: int = 16
    """Crops an update."""
    crop_frames: int = 96
    """Frames a crop."""
    learning_rate: float = 3e-3
    """Peak of the one-cycle schedule (AdamW)."""
    clip: float = 1.0
    """Greatest gradient norm; what makes that peak safe."""
    seed: int = 1234
    """Decides the initial weights, the sentences and the crops; ONNX Runtime draws its noise from it too."""


@dataclass(frozen=True)
class Spoken:
    """A sentence the voice read."""

    spectrogram: Tensor
    """Magnitude `(bins, frames)`."""
    latent: Tensor
    """What the decoder read, `(channels, frames)`."""
    audio: Tensor
    """`(frames * hop,)`."""
    speaker: int
    """Speaker id; 0 in a voice of one."""


@dataclass(frozen=True)
class Recovery:
    """What came of it."""

    steps: int
    speech_seconds: float
    """Synthesized speech, held-out sentences included."""
    mel_before: float
    """Mean distance of log-mel spectra, held-out speech against the decoded mean of its posterior, before and after."""
    mel_after: float


def recover_posterior(model: Synthesizer, graph: VoiceGraph, frontend: Frontend, settings: DistillSettings) -> Recovery:
    """Fit `model.enc_q` to what the voice in `graph` does, in place; every other part must be loaded already."""
    spoken = _read_aloud(model, graph, frontend, settings)
    rate = model.config.sample_rate
    samples = sum(len(one.audio) for one in spoken)
    held_out: list[Spoken] = []
    while len(spoken) > 1 and sum(len(one.audio) for one in held_out) < min(HELD_OUT_SECONDS * rate, samples / 5):
        held_out.append(spoken.pop())
    before = mel_distance(model, held_out)
    _fit(model, spoken, settings)
    return Recovery(settings.steps, samples / rate, before, mel_distance(model, held_out))


def _read_aloud(model: Synthesizer, graph: VoiceGraph, frontend: Frontend, settings: DistillSettings) -> list[Spoken]:
    chooser = random.Random(settings.seed)
    session = graph.session(expose_latent=True, seed=settings.seed)
    config, wanted, spoken = model.config, settings.minutes * 60 * model.config.sample_rate, []
    with _Progress("the voice reads", int(settings.minutes * 60), "s") as progress:
        done = 0
        for ids in _phoneme_ids(frontend, settings.seed):
            speaker = chooser.randrange(config.speakers)
            scales = [chooser.choice(NOISE_SCALES), chooser.uniform(*LENGTH_SCALES), DURATION_NOISE]
            feeds = {
                "input": np.array([ids]),
                "input_lengths": np.array([len(ids)]),
                "scales": np.array(scales, np.float32),
            }
            if config.speakers > 1:
                feeds["sid"] = np.array([speaker])
            audio, latent = session.run(None, feeds)
            waveform = torch.from_numpy(audio.reshape(-1))
            spectrogram = host_spectrogram(waveform, config.spectrogram)
            spoken.append(Spoken(spectrogram, torch.from_numpy(latent[0]), waveform, speaker))
            done += len(waveform)
            progress.at(int(done / config.sample_rate))
            if done >= wanted:
                return spoken
    raise AssertionError("reading() never ends")


def _phoneme_ids(frontend: Frontend, seed: int) -> Iterator[list[int]]:
    """Sentences as ids; a voice that knows less than half of their symbols gets random ones of its own instead."""
    chooser = random.Random(seed)
    marks = {mark: frontend.phoneme_id_map[mark] for mark in "_^$"}
    symbols = [ids for symbol, ids in frontend.phoneme_id_map.items() if symbol not in NOT_SYMBOLS]
    for sentence in reading(seed):
        encoding = frontend.encode(sentence)
        if encoding.ids and sum(encoding.missing.values()) < len(encoding.phonemes) / 2:
            yield encoding.ids
        else:
            drawn = [i for ids in chooser.choices(symbols, k=50) for i in [*ids, *marks["_"]]]
            yield [*marks["^"], *marks["_"], *drawn, *marks["$"]]


def _fit(model: Synthesizer, spoken: list[Spoken], settings: DistillSettings) -> None:
    """Gaussian negative log-likelihood of z over random crops."""
    if settings.steps == 0:
        return
    keep_freed_memory()
    chooser = random.Random(settings.seed)
    crop = min(settings.crop_frames, max(s.latent.shape[1] for s in spoken))
    long_enough = [s for s in spoken if s.latent.shape[1] >= crop]
    frames = [s.latent.shape[1] for s in long_enough]
    parameters = list(model.enc_q.parameters())
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(settings.steps, 2), pct_start=0.15
    )
    lengths = torch.full((settings.batch_size,), crop)
    # bfloat16 convolutions are twice as fast where the processor multiplies in it, and the result is the same.
    bfloat16 = native_bfloat16()
    model.enc_q.train()
    with _Progress("recovering the posterior encoder", settings.steps, "steps") as progress:
        for step in range(1, settings.steps + 1):
            picked = chooser.choices(long_enough, weights=frames, k=settings.batch_size)
            starts = [chooser.randrange(s.latent.shape[1] - crop + 1) for s in picked]
            cuts = [slice(start, start + crop) for start in starts]
            spectrogram = torch.stack([s.spectrogram[:, cut] for s, cut in zip(picked, cuts, strict=True)])
            z = torch.stack([s.latent[:, cut] for s, cut in zip(picked, cuts, strict=True)])
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                speaker = _speaker_embedding(model, [s.speaker for s in picked])
                _, mean, log_std, _ = model.enc_q(spectrogram, lengths, g=speaker)
            mean, log_std = mean.float(), log_std.float()
            loss = (log_std + 0.5 * (z - mean).square() * torch.exp(-2 * log_std)).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, settings.clip)
            optimizer.step()
            schedule.step()
            progress.at(step, f"loss {loss.item():.3f}")
    model.enc_q.eval()


@torch.no_grad()
def mel_distance(model: Synthesizer, spoken: list[Spoken]) -> float:
    """Mean absolute difference of log-mel spectra between speech and the decoded mean of its posterior."""
    spectrogram = Spectrogram(model.config.spectrogram)
    total, frames = 0.0, 0
    for one in spoken:
        speaker = _speaker_embedding(model, [one.speaker])
        length = torch.tensor([one.spectrogram.shape[1]])
        _, mean, _, _ = model.enc_q(one.spectrogram[None], length, g=speaker)
        decoded = spectrogram.mel(spectrogram(model.dec(mean, g=speaker)[:, 0]))
        heard = spectrogram.mel(one.spectrogram[None])
        total += float(F.l1_loss(decoded, heard)) * heard.shape[2]
        frames += heard.shape[2]
    return total / frames


def _speaker_embedding(model: Synthesizer, speakers: list[int]) -> Tensor | None:
    """`(B, speaker_channels, 1)`, None in a voice of one."""
    if model.config.speakers == 1:
        return None
    return model.emb_g(torch.tensor(speakers)).unsqueeze(-1).detach()


class _Progress:
    """A bar on a terminal; anywhere else a plain line every so many seconds."""

    def __init__(self, label: str, total: int, unit: str, seconds_between_lines: float = 15.0):
        self.label, self.total, self.unit, self.between = label, total, unit, seconds_between_lines
        columns = (TextColumn(label), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self.bar = Progress(*columns) if sys.stderr.isatty() and sys.stdout.isatty() else None

    def __enter__(self) -> "_Progress":
        self.said = time.monotonic()
        if self.bar:
            self.task = self.bar.add_task("", total=self.total)
            self.bar.start()
        return self

    def at(self, done: int, detail: str = "") -> None:
        done = min(done, self.total)
        text = f"{done}/{self.total} {self.unit}  {detail}".rstrip()
        if self.bar:
            self.bar.update(self.task, completed=done, description=text)
        elif done == self.total or time.monotonic() - self.said > self.between:
            self.said = time.monotonic()
            print(f"{self.label}: {text}", flush=True)

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()
