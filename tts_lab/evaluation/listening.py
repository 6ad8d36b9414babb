"""One row of the comparison: a voice's wavs against the person's own clips."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tts_lab.corpus.corpus import Corpus, Utterance
from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError
from tts_lab.evaluation import metrics


@dataclass(frozen=True)
class Scores:
    """Figures of one voice over one set of sentences."""

    label: str
    wer: float
    """Word error rate, 0.05 is 5 %."""
    mos: float
    """Predicted mean opinion score, 1 to 5."""
    similarity: float
    """Cosine to the person's mean speaker embedding; the same person scores 0.8 and more."""
    pitch_hz: float
    """Median fundamental frequency of voiced frames; nan where nothing is voiced."""
    seconds_per_word: float
    clips: int
    """How many wavs the figures are means of."""
    cer: float = math.nan
    """Character error rate, of the same transcripts."""

    def to_dict(self) -> dict[str, str | float | int | None]:
        """Plain types for JSON, which has no nan: an unvoiced pitch becomes null."""
        return {k: metrics.known(v) if isinstance(v, float) else v for k, v in asdict(self).items()}


def evaluate(
    label: str,
    wavs: Sequence[Path],
    texts: Sequence[str],
    human_wavs: Sequence[Path],
    model: str | Path | None = None,
    language: str = "en",
    heard: Sequence[str] | None = None,
) -> Scores:
    """Listen to `wavs`, which say `texts`, beside clips of the person they should sound like.

    `human_wavs` should be held out from training. `model` names another faster-whisper model than the bundled
    tiny.en; `heard` are its transcripts where they were made already. Takes about a second a clip on two cores, and
    5 s once to load the models.
    """
    heard = metrics.transcribe(wavs, model, language) if heard is None else heard
    errors = metrics.error_rates(heard, texts)
    return Scores(
        label=label,
        wer=errors.words,
        cer=errors.characters,
        mos=metrics.mos(wavs),
        similarity=metrics.similarity(wavs, human_wavs),
        pitch_hz=metrics.median_pitch(wavs),
        seconds_per_word=metrics.seconds_per_word(wavs, texts),
        clips=len(wavs),
    )


def first_clips(corpus: Corpus, held_out: Sequence[Utterance], at_most: int) -> list[Utterance]:
    """The first of the clips of `corpus` that are kept out of training, to compare with.

    Raises `UserError` where they are fewer than two: the speaker's own likeness is that of each clip to the others.
    """
    if at_most < 2:
        raise UserError(f"{at_most} held-out clips are asked for; to compare with the speaker takes at least 2.")
    chosen = list(held_out[:at_most])
    if len(chosen) < 2:
        raise UserError(
            f"{corpus.folder / 'corpus.json'} keeps {len(held_out)} clips out of training; to compare with the speaker "
            "takes at least 2. Record more, or prepare with a larger validation_share."
        )
    return chosen


def save_scores(scores: Sequence[Scores], path: Path) -> Path:
    """Write rows as a JSON list, whole or not at all."""
    write_atomically(path, (json.dumps([row.to_dict() for row in scores], indent=2) + "\n").encode())
    return path
