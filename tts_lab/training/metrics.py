"""metrics.csv: one row a logged step, kept across interruptions, readable by any spreadsheet."""

import csv
import time
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

COLUMNS = (
    "step", "epoch", "seconds", "loss_g", "loss_d", "mel", "kl", "duration", "adversarial", "feature",
    "grad_norm_g", "grad_norm_d", "learning_rate_g", "learning_rate_d", "val_mel", "val_kl", "val_duration",
    "graphs_compiled", "fallbacks", "steps_traced", "host_seconds", "core_utilization", "device_bytes", "host_bytes",
    "numerical_errors", "other_errors", "latency_p50", "latency_p99", "ecc_uncorrected",  # see tts_lab.devices.monitor
)  # fmt: skip


class MetricsCsv(Logger):
    """Lightning logger that appends to ``metrics.csv``; columns are fixed, cells not measured stay empty.

    Lightning's own CSV logger deletes the file when a run is resumed. This one takes out only the rows of
    steps that will be done again.
    """

    def __init__(self, folder: Path, steps_per_epoch: int, resume_step: int) -> None:
        super().__init__()
        self.path, self.steps_per_epoch = folder / "metrics.csv", steps_per_epoch
        self.began = time.monotonic()  # "seconds" count from the start of this stretch of the run
        rows = [row for row in read_metrics(self.path) if row["step"] < resume_step]
        with open(self.path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

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
        known = {name: f"{value:.6g}" for name, value in metrics.items() if name in COLUMNS and name != "epoch"}
        if not known:
            return
        known |= {"epoch": round(step / self.steps_per_epoch, 4), "seconds": round(time.monotonic() - self.began, 2)}
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writerow({"step": step, **known})


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics.csv, ``step`` as an integer, the rest as numbers or "" where not measured."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("step", "").isdigit()]
    return [
        {k: int(v) if k == "step" else float(v) if v else "" for k, v in row.items() if k in COLUMNS} for row in rows
    ]
