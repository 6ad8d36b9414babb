"""Share of padded frames in the planned batches of a corpus."""

from pathlib import Path
from typing import Any

from tts_lab import buckets
from tts_lab.corpus.corpus import Corpus
from tts_lab.training.config import TrainConfig
from tts_lab.training.data import CorpusData
from tts_lab.vits.config import PRESETS


def measure(folder: Path, shapes: int = 4) -> list[dict[str, Any]]:
    """The waste of the training batches that a run on ``folder`` with ``shapes`` buckets would compute."""
    data = CorpusData(Corpus.load(folder), PRESETS["medium"], TrainConfig(folder, max_steps=1, buckets=shapes))
    print(data.describe())
    value = buckets.waste(data.train_plan, data.lengths)
    return [{"name": "padding_waste", "value": value, "unit": "share", "bar": 0.12, "goal": 0.08, "samples": [value]}]
