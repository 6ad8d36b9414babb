"""A run: its folder, and training from a config to the last checkpoint."""

import logging
import os
import threading
import time
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger

from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.plain import read_yaml
from tts_lab.corpus.wholefile import remove_leftovers, write_atomically
from tts_lab.devices import Device, find_accelerator, open_device
from tts_lab.devices.environment import neuron_environment
from tts_lab.devices.processes import Processes
from tts_lab.devices.processor import keep_freed_memory, native_bfloat16
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.training import space
from tts_lab.training.anomaly import Anomaly
from tts_lab.training.bad_numbers import BadNumbers
from tts_lab.training.clips import chosen_clips
from tts_lab.training.compile_alarm import CompileAlarm
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.training.failing import failures_told
from tts_lab.training.hearing import Hearing, Judge
from tts_lab.training.keeping import KeepSteps, Latest, ending, keep_best
from tts_lab.training.loggers import run_loggers
from tts_lab.training.mirror.sending import mirrored
from tts_lab.training.module import VitsTraining
from tts_lab.training.profile import Profile
from tts_lab.training.record import write_record
from tts_lab.training.rehearsal import rehearsal
from tts_lab.training.samples import Samples
from tts_lab.training.stages import next_place
from tts_lab.training.stopping import Stop, StoppedError
from tts_lab.training.terminal import Terminal, log
from tts_lab.training.throughput import DataWait, Throughput
from tts_lab.training.verbose import Verbose
from tts_lab.training.watch import Watch
from tts_lab.voices.best import HEARD
from tts_lab.voices.checkpoints import Checkpoint, SafeCheckpointIO, checkpoint_of, load_safely, newest_checkpoint
from tts_lab.voices.pace import match_pace
from tts_lab.voices.start import Start, find_start, model_sizes, read_start
from tts_lab.voices.warm_start import warm_start

DEBUG = {"verbose": Verbose, "anomaly": Anomaly, "profile": Profile}


def train(config: TrainConfig, judge: Judge | None = None) -> Path | None:
    """Train as ``config`` says, resuming where the run folder's newest checkpoint stands.

    Under ``neuron_parallel_compile``, which collects graphs and lets nothing compute, each graph of the run is
    shown once and nothing is written.

    Args:
        judge: of naturalness, asked at every validation where ``keep_by`` is val_mos. It is brought along, for
            training knows no evaluation.

    Returns:
        The last checkpoint, ``run/checkpoints/last.ckpt``, or None after a rehearsal.

    Raises:
        StoppedError: asked to end by a signal, a spot notice or its time limit; the checkpoint is written.
        UserError: anything the person can mend, before the first step wherever it can be known then.
    """
    if config.keep_by == HEARD and judge is None:
        raise UserError(f"keep_by is {HEARD}: nobody listens here. Start the run by `tts-lab train`")
    _quiet_libraries()
    keep_freed_memory()
    config = replace(config, accelerator=find_accelerator(config.accelerator))
    config = resolve_precision(config, config.accelerator)
    settings = _set_environment(config)
    hardware = open_device(config.accelerator, config.replay)
    stop = Stop(hardware.processes, config.stop_after_hours)
    rehearsing = os.environ.get("NEURON_EXTRACT_GRAPHS_ONLY")
    off_machine = config.mirror and hardware.processes.rank == 0 and not rehearsing
    try:
        with mirrored(config) if off_machine else nullcontext():
            last = _train(config, hardware, settings, judge if config.keep_by == HEARD else None, stop)
    except StoppedError:
        hardware.processes.leave()
        raise
    hardware.processes.leave()
    return last


