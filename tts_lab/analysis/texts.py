"""The texts by themselves: repeated, nearly repeated, doubled, or read otherwise than they are written."""

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tts_lab.analysis.table import kept
from tts_lab.analysis.verdict import Verdict
from tts_lab.analysis.words import plain_words

ALIKE = 0.8
"""Least likeness of near duplicates: twice the words in common, in order, over the words of both."""
BUCKET, NEIGHBOURS = 400, 40
"""Up to so many texts that share a rare word are all compared to each other; of more, each with so many neighbours by
spelling, read forwards and backwards."""
PARTNERS = 20
"""Near duplicates that are listed for one text out of one bucket: a corpus of one sentence with ten thousand names in
it would list millions."""
REPEATED_SHARE, NEAR_SHARE = 0.05, 0.2
"""Shares of the clips: beyond, an hour of recording holds much less than an hour of language."""

SENTENCE_WORDS = 3
"""Words from which a sentence that comes back in its text is odd; shorter ones do in natural speech."""

SURPRISES = {
    "digits": r"\d[\d.,:/-]*\d|\d",
    "abbreviations": r"\b(?:Mrs?|Ms|Dr|Prof|St|Jr|Sr|No|vs|etc|ca|bzw|usw|Nr|Str|approx|dept|est|Inc|Ltd)\.|"
    r"\b(?:e\.g|i\.e|a\.m|p\.m|z\.B|d\.h|u\.a)\.",
    "capitals": r"\b[^\W\d_]*[A-ZÄÖÜА-Я]{2,}[^\W\d_]*\b",
    "symbols": r"[%&@#+=*_<>^~€$£¥|\\{}§°©®™→•/]|\[\[|\]\]",
    "addresses": r"\bhttps?://\S+|\bwww\.\S+|\S+@\S+\.\S+",
}
"""What espeak reads by rules of its own: 1984 as a number or a year, St. as Saint or Street, NASA as a word or letters;
what stands in [[ ]] Piper takes for phonemes."""


@dataclass(frozen=True)
class Texts:
    """What is odd about the texts of the kept utterances. Utterances by id."""

    repeated: list[list[str]] = field(default_factory=list)
    """Groups with the same words, the largest first."""
    near: list[tuple[str, str, float]] = field(default_factory=list)
    """Pairs with nearly the same words and how much alike they are, the most alike first."""
    doubled: list[str] = field(default_factory=list)
    """Those that say a sentence of theirs twice running."""
    surprising: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["id", "kind", "found"]))
    """A row each that espeak may read otherwise than the reader did: `id, kind, found`."""
    leaked: list[str] = field(default_factory=list)
    """Validation utterances whose words are in training, too: they measure memory."""


def read_texts(table: pd.DataFrame) -> Texts:
    """Everything odd about the texts of the kept rows of `table`."""
    clips = kept(table)
    texts = clips["text"]
    plain = texts.map(plain_words)
    groups = repeated(plain)
    validation = clips["split"] == "validation"
    trained = set(plain[~validation])
    return Texts(
        repeated=groups,
        near=near_duplicates(plain),
        doubled=[name for name, text in texts.items() if " " in said_twice(text)],  # "bye bye" is natural
        surprising=surprising(texts),
        leaked=[name for name, words in plain[validation].items() if words in trained],
    )


def repeated(plain: pd.Series) -> list[list[str]]:
    """Groups of ids whose `plain` words (`plain_words`) are the same, the largest group first; no words, no group."""
    filled = plain[plain != ""]
    again = filled[filled.duplicated(keep=False)]
    groups = [list(group.index) for _, group in again.groupby(again, sort=False)]
    return sorted(groups, key=len, reverse=True)


def near_duplicates(plain: pd.Series, alike: float = ALIKE) -> list[tuple[str, str, float]]:
    """Pairs of ids whose `plain` words differ, but little: (id, id, likeness of at least `alike`), most alike first.

    Likeness is rapidfuzz's normalized indel similarity over words. Of texts with the same words only the first is
    compared. No pair of texts without a rare word in common is compared: two texts of n words or more that are
    `alike` share so many that one is among the rarest of both (prefix filtering: R. J. Bayardo, Y. Ma, R. Srikant,
    "Scaling Up All Pairs Similarity Search", WWW 2007). Nothing is lost by that, unless more than `BUCKET` texts
    share such a word: these are put in order of their first words, then of their last, and compared with the
    `NEIGHBOURS` nearest in each.
    At most `PARTNERS` are listed for a text out of such a comparison.
    """
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cdist

    unique = plain[(plain != "") & ~plain.duplicated()]
    names = unique.index.to_numpy()
    times = Counter(word for text in unique for word in text.split())
    # A word becomes one character, the most frequent the lowest, so that rapidfuzz compares words at its full speed.
    code = {word: chr(0x10000 + rank % 0xFFFFF) for rank, (word, _) in enumerate(times.most_common())}
    coded = ["".join(code[word] for word in text.split()) for text in unique]
    least = alike - 1e-6  # 1 - 2/10 is not 0.8 to a computer
    keys, members = array("Q"), array("I")
    for index, text in enumerate(coded):
        # The partner has at least alike/(2 - alike) of the words, and that many in common.
        common = int(np.ceil(alike / (2 - alike) * len(text) - 1e-9))
        seen: Counter[str] = Counter()
        numbered = []
        for sign in text:
            seen[sign] += 1
            numbered.append((sign, seen[sign]))
        for key in sorted(numbered, reverse=True)[: len(text) - common + 1]:
            keys.append(ord(key[0]) << 32 | key[1])
            members.append(index)
    pairs: dict[tuple[int, int], float] = {}
    for bucket in _grouped(keys, members):
        for part in _comparable(bucket, coded):
            signs = [coded[index] for index in part]
            found = cdist(
                signs, signs, scorer=Indel.normalized_similarity, score_cutoff=least, dtype=np.float32, workers=1
            )
            found = np.triu(found, 1)
            for row in np.nonzero((found > 0).sum(axis=1) > PARTNERS)[0]:
                found[row, np.argsort(-found[row], kind="stable")[PARTNERS:]] = 0
            for row, column in zip(*np.nonzero(found), strict=True):
                first, second = sorted((part[row], part[column]))
                pairs[first, second] = float(found[row, column])
    ordered = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    return [(str(names[first]), str(names[second]), round(likeness, 4)) for (first, second), likeness in ordered]


