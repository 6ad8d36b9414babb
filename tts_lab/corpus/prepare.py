"""Recordings and text to a corpus folder: every utterance ends as kept, or quarantined with a reason.

The slow part, the audio, is done by a pool of processes and cached under a name made of the recording's bytes
and the settings, so a second run, or one after a crash, does only what is missing. Rows, outcomes and utterances lie
on the disk, so that memory hardly grows with the corpus.
"""

import hashlib
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import Console

from tts_lab.corpus.corpus import Corpus, Quarantined, Utterance
from tts_lab.corpus.decisions import NAME, Decisions, follow
from tts_lab.corpus.merge import read_sources, split_sources
from tts_lab.corpus.pool import in_pool
from tts_lab.corpus.report import Progress, print_report
from tts_lab.corpus.rows import Manifest, Row
from tts_lab.corpus.settings import PrepareSettings
from tts_lab.corpus.spool import Spool
from tts_lab.corpus.wholefile import remove_leftovers
from tts_lab.corpus.worker import Outcome, start_worker, work
from tts_lab.errors import UserError


class TextFrontend(Protocol):
    """What prepare needs of `tts_lab.frontend.Frontend`."""

    num_symbols: int

    def encode(self, text: str) -> Any: ...

    def decode(self, ids: Iterable[int]) -> list[str]: ...

    def to_dict(self) -> dict[str, Any]: ...


