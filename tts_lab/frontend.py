"""Text to phonemes to ids, by Piper's own front end.

A voice speaks the ids it was trained on, so training and the runtime must turn text into the same numbers.
The way to be sure is to run the runtime's own code: `Frontend.encode` calls `piper.PiperVoice.phonemize` and
`PiperVoice.phonemes_to_ids` on a voice that has a configuration and no model. What Piper drops without a
word, a symbol that the id map does not hold, is counted here and handed back.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from piper import PiperVoice
from piper.config import PhonemeType, PiperConfig
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP
from piper.phonemize_espeak import ESPEAK_DATA_DIR

from tts_lab.corpus.plain import typed
from tts_lab.errors import UserError
from tts_lab.voice_json import Id, Size, read_voice_json

NOT_SYMBOLS = frozenset("_^$")
"""Padding, begin and end of sentence: ids that the front end adds, never read from text."""
ESPEAK_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+")
"""What espeak's voices are spelled with: it takes the name for a file's, and must not be led to any other."""


@dataclass(frozen=True)
class Encoding:
    """One text as the voice hears it."""

    phonemes: list[str]
    """What the phonemizer said, sentence after sentence, the symbols that are missing included."""

    ids: list[int]
    """Piper's ids: per sentence `^ _ p _ p _ … $`, sentences one after another."""

    missing: dict[str, int]
    """Symbols that the id map does not hold, and how often: they are in `phonemes` and not in `ids`."""


@dataclass(frozen=True)
class Frontend:
    """The settings that decide how text becomes ids; plain data, so it pickles and goes into JSON.

    Raises `UserError` from `encode` if espeak does not know the voice or the text cannot be read.
    """

    espeak_voice: str = "en-us"
    """One of `espeak_voices()`; unused when `phoneme_type` is "text"."""

    phoneme_type: str = "espeak"
    """"espeak", or "text": the letters themselves are the symbols, and espeak is not asked."""

    phoneme_id_map: dict[str, list[Id]] = field(default_factory=lambda: _copy_map(DEFAULT_PHONEME_ID_MAP))
    """Symbol to ids."""

    num_symbols: Size = 256
    """Rows of the embedding table; every id must be below it."""

    vowel_clusters: list[list[str]] = field(default_factory=list)
    """Neighbouring vowels that are one symbol, as Piper 1.5 and later have them."""

    def __post_init__(self) -> None:
        problems = []
        if not set(self.espeak_voice) <= ESPEAK_NAME:
            problems.append(f"{self.espeak_voice!r} is no name of an espeak voice")
        if self.phoneme_type not in ("espeak", "text"):
            problems.append(f"phoneme_type is {self.phoneme_type!r}; this front end knows 'espeak' and 'text'")
        if absent := [mark for mark in "_^$" if mark not in self.phoneme_id_map]:
            problems.append(f"the id map lacks {', '.join(absent)} (padding, begin and end of sentence)")
        largest = max((max(ids) for ids in self.phoneme_id_map.values() if ids), default=0)
        if largest >= self.num_symbols:
            problems.append(f"the id map goes up to {largest}, so num_symbols must be over it ({self.num_symbols})")
        if problems:
            raise UserError("The front end cannot be built: " + "; ".join(problems) + ".")

    @cached_property
    def _piper(self) -> PiperVoice:
        config = PiperConfig(
            num_symbols=self.num_symbols,
            num_speakers=1,
            sample_rate=22050,
            espeak_voice=self.espeak_voice,
            phoneme_id_map=self.phoneme_id_map,
            phoneme_type=PhonemeType(self.phoneme_type),
            vowel_clusters={tuple(cluster) for cluster in self.vowel_clusters} or None,
        )
        return PiperVoice(session=None, config=config)

    def __getstate__(self) -> dict[str, Any]:
        return self.to_dict()  # the phonemizer itself stays in its process

    def encode(self, text: str) -> Encoding:
        """The ids that `PiperVoice.synthesize(text)` gives its model, its sentences joined into one list."""
        try:
            sentences = [phonemes for phonemes in self._piper.phonemize(text) if phonemes]
        except RuntimeError as error:
            raise UserError(
                f"espeak has no voice named {self.espeak_voice!r} ({error}). {_suggestion(self.espeak_voice)}"
            ) from error
        except ValueError as error:
            raise UserError(f"espeak cannot read the text {text!r}: {error}.") from error
        known = self.phoneme_id_map
        ids: list[int] = []
        for phonemes in sentences:
            ids += self._piper.phonemes_to_ids([symbol for symbol in phonemes if symbol in known])
        phonemes = [symbol for sentence in sentences for symbol in sentence]
        return Encoding(phonemes, ids, dict(Counter(symbol for symbol in phonemes if symbol not in known)))

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The symbols that ids stand for, padding and ends of sentences left out; `#17` for an id of no symbol."""
        return [symbol for i in ids if (symbol := self._symbols.get(i, f"#{i}")) not in NOT_SYMBOLS]

    @cached_property
    def _symbols(self) -> dict[int, str]:
        return {i: symbol for symbol, ids in self.phoneme_id_map.items() for i in ids}

    @classmethod
    def from_voice(cls, config: Path | str) -> "Frontend":
        """The front end of a published voice, from its `.onnx.json`."""
        voice = read_voice_json(config)
        return cls(
            espeak_voice=voice["espeak"]["voice"],
            # Some exporters wrote the enumeration's name: PhonemeType.ESPEAK.
            phoneme_type=(voice.get("phoneme_type") or "espeak").rpartition(".")[2].lower(),
            phoneme_id_map=_copy_map(voice["phoneme_id_map"]),
            num_symbols=voice["num_symbols"],
            vowel_clusters=voice.get("vowel_clusters") or [],
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as checkpoints and corpus.json hold it under "frontend"."""
        return {
            "espeak_voice": self.espeak_voice,
            "phoneme_type": self.phoneme_type,
            "phoneme_id_map": _copy_map(self.phoneme_id_map),
            "num_symbols": self.num_symbols,
            "vowel_clusters": [list(cluster) for cluster in self.vowel_clusters],
        }

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Frontend":
        """What `to_dict` wrote. Raises `UserError` for anything else."""
        return typed(cls, settings, "the front end")


