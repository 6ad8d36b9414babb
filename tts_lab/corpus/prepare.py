"""Recordings and text to a corpus folder: every utterance ends as kept, or quarantined with a reason.

The slow part, the audio, is done by a pool of processes and cached under a name made of the recording's bytes
and the settings, so a second run, or one after a crash, does only what is missing.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from rich.console import Console

from tts_lab.corpus.corpus import Corpus, Quarantined, Utterance, remove_leftovers
from tts_lab.corpus.decisions import NAME, Decisions, follow
from tts_lab.corpus.merge import read_sources, split_sources
from tts_lab.corpus.pool import in_pool
from tts_lab.corpus.report import Progress, print_report
from tts_lab.corpus.rows import Manifest, Row
from tts_lab.corpus.settings import PrepareSettings
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
    outcomes: dict[str, Outcome] = {}
    with Progress(console, len(manifest.rows), "audio and phonemes") as progress:
        for outcome in _outcomes(manifest.rows, out, settings, frontend, jobs):
            outcomes[outcome.row.id] = outcome
            progress.advance()
    corpus = _assemble(manifest, rejected, [outcomes[row.id] for row in manifest.rows], out, settings, frontend)
    corpus.save()
    cached = sum(outcome.cached for outcome in outcomes.values())
    print_report(console, corpus, _missing(outcomes.values()), cached)
    if len(corpus.utterances) < settings.min_utterances:
        first = "; ".join(f"{q.id} ({q.where}): {q.reason}" for q in corpus.quarantined[:3])
        raise UserError(
            f"{source}: too small to train: {len(corpus.utterances)} of "
            f"{len(corpus.utterances) + len(corpus.quarantined)} utterances are usable and at least "
            f"{settings.min_utterances} are needed. " + (f"First causes: {first}." if first else "Record more.")
        )
    return corpus


def _outcomes(
    rows: list[Row], out: Path, settings: PrepareSettings, frontend: TextFrontend, jobs: int | None
) -> Iterator[Outcome]:
    start = (settings.audio(), frontend, out)
    preload = ("tts_lab.corpus.audio", "tts_lab.corpus.worker", type(frontend).__module__)
    yield from in_pool(work, rows, jobs=jobs, start=(start_worker, start), preload=preload)


def _assemble(
    manifest: Manifest,
    rejected: list[tuple[Row, str]],
    outcomes: list[Outcome],
    out: Path,
    settings: PrepareSettings,
    frontend: TextFrontend,
) -> Corpus:
    quarantined = [Quarantined(problem.id, problem.where, problem.reason) for problem in manifest.problems]
    quarantined += [
        Quarantined(row.id, row.where, reason, row.text, os.path.relpath(row.audio, out)) for row, reason in rejected
    ]
    kept: list[Utterance] = []
    for outcome in outcomes:
        row, reason = outcome.row, outcome.reason
        if reason is None and len(outcome.phoneme_ids) > settings.max_phoneme_ids:
            reason = (
                f"{len(outcome.phoneme_ids)} phoneme ids are over {settings.max_phoneme_ids}; "
                "cut text and recording at sentence ends"
            )
        recording = os.path.relpath(row.audio, out)
        if reason is not None:
            if row.review:
                reason += f" ({', '.join(row.review)}, and yet it cannot be used)"
            quarantined.append(Quarantined(row.id, row.where, reason, row.text, recording))
            continue
        notes = [*row.review, *outcome.notes]
        if outcome.missing:
            notes.append("symbols not in the id map: " + " ".join(outcome.missing))
        utterance = Utterance(
            id=row.id,
            text=row.text,
            speaker=row.speaker,
            audio=outcome.audio,
            samples=outcome.samples,
            phonemes=outcome.phonemes,
            phoneme_ids=outcome.phoneme_ids,
            split="train",
            notes=notes,
            recording=recording,
            weight=row.weight,
            cut=list(row.cut) if row.cut else None,
            source=row.source,
        )
        kept.append(utterance)
    _note_rates(kept, settings)
    for utterance in held_out(kept, settings.validation_share):
        utterance.split = "validation"
    names = sorted({utterance.speaker for utterance in kept if utterance.speaker is not None})
    return Corpus(
        folder=out,
        sample_rate=settings.sample_rate,
        utterances=kept,
        quarantined=quarantined,
        speakers={name: i for i, name in enumerate(names)},
        frontend=frontend.to_dict(),
        settings=asdict(settings),
        manifest={"layout": manifest.layout, "why": manifest.why, "notes": manifest.notes}
        | ({"sources": manifest.sources} if manifest.sources else {}),
    )


def held_out(utterances: list[Utterance], share: float) -> list[Utterance]:
    """The validation utterances: those whose id hashes below `share`, or the lowest hash if none does.

    An utterance keeps its side when others come or go, the lowest-hash rule of tiny corpora aside.
    """

    def position(utterance: Utterance) -> float:
        return int.from_bytes(hashlib.sha256(utterance.id.encode()).digest()[:8], "big") / 2**64

    below = [utterance for utterance in utterances if position(utterance) < share]
    return below or sorted(utterances, key=position)[:1]


def _note_rates(kept: list[Utterance], settings: PrepareSettings) -> None:
    rates = [len(u.phonemes) * settings.sample_rate / u.samples for u in kept]
    if len(rates) < 10:
        return
    middle = median(rates)
    deviation = max(1.4826 * median(abs(rate - middle) for rate in rates), 0.05 * middle)
    for utterance, rate in zip(kept, rates, strict=True):
        if abs(rate - middle) > settings.rate_outlier * deviation:
            utterance.notes.append(f"{rate:.1f} phonemes a second against {middle:.1f} usually: does the text fit?")


def _missing(outcomes) -> dict[str, tuple[int, int]]:
    """Symbol to how often it is missing, and in how many kept utterances."""
    table: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        for symbol, count in (outcome.missing if outcome.reason is None else {}).items():
            total, clips = table.get(symbol, (0, 0))
            table[symbol] = (total + count, clips + 1)
    return table
