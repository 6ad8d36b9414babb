"""A training checkpoint becomes a voice that Piper's runtime speaks with."""

import json
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from piper import PiperVoice
from torch import nn
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from tts_lab.errors import UserError
from tts_lab.frontend import NOT_SYMBOLS, Frontend
from tts_lab.vits.config import DURATION_NOISE, ModelConfig
from tts_lab.vits.synthesizer import Synthesizer
from tts_lab.voices.checkpoints import Checkpoint, read_checkpoint
from tts_lab.voices.languages import language_block
from tts_lab.voices.onnxfile import Session, read_graph
from tts_lab.voices.parity import Difference, compare

NAME = re.compile(r"(?P<language>[a-z]{2,3}_[A-Z]{2,3})-(?P<name>[^\s/\\-]+)-(?P<quality>x_low|low|medium|high)")
"""How Piper names voices: its runtime, its downloader and its users' programs take them apart by the two hyphens."""

OPSET = 15
"""What Piper's voices have, so that old runtimes read ours too."""

TOLERANCE = {"hifigan": 1e-4, "source_filter": 2e-3}
"""Greatest difference of samples at zero noise between PyTorch and ONNX Runtime, by decoder. Pulses come where the
pitches before them add up to a period, so there the rounding of a whole sentence counts."""

LENGTHS = (20, 80, 200)
"""Phoneme ids at which the two are compared: a shape frozen into the graph shows at the others."""

SENTENCE = "The voice is ready, and this is how it sounds."


@dataclass(frozen=True)
class Exported:
    """A voice on disk."""

    path: Path
    """`LANG-name-QUALITY.onnx`."""
    config: Path
    """`LANG-name-QUALITY.onnx.json`."""
    card: Path
    """`MODEL_CARD`."""
    parity: list[dict[str, float]]
    """`{"phonemes", "difference"}` for each length compared."""


def export(
    checkpoint: Path,
    out: Path,
    name: str,
    licence: str | None = None,
    credits: Sequence[str] = (),
    scores: Any = None,
) -> Exported:
    """Write the voice in `checkpoint` to `out`, checked and spoken with before anything there is replaced.

    `name` is LANG-name-QUALITY, for instance en_US-sample-medium. `licence` and `credits` go into the model card;
    a voice fine-tuned from another, or on somebody's recordings, has to name theirs. `scores` is a
    `tts_lab.evaluation.listening.Scores` or its dictionary.

    Raises UserError: the name does not fit, the checkpoint cannot be read or says nothing about its phonemes, ONNX
    Runtime speaks differently from PyTorch, or the files cannot be written; nothing is then left behind or replaced.
    """
    out, taken = Path(out), read_checkpoint(checkpoint)
    config = voice_config(taken, name, checkpoint)
    targets = [out / f"{name}.onnx", out / f"{name}.onnx.json", out / "MODEL_CARD"]
    _refuse_what_is_not_ours(targets, name)
    frontend = Frontend.from_dict(taken.frontend)
    model = load_generator(taken, checkpoint)
    try:
        out.mkdir(parents=True, exist_ok=True)
        # The same file system as the target, so that the last act is a rename.
        with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as folder:
            drafts = [Path(folder) / target.name for target in targets]
            write_onnx(load_generator(taken, checkpoint), drafts[0])
            drafts[1].write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            parity = check_parity(model, drafts[0], frontend)
            _speak(drafts[0])
            drafts[2].write_text(model_card(taken, name, config, parity, licence, credits, scores), encoding="utf-8")
            for draft, target in zip(drafts, targets, strict=True):
                os.replace(draft, target)
    except OSError as error:
        raise UserError(
            f"The voice could not be written to {out}: {error}. Free some space or name another folder."
        ) from error
    rows = [{"phonemes": one.phonemes, "difference": one.samples} for one in parity]
    return Exported(*targets, parity=rows)


def load_generator(checkpoint: Checkpoint, path: Path) -> Synthesizer:
    """The generator of a checkpoint, ready to speak. Raises UserError where parts are missing."""
    model = Synthesizer(checkpoint.model)
    try:
        model.load_state_dict(checkpoint.part("model_g."))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} does not hold the generator its own header describes: {reason}") from error
    return model.eval()


