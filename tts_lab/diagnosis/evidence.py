"""What the folder of a run holds that a diagnosis can go by."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tts_lab.corpus.corpus import Corpus, Utterance
from tts_lab.corpus.plain import read_yaml
from tts_lab.errors import UserError
from tts_lab.evaluation.advice import Advice, advise_on, curve
from tts_lab.evaluation.evaluation import Evaluation
from tts_lab.training.columns import read_metrics

LOG_BYTES = 4_000_000
"""Of a log, the end that is read: what ended a run stands there."""


@dataclass
class Evidence:
    """A run as its folder tells it; what is not there is empty."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of metrics.csv, as `read_metrics` gives them."""
    config: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    corpus: Corpus | None = None
    evaluation: Evaluation | None = None
    checkpoints: list[str] = field(default_factory=list)
    """Names of the files kept."""

    @classmethod
    def load(cls, run: Path) -> "Evidence":
        """Raises `UserError` if nothing in the folder is of a run, or its metrics.csv cannot be read."""
        names = ("metrics.csv", "config.yaml", "log.txt")
        if not any((run / name).is_file() for name in names):
            raise UserError(
                f"{run} is not the folder of a run: it holds none of {', '.join(names)}. Name the run's own folder, "
                "a log file, or the message itself in quotation marks."
            )
        rows = read_metrics(run / "metrics.csv")
        logs = [read_end(path) for path in sorted({*run.glob("*.log"), *run.glob("log*.txt")})]
        checkpoints = [path.name for path in sorted((run / "checkpoints").glob("*.ckpt"))]
        return cls(rows, _config(run), "\n".join(logs), _corpus(run), _evaluation(run), checkpoints)

    def values(self, column: str) -> np.ndarray:
        """A column's numbers, in order, not-a-numbers left out."""
        found = np.array([value for _, value in curve(self.rows, column)], float)
        return found[np.isfinite(found)]

    def late(self, column: str, fewest: int = 4) -> float | None:
        """The median of the last third of a column; None where too little was logged."""
        found = self.values(column)
        return float(np.median(found[-max(fewest, len(found) // 3) :])) if len(found) >= fewest else None

    @property
    def step(self) -> int:
        """Updates done when a row was last logged."""
        return max((row["step"] for row in self.rows), default=-1) + 1

    @cached_property
    def advice(self) -> Advice | None:
        """What `tts-lab advise` says of it."""
        return advise_on(self.rows, self.evaluation, self.checkpoints) if self.rows else None

    def advised(self, signal: str) -> str | None:
        """What the advice's evidence of that name tells, if there is one."""
        return next((one.told for one in (self.advice.evidence if self.advice else ()) if one.signal == signal), None)

    @cached_property
    def train_seconds(self) -> Counter[str | None]:
        """Seconds of each speaker in the training split."""
        return self._seconds(lambda utterance: 1.0)

    @cached_property
    def drawn_seconds(self) -> Counter[str | None]:
        """Seconds of each speaker that an epoch draws, by the weights of the clips."""
        return self._seconds(lambda utterance: utterance.weight)

    def _seconds(self, times: Callable[[Utterance], float]) -> Counter[str | None]:
        found: Counter[str | None] = Counter()
        for utterance in self.corpus.stream() if self.corpus else ():
            if utterance.split == "train":
                found[utterance.speaker] += times(utterance) * utterance.samples / self.corpus.sample_rate
        return found


def number(settings: Mapping[str, Any], name: str, default: float = 0) -> float:
    """A setting that is reckoned with; the default where it is left out or, in a file that anybody wrote, no number."""
    value = settings.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def read_end(path: Path) -> str:
    """The end of a text file, whatever bytes it holds. Raises `UserError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read(LOG_BYTES).decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def _config(run: Path) -> dict[str, Any]:
    try:
        return read_yaml(run / "config.yaml")
    except UserError:  # a diagnosis goes by what there is
        return {}


def _corpus(run: Path) -> Corpus | None:
    try:
        return Corpus.load(run)
    except (UserError, OSError):
        return None


def _evaluation(run: Path) -> Evaluation | None:
    try:
        return Evaluation.load(run)
    except (UserError, OSError):
        return None