@dataclass(frozen=True)
class Coverage:
    """How much of a text a set of known symbols can say."""

    known: dict[str, int]
    """Symbols of the text that are known, and how often each occurs."""

    unknown: dict[str, int]
    """Symbols of the text that are not known, the most frequent first."""

    @property
    def share(self) -> float:
        """Known occurrences over all occurrences; 1.0 for an empty text."""
        total = sum(self.known.values()) + sum(self.unknown.values())
        return sum(self.known.values()) / total if total else 1.0

    def sentence(self, whose: str = "the voice") -> str:
        if not self.unknown:
            return f"All {len(self.known)} symbols of the corpus are known to {whose}."
        listed = ", ".join(f"{symbol!r} ({count}×)" for symbol, count in self.unknown.items())
        return (
            f"{len(self.unknown)} symbols of the corpus, {1 - self.share:.2%} of all it says, "
            f"are unknown to {whose}: {listed}."
        )


def coverage(counts: Mapping[str, int], known: Collection[str]) -> Coverage:
    """Split symbol counts (`Corpus.symbol_counts`) into those in `known` (an id map or a set) and others."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return Coverage(
        known={symbol: n for symbol, n in ranked if symbol in known and symbol not in NOT_SYMBOLS},
        unknown={symbol: n for symbol, n in ranked if symbol not in known},
    )


def espeak_voices() -> list[str]:
    """Names of the voices in the espeak data that comes with Piper; another espeak may have others.

    They are its files' names, in whatever case. A few that lack their dictionary cannot read and are left out.
    """
    found = []
    for path in (ESPEAK_DATA_DIR / "lang").rglob("*"):
        if path.is_file():
            named = re.search(r"^dictionary\s+(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
            dictionary = named[1] if named else path.name.split("-")[0]
            if (ESPEAK_DATA_DIR / f"{dictionary}_dict").is_file():
                found.append(path.name.lower())
    return sorted(found)


def _suggestion(voice: str) -> str:
    """The voices of the same language, or else all."""
    voices = espeak_voices()
    language = re.split("[-_]", voice.lower())[0]
    same = [name for name in voices if name.split("-")[0] == language]
    return f"Piper's espeak has {', '.join(same or voices)}."


def _copy_map(id_map: Mapping[str, Any]) -> dict[str, list[int]]:
    # Old voices hold a bare number where newer ones hold a list.
    return {
        symbol: [int(i) for i in (ids if isinstance(ids, (list, tuple)) else [ids])] for symbol, ids in id_map.items()
    }
