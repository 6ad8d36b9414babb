"""What a run sounds like as it goes: sentences and validation clips on a schedule, and how the clips are aligned."""

import io
import json
from pathlib import Path

import lightning as L
import numpy as np
import soundfile
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from tts_lab.corpus.wholefile import write_atomically
from tts_lab.frontend import Frontend
from tts_lab.training import alignments
from tts_lab.training.clips import Clip, free_running, spoken, teacher_forced
from tts_lab.training.config import TrainConfig
from tts_lab.training.loggers import log_audio, log_picture
from tts_lab.training.signs import decibels
from tts_lab.training.space import GB, make_room
from tts_lab.vits.synthesizer import Synthesizer


class Samples(Callback):
    """Every so many steps, before the first and after the last, with one fixed noise. Makes in the run folder

    ``samples/step-N/K.wav``: sentence K of ``config.sentences``, free-running, as the voice will be used;
    ``samples/step-N/forced-K.wav``: validation clip K teacher-forced, decoded from its own recording's posterior;
    ``samples/step-N/free-K.wav``: the same text free-running. Forced speech that is good beside free speech that is
    not says that text side, flow or durations are at fault, and not the decoder; judging by the first alone is a trap
    (SOOTHER), for a voice in use has no recording to lean on;
    ``samples/real-K.wav``: the recording; ``samples/texts.json``: what is said, and the clips' ids;
    ``alignments/step-N.png``; the columns ``tts_lab.training.columns.ALIGNMENT`` of metrics.csv, means over the clips.

    Audio, picture and scores go to all loggers. N counts the steps done; metrics.csv counts steps from 0, as
    everywhere, so the scores after N steps are in a row N - 1, and in TensorBoard all that is made then.
    """

    def __init__(self, config: TrainConfig, frontend: Frontend, clips: list[Clip]) -> None:
        self.config, self.folder, self.clips = config, config.run, clips
        self.made_at: int | None = None  # steps done when samples were made last; scores and loudness are of those
        self.scores: dict[str, float] = {}
        self.loudness: dict[str, float] = {}  # of what was spoken freely, in dB
        self.ids = [frontend.encode(sentence).ids for sentence in config.sentences]

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        texts = {
            "sentences": self.config.sentences,
            "clips": [{"id": clip.id, "text": clip.text} for clip in self.clips],
        }
        write_atomically(
            self.folder / "samples" / "texts.json", json.dumps(texts, ensure_ascii=False, indent=1).encode()
        )
        for number, clip in enumerate(self.clips):
            self._keep(trainer, module, f"real-{number}", clip.audio, self.folder / "samples")
        if trainer.global_step == 0:
            self.make(trainer, module)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        if trainer.global_step % self.config.sample_every == 0 or trainer.global_step == module.place.end:
            self.make(trainer, module)

    def make(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Everything the class promises, of the model as it is now."""
        folder = self.folder / "samples" / f"step-{trainer.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        module.eval()
        model = on_host(module.model_g)
        self.made_at, self.scores, self.loudness = trainer.global_step, {}, {}
        for number, ids in enumerate(self.ids):
            torch.manual_seed(number)
            audio = spoken(model, ids).audio
            self.loudness[str(number)] = decibels(audio)
            self._keep(trainer, module, str(number), audio, folder)
        aligned = []
        for number, clip in enumerate(self.clips):
            torch.manual_seed(number)
            forced = teacher_forced(model, clip)
            torch.manual_seed(number)
            free = free_running(model, clip)
            self._keep(trainer, module, f"forced-{number}", forced.audio, folder)
            self._keep(trainer, module, f"free-{number}", free.audio, folder)
            self.loudness[f"free-{number}"] = decibels(free.audio)
            aligned.append(alignments.Aligned(clip.text, clip.symbols, forced.durations, free.durations))
        if aligned:
            self._score(trainer, module, aligned)
        module.train()
        if self.config.disk_gb:
            make_room(self.folder, self.config.disk_gb * GB)

    def _score(self, trainer: L.Trainer, module: L.LightningModule, aligned: list[alignments.Aligned]) -> None:
        self.scores = alignments.mean_scores(aligned)
        for logger in trainer.loggers:
            logger.log_metrics(self.scores, row_of(trainer))
        spectrogram = module.header.model.spectrogram
        pixels = alignments.picture(aligned, spectrogram.hop_length / spectrogram.sample_rate)
        alignments.write_png(pixels, self.folder / "alignments" / f"step-{trainer.global_step}.png")
        log_picture(self._keepers(trainer), "alignment", pixels, row_of(trainer))

    def _keep(
        self, trainer: L.Trainer, module: L.LightningModule, name: str, audio: np.ndarray, folder: Path
    ) -> None:  # fmt: skip
        """Write ``name``.wav, and give it to the loggers as ``sample/name``."""
        rate, encoded = module.header.model.sample_rate, io.BytesIO()
        soundfile.write(encoded, audio, rate, format="WAV")
        write_atomically(folder / f"{name}.wav", encoded.getvalue())
        log_audio(self._keepers(trainer), f"sample/{name}", audio, rate, row_of(trainer))

    def _keepers(self, trainer: L.Trainer) -> list[Logger]:
        """The loggers that get sounds and pictures: not TensorBoard where disk space is limited, for it keeps all."""
        limited = self.config.disk_gb is not None
        return [logger for logger in trainer.loggers if not (limited and isinstance(logger, TensorBoardLogger))]


def row_of(trainer: L.Trainer) -> int:
    """The step that was done last, as loggers count: what is logged of it stays where a run resumes after it."""
    return max(0, trainer.global_step - 1)


def on_host(generator: Synthesizer) -> Synthesizer:
    """The generator itself, or a copy on the CPU where each sentence would be a new graph to compile."""
    if next(generator.parameters()).device.type != "xla":
        return generator
    copy = Synthesizer(generator.config)
    copy.load_state_dict({name: value.cpu() for name, value in generator.state_dict().items()})
    return copy.eval()
