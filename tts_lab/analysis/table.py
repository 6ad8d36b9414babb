"""One table of everything that is known about a corpus: a row an utterance, kept and quarantined alike."""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from tts_lab.analysis.measures import Measures
from tts_lab.analysis.words import plain_words
from tts_lab.corpus.corpus import Corpus, Quarantined, Utterance

MEASURED = tuple(field.name for field in fields(Measures))


def make_table(corpus: Corpus, measured: Mapping[str, Any]) -> pd.DataFrame:
    """A row an utterance, by id, kept ones first; a column a field, NaN where a number cannot be had.

    `measured` is utterance id to `tts_lab.analysis.measuring.Measured` (`measures`, `heard`, `problem`). Columns are
    `text, speaker, split` ("train", "validation" or "quarantined"), `reason` (of quarantine, or else ""), `where`,
    `recording` (an absolute path, or ""), `seconds` (of the prepared clip), `characters`, `phonemes`, then every
    field of `Measures`, `heard` (what the ASR understood, or None) and `word_errors` (word errors over words).
    A quarantined utterance whose id is taken, as a repeated line's is, gets the line behind its id and no measures:
    those are of the first.
    """
    folder = os.path.abspath(corpus.folder)
    rows = [*corpus.utterances, *corpus.quarantined]
    kept = len(corpus.utterances)
    names, found = _names(rows), []
    for name, row in zip(names, rows, strict=True):
        found.append(measured.get(name) if name == row.id else None)
    measures = [one.measures if one else None for one in found]
    blank = [np.nan] * (len(rows) - kept)
    columns: dict[str, Any] = {
        "text": [row.text for row in rows],
        "speaker": [getattr(row, "speaker", None) or "" for row in rows],
        "split": [u.split for u in corpus.utterances] + ["quarantined"] * (len(rows) - kept),
        "reason": [""] * kept + [q.reason for q in corpus.quarantined],
        "where": [getattr(row, "where", "") for row in rows],
        "recording": [os.path.normpath(os.path.join(folder, row.recording)) if row.recording else "" for row in rows],
        "seconds": [u.samples / corpus.sample_rate for u in corpus.utterances] + blank,
        "characters": [len(row.text) for row in rows],
        "phonemes": [float(len(u.phonemes)) for u in corpus.utterances] + blank,
    }
    for name in MEASURED:
        missing = None if name == "timbre" else np.nan
        columns[name] = [missing if one is None else getattr(one, name) for one in measures]
    columns["heard"] = [one.heard if one else None for one in found]
    columns["word_errors"] = _word_errors(columns["text"], columns["heard"])
    return pd.DataFrame(columns, index=pd.Index(names, name="id"))


def kept(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that training may use."""
    return table[table["split"] != "quarantined"]


def _names(rows: list[Utterance | Quarantined]) -> list[str]:
    """Ids, made unique: a later row with an id that is taken is told apart by its line."""
    taken: set[str] = set()
    names = []
    for row in rows:
        name, number = row.id, 1
        while name in taken:
            number += 1
            name = f"{row.id} ({getattr(row, 'where', '') or 'again'}{'' if number == 2 else f', {number}'})"
        taken.add(name)
        names.append(name)
    return names


def _word_errors(texts: list[str], heard: list[str | None]) -> list[float]:
    """Word errors over words, of each clip that was listened to: case and punctuation do not count."""
    if not any(said is not None for said in heard):
        return [np.nan] * len(texts)
    from rapidfuzz.distance import Levenshtein

    errors = []
    for text, said in zip(texts, heard, strict=True):
        words = plain_words(text).split()
        known = said is not None and words
        errors.append(Levenshtein.distance(words, plain_words(said).split()) / len(words) if known else np.nan)
    return errors
