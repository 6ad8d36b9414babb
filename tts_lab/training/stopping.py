"""What asks a run to end before its time: a signal, AWS's spot notice, a time limit."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from tts_lab.devices import spot
from tts_lab.devices.processes import Processes
from tts_lab.errors import UserError


class StoppedError(UserError):
    """A run was asked to end and did, with a whole checkpoint: the same command goes on."""

    status = 75  # EX_TEMPFAIL of sysexits.h: try again


class Stop(Callback):
    """Notes what asks the run to end, and tells all processes of it at the end of the step.

    A context: inside it SIGINT (Ctrl-C, a notebook's stop button) and SIGTERM are only noted, so that neither ends a
    step or the writing of a checkpoint halfway; a second one changes nothing. Where several processes train, one that
    is asked is enough. Give it to the trainer before all that reads ``agreed``.
    """

    def __init__(self, processes: Processes, hours: float | None = None) -> None:
        self.processes, self.began = processes, time.monotonic()
        self.hours = hours
        self.noted: str | None = None  # by this process
        self.agreed: str | None = None
        """Why the run ends with this step; the same step in all processes."""
        self.process = os.getpid()

    def note(self, reason: str) -> None:
        """Ask the run to end; the first reason stays."""
        self.noted = self.noted or reason

    def __enter__(self) -> "Stop":
        self.before, self.over = {}, threading.Event()
        self._take_signals()
        address = spot.metadata_address()
        if address and self.processes.local_rank == 0:
            asked = address, self.note, lambda said: print(f"warning: {said}", flush=True), self.over
            threading.Thread(target=spot.watch, args=asked, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def on_train_start(self, *_: Any) -> None:
        self._take_signals()  # again: Lightning has added its own, which would end the run without a checkpoint
        if threading.current_thread() is threading.main_thread():
            # PyTorch's raises wherever the run just is, halfway through a step too. When asked for its next batch the
            # loader finds a dead worker by itself.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def on_train_batch_end(self, *_: Any) -> None:
        self._agree()

    def on_validation_batch_end(self, *_: Any) -> None:
        self._agree()

    def _agree(self) -> None:
        if self.hours and time.monotonic() - self.began > 3600 * self.hours:
            self.note(f"the {self.hours:g} hours of stop_after_hours are over")
        asked = float(self.processes.mean(torch.tensor(float(self.noted is not None))))
        if asked:
            self.agreed = self.noted or "another process was asked to end"

    def _take_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # nobody else gets signals
        for number in (signal.SIGINT, signal.SIGTERM):
            known = signal.signal(number, self._on_signal)
            self.before.setdefault(number, known)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self.process:
            return  # a data worker, forked with this handler: Ctrl-C reaches all, and it is needed to the end
        name = signal.Signals(number).name
        said = f"\n{name}: a checkpoint is written after this step, then the run ends\n"
        if self.noted:
            said = f"\n{name}: ending already ({self.noted})\n"
        os.write(2, said.encode())  # print may be what was interrupted
        self.note(f"{name} was received")