def _train(
    config: TrainConfig, hardware: Device, settings: list[str], judge: Judge | None, stop: Stop
) -> Path | None:  # fmt: skip
    checkpoints, processes = config.run / "checkpoints", hardware.processes
    resume = processes.broadcast(_resume_from(config, checkpoints))  # rank 0's choice, for it writes them
    corpus = Corpus.load(config.corpus)
    start = find_start(config.start_from)
    if os.environ.get("NEURON_EXTRACT_GRAPHS_ONLY"):
        return _rehearse(config, voice_header(config, corpus, start and read_start(start, None)), corpus, hardware)
    content = load_safely(resume) if resume else {}
    at = {name: content[name] for name in ("global_step", "stage") if name in content}
    source = checkpoint_of(content, resume) if resume else _source(start, config, processes)
    del content  # weights and optimizers, which Lightning reads for itself
    header = voice_header(config, corpus, source)
    if resume:  # its start is known to it, and no longer needed
        header.provenance["base"] = source.provenance.get("base", {})
        source = None
    data = CorpusData(corpus, header.model, config, processes)
    writes = processes.rank == 0
    changes = _changes(config) if writes else []
    say = _start_log(config, data, at.get("global_step", 0)) if writes else lambda _: None
    say("\n  ".join([data.describe(), *settings]))

    total, data.first_step = data.total_steps, at.get("global_step", 0)
    place = next_place(config, total, at)
    if place is None:
        say(f"{resume} is at step {data.first_step}, where the run asks to end: nothing left to do")
        return resume
    if resume:
        say("\n  ".join([f"resuming from {resume} at step {data.first_step}", *changes]))
    loggers = run_loggers(config, data.steps_per_epoch, data.first_step) if writes else False
    last, began = checkpoints / "last.ckpt", time.monotonic()
    while place:
        torch.manual_seed(config.seed)
        module = VitsTraining(header, place, data.steps_per_epoch, hardware)
        if source:
            done = warm_start(
                module, source, corpus.frontend["phoneme_id_map"], config.warm_start_threshold, corpus.speakers,
                config.start_speaker, config.reinitialise, corpus.symbol_counts(),
            )  # fmt: skip
            say(f"starting from {start.words}\n{done}")
            if config.match_pace:
                heard = [utterance for utterance in data.utterances if utterance.split == "train"]
                say(f"pace: all durations times {match_pace(module.model_g, heard, corpus.speakers):.2f}")
            source = None  # the next stage starts from this one
        if writes and (warning := space.check(space.need(module, data, total), config)):
            say(warning)
        if place.count > 1:
            say(str(place))
        data.total_steps = place.end
        with stop:
            reached = _fit(module, data, resume, last, loggers, judge, stop)
        if module.out_of_patience:
            say(f"step {reached['global_step']}: {config.keep_by} becomes no better; this stage ends")
        place, resume, data.first_step = next_place(config, total, reached), last, reached["global_step"]
    say(f"done: step {data.first_step} after {time.monotonic() - began:.0f} s; last checkpoint {last}")
    return last


