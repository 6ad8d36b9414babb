"""Discriminators begun from nothing, on real speech beside a vocoder's copy of it."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

from tts_lab.vits.discriminators import Discriminators
from tts_lab.vits.losses import discriminator_loss

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*")
HEARD = 8192  # samples: 32 frames, as in a training step
GUESS = 3.0  # the loss of six that say a half to everything


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Clips, and each by Griffin-Lim: the same magnitudes nearly, and the phases gone."""
    found = []
    for path in sorted(Path("data_samples").glob("*.flac")):
        real, _ = soundfile.read(path, dtype="float32")
        if len(real) > 2 * HEARD:
            magnitude = np.abs(librosa.stft(real, n_fft=1024))
            made = librosa.griffinlim(magnitude, n_fft=1024, n_iter=4, random_state=0, length=len(real))
            found.append((real, made))
    return found[:12]


def lowest_loss(gain: float, pairs, steps: int = 120) -> float:
    """The mean loss over the last ten steps of telling real from made."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    judges = Discriminators(divisor=8, gain=gain)
    optimizer = torch.optim.AdamW(judges.parameters(), lr=1e-3, betas=(0.5, 0.9), eps=1e-9)
    losses = []
    for _ in range(steps):
        sides = [], []
        for _ in range(4):
            clip = pairs[rng.integers(len(pairs))]
            start = rng.integers(len(clip[0]) - HEARD)
            for side, audio in zip(sides, clip, strict=True):
                side.append(torch.from_numpy(audio[start : start + HEARD]))
        loss = discriminator_loss(*judges(*(torch.stack(side)[:, None] for side in sides))[:2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-10:]))


def test_discriminators_that_hear_speech_louder_learn_it_sooner(pairs):
    quiet, loud = (lowest_loss(gain, pairs) for gain in (1.0, 10.0))
    assert quiet > 0.97 * GUESS > 0.9 * GUESS > loud
