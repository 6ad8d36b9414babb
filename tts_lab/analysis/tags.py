"""Names for how a clip sounds, and a sentence of them, after Data-Speech.

The words are those of https://github.com/huggingface/dataspeech (examples/tags_to_annotations/v02_text_bins.json), by
which Parler-TTS learned to follow descriptions. The edges between them:

* pitch: Data-Speech has one range for men (65 to 184 Hz) and one for women (120 to 270), and asks which it is. Here
  the seven steps divide the whole, 64.65 to 270.3 Hz, evenly in semitones, and nobody has to say.
* pace: v02_bin_edges.json, phonetic signs a second of the clip. espeak's stress marks, which Data-Speech's phonemizer
  does not write, are not counted.
* monotony: Data-Speech's edges are in Hz, where the same melody of a deep voice is smaller; here they are in semitones.
* noise and reverberation: Data-Speech takes both from the network Brouhaha; for the measures taken here
  (`tts_lab.analysis.measures`) the edges are this project's.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tts_lab.corpus.corpus import Corpus, Utterance

STRESS = frozenset("ˈˌ")


@dataclass(frozen=True)
class Scale:
    """Seven words for a number, by the six edges between them; `source` is a column of the table."""

    source: str
    unit: str
    edges: tuple[float, ...]
    words: tuple[str, ...]

    def word(self, value: float) -> str:
        """The word for `value`, "" if it is NaN. A value on an edge belongs above it."""
        return "" if np.isnan(value) else self.words[int(np.searchsorted(self.edges, value, side="right"))]


SCALES = {
    "pitch": Scale(
        "pitch", "Hz", (79.3, 97.3, 119.4, 146.4, 179.6, 220.4),
        ("very low-pitch", "quite low-pitch", "slightly low-pitch", "moderate pitch", "slightly high-pitch",
         "quite high-pitch", "very high-pitch"),
    ),
    "pace": Scale(
        "pace", "signs a second", (3.83, 7.65, 11.48, 15.30, 19.13, 22.95),
        ("very slowly", "quite slowly", "slightly slowly", "moderate speed", "slightly fast", "quite fast",
         "very fast"),
    ),
    "monotony": Scale(
        "pitch_deviation", "semitones", (1.0, 1.5, 2.0, 3.0, 4.0, 5.0),
        ("very monotone", "quite monotone", "slightly monotone", "moderately dynamic",
         "slightly expressive and animated", "quite expressive and animated", "very expressive and animated"),
    ),
    "noise": Scale(
        "snr", "dB", (15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
        ("very noisy", "quite noisy", "slightly noisy", "balanced in clarity", "slightly clean", "quite clean",
         "very clean"),
    ),
    "reverberation": Scale(
        "reverberation", "s", (0.15, 0.2, 0.3, 0.4, 0.6, 0.8),
        ("very close-sounding", "quite close-sounding", "slightly close-sounding",
         "moderately balanced reverberation", "slightly distant-sounding", "quite distant-sounding",
         "very distant-sounding"),
    ),
}  # fmt: skip


def tag(corpus: Corpus, table: pd.DataFrame) -> None:
    """Fill `tags` and `description` of `corpus` and of each of its utterances, and save it; nothing that training reads
    changes.

    The corpus's tags are those of the medians over its clips, which suits one speaker; a tag that was not measured
    is left out.
    """
    values = tagged_values(corpus, table)
    columns = {name: values[name].to_numpy() for name in SCALES}
    corpus.tags = tags_of(values.median().to_dict())
    corpus.description = describe(corpus.tags)

    def tagged() -> Iterator[Utterance]:
        for row, utterance in enumerate(corpus.stream()):
            utterance.tags = tags_of({name: column[row] for name, column in columns.items()})
            utterance.description = describe(utterance.tags)
            yield utterance

    corpus.save(tagged())


def tagged_values(corpus: Corpus, table: pd.DataFrame) -> pd.DataFrame:
    """The number under each tag of each kept utterance, in the order of `corpus.utterances`."""
    ids, signs = [], array("d")
    for utterance in corpus.stream():
        ids.append(utterance.id)
        signs.append(sum(symbol not in STRESS for symbol in utterance.phonemes))
    measured = [scale.source for scale in SCALES.values() if scale.source in table]
    rows = table[["seconds", *measured]].loc[ids]
    rows = rows.assign(pace=np.frombuffer(signs) / rows["seconds"].where(rows["seconds"] > 0).to_numpy())
    return pd.DataFrame({name: rows[scale.source].astype(float) for name, scale in SCALES.items()})


def tags_of(values: Mapping[str, float]) -> dict[str, str]:
    """The words for these numbers, by the names of `SCALES`; those that are NaN are left out."""
    words = {name: scale.word(float(values.get(name, np.nan))) for name, scale in SCALES.items()}
    return {name: word for name, word in words.items() if word}


def describe(tags: Mapping[str, str]) -> str:
    """One sentence, such as "A quite high voice speaks slightly fast and quite expressively, in a very clean,
    slightly close-sounding recording."; "" for no tags."""
    if not tags:
        return ""
    pitch = tags.get("pitch", "").removesuffix("-pitch").replace("moderate pitch", "medium")
    pace = tags.get("pace", "").replace("moderate", "at moderate")
    tune = tags.get("monotony", "").replace("moderately dynamic", "with some melody")
    tune = tune.replace("monotone", "monotonously").replace("expressive and animated", "expressively")
    manner = " and ".join(filter(None, (pace, tune)))
    # The middle of a scale is not worth a word.
    heard = (tags.get("noise", ""), tags.get("reverberation", ""))
    place = ", ".join(word for word in heard if word and word != SCALES["noise"].words[3] and "moderate" not in word)
    sentence = f"{_a(f'{pitch} voice')} speaks {manner}".strip()
    if any(heard):
        sentence += f", in {_a(f'{place} recording').lower()}" if place else ", in a recording of middling clarity"
    return sentence + "."


def _a(words: str) -> str:
    words = words.strip()
    return f"{'An' if words[0] in 'aeiou' else 'A'} {words}"
