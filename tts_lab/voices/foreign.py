"""Checkpoints of Piper's own trainers: OHF-Voice/piper1-gpl, and rhasspy/piper before it.

Both are Lightning files, and the tensors have the same names in both (`model_g.` generator, `model_d.`
discriminators; piper1-gpl may have `model_mrd.` beside them, which Piper's voices do not need). They differ in their
hyperparameters: rhasspy's hold its whole command line, paths among them. The sizes are read from the tensors. What
no tensor tells, dilations, strides and the sample rate, is in the hyperparameters, and checked against the tensors.

Neither says how text becomes phoneme ids. The `config.json` that is published beside a checkpoint does; without it
the symbols are taken to be Piper's default ones, whose first 130 are what rhasspy's 130-symbol models had.

Sources: src/python/piper_train/{__main__,vits/lightning}.py of rhasspy/piper, src/piper/train/ of piper1-gpl.
"""

import ast
import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import torch

from tts_lab.corpus.plain import Count, parse_json, typed
from tts_lab.errors import UserError
from tts_lab.features import SpectrogramSettings
from tts_lab.frontend import Frontend
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.voice_json import read_voice_json, sample_rate
from tts_lab.voices import sizes
from tts_lab.voices.catalogue import licence_beside

RHASSPY, PIPER1 = "rhasspy/piper", "piper1-gpl"

PARAMETRIZED = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
"""Names of weight norm's two tensors in torch's newer spelling of it, to those in Piper's."""

NORMED = re.compile(r"(dec\.(ups|resblocks)\..*|\.(in_layers|res_skip_layers)\.\d+|\.cond_layer)\.weight$")
"""Kernels that Piper trains as a length and a direction, and that lack these where weight norm was taken off."""


def from_piper(content: dict[str, Any], path: Path | str) -> dict[str, Any]:
    """The fields of a `Checkpoint` from a trainer's file.

    Raises UserError: it lacks a part of the generator, its sizes are none that tts_lab trains, or nothing tells them.
    """
    path = Path(path)
    settings = typed(dict[str, Any], content.get("hyper_parameters") or {}, f"{path}: hyper_parameters")
    state = {_renamed(name): value for name, value in content["state_dict"].items()}
    generator = {name.removeprefix("model_g."): value for name, value in state.items() if name.startswith("model_g.")}
    if not generator:
        raise UserError(f"{path} says nothing about its sizes: no tts_lab header and no generator (model_g.) in it")
    beside = voice_config_beside(path)
    try:
        model = _sizes(generator, state, settings, beside, path)
        state |= _unfolded(generator)
    except UserError:
        raise
    except Exception as error:  # of tensors and settings that may be anything
        raise UserError(
            f"{path} cannot be used: its tensors or its hyper_parameters are not those of Piper's trainers "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]})."
        ) from error
    state = {name: value for name, value in state.items() if not NORMED.search(name)}
    said = {} if beside is None else read_voice_json(beside)
    return {
        "model": model,
        "frontend": {} if beside is None else _frontend(beside, model.symbols).to_dict(),
        "state_dict": state,
        "speakers": said.get("speaker_id_map") or {},
        "step": typed(Count, content.get("global_step", 0), f"{path}: global_step"),
        "provenance": {
            "voice": f"{path.stem} (checkpoint of {trainer(content)})",
            "trainer": trainer(content),
            "epoch": content.get("epoch"),
            "config": beside.name if beside else None,
            "licence": licence_beside(path),
        },
    }


def trainer(content: dict[str, Any]) -> str:
    """Which of Piper's trainers wrote the file: rhasspy's alone has `sample_bytes` among its hyperparameters."""
    return RHASSPY if "sample_bytes" in (content.get("hyper_parameters") or {}) else PIPER1


def voice_config_beside(path: Path) -> Path | None:
    """The JSON file that says how a checkpoint's text becomes ids, where there is one beside it."""
    candidates = [Path(f"{path}.json"), path.with_suffix(".json"), path.with_name("config.json")]
    exported = sorted(path.parent.glob("*.onnx.json"))
    for candidate in [*candidates, *(exported if len(exported) == 1 else [])]:
        try:
            if "phoneme_id_map" in parse_json(candidate.read_bytes()):
                return candidate
        except (OSError, ValueError, TypeError):
            continue
    return None


