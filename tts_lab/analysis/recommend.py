"""Fine-tune or from scratch: the decision table of guides to training, filled with a corpus's numbers.

Thresholds are those guides' where a sentence says so, and otherwise what was tried in this project. No model is asked
here: what was heard of the base voice comes from the caller (`tts_lab.evaluation.likeness`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tts_lab.analysis.amount import GUIDES, LOST, TRIED_MINUTES
from tts_lab.analysis.coverage import coverage_verdicts
from tts_lab.analysis.recommendation import FROM_SCRATCH, Recommendation, Row
from tts_lab.analysis.statistics import symbols
from tts_lab.corpus.corpus import Corpus
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend
from tts_lab.voice_json import sample_rate

FINE_TUNE_HOURS = GUIDES["to fine-tune a voice"][0]
GOOD_HOURS, POOR_HOURS = GUIDES["for a good voice"]
"""From the first on fine-tuning works well; under the second a voice from scratch is often poor."""
SCRATCH_HOURS = GUIDES["from scratch"][0]
NEW_SHARE = 0.05
"""Share of what is said that is new to a base voice, from which its text side is of no use. To joe, who speaks en-us,
1.5 % of British English is new, and 6 to 14 % of Spanish, French, German and Russian (`coverage.SENTENCES`)."""
FAR_LIKENESS, TRIED_LIKENESS, STRANGERS = 0.4, 0.47, 0.67
"""Cosines of Resemblyzer's embeddings: under the first nothing was tried; from the second, joe to Allison, fine-tuning
took the voice over; the third is the most that two strangers had."""
FAR_SEMITONES, TRIED_SEMITONES = 15, 12.5
"""The same of the median pitch: from joe's 95 Hz to Allison's 195 was tried."""
BATCH = 16
VITS_UPDATES = 800_000
"""Of the published model, at batch 64 on four GPUs (J. Kim et al., 2021, section 3.2)."""
CPU_SECONDS = 2.2
"""An update on two cores: medium, batch 8, no discriminators."""
PIPERS_MOS, SOURCE_FILTER_MOS, SPEAKERS_MOS = 1.9, 4.0, 4.4
"""Predicted naturalness after at most an hour on a processor, and of the speaker: docs/runs."""
NO_VOICE = "VOICE.onnx"
"""In the command, where no base voice was found."""
STRONG = {"cuda": "a CUDA GPU", "neuron": "a Trainium or Inferentia"}
"""Accelerators that can train from scratch."""


@dataclass(frozen=True)
class Base:
    """A voice to start from."""

    name: str
    """As `start_from` takes it."""
    frontend: Frontend
    sample_rate: int
    likeness: float | None = None
    """Mean cosine of its speech to the corpus's speaker; None where it was not heard."""
    pitch: float | None = None
    """Its median, in Hz."""

    @classmethod
    def from_voice(cls, name: str, voice: Path, likeness: float | None = None, pitch: float | None = None) -> "Base":
        """The published voice in the file `voice`, an `.onnx`. Raises `UserError` as `Frontend.from_voice`."""
        config = Path(f"{voice}.json")
        frontend = Frontend.from_voice(config)
        return cls(name, frontend, sample_rate(config), likeness, pitch)


@dataclass(frozen=True)
class _Facts:
    """What rows and recipe are decided by."""

    corpus: Corpus
    hours: float
    strong: bool
    base: Base | None
    published: Sequence[str]
    pitch: float | None
    new: float
    """Share of what the corpus says that is new to the base voice; NaN without one."""
    new_words: str
    same_language: bool

    @property
    def text_anew(self) -> bool:
        """Whether the text side of any base voice at hand is of no use."""
        if self.base is None:
            return not self.published
        return not self.same_language or self.new > NEW_SHARE

    @property
    def semitones(self) -> float | None:
        if self.base is None or not self.base.pitch or not self.pitch:
            return None
        return abs(12 * math.log2(self.pitch / self.base.pitch))

    @property
    def far(self) -> bool:
        """Whether the speaker is further from the base voice than what was tried; likeness counts before pitch."""
        if self.base is not None and self.base.likeness is not None:
            return self.base.likeness < FAR_LIKENESS
        return self.semitones is not None and self.semitones > FAR_SEMITONES

    @property
    def finer(self) -> bool:
        """Whether the corpus has a band that the base voice cannot speak in."""
        return self.base is not None and self.corpus.sample_rate > self.base.sample_rate