def prepare(
    source: Path | str,
    out: Path | str,
    settings: PrepareSettings,
    frontend: TextFrontend,
    *,
    audio_dir: Path | str | None = None,
    audio_prefix: str | None = None,
    speaker: str | None = None,
    weight: str | float | None = None,
    each: Mapping[str, str] | None = None,
    decisions: Path | str | None = None,
    jobs: int | None = None,
    console: Console | None = None,
) -> Corpus:
    """Make, or bring up to date, the corpus folder `out` from the manifest or folder `source`, or from several, `a+b`.

    `audio_dir` and `audio_prefix` are as in `read_manifest`, `speaker` and `weight` as in `merge.Source`; of several
    corpora each has its part, as `split_sources` tells them, and `each` holds the settings that it has of its own, as
    {"trim": "true+false"}. What was decided in review, in the file `decisions` or
    else in `out`/review.jsonl if that is there, is followed (see `tts_lab.corpus.decisions`). `jobs` processes work
    on the audio (all cores by default; 1 works in this process). Progress and the table of kept and quarantined go
    to `console`. Raises `UserError` for what stops the whole corpus; a single bad utterance is quarantined. A symbol
    that the id map lacks leaves its utterance kept, since Piper would speak the text without it too, but is noted
    there and counted in a table.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"prepare cannot run with {jobs} jobs; give 1 or more, or leave it out for all cores.")
    console = console or Console()
    out = Path(out)
    manifest = read_sources(split_sources(source, audio_dir, audio_prefix, speaker, weight, settings, each))
    console.print(f"Layout {manifest.layout}: {manifest.why}.", highlight=False, markup=False, soft_wrap=True)
    if decisions is not None and not Path(decisions).is_file():
        raise UserError(f"{decisions}: there is no such file of decisions; save the review first, or leave it out.")
    decisions = Path(decisions) if decisions is not None else out / NAME
    rejected = follow(Decisions.load(decisions), manifest)
    frontend.encode("a")  # an unknown espeak voice is one error here, and not one for each utterance
    remove_leftovers(out / "audio")
    made, places = Spool(), array("Q", bytes(8 * len(manifest.rows)))
    with Progress(console, len(manifest.rows), "audio and phonemes") as progress:
        for number, outcome in _outcomes(manifest.rows, out, settings, frontend, jobs):
            places[number] = len(made)
            made.append(outcome)
            progress.advance()
    corpus, clips = _assemble(manifest, rejected, _InOrder(made, places), out, settings, frontend)
    print_report(console, corpus, *_counted(made))
    if clips < settings.min_utterances:
        first = "; ".join(f"{q.id} ({q.where}): {q.reason}" for q in corpus.quarantined[:3])
        raise UserError(
            f"{source}: too small to train: {clips} of {clips + len(corpus.quarantined)} utterances are usable and at "
            f"least {settings.min_utterances} are needed. " + (f"First causes: {first}." if first else "Record more.")
        )
    return corpus


def _outcomes(
    rows: Sequence[Row], out: Path, settings: PrepareSettings, frontend: TextFrontend, jobs: int | None
) -> Iterator[tuple[int, Outcome]]:
    start = (settings.audio(), frontend, out)
    preload = ("tts_lab.corpus.audio", "tts_lab.corpus.worker", type(frontend).__module__)
    yield from in_pool(work, enumerate(rows), jobs=jobs, start=(start_worker, start), preload=preload)


@dataclass(frozen=True)
class _InOrder:
    """Outcomes in the order of their rows, from the disk where they lie as they came."""

    made: Spool[Outcome]
    places: array

    def __iter__(self) -> Iterator[Outcome]:
        return map(self.made.__getitem__, self.places)


def _assemble(
    manifest: Manifest,
    rejected: list[tuple[Row, str]],
    outcomes: Iterable[Outcome],
    out: Path,
    settings: PrepareSettings,
    frontend: TextFrontend,
) -> tuple[Corpus, int]:
    """The corpus, saved, and the number of its clips. The outcomes are gone through twice, for what becomes of one
    depends on all: whether its pace is usual, and whether anything is held out."""
    quarantined = [Quarantined(problem.id, problem.where, problem.reason) for problem in manifest.problems]
    quarantined += [
        Quarantined(row.id, row.where, reason, row.text, os.path.relpath(row.audio, out)) for row, reason in rejected
    ]
    names, rates, lowest = set(), array("d"), 1.0
    for outcome in outcomes:
        row = outcome.row
        if reason := _refusal(outcome, settings):
            quarantined.append(Quarantined(row.id, row.where, reason, row.text, os.path.relpath(row.audio, out)))
            continue
        names.add(row.speaker)
        rates.append(len(outcome.phonemes) * settings.sample_rate / outcome.samples)
        lowest = min(lowest, _position(row.id))
    corpus = Corpus(
        folder=out,
        sample_rate=settings.sample_rate,
        utterances=[],
        quarantined=quarantined,
        speakers={name: i for i, name in enumerate(sorted(names - {None}))},
        frontend=frontend.to_dict(),
        settings=asdict(settings),
        manifest={"layout": manifest.layout, "why": manifest.why, "notes": manifest.notes}
        | ({"sources": manifest.sources} if manifest.sources else {}),
    )
    below = _held_below(lowest, settings.validation_share)
    kept = (outcome for outcome in outcomes if not _refusal(outcome, settings))
    corpus.save(
        _utterance(outcome, note, "validation" if _position(outcome.row.id) < below else "train", out)
        for outcome, note in zip(kept, _rate_notes(rates, settings.rate_outlier), strict=True)
    )
    return corpus, len(rates)


def _refusal(outcome: Outcome, settings: PrepareSettings) -> str | None:
    """Why it cannot be used; None if it can."""
    reason, row = outcome.reason, outcome.row
    if reason is None and len(outcome.phoneme_ids) > settings.max_phoneme_ids:
        reason = (
            f"{len(outcome.phoneme_ids)} phoneme ids are over {settings.max_phoneme_ids}; "
            "cut text and recording at sentence ends"
        )
    if reason is not None and row.review:
        reason += f" ({', '.join(row.review)}, and yet it cannot be used)"
    return reason


def _utterance(outcome: Outcome, rate_note: str, split: str, out: Path) -> Utterance:
    row, notes = outcome.row, [*outcome.row.review, *outcome.notes]
    if outcome.missing:
        notes.append("symbols not in the id map: " + " ".join(outcome.missing))
    return Utterance(
        id=row.id,
        text=row.text,
        speaker=row.speaker,
        audio=outcome.audio,
        samples=outcome.samples,
        phonemes=outcome.phonemes,
        phoneme_ids=outcome.phoneme_ids,
        split=split,
        notes=notes + [rate_note] if rate_note else notes,
        recording=os.path.relpath(row.audio, out),
        weight=row.weight,
        cut=list(row.cut) if row.cut else None,
        source=row.source,
    )


def _position(id: str) -> float:
    """Where an id lies between 0 and 1, as if by chance, and always there."""
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big") / 2**64


def _held_below(lowest: float, share: float) -> float:
    """The position below which an utterance is held out, if the lowest of all is `lowest`."""
    return max(share, math.nextafter(lowest, 2))


def held_out(utterances: Sequence[Utterance], share: float) -> list[Utterance]:
    """The validation utterances: those whose id hashes below `share`, or the lowest hash if none does.

    An utterance keeps its side when others come or go, the lowest-hash rule of tiny corpora aside.
    """
    below = _held_below(min((_position(utterance.id) for utterance in utterances), default=0.0), share)
    return [utterance for utterance in utterances if _position(utterance.id) < below]


def _rate_notes(rates: Sequence[float], outlier: float) -> Iterator[str]:
    """A sentence for each rate of phonemes a second that is far from the usual, and "" for the others."""
    if len(rates) < 10:
        yield from [""] * len(rates)
        return
    values = np.asarray(rates)
    middle = float(np.median(values))
    deviation = max(1.4826 * float(np.median(np.abs(values - middle))), 0.05 * middle)
    for rate in rates:
        odd = abs(rate - middle) > outlier * deviation
        yield f"{rate:.1f} phonemes a second against {middle:.1f} usually: does the text fit?" if odd else ""


def _counted(outcomes: Iterable[Outcome]) -> tuple[dict[str, tuple[int, int]], int]:
    """Symbol to how often it is missing, and in how many kept utterances; and how many clips were made before."""
    table: dict[str, tuple[int, int]] = {}
    cached = 0
    for outcome in outcomes:
        cached += outcome.cached
        for symbol, count in (outcome.missing if outcome.reason is None else {}).items():
            total, clips = table.get(symbol, (0, 0))
            table[symbol] = (total + count, clips + 1)
    return table, cached
