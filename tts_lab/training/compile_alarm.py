"""The alarm for a device that compiles, or traces, what it knows already."""

from collections import Counter
from collections.abc import Sequence

import lightning as L
from lightning.pytorch.callbacks import Callback

from tts_lab.devices import Device
from tts_lab.errors import UserError
from tts_lab.vits.synthesizer import Batch

PATIENCE = 3  # batches of a shape that may be traced before one is replayed; two are enough


class CompileAlarm(Callback):
    """Says when a batch of a shape seen before made the device compile again: time, and on trn1 money, is running out.

    Says too, once, when such batches are still traced by the host, where they should be replayed.

    Raises:
        UserError: instead of a warning of compiling, where ``error``.
    """

    def __init__(self, hardware: Device, error: bool) -> None:
        self.hardware, self.error = hardware, error
        self.seen: Counter[str] = Counter()
        self.before: dict[str, float] = {}
        self.told = False

    def check(self, phase: str, batches: Sequence[Batch]) -> None:
        shapes = ", ".join(f"{tuple(b.phonemes.shape)} phonemes, {tuple(b.spectrogram.shape)} frames" for b in batches)
        key, now = f"{phase} {shapes}", self.hardware.counters()
        compiled, traced = (now.get(n, 0.0) - self.before.get(n, 0.0) for n in ("graphs_compiled", "steps_traced"))
        self.before = now
        if compiled and self.seen[key]:
            said = (
                f"{compiled:.0f} more graphs compiled for a {phase} batch of known shape ({shapes}): something else is "
                "new. PT_XLA_DEBUG_LEVEL=2 names the lines; a tensor that lives longer than its step is a common one"
            )
            if self.error:
                raise UserError(said)
            print(f"warning: {said}", flush=True)
        if traced and self.seen[key] > PATIENCE and not self.told:
            self.told = True
            print(
                f"warning: a {phase} batch of known shape ({shapes}) is traced anew at every step, which the device "
                "waits for: a tensor made on the host has another value each time. Make it an input of the step",
                flush=True,
            )
        self.seen[key] += 1

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, _: object, batch, *__: object) -> None:
        self.check("training", batch)

    def on_validation_batch_end(self, trainer, module, _: object, batch, *__: object) -> None:
        self.check("validation", [batch])
