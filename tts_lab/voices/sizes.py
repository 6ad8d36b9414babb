"""The sizes of a voice, read off its tensors: what a file says of itself may be wrong, its shapes cannot be."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from tts_lab.features import SpectrogramSettings
from tts_lab.vits.config import ModelConfig

Shapes = Mapping[str, tuple[int, ...]]

WIDEST = 64
"""Dilation of a residual block; Piper's have 12 at most."""
OURS = {
    "n_vocab": "symbols",
    "n_heads": "heads",
    "n_layers": "text_layers",
    "n_speakers": "speakers",
    "gin_channels": "speaker_channels",
}
"""Piper's names to those of `ModelConfig`, where they differ."""


def sizes(shapes: Shapes, dilation: Callable[[str], int], stride: Callable[[str], int]) -> dict[str, Any]:
    """Arguments of Piper's SynthesizerTrn, under its names.

    `shapes` are of the generator's parameters by Piper's names, weight norm folded: one `weight` a convolution.
    `dilation` and `stride` are asked for a convolution's by its name, for no shape tells them.

    Raises KeyError: the name of a parameter that is not there.
    """
    vocabulary, hidden = shapes["enc_p.emb.weight"]
    head = shapes["enc_p.encoder.attn_layers.0.emb_rel_k"][2]
    ffn = shapes["enc_p.encoder.ffn_layers.0.conv_1.weight"]
    speakers, gin = shapes.get("emb_g.weight", (1, 0))
    return {
        "n_vocab": vocabulary,
        "inter_channels": shapes["enc_p.proj.weight"][0] // 2,
        "hidden_channels": hidden,
        "filter_channels": ffn[0],
        "n_heads": hidden // head,
        "n_layers": count(shapes, "enc_p.encoder.attn_layers.{}.emb_rel_k"),
        "kernel_size": ffn[2],
        **_decoder_sizes(shapes, dilation, stride),
        "n_speakers": speakers,
        "gin_channels": gin,
        "use_sdp": "dp.flows.0.m" in shapes,
    }


def _decoder_sizes(shapes: Shapes, dilation: Callable[[str], int], stride: Callable[[str], int]) -> dict[str, Any]:
    """As `sizes`, of HiFi-GAN; a source-filter decoder, which Piper does not have, is as wide as the text encoder."""
    if "dec.split.weight" in shapes:
        return {"decoder": "source_filter"}
    stages = count(shapes, "dec.ups.{}.weight")
    blocks = count(shapes, "dec.resblocks.{}.convs1.0.weight") or count(shapes, "dec.resblocks.{}.convs.0.weight")
    kind, convs = ("1", "convs1") if "dec.resblocks.0.convs1.0.weight" in shapes else ("2", "convs")
    if not stages or not blocks:
        raise KeyError("dec.ups.0.weight" if not stages else "dec.resblocks.0.convs.0.weight")
    kernels = range(blocks // stages)
    return {
        "resblock": kind,
        "resblock_kernel_sizes": tuple(shapes[f"dec.resblocks.{i}.{convs}.0.weight"][2] for i in kernels),
        "resblock_dilation_sizes": tuple(
            tuple(
                dilation(f"dec.resblocks.{i}.{convs}.{j}")
                for j in range(count(shapes, f"dec.resblocks.{i}.{convs}." + "{}.weight"))
            )
            for i in kernels
        ),
        "upsample_rates": tuple(stride(f"dec.ups.{i}") for i in range(stages)),
        "upsample_initial_channel": shapes["dec.conv_pre.weight"][0],
        "upsample_kernel_sizes": tuple(shapes[f"dec.ups.{i}.weight"][2] for i in range(stages)),
    }


def contradictions(model: ModelConfig, shapes: Shapes) -> list[str]:
    """Where the sizes that a file's header names are not those of its generator's tensors, in words.

    A model is built from the header before the tensors are put into it, and must not be larger than they are.
    """
    shapes = {name.replace(".weight_v", ".weight"): shape for name, shape in shapes.items()}
    rates, dilations = model.upsample_rates, model.resblock_dilation_sizes
    try:
        found = sizes(
            shapes,
            lambda conv: dilations[int(conv.split(".")[2])][int(conv.split(".")[4])],
            lambda up: rates[int(up.split(".")[2])],
        )
        problems = misfits(found)
        found = {"decoder": "hifigan"} | found | flow_sizes(shapes)
        found |= {"posterior_layers": count(shapes, "enc_q.enc.in_layers.{}.bias")}
    except KeyError as error:
        return [f"it lacks the tensor model_g.{error.args[0]}"]
    except (IndexError, TypeError, ValueError, ZeroDivisionError):
        return ["its tensors are not shaped as a generator's"]
    told = model.to_dict()
    found = {OURS.get(name, name): size for name, size in found.items() if name != "use_sdp"}
    if model.speakers == 1:
        del found["speaker_channels"]
    differing = [name for name, size in found.items() if told[name] != size]
    return problems + [f"{name} is {told[name]}, its tensors' {found[name]}" for name in differing]


def flow_sizes(shapes: Shapes) -> dict[str, int]:
    """Depths of the flow, which Piper fixes at four couplings of four layers."""
    couplings = {name.split(".")[2] for name in shapes if name.startswith("flow.flows.")}
    return {"flows": len(couplings), "flow_layers": count(shapes, "flow.flows.0.enc.in_layers.{}.bias")}


def model_config(found: dict[str, Any], sample_rate: int, **more: Any) -> ModelConfig:
    """What `sizes` found, and `more` fields, in our names."""
    found = {OURS.get(name, name): size for name, size in found.items() if name != "use_sdp"}
    return ModelConfig(sample_rate=sample_rate, **found, **more)


def misfits(found: dict[str, Any]) -> list[str]:
    """Why a voice with these sizes is none that tts_lab trains, in words."""
    problems = []
    if not found["use_sdp"]:
        problems.append("its duration predictor is not the stochastic one that Piper trains")
    if found["n_heads"] < 1 or found["hidden_channels"] % found["n_heads"]:
        problems.append(f"its text encoder has {found['n_heads']} heads for {found['hidden_channels']} channels")
    return problems if found.get("decoder") else problems + _misfits_of_decoder(found)


def _misfits_of_decoder(found: dict[str, Any]) -> list[str]:
    problems, hop = [], math.prod(found["upsample_rates"])
    if hop != SpectrogramSettings.hop_length or min(found["upsample_rates"]) < 1:
        problems.append(f"its decoder makes {hop} samples a frame, not {SpectrogramSettings.hop_length}")
    widest = max((dilation for block in found["resblock_dilation_sizes"] for dilation in block), default=1)
    if not 1 <= widest <= WIDEST:
        problems.append(f"its decoder looks {widest} samples apart, at most {WIDEST}")
    deep = 3 if found["resblock"] == "1" else 2
    if any(len(block) != deep for block in found["resblock_dilation_sizes"]):
        problems.append(f"its decoder's residual blocks do not have {deep} layers each")
    if found["upsample_initial_channel"] < 2 ** len(found["upsample_rates"]):
        problems.append("its decoder has fewer channels than it halves")
    return problems


def count(names: Mapping[str, Any], pattern: str) -> int:
    """How many of pattern.format(0), pattern.format(1), … there are in a row."""
    number = 0
    while pattern.format(number) in names:
        number += 1
    return number
