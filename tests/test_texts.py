"""Repeated, nearly repeated and doubled texts, and those that are read in their own way."""

import random
from pathlib import Path

import pandas as pd
import pytest

from tts_lab.analysis import texts as texts_module
from tts_lab.analysis.texts import near_duplicates, read_texts, repeated, said_twice, surprising, text_verdicts
from tts_lab.analysis.words import plain_words

LINES = (Path(__file__).parent.parent / "data_samples" / "metadata.csv").read_text(encoding="utf-8").splitlines()
TEXTS = [line.split("|")[1] for line in LINES]
WORDS = sorted({word for text in TEXTS for word in plain_words(text).split()})


def common(one: list[str], two: list[str]) -> int:
    """Length of the longest common subsequence, by the textbook's table."""
    row = [0] * (len(two) + 1)
    for word in one:
        above = row[:]
        for column, other in enumerate(two, 1):
            row[column] = above[column - 1] + 1 if word == other else max(above[column], row[column - 1])
    return row[-1]


def by_brute_force(plain: pd.Series, alike: float) -> set[tuple[str, str]]:
    found, first = set(), plain[~plain.duplicated() & (plain != "")]
    split = [(name, text.split()) for name, text in first.items()]
    for place, (name, one) in enumerate(split):
        for other, two in split[place + 1 :]:
            if 2 * common(one, two) / (len(one) + len(two)) >= alike - 1e-9:
                found.add((name, other))
    return found


@pytest.fixture(scope="module")
def edited() -> pd.Series:
    """Real texts, and copies of them with words dropped, swapped and put in."""
    rng = random.Random(6)
    made = [plain_words(text) for text in TEXTS]
    while len(made) < 260:
        words = rng.choice(made[:80]).split()
        for _ in range(rng.randint(0, max(1, len(words) // 3))):
            place = rng.randrange(len(words))
            match rng.randrange(3):
                case 0 if len(words) > 1:
                    del words[place]
                case 1:
                    words[place] = rng.choice(WORDS)
                case _:
                    words.insert(place, rng.choice(WORDS))
        made.append(" ".join(words))
    return pd.Series(made, index=[f"clip{number:03}" for number in range(len(made))])


@pytest.mark.parametrize("alike", [0.6, 0.8, 0.95])
def test_near_duplicates_are_those_of_brute_force(edited, alike):
    found = near_duplicates(edited, alike)
    expected = by_brute_force(edited, alike)
    assert {pair[:2] for pair in found} == expected and len(found) == len(expected)
    assert len(expected) > (20 if alike < 0.9 else 3)
    assert [pair[2] for pair in found] == sorted((pair[2] for pair in found), reverse=True)
    assert all(alike - 1e-4 <= pair[2] < 1 for pair in found)


def test_a_crowded_word_costs_no_square(monkeypatch):
    """Ten thousand texts with one rare word in common: compared are neighbours, and those alike are found."""
    rng = random.Random(1)
    texts = [f"zzz {' '.join(rng.choices(WORDS, k=8))}" for _ in range(5000)]
    twins = [text + " indeed" for text in texts[:25]] + ["indeed " + text for text in texts[25:50]]
    plain = pd.Series(texts + twins, index=map(str, range(5050)))
    compared = []
    from rapidfuzz import process

    original = process.cdist
    monkeypatch.setattr(process, "cdist", lambda a, b, **k: compared.append(len(a) ** 2) or original(a, b, **k))
    found = {pair[:2] for pair in near_duplicates(plain)}
    assert {(str(number), str(5000 + number)) for number in range(50)} <= found
    # Every word has its texts, so every text is compared a few times over, each time with a bucket's worth at most.
    assert max(compared) <= texts_module.BUCKET**2 and sum(compared) < 5050 * 20 * texts_module.BUCKET < 5050**2 * 2


def test_repeated_texts_make_groups():
    plain = pd.Series({"a": "hello there", "b": "bye", "c": "hello there", "d": "", "e": "", "f": "bye", "g": "bye"})
    assert repeated(plain) == [["b", "f", "g"], ["a", "c"]]


@pytest.mark.parametrize(
    ("text", "doubled"),
    [
        ("Please hold. Please hold.", True),
        ("The mailbox is full the mailbox is full", True),
        ("Call me when you can. Then, call me when you can!", False),
        ("No. No. I will not.", False),  # people say that
        ("Bye bye", False),
        ("Is the line busy? The line is busy.", False),
    ],
)
def test_doubled_sentences(text, doubled):
    assert (" " in said_twice(text)) is doubled


def test_no_real_text_is_doubled_and_every_one_is_when_said_twice():
    assert not [text for text in TEXTS if said_twice(text)]
    assert all(said_twice(f"{text} {text}") for text in TEXTS)


def test_surprising_texts():
    found = surprising(
        pd.Series({
            "year": "It was in 1984.", "street": "Dr. Who of Baker St. is in", "letters": "NASA is not a word",
            "sum": "50% of it & more", "site": "Visit www.example.org now", "plain": "Nothing to see. I am here!",
            "raw": "Say [[ h ]]", "russian": "в США зимой", "dutch": "een e-mail",
        })
    )  # fmt: skip
    kinds = {(row.id, row.kind): row.found for row in found.itertuples()}
    assert kinds["year", "digits"] == "1984" and kinds["street", "abbreviations"] == "Dr."
    assert kinds["letters", "capitals"] == "NASA" and kinds["russian", "capitals"] == "США"
    assert kinds["sum", "symbols"] == "%" and kinds["site", "addresses"].startswith("www.example.org")
    assert kinds["raw", "symbols"] == "[["
    assert not {"plain", "dutch"} & set(found["id"])


def test_verdicts_tell_repeats_leaks_and_doubles():
    texts = dict(zip((f"clip{n}" for n in range(80)), TEXTS, strict=True))
    table = pd.DataFrame({"text": texts, "split": "train"})
    good = {v.name: v.ok for v in text_verdicts(read_texts(table), len(table))}
    # Allison's clips hold "1" and "PBX": whether they were read so cannot be told from the text.
    assert good.pop("texts read in their own way") is None
    assert all(good.values()), good
    leaked = pd.concat([table, table.head(8).rename(lambda id: f"{id}-again").assign(split="validation")])
    leaked.loc["clip9", "text"] = "You may start now. You may start now."
    found = read_texts(leaked)
    bad = {v.name: v for v in text_verdicts(found, len(leaked))}
    assert [name for name, verdict in bad.items() if verdict.ok is False] == [
        "repeated texts", "validation texts in training", "doubled texts",
    ]  # fmt: skip
    assert found.leaked == [f"clip{n}-again" for n in range(8)] and found.doubled == ["clip9"]
    quarantined = leaked.assign(split=["train"] * 80 + ["quarantined"] * 8)
    assert not read_texts(quarantined).repeated
