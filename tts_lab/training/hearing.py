"""How natural the voice sounds, at every validation."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import lightning as L
import soundfile
import torch
from lightning.pytorch.callbacks import Callback

from tts_lab.frontend import Frontend
from tts_lab.training.clips import spoken
from tts_lab.training.config import TrainConfig
from tts_lab.training.samples import on_host
from tts_lab.voices.best import HEARD

Judge = Callable[[Sequence[Path]], float]
"""From wav files to a mean opinion score, 1 to 5."""


class Hearing(Callback):
    """Speaks ``config.sentences`` freely, each validation with the same noise, and logs what ``judge`` gives them.

    Rank 0 speaks and the others are told. Give it to the trainer before what reads ``val_mos``.
    """

    def __init__(self, config: TrainConfig, frontend: Frontend, judge: Judge) -> None:
        self.ids = [frontend.encode(sentence).ids for sentence in config.sentences]
        self.judge = judge

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        heard = self._hear(module) if trainer.is_global_zero else None
        module.log(HEARD, torch.tensor(module.hardware.processes.broadcast(heard)))

    @torch.no_grad()
    def _hear(self, module: L.LightningModule) -> float:
        model, rate = on_host(module.model_g), module.header.model.sample_rate
        with TemporaryDirectory() as folder:
            wavs = [Path(folder) / f"{number}.wav" for number in range(len(self.ids))]
            for number, (ids, wav) in enumerate(zip(self.ids, wavs, strict=True)):
                torch.manual_seed(number)
                soundfile.write(wav, spoken(model, ids).audio, rate)
            return self.judge(wavs)
