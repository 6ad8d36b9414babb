"""metrics.csv: one row a logged step, kept across interruptions, readable by any spreadsheet."""

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from tts_lab.corpus.wholefile import write_atomically
from tts_lab.training.columns import COLUMNS, read_metrics

__all__ = ["COLUMNS", "MetricsCsv", "read_metrics"]


class MetricsCsv(Logger):
    """Lightning logger that appends to ``metrics.csv``; columns are fixed, cells without a number stay empty.

    Lightning's own CSV logger deletes the file when a run is resumed. This one takes out only the rows of
    steps that will be done again, and gives the rows of an older version the columns it did not have.
    """

    def __init__(self, folder: Path, steps_per_epoch: int, resume_step: int) -> None:
        super().__init__()
        self.path, self.steps_per_epoch = folder / "metrics.csv", steps_per_epoch
        rows = [row for row in read_metrics(self.path) if row["step"] < resume_step]
        # "seconds" of a resumed run go on where they were: of training, whatever lay in between.
        self.began = time.monotonic() - max((row.get("seconds") or 0 for row in rows), default=0)
        kept = io.StringIO(newline="")
        writer = csv.DictWriter(kept, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, kept.getvalue().encode())

    name = "metrics"
    version = ""

    @property
    @rank_zero_experiment
    def experiment(self) -> None:
        return None

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass  # config.yaml has them

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        numbers = {name: value for name, value in metrics.items() if math.isfinite(value)}
        known = {name: f"{value:.6g}" for name, value in numbers.items() if name in COLUMNS and name != "epoch"}
        if not known:
            return
        known |= {"epoch": round(step / self.steps_per_epoch, 4), "seconds": round(time.monotonic() - self.began, 2)}
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writerow({"step": step, **known})