def voice_config(checkpoint: Checkpoint, name: str, path: Path) -> dict[str, Any]:
    """The `.onnx.json` that Piper's runtime reads. Raises UserError where `name` or the checkpoint do not suit."""
    parts = NAME.fullmatch(name)
    if not parts:
        raise UserError(
            f"{name!r} is no name for a Piper voice. It is LANGUAGE-name-quality, without further hyphens, the quality "
            "x_low, low, medium or high: for instance en_US-sample-medium."
        )
    if not checkpoint.frontend:
        raise UserError(
            f"{path} does not say how text becomes phoneme ids (Piper's own checkpoints do not), and a voice without "
            "that cannot speak: put the config.json that was published with it beside it, or start a run from it "
            "(start_from) and export the run's checkpoint."
        )
    frontend = Frontend.from_dict(checkpoint.frontend)
    config = {
        "audio": {"sample_rate": checkpoint.model.sample_rate, "quality": parts["quality"]},
        "espeak": {"voice": frontend.espeak_voice},
        "inference": {"noise_scale": checkpoint.model.noise_scale, "length_scale": 1, "noise_w": DURATION_NOISE},
        "phoneme_type": frontend.phoneme_type,
        "phoneme_map": {},
        "phoneme_id_map": frontend.phoneme_id_map,
        "num_symbols": checkpoint.model.symbols,
        "num_speakers": checkpoint.model.speakers,
        "speaker_id_map": checkpoint.speakers,
        "hop_length": checkpoint.model.spectrogram.hop_length,
        "piper_version": version("piper-tts"),
        "language": language_block(parts["language"]),
        "dataset": parts["name"],
    }
    if frontend.vowel_clusters:
        config["vowel_clusters"] = frontend.vowel_clusters
    return config


def write_onnx(model: Synthesizer, path: Path) -> None:
    """Trace `model.infer` into an ONNX file with Piper's inputs and output. `model` loses its weight norm."""

    class Speaker(nn.Module):
        """Piper's runtime hands over all three scales in one tensor."""

        def __init__(self) -> None:
            super().__init__()
            # Bare names, so that initializers keep Piper's: enc_p.…, flow.…, dec.….
            for part, module in model.named_children():
                self.add_module(part, module)

        def forward(self, text, lengths, scales, speaker=None):
            return model.infer(text, lengths, speaker, scales[0], scales[1], scales[2])[0].unsqueeze(1)

    for module in model.modules():
        if any(isinstance(hook, WeightNorm) for hook in module._forward_pre_hooks.values()):
            remove_weight_norm(module)
    length = 50
    text = torch.arange(length)[None] % model.n_vocab
    inputs = [text, torch.tensor([length]), torch.tensor([ModelConfig.noise_scale, 1.0, DURATION_NOISE])]
    names = ["input", "input_lengths", "scales"]
    if model.n_speakers > 1:
        inputs.append(torch.tensor([0]))
        names.append("sid")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's remarks on Piper's shape arithmetic; parity is what tells
        torch.onnx.export(
            Speaker().eval(),
            tuple(inputs),
            str(path),
            opset_version=OPSET,
            dynamo=False,
            input_names=names,
            output_names=["output"],
            dynamic_axes={
                "input": {0: "batch_size", 1: "phonemes"},
                "input_lengths": {0: "batch_size"},
                "output": {0: "batch_size", 3: "time"},
            },
        )


def check_parity(
    model: Synthesizer, voice: Path, frontend: Frontend, lengths: Sequence[int] = LENGTHS
) -> list[Difference]:
    """Compare PyTorch with the file at several lengths. Raises UserError where they differ."""
    session = Session(read_graph(voice), voice, seed=0)
    differences = [compare(model, session, phoneme_ids(frontend, length)) for length in lengths]
    worst, tolerance = max(differences, key=lambda one: one.samples), TOLERANCE[model.config.decoder]
    if not worst.samples < tolerance:
        raise UserError(
            f"The exported voice speaks differently from the checkpoint: at {worst.phonemes} phonemes samples differ "
            f"by {worst.samples:.1e}, at most {tolerance:.0e} is rounding. Nothing was written."
        )
    return differences


