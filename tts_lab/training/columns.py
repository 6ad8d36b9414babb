"""The columns of metrics.csv, and its rows."""

import csv
from pathlib import Path
from typing import Any

from tts_lab.errors import UserError
from tts_lab.training.config import VALIDATED
from tts_lab.voices.best import HEARD

ALIGNMENT = (  # see tts_lab.analysis.alignment: the recordings' alignments, that of free speech, and both compared
    "align_diagonality", "align_skipped", "align_stretched", "align_end",
    "free_diagonality", "free_skipped", "free_stretched", "free_end", "rate_ratio", "duration_correlation",
)  # fmt: skip
COLUMNS = (
    "step", "epoch", "seconds", "loss_g", "loss_d", "mel", "source", "kl", "duration", "adversarial", "feature",
    "grad_norm_g", "grad_norm_d", "learning_rate_g", "learning_rate_d", *VALIDATED, HEARD, *ALIGNMENT,
    "steps_per_second", "audio_per_second", "data_wait",  # see tts_lab.training.throughput
    "graphs_compiled", "fallbacks", "steps_traced", "host_seconds", "core_utilization", "device_bytes", "host_bytes",
    "numerical_errors", "other_errors", "latency_p50", "latency_p99", "ecc_uncorrected",  # see tts_lab.devices.monitor
)  # fmt: skip


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics.csv, ``step`` as an integer, the rest as numbers or "" where not measured.

    A file of an older version has fewer columns, and so have its rows. A last line that was broken off, or is being
    written just now, does not count. Raises `UserError` for a line of anything else.
    """
    if not path.is_file():
        return []
    rows, number = [], 1
    try:
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
        for row in (table := csv.DictReader(whole.splitlines())):
            number = table.line_num
            if (row.get("step") or "").isdecimal():
                cells = {name: cell for name, cell in row.items() if name in COLUMNS}
                rows.append({k: int(v) if k == "step" else float(v) if v else "" for k, v in cells.items()})
    except (ValueError, csv.Error, OSError) as error:
        raise UserError(f"{path} cannot be read, at or after line {number}: {error}. Mend or remove it.") from error
    return rows
