"""What `prepare` says on the terminal while it works and when it is done."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from tts_lab.corpus.corpus import Corpus

SECONDS_BETWEEN = 5.0
"""Between two plain lines of progress."""


class Progress:
    """A bar on a terminal; a plain line every few seconds anywhere else."""

    def __init__(self, console: Console, total: int, what: str) -> None:
        self.console, self.total, self.what = console, total, what
        self.done, self.began = 0, monotonic()
        self.said = self.began
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Bar(*columns, console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(self.what, total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def advance(self) -> None:
        self.done += 1
        if self.bar:
            self.bar.advance(self.task)
        elif monotonic() - self.said > SECONDS_BETWEEN:
            self.said = monotonic()
            left = (self.said - self.began) / self.done * (self.total - self.done)
            minutes, seconds = divmod(round(left), 60)
            self.console.print(
                f"{self.what}: {self.done} of {self.total}, about {minutes}:{seconds:02} left", highlight=False
            )


def print_report(console: Console, corpus: Corpus, missing: Mapping[str, tuple[int, int]], cached: int) -> None:
    """The table of kept and quarantined, what was noted, and what the id map does not hold."""
    for note in corpus.manifest["notes"]:
        console.print(f"Note: {note}", highlight=False, markup=False)
    table = Table("", "utterances", "minutes", title=escape(f"Corpus {corpus.folder}"), title_justify="left")
    amounts = corpus.amounts()
    for split, (clips, seconds) in amounts.items():
        table.add_row(f"kept: {split}", str(clips), f"{seconds / 60:.2f}")
    table.add_row("quarantined", str(len(corpus.quarantined)), "")
    console.print(table)
    _print_quarantined(console, corpus)
    for note, count in _grouped(note for utterance in corpus.stream() for note in utterance.notes):
        console.print(f"{count} kept with a note: {note}", highlight=False, markup=False, soft_wrap=True)
    if missing:
        lost = Table(
            "symbol",
            "times",
            "utterances",
            title="Not in the id map, so never heard by the voice",
            title_justify="left",
        )
        for symbol, (times, clips) in sorted(missing.items(), key=lambda item: -item[1][0]):
            lost.add_row(f"{symbol!r} U+{ord(symbol[0]):04X}", str(times), str(clips))
        console.print(lost)
    if len(corpus.speakers) > 1:
        names = ", ".join(f"{name}={i}" for name, i in corpus.speakers.items())
        console.print(f"Speakers: {names}", highlight=False, markup=False)
    minutes = sum(seconds for _, seconds in amounts.values()) / 60
    if 0 < minutes < corpus.settings["few_minutes"]:
        console.print(
            f"Only {minutes:.1f} minutes are kept; fine-tuning wants {corpus.settings['few_minutes']:g} or more.",
            highlight=False,
        )
    if cached:
        console.print(f"{cached} recordings were already done in an earlier run.", highlight=False)


def _print_quarantined(console: Console, corpus: Corpus, at_most: int = 20) -> None:
    for q in corpus.quarantined[:at_most]:
        console.print(f"  quarantined {q.id} ({q.where}): {q.reason}", highlight=False, markup=False, soft_wrap=True)
    if len(corpus.quarantined) > at_most:
        console.print(
            f"  and {len(corpus.quarantined) - at_most} more, all in {corpus.folder / 'corpus.json'}:",
            highlight=False,
        )
        for reason, count in _grouped(q.reason for q in corpus.quarantined):
            console.print(f"  {count:5d} × {reason}", highlight=False, markup=False, soft_wrap=True)


def without_figures(sentence: str) -> str:
    """The sentence with # for each figure: the same for sentences that differ only in their figures."""
    return re.sub(r"\d+(\.\d+)?", "#", sentence)


def _grouped(sentences: Iterable[str]) -> list[tuple[str, int]]:
    """Sentences that differ only in their figures, counted together under the most frequent; most first."""
    groups: dict[str, Counter[str]] = {}
    for sentence in sentences:
        groups.setdefault(without_figures(sentence), Counter())[sentence] += 1
    named = [
        (max(group, key=group.__getitem__) + (" (and alike)" if len(group) > 1 else ""), group.total())
        for group in groups.values()
    ]
    return sorted(named, key=lambda pair: -pair[1])
