"""Several corpora as one: `a+b`, each with its own folder of recordings, speaker, weight and audio settings."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os.path import commonpath
from pathlib import Path

import numpy as np

from tts_lab.corpus.manifest import read_manifest
from tts_lab.corpus.rows import Manifest, Problem, Row
from tts_lab.corpus.settings import OWN, AudioSettings, PrepareSettings, with_own
from tts_lab.corpus.spool import Spool
from tts_lab.errors import UserError


@dataclass(frozen=True)
class Source:
    """One corpus and how it is read."""

    path: Path
    audio_dir: Path | None = None
    audio_prefix: str | None = None
    speaker: str | None = None
    """Who says it, where the manifest does not."""
    weight: float = 1.0
    """How often an epoch draws each of its clips: 0.5 is every second one, 2 each twice."""
    settings: AudioSettings | None = None
    """How its recordings are made clips, if not as those of all."""

    @property
    def name(self) -> str:
        path = self.path.resolve()
        if path.is_file():
            return path.parent.name if path.name.startswith("metadata.") else path.stem
        return path.name


def split_sources(
    source: Path | str,
    audio_dir: Path | str | None = None,
    audio_prefix: str | None = None,
    speaker: str | None = None,
    weight: str | float | None = None,
    settings: PrepareSettings | None = None,
    each: Mapping[str, str] | None = None,
) -> list[Source]:
    """The corpora that `a+b` names, each with its part of `x+y` of the options; an empty part is the default.

    `each` holds audio settings in the same way, {"trim": "true+false"}: what is empty is that of `settings`, and one
    value is for all. A path that holds a `+` and exists is one corpus. Raises `UserError` if an option has another
    number of parts than there are corpora, or a part that it cannot have.
    """
    whole = Path(source)
    paths = [str(whole)] if whole.exists() else str(source).split("+")
    options = {"audio-dir": audio_dir, "audio-prefix": audio_prefix, "speaker": speaker, "weight": weight}
    each = dict(each or {})
    parts, wrong = {}, []
    for option, value in [*options.items(), *each.items()]:
        text = "" if value is None else str(value)
        split = text.split("+") if text and (len(paths) > 1 or option in each) else [text] * len(paths)
        parts[option] = split = split * len(paths) if option in each and len(split) == 1 else split
        if len(split) != len(paths):
            wrong.append(f"--{option} {value} has {len(split)} part(s)")
    if wrong:
        raise UserError(
            f"{source} names {len(paths)} corp{'us' if len(paths) == 1 else 'ora'}, and {', and '.join(wrong)}: give "
            f"one for each with + between, and nothing for a default, as in --weight {'+'.join(['1'] * len(paths))}."
        )
    if strange := [name for name in each if name not in OWN]:
        why = "a voice has one sample rate" if strange == ["sample_rate"] else f"only {', '.join(OWN)} can differ"
        raise UserError(f"--{strange[0]} {each[strange[0]]}: must be one for all corpora, for {why}.")
    return [
        Source(
            Path(path),
            Path(parts["audio-dir"][i]) if parts["audio-dir"][i] else None,
            parts["audio-prefix"][i] or None,
            parts["speaker"][i] or None,
            _weight(parts["weight"][i]),
            _own(path, settings or PrepareSettings(), {name: parts[name][i] for name in each}) if each else None,
        )
        for i, path in enumerate(paths)
    ]


def _own(path: str, settings: PrepareSettings, parts: dict[str, str]) -> AudioSettings:
    try:
        return with_own(settings, {name: part for name, part in parts.items() if part}).audio()
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _weight(text: str) -> float:
    try:
        weight = float(text) if text else 1.0
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise UserError(f"--weight {text}: a weight is a number over 0, such as 0.5; leave a corpus out to give it 0.")
    return weight


def read_sources(sources: list[Source]) -> Manifest:
    """Every corpus read, and joined. Raises `UserError` for what stops any of them.

    An id that two corpora use gets the corpus's name before it, in each of them; others stay as they are.
    """
    manifests = [_read(source) for source in sources]
    if len(manifests) == 1:
        return manifests[0]
    _tell_differences(sources, manifests)
    names = _distinct([source.name for source in sources])
    used = _repeated([manifest.rows for manifest in manifests])
    folders = [str(manifest.audio_dir.resolve()) for manifest in manifests]
    rows: Spool[Row] = Spool()
    merged = Manifest(" + ".join(manifest.layout for manifest in manifests), "", Path(commonpath(folders)), rows)
    merged.why = "; ".join(f"{name}: {manifest.why}" for name, manifest in zip(names, manifests, strict=True))
    for name, manifest in zip(names, manifests, strict=True):
        for row in manifest.rows:
            own = f"{name}_{row.id}" if row.id in used else row.id
            rows.append(replace(row, id=own, where=f"{name}/{row.where}", source=name))
        merged.problems += [replace(problem, where=f"{name}/{problem.where}") for problem in manifest.problems]
        merged.notes += [f"{name}: {note}" for note in manifest.notes]
    for name, source in zip(names, sources, strict=True):
        told = {"name": name, "path": str(source.path), "speaker": source.speaker, "weight": source.weight}
        merged.sources.append(told | ({"settings": asdict(source.settings)} if source.settings else {}))
    if used:
        merged.notes.append(f"{len(used)} ids are in several corpora; there the corpus's name stands before them.")
        _set_clashes_aside(merged)
    speakers = {row.speaker for row in merged.rows}
    if None in speakers and len(speakers) > 1:
        raise UserError(
            f"{' + '.join(names)}: some corpora name their speakers ({', '.join(sorted(speakers - {None})[:4])}) and "
            "some do not; name one for each that does not with --speaker, with nothing for the others, as in +anna."
        )
    if None in speakers:
        merged.notes.append(f"No speaker is named, so {' and '.join(names)} are taken for one voice (see --speaker).")
    return merged


def _read(source: Source) -> Manifest:
    manifest = read_manifest(source.path, source.audio_dir, source.audio_prefix)
    if source.speaker and any(row.speaker is not None for row in manifest.rows):
        named = sorted({row.speaker for row in manifest.rows if row.speaker})
        raise UserError(
            f"{source.path} names its speakers itself ({', '.join(named[:4])}), so --speaker {source.speaker} would "
            "not be obeyed; leave its part empty."
        )
    if source.weight != 1:
        manifest.notes.append(f"Each clip is drawn {source.weight:g} times an epoch.")
    if source.speaker or source.weight != 1 or source.settings:
        changes = {"weight": source.weight, "settings": source.settings}
        changes |= {"speaker": source.speaker} if source.speaker else {}
        manifest.rows = Spool(replace(row, **changes) for row in manifest.rows)
    return manifest


def _tell_differences(sources: list[Source], manifests: list[Manifest]) -> None:
    """The settings in which the corpora differ, as a note of each."""
    if any(source.settings is None for source in sources):
        return
    for source, manifest in zip(sources, manifests, strict=True):
        own = {
            name: value
            for name in OWN
            if len({getattr(other.settings, name) for other in sources}) > 1
            for value in [getattr(source.settings, name)]
        }
        if own:
            told = ", ".join(f"{name} {str(value).lower()}" for name, value in own.items())
            manifest.notes.append(f"Its own settings: {told}.")


def _distinct(names: list[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    return [name if name not in names[:i] else f"{name}-{i + 1}" for i, name in enumerate(names)]


def _repeated(manifests: Sequence[Sequence[Row]]) -> set[str]:
    """Ids that several rows have. Found by their hashes, so that the ids themselves are not all held at once."""
    hashes = np.fromiter((hash(row.id) for rows in manifests for row in rows), np.int64)
    values, counts = np.unique(hashes, return_counts=True)
    suspects = set(values[counts > 1].tolist())
    used = Counter(row.id for rows in manifests for row in rows if hash(row.id) in suspects) if suspects else Counter()
    return {id for id, count in used.items() if count > 1}


def _set_clashes_aside(merged: Manifest) -> None:
    """Ids that the names before them made the same as others."""
    again, first, rows = _repeated([merged.rows]), {}, Spool()
    for row in merged.rows:
        if row.id in first:
            reason = f"the id was already used ({first[row.id]}), and that one is kept; give each its own id"
            merged.problems.append(Problem(row.where, row.id, reason, "duplicate id"))
            continue
        if row.id in again:
            first[row.id] = row.where
        rows.append(row)
    merged.rows = rows