def recommend(
    corpus: Corpus,
    accelerator: str,
    cores: int,
    base: Base | None = None,
    pitch: float | None = None,
    published: Sequence[str] = (),
) -> Recommendation:
    """A recipe for `corpus` and every factor's say.

    Args:
        accelerator: "cpu", "cuda", "neuron" or "xla", where training will run.
        cores: of the processor there.
        base: the voice at hand to start from.
        pitch: the speaker's median, in Hz, if it was measured.
        published: locales of the corpus's language in which Piper publishes voices, such as en_US.

    Raises:
        UserError: the corpus keeps no utterance.
    """
    if not corpus.utterances:
        raise UserError(f"{corpus.folder} keeps no utterance, so there is nothing to train on; see why in corpus.json.")
    frontend = Frontend.from_dict(corpus.frontend)
    new, words, same = _new_to(corpus, frontend, base)
    facts = _Facts(corpus, corpus.seconds / 3600, accelerator in STRONG, base, published, pitch, new, words, same)
    rows = [
        _speech(facts), _voice(facts), _language(facts, frontend), _time(facts), _hardware(facts, accelerator, cores),
        _quality(facts), _stability(facts),
    ]  # fmt: skip
    recipe, why = _choose(facts)
    start = "scratch" if recipe in FROM_SCRATCH else base.name if base else NO_VOICE
    if start == NO_VOICE:
        which = f"a published voice of {', '.join(published)}" if published else "any published voice"
        why += f" No base voice was given: put {which} in the place of {NO_VOICE}, and ask again with --base."
    return Recommendation(rows, recipe, why, str(corpus.folder), start)


def _choose(facts: _Facts) -> tuple[str, str]:
    hours, told = facts.hours, _amount(facts.hours)
    reasons = {
        "no base voice knows its language": facts.text_anew,
        "the speaker is far from the base voice": facts.far,
        "the base voice has a lower sample rate": facts.finer,
    }
    reasons = [reason for reason, holds in reasons.items() if holds]
    if facts.strong and hours >= SCRATCH_HOURS:
        return "two_stage", (
            f"{told} reach the {SCRATCH_HOURS:g} h that a voice from scratch asks for, and each stage has enough to "
            "stop by its own validation loss; nothing of a base voice is inherited."
        )
    if facts.strong and hours >= POOR_HOURS and reasons:
        return "from_scratch", (
            f"{told} are between {POOR_HOURS:g} and {SCRATCH_HOURS:g} h, where both can work, and {reasons[0]}."
        )
    if hours >= POOR_HOURS and not facts.strong:
        weak = f" {told} would do from scratch, but not on a processor; --accelerator says where else training runs."
    else:
        weak = ""
    if facts.text_anew:
        why = (
            "The sound (decoder, flow, posterior encoder) is kept, the text side learns the new language from the data."
        )
        if hours < FINE_TUNE_HOURS:
            why += f" {told} are little for that, and words may stay unclear: {FINE_TUNE_HOURS:g} h is the least asked."
        return "vocoder_first", why + weak
    if not facts.strong and hours < GOOD_HOURS:
        return "source_filter", (
            f"On a processor Piper's own decoder stayed rough after an hour: naturalness {PIPERS_MOS} where the "
            f"speaker has {SPEAKERS_MOS}. One of pulses and noise has less to learn and came to {SOURCE_FILTER_MOS} "
            f"in 50 minutes, with 5 % of its words misheard. {told} go into the voice's sound; rhythm stays the base "
            "voice's."
        )
    if facts.corpus.seconds < TRIED_MINUTES * 60:
        return "frozen", (
            f"Under {TRIED_MINUTES:g} minutes nothing was tried: what there is goes into the voice's sound, and words "
            "stay as the base voice says them."
        )
    if hours < GOOD_HOURS:
        return "staged", (
            f"{told} are under the {GOOD_HOURS:g} h from which plain fine-tuning works well: all at once, words broke "
            "before the speaker had come over; with the text side let go last, they stayed."
        )
    return "fine_tune", f"{told} of a language that the base voice speaks are enough to tune all of it at once." + weak


def _speech(facts: _Facts) -> Row:
    says = "fine-tune" if facts.hours < POOR_HOURS else "either" if facts.hours < SCRATCH_HOURS else "scratch"
    why = (
        f"Guides ask for {FINE_TUNE_HOURS:g} h to fine-tune, better {GOOD_HOURS:g} to {POOR_HOURS:g}; from scratch for "
        f"{SCRATCH_HOURS:g}, and under {POOR_HOURS:g} it is often poor."
    )
    if facts.hours < FINE_TUNE_HOURS:
        why += f" Fine-tuning was tried and worked from {TRIED_MINUTES:g} minutes on."
    return Row("speech", f"{_amount(facts.hours)} in {len(facts.corpus.utterances)} clips", says, why)


def _voice(facts: _Facts) -> Row:
    base, semitones, found = facts.base, facts.semitones, []
    if base is not None and base.likeness is not None:
        found.append(f"likeness to {base.name} {base.likeness:.2f}")
    if facts.pitch:
        beside = f", {base.name} {base.pitch:.0f} Hz: {semitones:.1f} semitones" if semitones is not None else ""
        found.append(f"pitch {facts.pitch:.0f} Hz{beside}")
    if base is None or (base.likeness is None and semitones is None):
        why = "How far the speaker is from a base voice is known when one is given with --base."
        return Row("voice", "; ".join(found) or "not measured", "either", why)
    if base.likeness is not None:
        why = (
            f"Strangers are alike up to {STRANGERS}; from {TRIED_LIKENESS} fine-tuning was tried and took the voice "
            f"over; under {FAR_LIKENESS} nothing was tried, and from scratch is surer."
        )
    else:
        why = (
            f"Judged by pitch alone (likeness needs the eval extra): {TRIED_SEMITONES} semitones were tried and taken "
            f"over; beyond {FAR_SEMITONES} nothing was, and from scratch is surer."
        )
    return Row("voice", "; ".join(found), "scratch" if facts.far else "fine-tune", why)


