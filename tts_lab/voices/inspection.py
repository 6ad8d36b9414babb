"""What is this file? A voice, a checkpoint or a run: sizes, symbols, speakers, and what a run takes from it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tts_lab.corpus.corpus import Corpus
from tts_lab.errors import UserError
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.vits.discriminators import discriminators_of
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices.adopt import read_voice
from tts_lab.voices.checkpoints import Checkpoint, checkpoint_of
from tts_lab.voices.distill import DistillSettings
from tts_lab.voices.foreign import PIPER1, RHASSPY
from tts_lab.voices.start import find_start, model_sizes
from tts_lab.voices.symbols import symbol_map
from tts_lab.voices.unpickling import load_safely
from tts_lab.voices.warm_start import WarmStart, warm_start

KINDS = {
    None: "training checkpoint of tts_lab",
    PIPER1: "training checkpoint of piper1-gpl (OHF-Voice)",
    RHASSPY: "training checkpoint of rhasspy/piper",
}

QUALITIES = {
    "x_low": PRESETS["x-low"],
    "low": PRESETS["low"],
    "medium": PRESETS["medium"],
    "high": PRESETS["high"],
    "tiny": PRESETS["tiny"],
}
"""Piper's names for sizes; low is medium's at 16 kHz. The last is tts_lab's own, for tests."""

NOT_QUALITY = {"symbols", "speakers", "speaker_channels", "dropout", "segment_frames"}
NOT_QUALITY |= {"discriminator_divisor", "discriminator_gain", "noise_scale"}


@dataclass(frozen=True)
class Fit:
    """What a run on a corpus would take from the file."""

    corpus: str
    can_start: bool
    problems: list[str]
    """Why not, and what to do about it."""
    generator_share: float
    """Of the run's generator, 0 to 1: the part that comes over, a voice's posterior encoder once recovered."""
    report: str
    """What `tts-lab train` would say it took."""
    new_symbols: dict[str, str]
    """Symbols the voice never had, to what they would start from."""


@dataclass(frozen=True)
class Inspection:
    """What a file is."""

    path: str
    kind: str
    file: str
    """The file that was read: of a run, one of its checkpoints."""
    model: dict[str, Any]
    """Fields of `ModelConfig`, read from the tensors."""
    generator_parameters: int
    quality: str
    """Piper's name for these sizes, or the nearest."""
    differs: list[str]
    """In what the sizes are not those of `quality`."""
    language: str | None
    """espeak's voice, or None where the file does not say."""
    symbols: list[str]
    """By id."""
    symbols_assumed: bool
    """The file does not name its symbols: these are Piper's default ones."""
    speakers: dict[str, int]
    """Names to ids, as far as it has names."""
    step: int | None
    """Updates it was trained for, or None where the file does not say."""
    optimizer: bool
    discriminators: bool
    posterior: str
    """The posterior encoder: present, absent, or random."""
    provenance: dict[str, Any] = field(default_factory=dict)
    fit: Fit | None = None

    def __str__(self) -> str:
        model, has = self.model, {True: "yes", False: "no"}
        differs = f", but for {'; '.join(self.differs)}" if self.differs else ""
        names = ", ".join(list(self.speakers)[:10]) + (", …" if len(self.speakers) > 10 else "")
        assumed = ", which it does not name: Piper's default ones are assumed" if self.symbols_assumed else ""
        rows = {
            "what": self.kind,
            "file": self.file,
            "quality": f"{self.quality}{differs}",
            "sizes": f"{self.generator_parameters / 1e6:.1f} million parameters in the generator; latent "
            f"{model['inter_channels']}, hidden {model['hidden_channels']}, feed-forward {model['filter_channels']}, "
            + (
                "decoder of pulses and noise (source_filter)"
                if model["decoder"] == "source_filter"
                else f"decoder from {model['upsample_initial_channel']} (residual block {model['resblock']})"
            ),
            "sample rate": f"{model['sample_rate']} Hz",
            "language": self.language or "it does not say",
            "symbols": f"{len(self.symbols)} in {model['symbols']} embedding rows{assumed}",
            "speakers": f"{model['speakers']}" + (f": {names}" if names else ""),
            "step": "it does not say" if self.step is None else str(self.step),
            "licence": self.provenance.get("licence") or "it does not say",
            "posterior encoder": self.posterior,
            "discriminators": has[self.discriminators],
            "optimizer state": has[self.optimizer],
        }
        lines = [f"{name:18}{value}" for name, value in rows.items()]
        if self.fit:
            verdict = "yes" if self.fit.can_start else "no"
            lines += [f"{'can start a run':18}{verdict}, on {self.fit.corpus}"]
            lines += [f"  {problem}" for problem in self.fit.problems] + self.fit.report.splitlines()
        return "\n".join(lines)


