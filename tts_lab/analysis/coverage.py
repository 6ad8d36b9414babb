"""Which symbols a corpus teaches a voice: what is missing or rare in it, and what a base voice never heard.

What a language needs is what espeak makes of a few sentences written to hold all its sounds (`SENTENCES`). A base
voice's id map says which symbols have a row in its embedding, and most voices share one map for all languages: rows
that its own language never used are still the random numbers they began with.
"""

import unicodedata

import pandas as pd

from tts_lab.analysis.verdict import ENOUGH, Verdict, too_few
from tts_lab.errors import UserError
from tts_lab.frontend import NOT_SYMBOLS, Frontend, coverage

RARE = 10
"""Clips: a sound heard in fewer is learned badly."""
RARE_SHARE = 0.1
"""Share of the symbols that may be rare."""
UNKNOWN_SHARE = 0.001
"""Share of all that is said that a base voice may not know."""

SENTENCES = {
    "en": "The quick brown fox jumps over the lazy dog. That vision of a good boy's pleasure: she sang, they "
    "thought, about a bird near the church, with measured joy. Pure air, more cars, our fire; little bottle, "
    "button, judge, the whole world will hear. What a huge new view! Can you put it off? About sofas, roses, "
    "a city, over her bed.",
    "de": "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Falsches Üben von Xylophonmusik quält "
    "jeden größeren Zwerg. Ich möchte euch heute auch ein schönes Buch über Dschungel und Garage zeigen, "
    "nicht wahr? Der Vater hört die Vögel singen; wir können ihn finden, Junge!",
    "fr": "Portez ce vieux whisky au juge blond qui fume. Dès Noël, où un zéphyr haï me vêt de glaçons, je dîne "
    "d'exquis rôtis de bœuf au kir, à l'âge mûr. Un bon vin blanc, la montagne, huit nuits, l'œil, jeune, "
    "peu; pâte, oui ! Et vous, le parking ?",
    "es": "El veloz murciélago hindú comía feliz cardillo y kiwi. La cigüeña tocaba el saxofón detrás del palenque "
    "de paja. El perro corre rápido; ¿qué ciudad, amigo, año, lluvia, chico, hoy, causa, nación? ¡Un vago "
    "dedo, zapato!",
    "it": "Quel vituperabile xenofobo zelante assaggia il whisky ed esclama: alleluia! Pranzo d'acqua fa volti "
    "sghembi. Gli gnomi, la scena, il ghiaccio, ciò, città, perché? Zaino, pizza, uovo, ieri, rosa; bocca, "
    "notte, hanno.",
    "ru": "Съешь же ещё этих мягких французских булок, да выпей чаю. В чащах юга жил бы цитрус? Да, но фальшивый "
    "экземпляр! Широкая электрификация южных губерний даст мощный толчок подъёму сельского хозяйства. Вьюга, "
    "сёстры, гений, хитрый, мяч, люди, тётя; кино, где, зима.",
    "pt": "Luís argüia à Júlia que brações, fé, chá, óxido, pôr, zângão eram palavras do português. À noite, vovô "
    "vê o ímã cair no pé do pinguim queixoso e vovó põe açúcar no chá. Um bom tempo, tenho filho, gente, "
    "carro, dia, mãe!",
    "nl": "Pa's wijze lynx bezag vroom het fikse aquaduct. Filmquiz bracht knappe ex-yogi van de wijs. Goede nacht, "
    "het huis is leuk; een mooie vrouw zou nieuwe schoenen, deuren, bomen en jonge kinderen zien zingen. "
    "Garage, sjaal?",
}
"""By the first part of an espeak voice's name. Numbers up to twenty and the letters of the alphabet are added."""


def usual_symbols(frontend: Frontend) -> frozenset[str] | None:
    """Sounds and marks that espeak's language of `frontend` uses, or None if no sentences of it are known here."""
    sentences = SENTENCES.get(frontend.espeak_voice.split("-")[0])
    if frontend.phoneme_type != "espeak" or sentences is None:
        return None
    more = " ".join(map(str, range(21))) + ". "
    if sentences[0].isascii():  # a Cyrillic voice spells Latin letters in another language
        more += " ".join("abcdefghijklmnopqrstuvwxyz")
    return frozenset(frontend.encode(f"{sentences} {more}").phonemes) - {" "}


def coverage_verdicts(symbols: pd.DataFrame, frontend: Frontend, base: Frontend | None = None) -> list[Verdict]:
    """Of `statistics.symbols(corpus)`, read by the corpus's own `frontend`; `base` is a voice to start from."""
    try:
        usual = usual_symbols(frontend)
    except UserError:
        usual = None  # the corpus is there, espeak's voice for it no more
    verdicts = [_missing(symbols, usual, _language(frontend)), _rare(symbols), _mapped(symbols, frontend)]
    if base is not None:
        verdicts.append(_mapped(symbols, base, "base voice's symbols", "the base voice"))
        verdicts.append(_learned(symbols, frontend, base))
    return verdicts


