"""Faults planted in a corpus, in the ways people spoil theirs: to practise on, and to see which of them are found."""

import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import lfilter

from tts_lab.corpus.manifest import read_manifest
from tts_lab.errors import UserError


@dataclass
class Clip:
    """One recording and what is written beside it."""

    id: str
    text: str
    path: Path

    def read(self) -> tuple[np.ndarray, int]:
        return soundfile.read(self.path, dtype="float32")


Plant = Callable[[Clip, list[Clip], np.random.Generator], tuple[np.ndarray, int]]
"""A clip, all clips of the corpus and chance, to other samples and the rate for their header."""


def clipped(clip: Clip, _: list[Clip], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Raised until 1 to 5 % of its samples are cut off; every other one then turned down by half."""
    audio, rate = clip.read()
    audio = np.clip(audio / np.quantile(np.abs(audio), 1 - rng.uniform(0.01, 0.05)), -1, 1)
    return audio * rng.choice([0.5, 1.0]), rate


def noisy(clip: Clip, clips: list[Clip], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """10 dB under the speech: pink noise, as of ventilation, or babble of six other clips played backwards."""
    audio, rate = clip.read()
    if rng.random() < 0.5:
        # P. Kellet's filter of white noise: -3 dB an octave.
        noise = lfilter(
            [0.049922, -0.095993, 0.050612, -0.004408],
            [1, -2.494956, 2.017265, -0.522189],
            rng.normal(size=len(audio) + rate),
        )[rate:]
    else:
        voices = [clips[i].read()[0][::-1] for i in rng.choice(len(clips), 6, replace=False)]
        noise = sum(np.roll(np.resize(voice, len(audio)), rng.integers(len(audio))) / voice.std() for voice in voices)
    # Speech is what stands over a tenth of the peak of its envelope; pauses do not count for its level.
    envelope = np.sqrt(np.convolve(audio**2, np.full(rate // 50, 50 / rate), "same"))
    speech = np.sqrt(np.mean(audio[envelope > 0.1 * envelope.max()] ** 2))
    mixed = audio + noise / noise.std() * speech * 10 ** (-10 / 20)
    return mixed / max(1.0, np.abs(mixed).max() / 0.95), rate


def wrong_header(clip: Clip, _: list[Clip], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Half of them the old samples under a header 1.378 times too high (22.05 kHz for 16), the other half samples
    of that rate under the header that all have: nothing in the header tells those."""
    audio, rate = clip.read()
    other = round(rate * 22050 / 16000)
    return (audio, other) if rng.random() < 0.5 else (soxr.resample(audio, rate, other), rate)


def half_silent(clip: Clip, _: list[Clip], rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """The first, middle or last half gone, but for hiss at -70 dBFS."""
    audio, rate = clip.read()
    begin = int(rng.choice([0.0, 0.25, 0.5]) * len(audio))
    half = len(audio) // 2
    audio[begin : begin + half] = rng.normal(size=half) * 10 ** (-70 / 20)
    return audio, rate


PLANTS: dict[str, Plant] = {
    "clipped": clipped,
    "noisy": noisy,
    "wrong sample rate header": wrong_header,
    "half-silent": half_silent,
}
"""What is done to sounds."""
TEXTS = ("swapped transcripts", "doubled text")
"""What is done to texts: each gets the next one's; the same words twice."""


def spoil(
    source: Path | str,
    folder: Path | str,
    kinds: Mapping[str, int],
    seed: int,
    plants: Mapping[str, Plant] = PLANTS,
) -> dict[str, str]:
    """Write the corpus at `source` anew to `folder`, metadata.csv and wavs/, with so many clips of each kind spoilt.

    `kinds` are of `TEXTS` and `plants`; no clip is spoilt twice. Returns the kind of each spoilt clip by its id.
    Recordings that stay as they are become links. Raises `UserError` if there are fewer clips than faults.
    """
    clips, folder = [Clip(row.id, row.text, row.audio) for row in read_manifest(source).rows], Path(folder)
    if sum(kinds.values()) > len(clips):
        raise UserError(f"{source} has {len(clips)} clips, too few to spoil {sum(kinds.values())}; spoil fewer.")
    rng = np.random.default_rng([seed, zlib.crc32("".join(kinds).encode())])
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "wavs").mkdir(parents=True)
    chosen = iter(rng.permutation(len(clips)))
    planted: dict[str, str] = {}
    texts = {clip.id: clip.text for clip in clips}
    for kind, count in kinds.items():
        some = [clips[next(chosen)] for _ in range(count)]
        planted |= {clip.id: kind for clip in some}
        if kind == "swapped transcripts":
            turned = some[1:] + some[:1] if count > 1 else [clips[next(chosen)]]
            texts |= {clip.id: other.text for clip, other in zip(some, turned, strict=True)}
        elif kind == "doubled text":
            texts |= {clip.id: f"{clip.text} {clip.text}" for clip in some}
    for clip in clips:
        if (plant := plants.get(planted.get(clip.id, ""))) is not None:
            audio, rate = plant(clip, clips, rng)
            soundfile.write(folder / "wavs" / f"{clip.id}.wav", audio, rate, "PCM_16")
        else:
            shutil.copyfile(clip.path, folder / "wavs" / f"{clip.id}{clip.path.suffix}")
    lines = "".join(f"{id}|{text}\n" for id, text in texts.items())
    (folder / "metadata.csv").write_text(lines, encoding="utf-8")
    return planted
