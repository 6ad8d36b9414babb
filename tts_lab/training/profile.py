"""``debug: profile``: where the time of a step goes, by ``torch.profiler``."""

import json
import os
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from tts_lab.corpus.wholefile import write_atomically
from tts_lab.training.config import TrainConfig
from tts_lab.training.terminal import log

LEFT_OUT, WARM, MEASURED = 2, 1, 3
"""Steps: the first ones, in which memory is asked for; one for the profiler itself; those that are measured."""
SHOWN = 8
PART = "part: "
BACKWARD = "autograd::engine::evaluate_function: "
REST = "everything else: Python, waiting for data"


class Profile(Callback):
    """Measures three steps early in a run, and writes ``profile/`` into its folder; the run then goes on.

    ``profile.json``: seconds a step, and how they divide over operations (on a GPU also, apart, seconds on the
    device) and over the model's parts; what no operation accounts for is a row of its own. ``trace.json.gz``: every
    call, for Perfetto or chrome://tracing. The longest rows are said on the terminal and in log.txt.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.run, self.hooks, self.profiler = config.run, [], None
        # On a machine without a GPU the profiler's library complains of that, and below an error it talks.
        os.environ.setdefault("KINETO_LOG_LEVEL", "5")

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.gpu = module.hardware.torch.type == "cuda"
        for name, part in [*module.model_g.named_children(), ("model_d", module.model_d)]:
            self._name(name, part)
        self.steps = 0
        self.profiler = profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.gpu else [])],
            schedule=schedule(wait=LEFT_OUT, warmup=WARM, active=MEASURED, repeat=1),
            on_trace_ready=self._write,
        )
        self.profiler.start()

    def on_train_batch_end(self, *_: Any) -> None:
        if self.profiler is None:
            return
        self.steps += 1
        if self.steps == LEFT_OUT + WARM + MEASURED:
            self.seconds = (time.perf_counter() - self.began) / MEASURED
        self.profiler.step()
        if self.steps == LEFT_OUT + WARM:
            self.began = time.perf_counter()
        if self.steps == LEFT_OUT + WARM + MEASURED:
            self._end()

    def on_train_end(self, *_: Any) -> None:
        if self.profiler:
            self._say(f"profile: the run ended before its step {LEFT_OUT + WARM + MEASURED}, and nothing was measured")
            self._end()

    def on_exception(self, *_: Any) -> None:
        if self.profiler:
            self._end()

    def _end(self) -> None:
        profiler, self.profiler = self.profiler, None  # stopped once, whatever that brings
        profiler.stop()
        for hook in self.hooks:
            hook.remove()

    def _name(self, name: str, part: nn.Module) -> None:
        """Let the profiler know where the part begins and ends, on the way forward."""
        open_ones = []

        def begin(*_: Any) -> None:
            open_ones.append(record_function(PART + name).__enter__())

        def end(*_: Any) -> None:
            open_ones.pop().__exit__(None, None, None)

        self.hooks += [part.register_forward_pre_hook(begin), part.register_forward_hook(end)]

    def _write(self, profiler: profile) -> None:
        if self.steps < LEFT_OUT + WARM + MEASURED:  # it also hands over what a run cut short
            return
        events = profiler.key_averages()
        each = 1e-6 / MEASURED  # of microseconds in all
        ops = [
            {"op": event.key, "seconds": event.self_cpu_time_total * each, "calls": event.count / MEASURED}
            | ({"device_seconds": event.self_device_time_total * each} if self.gpu else {})
            for event in events
            if not event.is_user_annotation
        ]
        whole = {event.key: event.cpu_time_total * each for event in events}
        parts = {key.removeprefix(PART): seconds for key, seconds in whole.items() if key.startswith(PART)}
        parts["the way back"] = sum(seconds for key, seconds in whole.items() if key.startswith(BACKWARD))
        rest = self.seconds - sum(op["seconds"] for op in ops)
        ops.sort(key=lambda op: op.get("device_seconds", op["seconds"]), reverse=True)
        content = {"seconds": self.seconds, "rest": rest, "ops": ops, "parts": parts}
        folder = self.run / "profile"
        folder.mkdir(exist_ok=True)
        write_atomically(folder / "profile.json", (json.dumps(content, indent=1) + "\n").encode())
        profiler.export_chrome_trace(str(folder / "trace.json.gz"))
        self._say("\n  ".join([f"profile of {MEASURED} steps, {self.seconds:.3f} s each", *_lines(content)]))

    def _say(self, text: str) -> None:
        print(text, flush=True)
        log(self.run, text)


def _lines(content: dict[str, Any]) -> list[str]:
    rows = [(op["op"], op["seconds"]) for op in content["ops"][:SHOWN]] + [(REST, content["rest"])]
    rows += list(content["parts"].items())
    return [f"{seconds / content['seconds']:6.1%} {1000 * seconds:8.1f} ms  {name}" for name, seconds in rows]