def phoneme_ids(frontend: Frontend, length: int) -> list[int]:
    """`length` ids as a sentence has them, walking through every symbol the voice knows."""
    ids = frontend.phoneme_id_map
    symbols = [i for symbol, numbers in ids.items() if symbol not in NOT_SYMBOLS for i in [*numbers, *ids["_"]]]
    middle = length - len(ids["^"]) - len(ids["_"]) - len(ids["$"])
    return [*ids["^"], *ids["_"], *(symbols * (middle // len(symbols) + 1))[:middle], *ids["$"]]


def _speak(voice: Path) -> None:
    """Piper's own runtime has the last word."""
    speaker = PiperVoice.load(voice)
    samples = sum(len(chunk.audio_int16_array) for chunk in speaker.synthesize(SENTENCE))
    if samples == 0:
        raise UserError(f"Piper's runtime loads {voice.name}, but it says nothing: its front end gives no phonemes.")


def _refuse_what_is_not_ours(targets: Sequence[Path], name: str) -> None:
    for target in targets:
        if target.exists() and not target.is_file():
            raise UserError(f"{target} is not a file, so the voice cannot be written there: name another folder.")
    card = targets[-1]
    if card.is_file() and f"# Model card for {name}\n" not in card.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"{card} belongs to another voice: export {name} to a folder of its own.")


def model_card(
    checkpoint: Checkpoint,
    name: str,
    config: dict[str, Any],
    parity: Sequence[Difference],
    licence: str | None,
    credits: Sequence[str],
    scores: Any,
) -> str:
    """Markdown that says what the voice is, where it came from and what one may do with it."""
    came, language = checkpoint.provenance, config["language"]
    base = came.get("base") or ({k: came[k] for k in ("voice", "licence", "posterior") if k in came})
    corpus = came.get("corpus")
    lines = [
        f"# Model card for {name}",
        "",
        f"* Language: {language['code']} ({language['name_english']}, {language['country_english']})",
        f"* Speakers: {config['num_speakers']}",
        f"* Quality: {config['audio']['quality']}",
        f"* Samplerate: {config['audio']['sample_rate']:,}Hz",
        "",
        "## Dataset",
        "",
    ]
    if corpus:
        folder, minutes = Path(corpus["folder"]).name, corpus["seconds"] / 60
        lines += [f"* Corpus: {folder}, {minutes:.1f} minutes, fingerprint {corpus['fingerprint']}"]
    else:
        lines += ["* Corpus: none; this is a published voice, adopted and exported again"]
    lines += [f"* License: {licence or 'not stated; it is for those who own the recordings to say'}"]
    lines += [f"* {line}" for line in credits]
    lines += ["", "## Training", "", f"* Steps: {checkpoint.step}"]
    while base.get("base") and not base.get("voice"):
        base = base["base"]  # a run that started from a run: what that one started from
    if base.get("voice"):
        lines += [f"* Base voice: {base['voice']} (license: {base.get('licence') or 'see its model card'})"]
    elif base.get("corpus"):
        lines += [f"* Base voice: an earlier run from random weights, on corpus {Path(base['corpus']['folder']).name}"]
    else:
        lines += ["* Base voice: none; trained from random weights"]
    lines += [f"* Trained with tts_lab on piper-tts {config['piper_version']}"]
    worst = max(one.samples for one in parity)
    lengths = ", ".join(str(one.phonemes) for one in parity)
    lines += [f"* PyTorch and ONNX Runtime differ by at most {worst:.1e} at {lengths} phoneme ids"]
    if scores is not None:
        row = scores if isinstance(scores, dict) else asdict(scores)
        lines += ["", "## Scores", ""]
        lines += [
            f"* Word error rate: {row['wer']:.1%} (Whisper)",
            f"* Predicted mean opinion score: {row['mos']:.2f} of 5 (DistillMOS)",
            f"* Speaker similarity: {row['similarity']:.2f} (Resemblyzer)",
        ]
        if row.get("pitch_hz"):
            lines += [f"* Median pitch: {row['pitch_hz']:.0f} Hz"]
    return "\n".join(lines) + "\n"