def _language(frontend: Frontend) -> str:
    return "letters" if frontend.phoneme_type == "text" else f"espeak's {frontend.espeak_voice}"


def is_sound(symbol: str) -> bool:
    """Whether a symbol is a sound, and not a mark of punctuation, a space or a stress."""
    return any(unicodedata.category(sign) in ("Ll", "Lu", "Lo") for sign in symbol)


def rare_symbols(symbols: pd.DataFrame) -> pd.DataFrame:
    """The sounds that fewer than `RARE` clips hold."""
    return symbols[[is_sound(symbol) and clips < RARE for symbol, clips in symbols["clips"].items()]]


def _missing(symbols: pd.DataFrame, usual: frozenset[str] | None, language: str) -> Verdict:
    name, rule = "sounds missing", f"The corpus holds every sound and mark that {language} usually has."
    if usual is None:
        words = f"What {language} usually has is not known here; see the table of symbols."
        return Verdict(name, None, words, rule)
    lost = sorted(usual - set(symbols.index))
    sounds = [symbol for symbol in lost if is_sound(symbol)]
    words = f"{len(usual) - len(lost)} of {len(usual)} usual symbols are there"
    if lost:
        words += f"; missing: {' '.join(lost)}"
    if sounds:
        words += ". Record sentences that hold them, or the voice will guess"
    elif "?" in lost:
        words += ". Without questions the voice does not learn how one sounds"
    return Verdict(name, not sounds, words + ".", rule, {"missing": len(lost), "usual": len(usual)})


def _rare(symbols: pd.DataFrame) -> Verdict:
    name = "sounds rare"
    rule = f"Nine of ten sounds are in at least {RARE} clips (mimic2 asks for a balanced distribution)."
    sounds = symbols[[is_sound(symbol) for symbol in symbols.index]]
    clips = int(symbols["clips"].max()) if len(symbols) else 0  # the most frequent symbol is in nearly every clip
    if clips < ENOUGH:
        return too_few(name, rule, clips)
    rare = rare_symbols(symbols)
    words = f"{len(sounds) - len(rare)} of {len(sounds)} sounds are in {RARE} clips or more"
    if len(rare):
        words += "; rarer: " + ", ".join(f"{symbol} ({clips})" for symbol, clips in rare["clips"].items())
    ok = len(rare) <= RARE_SHARE * len(sounds)
    return Verdict(name, bool(ok), words + ".", rule, {"rare": len(rare), "sounds": len(sounds)})


def _mapped(
    symbols: pd.DataFrame, voice: Frontend, name: str = "id map", whose: str = "the corpus's id map"
) -> Verdict:
    rule = f"At most {UNKNOWN_SHARE:.1%} of what the corpus says has no symbol in {whose}: Piper leaves it out unsaid."
    found = coverage(symbols["times"].to_dict(), voice.phoneme_id_map)
    numbers = {"unknown": len(found.unknown), "share": 1 - found.share}
    return Verdict(name, bool(1 - found.share <= UNKNOWN_SHARE), found.sentence(whose), rule, numbers)


def _learned(symbols: pd.DataFrame, frontend: Frontend, base: Frontend) -> Verdict:
    name = "sounds new to the base voice"
    rule = (
        f"At most {UNKNOWN_SHARE:.1%} of what the corpus says are symbols that the base voice's own language, espeak's "
        f"{base.espeak_voice}, does not use: their rows in its embedding were never trained."
    )
    try:
        heard = usual_symbols(base)
    except UserError:
        heard = None
    if base.phoneme_type != frontend.phoneme_type:
        words = (
            f"The corpus is written in {_language(frontend)}, the base voice reads {_language(base)}: none of it fits."
        )
        return Verdict(name, False, f"{words} Prepare the corpus with --voice.", rule)
    if base.espeak_voice == frontend.espeak_voice:
        words = f"Both speak {base.espeak_voice}: what is rare in this corpus need not be new to the voice."
        return Verdict(name, True, words, rule, {"new": 0, "share": 0.0})
    if heard is None:
        return Verdict(name, None, f"Which symbols {base.espeak_voice} uses is not known here.", rule)
    counts = {symbol: times for symbol, times in symbols["times"].items() if is_sound(symbol)}
    found = coverage(counts, heard | NOT_SYMBOLS)
    # What the id map lacks is lost altogether, and told by the verdict before this one.
    new = {symbol: times for symbol, times in found.unknown.items() if symbol in base.phoneme_id_map}
    share = sum(new.values()) / max(1, int(symbols["times"].sum()))
    listed = ", ".join(f"{symbol} ({times}×)" for symbol, times in new.items())
    words = (
        f"{len(new)} sounds, {share:.1%} of all it says, have a row that was probably never trained: {listed}. "
        "Give fine-tuning more steps, or start from a voice of this language."
        if new
        else f"All its sounds are used in {base.espeak_voice}, too."
    )
    return Verdict(name, bool(share <= UNKNOWN_SHARE), words, rule, {"new": len(new), "share": share})
