"""What is left of a text when only its words count."""

import re
import unicodedata

_ONES = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def plain_words(text: str) -> str:
    """Lower-case words without punctuation, whole numbers spelled out: what two transcripts may be compared by."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(r"\d+", lambda digits: f" {_spelled(int(digits[0]))} ", text)
    # An apostrophe inside a word belongs to it; combining marks are part of letters in many scripts.
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)
    kept = (c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join("".join(kept).split())


def _spelled(number: int) -> str:
    """English words of a whole number, as espeak reads it (no "and"); digit by digit from a billion on."""
    for size, word in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if size <= number < 1_000_000_000:
            head, rest = divmod(number, size)
            return f"{_spelled(head)} {word}" + (f" {_spelled(rest)}" if rest else "")
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (f" {_ONES[number % 10]}" if number % 10 else "")
    return " ".join(_ONES[int(digit)] for digit in str(number))