def inspect(path: Path | str, corpus: Path | None = None) -> Inspection:
    """What `path` is, a file or the folder of a run; with `corpus`, what a run on it would take over.

    Raises UserError: there is nothing there, or it is nothing that tts_lab knows; what it seems to be is said.
    """
    path = Path(path)
    _refuse(path)
    start = find_start(path)
    content: dict[str, Any] = {}
    if start.kind == "voice":
        kind, found = "published voice (ONNX)", read_voice(path, DistillSettings(steps=0), quiet=True)
    else:
        content = load_safely(start.file)
        found = checkpoint_of(content, start.file)
        kind = KINDS[found.provenance.get("trainer")]
        if start.kind == "run":
            kind = f"run of tts_lab; {start.words.partition(', ')[2].rpartition(':')[0]}"
    quality, differs = _quality(found.model)
    generator = found.part("model_g.")
    symbols = symbol_map(found.frontend, found.model.symbols)
    return Inspection(
        path=str(path),
        kind=kind,
        file=str(start.file),
        model=found.model.to_dict(),
        generator_parameters=sum(value.numel() for value in generator.values()),
        quality=quality,
        differs=differs,
        language=found.frontend.get("espeak_voice"),
        symbols=sorted(symbols, key=lambda symbol: symbols[symbol]),
        symbols_assumed=not found.frontend,
        speakers=found.speakers,
        step=None if start.kind == "voice" else found.step,
        optimizer=bool(content.get("optimizer_states")),
        discriminators=any(key.startswith("model_d.") for key in found.state_dict),
        posterior=_posterior(found, start.kind),
        provenance=found.provenance,
        fit=_fit(found, Corpus.load(corpus), start.kind) if corpus else None,
    )


def _refuse(path: Path) -> None:
    """Say what a file is that is no model, as far as its name or its first bytes tell."""
    if not path.exists():
        raise UserError(f"there is no {path}")
    if path.is_dir() and not list(path.glob("*.ckpt")) and not list((path / "checkpoints").glob("*.ckpt")):
        what = "a prepared corpus" if (path / "corpus.json").is_file() else "a folder without checkpoints"
        raise UserError(f"{path} is {what}, not a run: a run has checkpoints/*.ckpt in it")
    if path.name.endswith(".onnx.json"):
        raise UserError(f"{path} is the configuration of a voice; inspect the voice, {path.name.removesuffix('.json')}")
    if path.is_file() and path.suffix != ".onnx":
        with open(path, "rb") as file:
            first = file.read(2)
        # PyTorch's files are zip archives, or pickles before version 1.6 of it.
        if first not in (b"PK", b"\x80\x02", b"\x80\x04"):
            raise UserError(
                f"{path} is neither a voice (.onnx), a checkpoint of tts_lab, piper1-gpl or rhasspy/piper, nor the "
                "folder of a run"
            )


def _quality(model: ModelConfig) -> tuple[str, list[str]]:
    mine = model.to_dict()
    differs = {
        name: [
            f"{field} {mine[field]} (there {theirs})"
            for field, theirs in preset.to_dict().items()
            if field not in NOT_QUALITY and mine[field] != theirs
        ]
        for name, preset in QUALITIES.items()
    }
    nearest = min(differs, key=lambda name: len(differs[name]))
    return nearest, differs[nearest]


def _posterior(found: Checkpoint, kind: str) -> str:
    if kind == "voice":
        return "absent, as from every ONNX voice; a run that starts from it recovers it first"
    if not any(key.startswith("model_g.enc_q.") for key in found.state_dict):
        return "absent"
    if "onnx_difference" in found.provenance and "posterior" not in found.provenance:
        return "random: the voice was adopted without recovering it"
    return "present"


class _Whole(nn.Module):
    """What a run trains, untrained."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.model_g, self.model_d = Synthesizer(model), discriminators_of(model)


def _fit(found: Checkpoint, corpus: Corpus, kind: str) -> Fit:
    model, problems = model_sizes(None, found.model, corpus), []
    if corpus.sample_rate != model.sample_rate:
        problems.append(
            f"the corpus is at {corpus.sample_rate} Hz and this speaks at {model.sample_rate} Hz: "
            f"prepare it with --sample-rate {model.sample_rate}"
        )
    torch.manual_seed(0)
    whole = _Whole(model)
    used, done = corpus.symbol_counts(), WarmStart()
    try:
        done = warm_start(whole, found, corpus.frontend["phoneme_id_map"], speakers=corpus.speakers, used=used)
    except UserError as error:
        problems.append(str(error))
    if kind == "voice":
        done.remarks.append("of these the posterior encoder is not in the file: the run recovers it first")
    return Fit(
        str(corpus.folder), not problems, problems, done.generator_share, str(done) if done.copied else "", done.symbols
    )
