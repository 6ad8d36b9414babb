"""Says while a run trains that it goes wrong."""

from collections.abc import Sequence
from pathlib import Path

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback

from tts_lab.training.bad_numbers import TERMS
from tts_lab.training.config import VALIDATED
from tts_lab.training.samples import Samples
from tts_lab.training.signs import Signs, decibels
from tts_lab.training.terminal import log


class Watch(Callback):
    """One line for each sign (`tts_lab.training.signs`) when it begins, on the terminal and in log.txt.

    Reads only what is written down anyway: rows that are logged, scores and audio of the samples. Give it to the
    trainer after ``samples``.
    """

    def __init__(self, run: Path, log_every: int, samples: Samples) -> None:
        self.run, self.log_every, self.samples = run, log_every, samples
        self.signs, self.heard = Signs(), -1

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._listen(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        if trainer.global_step % self.log_every == 0:
            known = trainer.callback_metrics
            self._say(trainer, self.signs.losses({name: float(known[name]) for name in TERMS if name in known}))
        self._listen(trainer)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        known = trainer.callback_metrics
        self._say(trainer, self.signs.validation({name: float(known[name]) for name in VALIDATED if name in known}))

    def _listen(self, trainer: L.Trainer) -> None:
        """Where samples have just been made."""
        made = self.samples
        if made.made_at != trainer.global_step or made.made_at == self.heard:
            return
        self.heard = made.made_at
        if made.scores:
            self._say(trainer, self.signs.alignment(made.scores))
        # Without recordings beside them, 20 dB below full scale is where speech usually is.
        recorded = float(np.median([decibels(clip.audio) for clip in made.clips])) if made.clips else -20.0
        if made.loudness and trainer.global_step:  # an untrained voice may be silent
            self._say(trainer, self.signs.loudness(made.loudness, recorded))

    def _say(self, trainer: L.Trainer, signs: Sequence[str]) -> None:
        for sign in signs:
            text = f"warning: step {trainer.global_step}: {sign}"
            print(text, flush=True)
            log(self.run, text)
