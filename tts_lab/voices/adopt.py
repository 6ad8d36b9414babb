"""A published voice becomes a training checkpoint."""

import dataclasses
import hashlib
import json
from pathlib import Path

import torch

from tts_lab.corpus.wholefile import remove_leftovers
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.vits.config import ModelConfig
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voice_json import read_voice_json, sample_rate
from tts_lab.voices import sizes
from tts_lab.voices.catalogue import licence_beside
from tts_lab.voices.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from tts_lab.voices.distill import DistillSettings, recover_posterior
from tts_lab.voices.graph import VoiceGraph
from tts_lab.voices.parity import Difference, compare

RECIPE = 2
"""Counts up when the same voice and settings would give another checkpoint, so that old caches are not taken."""

TOLERANCE = 1e-4
"""Greatest difference of samples at zero noise between PyTorch and ONNX Runtime."""


def adopt(voice: Path, cache: Path, steps: int = DistillSettings.steps, **settings: float | int) -> Path:
    """The checkpoint of a published voice, made once and then found in `cache` by the voice's fingerprint.

    Reads the generator back from the ONNX file, checks it against ONNX Runtime, recovers the posterior encoder
    in `steps` updates (0 skips it) and writes Piper's state-dict keys under `model_g.`. `dp.post_*` and `dp.flows.1`,
    which no voice holds either, keep their initial values: train the duration predictor only after they have had
    some steps. `settings` are further fields of `DistillSettings`.

    Raises UserError: the file is no Piper voice, is incomplete, or speaks differently in PyTorch.
    """
    distill = DistillSettings(steps=steps, **settings)
    fingerprint = voice_fingerprint(voice, distill)
    path = Path(cache) / f"{Path(voice).stem}-{fingerprint}.ckpt"
    remove_leftovers(path.parent)
    if path.is_file():
        try:
            read_checkpoint(path)
            print(f"{voice} was adopted before: {path}", flush=True)
            return path
        except UserError as error:
            print(f"The adopted voice in the cache is made anew: {error}", flush=True)
    checkpoint = read_voice(voice, distill)
    checkpoint.provenance["fingerprint"] = fingerprint
    write_checkpoint(checkpoint, path)
    return path


def read_voice(voice: Path, distill: DistillSettings, quiet: bool = False) -> Checkpoint:
    """The checkpoint of a published voice, not written anywhere. Raises UserError as `adopt` does."""
    graph = VoiceGraph(voice)
    config, frontend, speakers = model_config(graph)
    torch.manual_seed(distill.seed)  # what the voice lacks starts from these
    model = Synthesizer(config).eval()
    weights = graph.state_dict({name: tuple(value.shape) for name, value in model.state_dict().items()})
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    difference = _check(model, graph, frontend)
    if not quiet:
        print(
            f"{Path(voice).name}: {len(weights)} tensors read, {config.speakers} speaker(s), {config.sample_rate} Hz; "
            f"PyTorch and ONNX Runtime differ by at most {difference.samples:.1e}",
            flush=True,
        )
    provenance = {
        "voice": Path(voice).stem,
        "licence": licence_beside(voice),
        "onnx_difference": difference.samples,
    }
    if distill.steps:
        recovery = recover_posterior(model, graph, frontend, distill)
        provenance["posterior"] = dataclasses.asdict(recovery)
        print(
            f"posterior encoder recovered from {recovery.speech_seconds / 60:.1f} min of the voice's own speech: "
            f"mel distance {recovery.mel_before:.2f} before, {recovery.mel_after:.2f} after {recovery.steps} steps",
            flush=True,
        )
    state = {f"model_g.{name}": value.detach().clone() for name, value in model.state_dict().items()}
    return Checkpoint(config, frontend.to_dict(), state, speakers, provenance=provenance)


def model_config(graph: VoiceGraph) -> tuple[ModelConfig, Frontend, dict[str, int]]:
    """Sizes, front end and speakers of a voice, from its graph and its `.onnx.json` together."""
    path = Path(f"{graph.path}.json")
    frontend = Frontend.from_voice(path)
    found = graph.sizes()
    if problems := sizes.misfits(found):
        raise UserError(f"{graph.path} cannot be adopted: {'; '.join(problems)}.")
    told = read_voice_json(path)
    spread = told.get("inference", {}).get("noise_scale", ModelConfig.noise_scale)
    config = sizes.model_config(found, sample_rate(path), noise_scale=spread, **graph.flow_sizes())
    # Some published files tell a wrong number of symbols; the embedding's rows are the truth.
    frontend = dataclasses.replace(frontend, num_symbols=config.symbols)
    return config, frontend, told.get("speaker_id_map") or {}


def voice_fingerprint(voice: Path, distill: DistillSettings) -> str:
    """16 hex digits over the voice's two files and everything that decides what is made of them."""
    digest = hashlib.sha256(json.dumps([RECIPE, dataclasses.asdict(distill)]).encode())
    for path in (Path(voice), Path(f"{voice}.json")):
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise UserError(f"The voice {voice} cannot be read: {error}.") from error
    return digest.hexdigest()[:16]


def _check(model: Synthesizer, graph: VoiceGraph, frontend: Frontend) -> Difference:
    ids = frontend.encode("The ship vanished in thick fog, and the crew heard a strange voice.").ids
    difference = compare(model, graph.session(), ids)
    if not difference.samples < TOLERANCE:
        raise UserError(
            f"{graph.path} was read, but PyTorch speaks differently from ONNX Runtime (samples differ by "
            f"{difference.samples:.1e}, at most {TOLERANCE:.0e} is rounding): it is not the model Piper trains."
        )
    return difference