def _fit(
    module: VitsTraining,
    data: CorpusData,
    resume: Path | None,
    last: Path,
    loggers: list[Logger] | bool,
    judge: Judge | None,
    stop: Stop,
) -> dict[str, Any]:
    """Train one stage to its end and write it to ``last``; returns the step and stage that checkpoint tells."""
    config, hardware, waiting = module.config, module.hardware, DataWait()
    frontend = Frontend.from_dict(data.corpus.frontend)
    shown = [Hearing(config, frontend, judge)] if judge else []
    looking = [DEBUG[config.debug](config)] if config.debug else []
    if loggers:
        samples = Samples(config, frontend, chosen_clips(data))
        shown += [
            Throughput(waiting, config.log_every), Terminal(), samples, Watch(config.run, config.log_every, samples),
            CompileAlarm(hardware, config.recompile == "error"),
        ]  # fmt: skip
    trainer = L.Trainer(
        **hardware.lightning(), max_steps=module.place.end, max_epochs=-1, logger=loggers, profiler=waiting,
        # Saving a checkpoint ends in a barrier, so all processes do; Lightning writes rank 0's.
        callbacks=[
            *looking, stop, BadNumbers(config, last, stop, every_step=hardware.torch.type == "cpu"), *shown,
            *ending(config), KeepSteps(last.parent, config.keep_steps), *keep_best(config, last.parent),
            Latest(config, last, stop),
        ],
        plugins=[SafeCheckpointIO()], log_every_n_steps=config.log_every, num_sanity_val_steps=0,
        val_check_interval=config.validate_every, check_val_every_n_epoch=None,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    with failures_told(trainer, module, data, last):
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    return {"global_step": trainer.global_step, "stage": module.stage}


def _source(start: Start | None, config: TrainConfig, processes: Processes) -> Checkpoint | None:
    """What the run starts from; a voice is adopted by rank 0 while the others wait, and then found by all."""
    if start is None:
        return None
    source = None
    if processes.rank == 0:
        source = read_start(start, config.voice_cache, config.posterior_steps)
    processes.barrier()
    return source or read_start(start, config.voice_cache, config.posterior_steps)


def _rehearse(config: TrainConfig, header: Checkpoint, corpus: Corpus, hardware: Device) -> None:
    """Every graph twice, as a run traces it; what comes out is zeros, so nothing looks at it."""
    parts, runs = rehearsal(config, header, corpus, hardware)
    for number, (name, part) in enumerate(parts.items(), 1):
        print(f"graph {number} of {len(parts)}: {name}, {runs[name]} times in the run", flush=True)
        for _ in range(2):
            part(hardware)
    print("every graph was shown to the compiler; nothing was trained and nothing written")


def resolve_precision(config: TrainConfig, accelerator: str) -> TrainConfig:
    """``config`` with precision auto made what is native on ``accelerator``, which need not be its own."""
    if config.precision != "auto":
        return config
    if native_bfloat16(accelerator):
        return replace(config, precision="bf16")
    return replace(config, precision="32", stochastic_rounding=False)  # nothing is rounded


def _set_environment(config: TrainConfig) -> list[str]:
    """Set what Neuron reads from the environment, never against what was exported; returns what to say of it."""
    if config.accelerator != "neuron":
        return []
    asked = config.neuron_cores, config.stochastic_rounding, config.compiler_flags, config.compile_cache
    changes, lines = neuron_environment(os.environ, *asked)
    os.environ.update(changes)
    return lines


def _resume_from(config: TrainConfig, checkpoints: Path) -> Path | None:
    if config.resume == "auto":
        return newest_checkpoint(checkpoints)
    if config.resume != "never":
        return Path(config.resume)
    if newest_checkpoint(checkpoints):
        raise UserError(f"{checkpoints} already holds checkpoints and resume is never: name another --run folder")
    return None


def _changes(config: TrainConfig) -> list[str]:
    """Settings that differ from those the run folder was last trained with, in words."""
    path = config.run / "config.yaml"
    before = read_yaml(path) if path.is_file() else {}
    now = config.to_dict()
    return [
        f"{name} was {before[name]}, is {now[name]} from here on"
        for name in now
        if before.get(name, now[name]) != now[name]
    ]


def voice_header(config: TrainConfig, corpus: Corpus, source: Checkpoint | None) -> Checkpoint:
    """What the run's checkpoints will say about the voice."""
    model = model_sizes(config.preset, source.model if source else None, corpus)
    names = ("decoder", "segment_frames", "discriminator_divisor", "discriminator_gain", "noise_scale")
    model = replace(model, **{name: value for name in names if (value := getattr(config, name)) is not None})
    provenance = {
        "corpus": {"folder": str(corpus.folder), "fingerprint": corpus.fingerprint, "seconds": corpus.seconds},
        "base": source.provenance if source else {},
    }
    speakers = corpus.speakers if model.speakers > 1 else {}
    return Checkpoint(model, corpus.frontend, {}, speakers, provenance=provenance)


def _start_log(config: TrainConfig, data: CorpusData, from_step: int):
    """Write the run folder's records; return a function that says a thing on the terminal and in log.txt."""
    for folder in (config.run, *(path for path in config.run.rglob("*") if path.is_dir())):
        remove_leftovers(folder, older_than=0.0)
    config.save(config.run / "config.yaml")
    write_record(config.run, config.to_dict(), data.corpus, data.processes.world, from_step)
    write_atomically(config.run / "corpus.json", (data.corpus.folder / "corpus.json").read_bytes())

    def say(text: str) -> None:
        print(text, flush=True)
        log(config.run, text)

    return say


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """Not where TensorBoard's writer failed: it hands its error over, and that is told."""
    if type(failed.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(failed)


def _quiet_libraries() -> None:
    """Keep warnings a reader can do nothing about off the terminal."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    threading.excepthook = _tell_of_thread
    # torch_xla, which Lightning looks for, says on import which client it would take.
    logging.getLogger().addFilter(lambda record: "PJRT_DEVICE" not in record.getMessage())
    for message in (
        ".*does not have many workers.*",
        ".*in eval mode at the start of training.*",  # what is frozen is meant to be
        ".*is deprecated in favor of.*",
        ".*exists and is not empty.*",
        ".*no pre-optimization state was saved.*",
        ".*Detected call of `lr_scheduler.step.*",  # the discriminators' schedule, before they have joined
        ".*when logging on epoch level in distributed setting.*",  # the module averages over processes itself
        ".*your dataloader is not resumable.*",  # ours starts at the right step by itself
    ):
        warnings.filterwarnings("ignore", message=message)
