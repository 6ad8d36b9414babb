"""Text to wav: with a published or exported voice, or straight from a training checkpoint."""

import functools
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from piper import PiperVoice
from piper.config import PiperConfig, SynthesisConfig

from tts_lab.errors import UserError
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voice_json import read_voice_json
from tts_lab.voices.catalogue import find_voice
from tts_lab.voices.checkpoints import read_checkpoint
from tts_lab.voices.export import load_generator, voice_config
from tts_lab.voices.onnxfile import Session, read_graph

SEED = 1234


def say(
    voice: Path | str,
    text: str,
    wav: Path,
    speaker: int | str | None = None,
    length_scale: float | None = None,
    noise_scale: float | None = None,
    duration_noise: float | None = None,
) -> Path:
    """Speak `text` into `wav` through Piper's runtime, 16-bit mono at the voice's rate.

    `speaker` is an id or a name of a multi-speaker voice. `length_scale` above 1 is slower; the two noises make
    readings vary. What is None is as the voice's configuration says.

    Raises UserError: no such voice or speaker, or no phonemes in the text; `wav` is then not touched.
    """
    path = find_voice(voice)
    runtime = _load(path, path.stat().st_mtime_ns)
    settings = SynthesisConfig(
        speaker_id=_speaker_id(runtime.config, speaker, path),
        length_scale=length_scale,
        noise_scale=noise_scale,
        noise_w_scale=duration_noise,
    )
    return _write(runtime, text, wav, settings)


def speak_checkpoint(
    checkpoint: Path, sentences: Sequence[str], folder: Path, seed: int = SEED, speaker: int | str | None = None
) -> list[Path]:
    """Speak each sentence from a training checkpoint in PyTorch: `folder/00.wav`, `01.wav`, …

    Text and audio go through Piper's own runtime, with the model in the place of its ONNX session, so that a
    checkpoint and the voice exported from it differ in nothing else. Every sentence draws from `seed` alone.
    """
    taken = read_checkpoint(checkpoint)
    config = PiperConfig.from_dict(voice_config(taken, "en_US-checkpoint-medium", checkpoint))
    runtime = PiperVoice(session=_TorchSession(load_generator(taken, checkpoint)), config=config)
    settings = SynthesisConfig(speaker_id=_speaker_id(config, speaker, checkpoint))
    wavs = []
    for number, sentence in enumerate(sentences):
        torch.manual_seed(seed)
        wavs.append(_write(runtime, sentence, Path(folder) / f"{number:02}.wav", settings))
    return wavs


@functools.lru_cache(maxsize=2)
def _load(path: Path, _modified: int) -> PiperVoice:
    settings = read_voice_json(f"{path}.json")
    try:
        config = PiperConfig.from_dict(settings)
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}.json is not what Piper's runtime needs: it lacks {error}.") from error
    return PiperVoice(Session(read_graph(path), path, SEED), config)  # the same program says the same thing twice


class _TorchSession:
    """A generator behind the face of an ONNX Runtime session."""

    def __init__(self, model: Synthesizer):
        self.model = model

    @torch.inference_mode()
    def run(self, _outputs: None, inputs: dict[str, Any]) -> list[np.ndarray]:
        speaker = torch.from_numpy(inputs["sid"]) if "sid" in inputs else None
        text, lengths = torch.from_numpy(inputs["input"]), torch.from_numpy(inputs["input_lengths"])
        noise, length, duration_noise = inputs["scales"].tolist()
        return [self.model.infer(text, lengths, speaker, noise, length, duration_noise)[0].numpy()]


def _speaker_id(config: PiperConfig, speaker: int | str | None, voice: Path) -> int | None:
    if speaker is None:
        return None
    number = config.speaker_id_map.get(str(speaker))
    if number is None and str(speaker).isdigit():
        number = int(speaker)
    if number is None or number >= config.num_speakers:
        names = ", ".join(list(config.speaker_id_map)[:10])
        known = f": {names}" if names else ""
        raise UserError(f"{voice} has no speaker {speaker!r}; it has {config.num_speakers}{known}.")
    return number


def _write(runtime: PiperVoice, text: str, wav: Path, settings: SynthesisConfig) -> Path:
    chunks = [chunk.audio_int16_bytes for chunk in runtime.synthesize(text, settings)]
    if not any(chunks):
        raise UserError(f"There is nothing to say in {text!r}: it gives no phonemes.")
    wav = Path(wav)
    try:
        wav.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(wav), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(runtime.config.sample_rate)
            file.writeframes(b"".join(chunks))
    except OSError as error:
        raise UserError(f"{wav} cannot be written: {error}.") from error
    return wav
