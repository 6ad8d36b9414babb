"""`evaluation.json` of a run: how each of its checkpoints sounds, in figures.

Not to be mixed up with a workspace's evaluation.json, which the notebooks fill (`tts_lab.notebook.comparison`).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Interval, Len
from typing_extensions import TypedDict

from tts_lab.analysis.words import plain_words
from tts_lab.corpus.plain import Count, read_json, typed
from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError

NAME = "evaluation.json"
FORMAT = "tts_lab/evaluation/1"
BASE = "base voice"
"""Label of the voice that the run started from."""


@dataclass(frozen=True)
class Spoken:
    """What every voice says and by whose ears it is heard; figures are comparable only where all of it is the same."""

    corpus: str
    """Fingerprint of the corpus the held-out clips are from."""
    speaker: str | None
    language: str
    asr_model: str | None
    """A faster-whisper model by name or folder; None is the bundled tiny.en."""
    sentences: list[str]
    """Unseen sentences."""
    held_out: list[str]
    """What the speaker says in the held-out clips."""

    @property
    def words(self) -> int:
        """Words among the unseen sentences."""
        return sum(len(plain_words(text).split()) for text in self.sentences)


@dataclass
class Evaluation:
    """Rows of figures, one a voice, in the order of their steps, the base voice first.

    A row holds `label`, `step` (None for a voice that is no checkpoint), `kind` ("base", "checkpoint" or "averaged"),
    `files` (relative to the folder; empty where the checkpoint is gone), `digest` of the generator's weights; then
    of the unseen sentences `wer`, `cer`, `mos`, `similarity`, `pitch_hz`, `seconds_per_word`, `clips`; the same of the
    held-out texts under `held_out`; against the speaker saying the same held-out texts `pitch_delta` and `rate_delta`
    in percent, above zero for higher and quicker than the speaker; `frame_rate_share`; and `wavs`, `heard` (what
    Whisper understood), each with a list under `sentences` and `held_out`. What could not be measured is None.
    """

    folder: Path
    spoken: Spoken
    human: dict[str, Any] = field(default_factory=dict)
    """The speaker's own clips: the same figures, likeness being that of each clip to the others."""
    rows: list[dict[str, Any]] = field(default_factory=list)

    def put(self, row: dict[str, Any]) -> None:
        """Add a row in its place, or in that of the row with the same weights."""
        kept = [other for other in self.rows if other["digest"] != row["digest"]]
        kinds = ("base", "checkpoint", "averaged")
        self.rows = sorted([*kept, row], key=lambda r: (kinds.index(r["kind"]) > 0, r["step"] or 0, r["label"]))

    def find(self, digest: str) -> dict[str, Any] | None:
        """The row of a voice with these weights, if its recordings are all still there."""
        for row in self.rows:
            wavs = [*row["wavs"]["sentences"], *row["wavs"]["held_out"]]
            if row["digest"] == digest and all((self.folder / wav).is_file() for wav in wavs):
                return row
        return None

    def save(self) -> Path:
        """Write `evaluation.json`, whole or not at all."""
        content = {"format": FORMAT, "spoken": asdict(self.spoken), "human": self.human, "rows": self.rows}
        path = self.folder / NAME
        write_atomically(path, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
        return path

    @classmethod
    def load(cls, folder: Path) -> "Evaluation | None":
        """What `folder` holds, or None where there is no evaluation.

        Raises:
            UserError: a file of that name that is something else, or broken.
        """
        path = folder / NAME
        if not path.is_file():
            return None
        again = "delete it and evaluate again."
        try:
            content = read_json(path)
        except UserError as error:
            raise UserError(f"{error} To have it made anew, {again}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(
                f"{path} is not the evaluation of a run (a notebook's workspace keeps a file of the same name): "
                "name another folder with --out."
            )
        try:
            content = typed(_Content, content, "its parts")
        except UserError as error:
            raise UserError(f"{path} cannot be read ({error}): {again}") from error
        return cls(folder, content["spoken"], content["human"], content["rows"])


Figure = Annotated[float, Interval(gt=-math.inf, lt=math.inf)]


class _Voiced(TypedDict):
    """Of a row, what is read of it; the rest is as it is written."""

    __pydantic_config__ = {"extra": "allow"}

    wer: Figure
    mos: Figure
    similarity: Figure
    cer: NotRequired[Figure | None]
    pitch_hz: NotRequired[Figure | None]
    frame_rate_share: NotRequired[Figure | None]


class _Row(_Voiced):
    label: str
    kind: Literal["base", "checkpoint", "averaged"]
    step: Count | None
    files: list[str]
    digest: str
    pitch_delta: Figure | None
    rate_delta: Figure | None
    wavs: dict[str, list[str]]
    heard: dict[str, list[str]]


class _Content(TypedDict):
    format: str
    spoken: Spoken
    human: _Voiced | Annotated[dict[str, Any], Len(0, 0)]
    """Empty until the speaker's own clips are measured."""
    rows: list[_Row]


def steps(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that are moments of the training, in their order: neither the base voice nor means of several."""
    return sorted((row for row in rows if row["kind"] == "checkpoint"), key=lambda row: row["step"])