def _frontend(config: Path, symbols: int) -> Frontend:
    """The front end that ``config`` describes, its map kept to the embedding's rows: they are the truth."""
    frontend = Frontend.from_voice(config)
    known = {symbol: ids for symbol, ids in frontend.phoneme_id_map.items() if all(i < symbols for i in ids)}
    return dataclasses.replace(frontend, phoneme_id_map=known, num_symbols=symbols)


def _renamed(name: str) -> str:
    for theirs, ours in PARAMETRIZED.items():
        name = name.replace(theirs, ours)
    return name.replace("._orig_mod.", ".")  # what torch.compile puts in between


def _sizes(
    generator: dict[str, torch.Tensor], state: dict[str, torch.Tensor], settings: dict, beside: Path | None, path: Path
) -> ModelConfig:
    shapes = {name.replace(".weight_v", ".weight"): tuple(value.shape) for name, value in generator.items()}
    dilations = _dilations(shapes, settings, path)
    strides = _tuples(settings.get("upsample_rates"))
    kernels = [shapes[f"dec.ups.{i}.weight"][2] for i in range(sizes.count(shapes, "dec.ups.{}.weight"))]
    hop = SpectrogramSettings.hop_length
    if not strides or len(strides) != len(kernels) or math.prod(strides) != hop:
        strides = tuple(kernel // 2 for kernel in kernels)  # as in every quality of Piper's
    try:
        found = sizes.sizes(
            shapes,
            lambda conv: dilations[int(conv.split(".")[2])][int(conv.split(".")[4])],
            lambda up: strides[int(up.split(".")[2])],
        )
        bins = shapes["enc_q.pre.weight"][1]
        depths = sizes.flow_sizes(shapes) | {"posterior_layers": sizes.count(shapes, "enc_q.enc.in_layers.{}.bias")}
    except KeyError as error:
        raise UserError(f"{path} is no complete checkpoint of Piper's: it lacks the tensor model_g.{error}.") from None
    problems = sizes.misfits(found)
    if bins != SpectrogramSettings().bins:
        problems.append(f"it reads spectra of {bins} bins, not {SpectrogramSettings().bins}")
    rate = settings.get("sample_rate") or (sample_rate(beside) if beside else None)
    if not isinstance(rate, int) or not 0 < rate < 1 << 20:
        problems.append("neither its hyper_parameters nor a config.json beside it tell its sample rate")
    if problems:
        raise UserError(f"{path} cannot be used: {'; '.join(problems)}.")
    first = state.get("model_d.discriminators.1.convs.0.weight_v")
    divisor = 1 if first is None else max(1, 32 // len(first))
    dropout = float(settings.get("p_dropout", ModelConfig.dropout))
    return sizes.model_config(found, rate, **depths, discriminator_divisor=divisor, dropout=dropout)


def _dilations(shapes: sizes.Shapes, settings: dict, path: Path) -> tuple[tuple[int, ...], ...]:
    """Of the decoder's residual blocks: as the hyperparameters say where the blocks bear it out, else Piper's own."""
    convs = "convs1" if "dec.resblocks.0.convs1.0.weight" in shapes else "convs"

    def fits(dilations: Any) -> bool:
        depth = [sizes.count(shapes, f"dec.resblocks.{i}.{convs}." + "{}.weight") for i in range(len(dilations))]
        return bool(dilations) and depth == [len(block) for block in dilations]

    said = _tuples(settings.get("resblock_dilation_sizes"))
    for dilations in (said, *(preset.resblock_dilation_sizes for preset in PRESETS.values())):
        if dilations and fits(dilations):
            return dilations
    raise UserError(f"{path} does not say how its decoder is dilated (resblock_dilation_sizes in hyper_parameters)")


def _tuples(value: Any) -> Any:
    """Lists as tuples, all the way down; a string, as a command line leaves it, is read first."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return None
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def _unfolded(generator: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weight norm's two tensors, length and direction, for kernels that it was taken off."""
    made = {}
    for name, kernel in generator.items():
        if NORMED.search(name):
            made[f"model_g.{name}_v"] = kernel
            made[f"model_g.{name}_g"] = kernel.flatten(1).norm(dim=1).view(-1, *[1] * (kernel.dim() - 1))
    return made
