"""The preflight of a training run: one graph a batch shape, for training and for validation."""

import os
from collections import Counter
from dataclasses import dataclass

from tts_lab.corpus.corpus import Corpus
from tts_lab.devices.lowering import emulate_neuron
from tts_lab.devices.processes import Processes
from tts_lab.preflight import GraphReport, Preflight, preflight
from tts_lab.training.config import TrainConfig
from tts_lab.training.rehearsal import Part, rehearsal
from tts_lab.training.run import resolve_precision, voice_header
from tts_lab.vits import products
from tts_lab.voices.start import find_start, read_start


@dataclass(frozen=True)
class RunPreflight:
    """What a run would compile, and how often it would run it."""

    preflight: Preflight
    runs: Counter
    """How many times the whole run would run each graph."""
    steps: int
    """In the whole run."""
    steps_per_epoch: int
    bf16: bool
    native: GraphReport | None
    """Where convolutions run as products, the largest training graph with all of them native, for the price."""


def preflight_run(config: TrainConfig, processes: int = 1) -> RunPreflight:
    """Trace every graph that ``config`` would compile on trn1.

    Args:
        processes: one a core; of more than one, all compile what the first does.

    Raises:
        UserError: as ``train`` would before its first step; or the environment for the Neuron lowering is not set.
    """
    config = resolve_precision(config, "neuron")
    corpus = Corpus.load(config.corpus)
    start = find_start(config.start_from)
    header = voice_header(config, corpus, read_start(start, None) if start else None)
    hardware = emulate_neuron()
    hardware.processes = Processes(world=processes)
    if processes > 1:
        os.environ["XLA_ALWAYS_ALLREDUCE"] = "1"  # else the one client that is here leaves all-reduces out
    parts, runs = rehearsal(config, header, corpus, hardware)
    result, native = preflight(Part.__call__, parts), None
    if config.convolutions == "products":
        largest = max((g for g in result.graphs if parts[g.name].training), key=lambda graph: graph.instructions).name
        products.choose(parts[largest].module, False)
        (native,) = preflight(Part.__call__, {largest: parts[largest]}).graphs
    module = next(iter(parts.values())).module
    return RunPreflight(result, runs, module.total_steps, module.steps_per_epoch, config.precision == "bf16", native)