def _language(facts: _Facts, frontend: Frontend) -> Row:
    spoken = "letters" if frontend.phoneme_type == "text" else f"espeak's {frontend.espeak_voice}"
    listed = f"Piper publishes voices in {', '.join(facts.published)}."
    if facts.base is None:
        if facts.published:
            return Row("language", spoken, "fine-tune", f"{listed} Within a language, fine-tuning works well.")
        why = "Piper publishes no voice in it that is known here, and a new language's sounds are learnt from scratch."
        return Row("language", spoken, "scratch", why)
    found = f"{spoken}; {facts.base.name} speaks {facts.base.frontend.espeak_voice}"
    if not math.isnan(facts.new):
        found += f"; {facts.new:.1%} of what is said is new to it"
    rule = f"Up to {NEW_SHARE:.0%} within one language, a base voice's text side is worth keeping. {facts.new_words}"
    if facts.text_anew and facts.published and not facts.same_language:
        rule += f" {listed} With one of those as --base the words could be kept, too."
    return Row("language", found, "scratch" if facts.text_anew else "fine-tune", rule)


def _time(facts: _Facts) -> Row:
    clips = len(facts.corpus.train)
    found = f"{clips} clips to train on: {math.ceil(clips / BATCH)} updates an epoch at batch {BATCH}"
    return Row("training time", found, "fine-tune", "Days against weeks: from scratch takes 2 to 5 times the epochs.")


def _hardware(facts: _Facts, accelerator: str, cores: int) -> Row:
    if facts.strong:
        why = "It trains either way; from scratch it must be at hand for longer."
        return Row("hardware", STRONG[accelerator], "either", why)
    days = VITS_UPDATES * CPU_SECONDS / 86400
    why = (
        f"Two cores took {CPU_SECONDS} s an update without discriminators; the {VITS_UPDATES:,} of the published VITS "
        f"would be {days:.0f} days."
    )
    return Row("hardware", f"a processor with {cores} cores", "fine-tune", why)


def _quality(facts: _Facts) -> Row:
    rate = facts.corpus.sample_rate
    if facts.base is None:
        return Row("quality", f"{rate} Hz", "either", "Fine-tuning inherits a base voice's limits; none is given.")
    found = f"{rate} Hz; {facts.base.name} {facts.base.sample_rate} Hz"
    if rate == facts.base.sample_rate:
        says = "fine-tune" if facts.hours < POOR_HOURS else "either"
        why = f"The base voice limits nothing, and under {POOR_HOURS:g} h fine-tuning comes further."
        return Row("quality", found, says, why)
    again = f"to fine-tune, prepare it again with --sample_rate {facts.base.sample_rate}."
    if facts.finer:
        return Row("quality", found, "scratch", f"The base voice cannot speak as high as the corpus does; {again}")
    return Row("quality", found, "either", f"The rates differ, and a voice has one: {again}")


def _stability(facts: _Facts) -> Row:
    aside = len(facts.corpus.quarantined)
    share = aside / (aside + len(facts.corpus.utterances))
    found = f"{aside} of {aside + len(facts.corpus.utterances)} utterances quarantined ({share:.0%})"
    why = f"From scratch collapses more easily, most of all on under {POOR_HOURS:g} h"
    why += f" and where over {LOST:.0%} of a corpus was unusable." if share > LOST else "."
    says = "fine-tune" if facts.hours < POOR_HOURS or share > LOST else "either"
    return Row("stability", found, says, why)


def _new_to(corpus: Corpus, frontend: Frontend, base: Base | None) -> tuple[float, str, bool]:
    """Share of what the corpus says that `base` has no symbol for or never learnt, in words, and one language?"""
    if base is None:
        return math.nan, "", False
    names = ("base voice's symbols", "sounds new to the base voice")
    verdicts = {one.name: one for one in coverage_verdicts(symbols(corpus), frontend, base.frontend)}
    fits = base.frontend.phoneme_type == frontend.phoneme_type
    shares = [verdicts[name].numbers.get("share", math.nan) for name in names]
    bad = [verdicts[name].words for name in names if not verdicts[name].ok]
    languages = {one.espeak_voice.split("-")[0] for one in (frontend, base.frontend)}
    return (sum(shares) if fits else 1.0), " ".join(bad), fits and len(languages) == 1


def _amount(hours: float) -> str:
    return f"{hours * 60:.1f} minutes" if hours < 1 else f"{hours:.1f} hours"
