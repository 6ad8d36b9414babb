"""All verdicts on a corpus in the order in which a reader wants them."""

import pandas as pd

from tts_lab.analysis.amount import amount_verdicts
from tts_lab.analysis.coverage import coverage_verdicts
from tts_lab.analysis.lengths import length_verdicts
from tts_lab.analysis.sound import sound_verdicts
from tts_lab.analysis.statistics import Statistics
from tts_lab.analysis.table import kept
from tts_lab.analysis.texts import Texts, text_verdicts
from tts_lab.analysis.verdict import Verdict
from tts_lab.corpus.corpus import Corpus
from tts_lab.frontend import Frontend


def judge(
    corpus: Corpus, table: pd.DataFrame, statistics: Statistics, texts: Texts, base: Frontend | None = None
) -> list[Verdict]:
    """Amount, mimic2's five plots by characters and by phonemes, sound, coverage, texts.

    `base` is the front end of the voice that training will start from.
    """
    frontend = Frontend.from_dict(corpus.frontend)
    made = [source["settings"] for source in corpus.manifest.get("sources", ()) if "settings" in source]
    trimmed = all(settings.get("trim", True) for settings in made or [corpus.settings])
    return [
        *amount_verdicts(table),
        *length_verdicts(statistics.characters, "characters"),
        *length_verdicts(statistics.phonemes, "phonemes"),
        *sound_verdicts(table, corpus.sample_rate, corpus.settings | {"trim": trimmed}),
        *coverage_verdicts(statistics.symbols, frontend, base),
        *text_verdicts(texts, len(kept(table))),
    ]
