"""Several corpora as one: `a+b`, each with its own folder of recordings, speaker and weight."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path

from tts_lab.corpus.manifest import read_manifest
from tts_lab.corpus.rows import Manifest, Problem, Row
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
) -> list[Source]:
    """The corpora that `a+b` names, each with its part of `x+y` of the options; an empty part is the default.

    A path that holds a `+` and exists is one corpus. Raises `UserError` if an option has another number of parts
    than there are corpora, or if a weight is no number over 0.
    """
    whole = Path(source)
    paths = [str(whole)] if whole.exists() else str(source).split("+")
    options = {"audio-dir": audio_dir, "audio-prefix": audio_prefix, "speaker": speaker, "weight": weight}
    parts: dict[str, list[str | None]] = {}
    for option, value in options.items():
        text = "" if value is None else str(value)
        parts[option] = [part or None for part in (text.split("+") if len(paths) > 1 and text else [text] * len(paths))]
        if len(parts[option]) != len(paths):
            raise UserError(
                f"{source} names {len(paths)} corpora, and --{option} {value} has {len(parts[option])} part(s): give "
                f"one for each with + between, and nothing for a default, as in --{option} {'+'.join(['x'] * 2)}."
            )
    return [
        Source(
            Path(path),
            None if parts["audio-dir"][i] is None else Path(parts["audio-dir"][i]),
            parts["audio-prefix"][i],
            parts["speaker"][i],
            _weight(parts["weight"][i]),
        )
        for i, path in enumerate(paths)
    ]


def _weight(text: str | None) -> float:
    try:
        weight = 1.0 if text is None else float(text)
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
    names = _distinct([source.name for source in sources])
    used = Counter(row.id for manifest in manifests for row in manifest.rows)
    folders = [str(manifest.audio_dir.resolve()) for manifest in manifests]
    merged = Manifest(" + ".join(manifest.layout for manifest in manifests), "", Path(commonpath(folders)))
    merged.why = "; ".join(f"{name}: {manifest.why}" for name, manifest in zip(names, manifests, strict=True))
    clashes = sum(count > 1 for count in used.values())
    for name, manifest in zip(names, manifests, strict=True):
        for row in manifest.rows:
            own = f"{name}_{row.id}" if used[row.id] > 1 else row.id
            merged.rows.append(replace(row, id=own, where=f"{name}/{row.where}"))
        merged.problems += [replace(problem, where=f"{name}/{problem.where}") for problem in manifest.problems]
        merged.notes += [f"{name}: {note}" for note in manifest.notes]
    if clashes:
        merged.notes.append(f"{clashes} ids are in several corpora; there the corpus's name stands before them.")
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
    if source.speaker or source.weight != 1:
        changes = {"weight": source.weight} | ({"speaker": source.speaker} if source.speaker else {})
        manifest.rows = [replace(row, **changes) for row in manifest.rows]
    return manifest


def _distinct(names: list[str]) -> list[str]:
    """The names, with a number behind those that came before."""
    return [name if name not in names[:i] else f"{name}-{i + 1}" for i, name in enumerate(names)]


def _set_clashes_aside(merged: Manifest) -> None:
    """Ids that the names before them made the same as others."""
    seen: dict[str, Row] = {}
    for row in merged.rows:
        if row.id in seen:
            reason = f"the id was already used ({seen[row.id].where}), and that one is kept; give each its own id"
            merged.problems.append(Problem(row.where, row.id, reason, "duplicate id"))
        else:
            seen[row.id] = row
    merged.rows = list(seen.values())
