"""Another symbol map: phonemes keep their embedding rows, whatever their ids, and new ones get a start.

A new symbol that is spelled with letters the voice knows (`aɪ`, `ã`) starts at the mean of theirs. Any other starts
at the mean of all known rows with a little noise: it then sounds like no phoneme in particular, where a random row
would sound like a wrong one, and the model's predictions change least (Hewitt 2021, "Initializing New Word
Embeddings for Pretrained Language Models", bounds how much); the noise lets two new symbols part.
"""

import unicodedata
from typing import Any

import torch
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from tts_lab.frontend import NOT_SYMBOLS

SymbolMap = dict[str, list[int]]

NOISE = 0.1
"""Share of a fresh random row in a new symbol's."""


def symbol_map(frontend: dict[str, Any], rows: int) -> SymbolMap:
    """Symbols to ids of a checkpoint with ``rows`` embedding rows: Piper's default ones where it names none."""
    named = frontend.get("phoneme_id_map") or DEFAULT_PHONEME_ID_MAP
    return {symbol: list(ids) for symbol, ids in named.items() if ids and max(ids) < rows}


def carry_over(
    fresh: torch.Tensor, old: torch.Tensor, old_map: SymbolMap, new_map: SymbolMap
) -> tuple[torch.Tensor, dict[str, str]]:
    """The embedding for `new_map`, ``(rows, channels)``, from one for `old_map`.

    Args:
        fresh: initial values for all rows; ids that stand for no symbol keep theirs.
        old: the rows to carry over.

    Returns:
        The rows, and each new symbol with what it starts from.
    """
    rows, started = fresh.clone(), {}
    known = {symbol: [i for i in ids if i < len(old)] for symbol, ids in old_map.items()}
    known = {symbol: ids for symbol, ids in known.items() if ids}
    spoken = [ids[0] for symbol, ids in known.items() if symbol not in NOT_SYMBOLS]
    centre = old[spoken].mean(0) if spoken else torch.zeros_like(fresh[0])
    for symbol, ids in new_map.items():
        letters = [] if symbol in known else [letter for letter in _letters(symbol) if letter in known]
        for position, i in enumerate(i for i in ids if i < len(rows)):
            if symbol in known:
                rows[i] = old[known[symbol][min(position, len(known[symbol]) - 1)]]
            elif letters:
                rows[i] = old[[known[letter][0] for letter in letters]].mean(0)
            else:
                rows[i] = centre + NOISE * fresh[i]
        if symbol not in known:
            started[symbol] = "+".join(letters) or "the mean"
    return rows, started


def _letters(symbol: str) -> list[str]:
    """What a symbol is spelled with, its diacritics left out; nothing for one that has no simpler spelling."""
    letters = [letter for letter in unicodedata.normalize("NFD", symbol) if not unicodedata.combining(letter)]
    return [] if letters == [symbol] else letters