def _grouped(keys: array, members: array) -> Iterator[list[int]]:
    """The members of each key that has several. Two columns of numbers are a tenth of a dict of lists."""
    keyed = np.frombuffer(keys, np.uint64)
    order = np.argsort(keyed, kind="stable").astype(np.uint32)
    ends = np.append(np.flatnonzero(np.diff(keyed[order])) + 1, len(order))
    begin = 0
    for end in ends.tolist():
        if end - begin > 1:
            yield [members[i] for i in order[begin:end].tolist()]
        begin = end


def _comparable(bucket: list[int], coded: list[str]) -> Iterator[list[int]]:
    """Parts of `bucket` whose texts are to be compared with each other."""
    if len(bucket) <= BUCKET:
        yield bucket
        return
    for backwards in (1, -1):
        ordered = sorted(bucket, key=lambda index: coded[index][::backwards])
        for start in range(0, len(ordered) - NEIGHBOURS // 2, NEIGHBOURS // 2):
            yield ordered[start : start + NEIGHBOURS]


def said_twice(text: str) -> str:
    """The half of which `text` is made twice, or a sentence of `SENTENCE_WORDS` or more that comes back in it.

    Empty if there is neither.
    """
    sentences = [plain_words(part) for part in re.split(r"[.!?…]+", text)]
    words = " ".join(sentences).split()
    half = len(words) // 2
    if half and words[:half] == words[half:]:
        return " ".join(words[:half])
    for sentence, count in Counter(sentences).items():
        if count > 1 and len(sentence.split()) >= SENTENCE_WORDS:
            return sentence
    return ""


def surprising(texts: pd.Series) -> pd.DataFrame:
    """A row for each text and kind of `SURPRISES` that it holds: `id, kind, found` (the first of it)."""
    tables = []
    for kind, pattern in SURPRISES.items():
        found = texts.str.extract(f"({pattern})", expand=False).dropna()
        tables.append(pd.DataFrame({"id": found.index, "kind": kind, "found": found.to_numpy()}))
    return pd.concat(tables, ignore_index=True)


def text_verdicts(found: Texts, clips: int) -> list[Verdict]:
    """Of what `read_texts` found among `clips` kept utterances."""
    clips = max(1, clips)
    again = sum(len(group) - 1 for group in found.repeated)
    likes = len({name for pair in found.near for name in pair[:2]})
    largest = f"; most often, {len(found.repeated[0])} times, that of {found.repeated[0][0]}" if found.repeated else ""
    odd = found.surprising
    kinds = ", ".join(f"{count} {kind}" for kind, count in odd["kind"].value_counts().items())
    examples = ", ".join(f"{row.found} ({row.id})" for row in odd.drop_duplicates("kind").itertuples())
    return [
        Verdict(
            "repeated texts",
            again <= REPEATED_SHARE * clips,
            f"{again} clips ({again / clips:.0%}) say what another says word for word{largest}.",
            f"At most {REPEATED_SHARE:.0%} of the clips.",
            {"share": again / clips},
        ),
        Verdict(
            "nearly repeated texts",
            likes <= NEAR_SHARE * clips,
            f"{likes} clips ({likes / clips:.0%}) say nearly what another says"
            + (f", such as {found.near[0][0]} and {found.near[0][1]}." if found.near else "."),
            f"At most {NEAR_SHARE:.0%} of the clips share {ALIKE:.0%} of their words, in order, with another.",
            {"share": likes / clips, "pairs": len(found.near)},
        ),
        Verdict(
            "validation texts in training",
            not found.leaked,
            f"{len(found.leaked)} of the held-out texts are in training, too"
            + (": the validation loss looks better than the voice is." if found.leaked else "."),
            "No held-out text is also trained on.",
            {"leaked": len(found.leaked)},
        ),
        Verdict(
            "doubled texts",
            not found.doubled,
            f"{len(found.doubled)} texts say a sentence twice"
            + (f": {', '.join(found.doubled[:5])}." if found.doubled else "."),
            "No text says the same twice running: a slip of pasting, unless the reader says it twice, too.",
            {"doubled": len(found.doubled)},
        ),
        Verdict(
            "texts read in their own way",
            None if len(odd) else True,
            f"{odd['id'].nunique()} texts hold {kinds}: {examples}. Listen whether it was read as espeak reads it, "
            "or write it out." if len(odd) else "None hold digits, abbreviations, capitals or symbols.",
            "Texts are written as they are said; whether these were cannot be told from the text.",
            {"texts": int(odd["id"].nunique())},
        ),
    ]  # fmt: skip
