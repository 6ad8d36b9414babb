"""One table of everything that is known about a corpus: a row an utterance, kept and quarantined alike."""

import os
import sys
from array import array
from collections.abc import Collection, Mapping
from dataclasses import fields
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from tts_lab.analysis.measures import Measures
from tts_lab.analysis.words import plain_words
from tts_lab.corpus.corpus import Corpus, Quarantined, Utterance

MEASURED = tuple(field.name for field in fields(Measures))
_WORDS = ("text", "speaker", "split", "reason", "where", "recording")
_NUMBERS = ("seconds", "characters", "phonemes")
_MEASURED_NUMBERS = tuple(name for name in MEASURED if name != "timbre")


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
    names: dict[str, None] = {}
    words: dict[str, list[Any]] = {name: [] for name in (*_WORDS, "timbre", "heard")}
    numbers = {name: array("d") for name in (*_NUMBERS, *_MEASURED_NUMBERS)}
    for row in chain(corpus.stream(), corpus.quarantined):
        name = _name(row, names)
        names[name] = None
        is_kept = isinstance(row, Utterance)
        found = measured.get(name) if name == row.id else None
        measures = found.measures if found else None
        own = {
            "text": row.text,
            "speaker": sys.intern(row.speaker or "") if is_kept else "",
            "split": sys.intern(row.split) if is_kept else "quarantined",
            "reason": "" if is_kept else row.reason,
            "where": "" if is_kept else row.where,
            "recording": os.path.normpath(os.path.join(folder, row.recording)) if row.recording else "",
            "seconds": row.samples / corpus.sample_rate if is_kept else np.nan,
            "characters": len(row.text),
            "phonemes": len(row.phonemes) if is_kept else np.nan,
            "timbre": array("f", measures.timbre) if measures else None,  # a quarter of a tuple's memory
            "heard": found.heard if found else None,
        }
        for name, column in words.items():
            column.append(own[name])
        for name, column in numbers.items():
            column.append(own[name] if name in own else getattr(measures, name, np.nan))
    columns = {name: np.frombuffer(column) for name, column in numbers.items()}
    columns["characters"] = columns["characters"].astype(int)
    columns |= {name: _objects(column) for name, column in words.items()}
    columns["word_errors"] = _word_errors(words["text"], words["heard"])
    order = [*_WORDS, *_NUMBERS, *MEASURED, "heard", "word_errors"]
    return pd.DataFrame({name: columns[name] for name in order}, index=pd.Index(list(names), name="id"))


def _objects(values: list[Any]) -> np.ndarray:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def kept(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that training may use."""
    return table[table["split"] != "quarantined"]


def _name(row: Utterance | Quarantined, taken: Collection[str]) -> str:
    """Its id, made unique: a later row with an id that is taken is told apart by its line."""
    name, number = row.id, 1
    while name in taken:
        number += 1
        name = f"{row.id} ({getattr(row, 'where', '') or 'again'}{'' if number == 2 else f', {number}'})"
    return name


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
