"""The `.onnx.json` of a voice, or the `config.json` of a checkpoint: how text becomes ids, and how it sounds."""

from pathlib import Path
from typing import Annotated, Any, NotRequired

from annotated_types import Interval, Len
from typing_extensions import TypedDict

from tts_lab.corpus.plain import read_json, typed
from tts_lab.errors import UserError

Id = Annotated[int, Interval(ge=0, lt=1 << 20)]
Size = Annotated[int, Interval(ge=1, lt=1 << 20)]
Scale = Annotated[float, Interval(ge=0, le=100)]


class _Espeak(TypedDict):
    voice: str


class _Audio(TypedDict):
    sample_rate: NotRequired[Size]


class _Inference(TypedDict):
    noise_scale: NotRequired[Scale]
    length_scale: NotRequired[Scale]
    noise_w: NotRequired[Scale]


class VoiceJson(TypedDict):
    """What is read of it, here and by Piper's runtime; it may hold more."""

    espeak: _Espeak
    phoneme_id_map: dict[str, Annotated[list[Id], Len(0, 100)] | Id]
    """Old voices hold a bare number where newer ones hold a list."""
    num_symbols: Size
    phoneme_type: NotRequired[str | None]
    vowel_clusters: NotRequired[list[list[str]] | None]
    audio: NotRequired[_Audio]
    num_speakers: NotRequired[Size]
    speaker_id_map: NotRequired[dict[str, Id] | None]
    default_speaker_id: NotRequired[Id]
    inference: NotRequired[_Inference]
    hop_length: NotRequired[Size]


def read_voice_json(path: Path | str) -> dict[str, Any]:
    """What the file says, of the types of `VoiceJson`; keys that are not in there are left out.

    Raises:
        UserError: no such file, or none of a voice.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; a Piper voice has its .onnx.json beside it.")
    try:
        return typed(VoiceJson, read_json(path), path)
    except UserError as error:
        raise UserError(
            f"{error} It is not the configuration of a Piper voice, which needs espeak.voice, phoneme_id_map and "
            "num_symbols; take the .onnx.json of the voice."
        ) from error


def sample_rate(path: Path | str) -> int:
    """Hz, as the file says. Raises `UserError` where it does not."""
    rate = read_voice_json(path).get("audio", {}).get("sample_rate")
    if rate is None:
        raise UserError(f"{path} gives no audio.sample_rate; take the .onnx.json of the voice.")
    return rate
