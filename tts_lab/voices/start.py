"""Where a run starts: from nothing, a published voice, a checkpoint or another run. One setting says which."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from piper.download_voices import VOICE_PATTERN

from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.plain import read_yaml
from tts_lab.errors import UserError
from tts_lab.vits.config import PRESETS, ModelConfig
from tts_lab.voices import best
from tts_lab.voices.adopt import adopt, read_voice
from tts_lab.voices.catalogue import BUNDLED, find_voice
from tts_lab.voices.checkpoints import Checkpoint, newest_checkpoint, read_checkpoint
from tts_lab.voices.distill import DistillSettings

SCRATCH = "scratch"
USUAL = "val_mel"
"""By which the checkpoints of a run are kept where it does not say otherwise."""


@dataclass(frozen=True)
class Start:
    """A starting point, found and not yet read."""

    kind: Literal["voice", "checkpoint", "run"]
    file: Path | str
    """A checkpoint, a voice's `.onnx`, or a voice's name."""
    words: str
    """What it is and, of a run, which of its checkpoints is taken and why."""


def find_start(start_from: str | Path) -> Start | None:
    """What `start_from` means; None for scratch. Nothing is read or fetched.

    Raises UserError: there is nothing there, or nothing that a run could start from.
    """
    path = Path(start_from)
    if str(start_from) == SCRATCH:
        return None
    if os.path.isdir(path):  # of which no name is too long, as for pathlib's
        file, why = _of_run(path)
        return Start("run", file, f"the run {path}, {why}: {file.name}")
    if path.suffix == ".onnx" and os.path.isfile(path):
        return Start("voice", find_voice(path), f"the voice {path}")
    if os.path.isfile(path):
        return Start("checkpoint", path, f"the checkpoint {path}")
    name = str(start_from)
    if name in BUNDLED or VOICE_PATTERN.match(name):
        return Start("voice", name, f"the published voice {name}")
    raise UserError(
        f"start_from: there is no {start_from}. It is scratch, a voice (.onnx, or a name such as en_US-lessac-medium), "
        "a checkpoint, or the folder of a run"
    )


def read_start(start: Start, cache: Path | None, posterior_steps: int | None = None) -> Checkpoint:
    """The checkpoint to start from.

    Args:
        cache: folder of adopted voices, where a voice is looked for first and kept; None to read one with its
            posterior encoder left random, which is enough for its sizes.
        posterior_steps: of the recovery of a voice's posterior encoder; the tested default if left out.

    Raises:
        UserError: it cannot be read, or the voice be adopted.
    """
    if start.kind != "voice":
        return read_checkpoint(start.file)
    voice = find_voice(start.file)
    if cache is None:
        return read_voice(voice, DistillSettings(steps=0))
    return read_checkpoint(adopt(voice, cache, DistillSettings.steps if posterior_steps is None else posterior_steps))


def model_sizes(preset: str | None, source: ModelConfig | None, corpus: Corpus) -> ModelConfig:
    """Sizes of a run's model: the preset's, else the start's, else medium's, for the corpus's symbols and speakers.

    The kind of decoder, and how far it speaks from the mean, are the start's in any case.
    """
    model = PRESETS[preset or "medium"] if preset or source is None else source
    speakers = max(1, len(corpus.speakers))
    channels = model.speaker_channels if speakers > 1 else 0
    kept = {name: getattr(source or model, name) for name in ("decoder", "noise_scale")}
    symbols = corpus.frontend["num_symbols"]
    return dataclasses.replace(model, **kept, speakers=speakers, speaker_channels=channels, symbols=symbols)


def _of_run(run: Path) -> tuple[Path, str]:
    """A run's checkpoint to start from, and why this one."""
    folder = run / "checkpoints" if (run / "checkpoints").is_dir() else run
    kept = [(path, *name.groups()) for path in folder.glob("*.ckpt") if (name := best.NAME.match(path.name))]
    measures = {by for _, by, _ in kept}
    keep_by = _keep_by(folder) or (measures.pop() if len(measures) == 1 else USUAL)
    measure = keep_by.replace("val_", "validation ")
    scores = {path: float(score) for path, by, score in kept if by == keep_by}
    if scores:
        worth = -1 if best.direction(keep_by) == "max" else 1
        path = min(scores, key=lambda path: (worth * scores[path], path.name))
        return path, f"its best by {measure} ({scores[path]})"
    last = folder / "last.ckpt"
    if last.is_file():
        return last, f"its last checkpoint, for it kept none by {measure}"
    newest = newest_checkpoint(folder)
    if newest is None:
        raise UserError(f"start_from: the folder {run} holds no checkpoint; a run's are in its folder checkpoints")
    return newest, "its newest checkpoint"


def _keep_by(checkpoints: Path) -> str | None:
    """The measure by which a run keeps its best, from the config.yaml beside its checkpoints; None if none says it."""
    config = checkpoints.parent / "config.yaml"
    if checkpoints.name != "checkpoints" or not config.is_file():
        return None
    try:
        named = read_yaml(config).get("keep_by")
    except UserError as error:
        raise UserError(f"start_from: what says how the run keeps its best: {error}") from error
    return named if isinstance(named, str) else None
