"""What `tts-lab recommend` says: the decision table with a corpus's own numbers, one recipe, and what to type."""

import shlex
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Says = Literal["fine-tune", "scratch", "either"]
RECIPES = {
    "source_filter": "fine-tune with a decoder of pulses and noise, the text side frozen",
    "frozen": "fine-tune with the text side frozen",
    "staged": "fine-tune in stages, the text side last",
    "fine_tune": "fine-tune everything gently",
    "vocoder_first": "keep the sound of a base voice, learn the text side anew",
    "from_scratch": "train from scratch",
    "two_stage": "train from scratch in two stages, the acoustic part before the waveform part",
}
"""Name of a file in `recipes/`, and what it does."""
FROM_SCRATCH = ("from_scratch", "two_stage")


@dataclass(frozen=True)
class Row:
    """One factor of the table. Plain words, so that it goes into JSON and, as `vars(row)`, into a notebook's table."""

    factor: str
    corpus: str
    """This corpus's numbers."""
    says: Says
    why: str
    """With the threshold."""


@dataclass(frozen=True)
class Recommendation:
    """What to do with a corpus."""

    rows: list[Row]
    recipe: str
    """One of `RECIPES`."""
    why: str
    corpus: str
    """Its folder."""
    start_from: str
    """As `tts-lab train` takes it; VOICE.onnx stands for a voice that is yet to be had."""

    @property
    def command(self) -> str:
        """What to type next."""
        words = ["tts-lab", "train", "--config", f"recipes/{self.recipe}.yaml", "--corpus", self.corpus]
        return shlex.join([*words, "--start_from", self.start_from, "--run", f"runs/{self.recipe}"])

    @property
    def counts(self) -> dict[str, int]:
        """How many factors say what."""
        return dict(Counter(row.says for row in self.rows))

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return asdict(self) | {"counts": self.counts, "command": self.command}


def print_recommendation(console: Console, found: Recommendation) -> None:
    """The table, the recipe with its reason, and the command on a line of its own, whole, to be copied."""
    table = Table("factor", "this corpus", "says", "why", title="Fine-tune or from scratch", title_justify="left")
    for row in found.rows:
        table.add_row(row.factor, escape(row.corpus), row.says, escape(row.why))
    console.print(table)
    told = f"{found.recipe}: {RECIPES[found.recipe]}. {found.why}"
    console.print(told, highlight=False, markup=False)
    console.print(found.command, highlight=False, markup=False, soft_wrap=True)
