"""A corpus analysed: measured, tabled, ranked, judged, described; saved beside it for people and for machines."""

import json
import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from tts_lab.analysis.amount import against_guides
from tts_lab.analysis.measuring import measure_all
from tts_lab.analysis.ranking import rank
from tts_lab.analysis.statistics import Statistics, collect
from tts_lab.analysis.table import kept, make_table
from tts_lab.analysis.tags import tag
from tts_lab.analysis.texts import Texts, read_texts
from tts_lab.analysis.verdict import Verdict
from tts_lab.analysis.verdicts import judge
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.decisions import Decisions
from tts_lab.corpus.wholefile import write_atomically, writing
from tts_lab.errors import UserError
from tts_lab.frontend import Frontend

FORMAT = 1
WORDS = ("id", "text", "speaker", "split", "reason", "where", "recording", "heard", "timbre", "reasons")
"""Columns of table.csv that hold no numbers."""
ROWS_TOGETHER = 2000
"""Rows that are written at once."""
REVIEWED = ("score", "reasons", "text", "seconds", "split", "recording")
_FRAMES = ("characters", "phonemes", "summary", "symbols")


@dataclass
class Analysis:
    """Everything that is known about a corpus."""

    corpus: str
    """Its folder."""
    fingerprint: str
    """Of the corpus as it was analysed."""
    table: pd.DataFrame
    """A row an utterance (`analysis.table`), with `score` and `reasons` (`analysis.ranking`), the worst first."""
    statistics: Statistics
    verdicts: list[Verdict]
    texts: Texts
    tags: dict[str, str]
    description: str

    @property
    def minutes(self) -> float:
        """Minutes of kept speech."""
        return float(kept(self.table[["split", "seconds"]])["seconds"].sum()) / 60

    def verdict(self, name: str) -> Verdict:
        return next(verdict for verdict in self.verdicts if verdict.name == name)

    def worst(self, count: int | None = None, decisions: Decisions | None = None) -> pd.DataFrame:
        """The kept clips that are odd in any way, the worst first: columns `REVIEWED`.

        With `decisions`, without those about which one stands: they were listened to.
        """
        odd = self.table.loc[(self.table["split"] != "quarantined") & (self.table["score"] > 0), list(REVIEWED)]
        if decisions is not None and len(decisions):
            made = [decisions.of(str(id)) for id in odd.index]
            seen = [
                decision is not None and decision.fits(text, Path(recording).name)
                for decision, text, recording in zip(made, odd["text"], odd["recording"], strict=True)
            ]
            odd = odd[~np.array(seen, bool)]
        return odd if count is None else odd.head(count)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON: everything but the table; a number that cannot be had is None."""
        return plain(
            {
                "format": FORMAT,
                "corpus": self.corpus,
                "fingerprint": self.fingerprint,
                "utterances": len(self.table),
                "kept": int((self.table["split"] != "quarantined").sum()),
                "minutes": self.minutes,
                "guides": against_guides(self.minutes).to_dict(orient="index"),
                "description": self.description,
                "tags": self.tags,
                "verdicts": [asdict(verdict) for verdict in self.verdicts],
                "statistics": {name: _split(getattr(self.statistics, name)) for name in _FRAMES},
                "texts": asdict(self.texts) | {"surprising": self.texts.surprising.to_dict(orient="records")},
            }
        )

    def save(self, folder: Path | str) -> Path:
        """Write `analysis.json`, `table.csv` and `review.json` (the clips to listen to, worst first) into `folder`.

        Raises `UserError` if they cannot be written, or the decisions in the corpus folder not read.
        """
        folder = Path(folder)
        # The table first: who finds analysis.json finds all three.
        with writing(folder / "table.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            for begin in range(0, max(1, len(self.table)), ROWS_TOGETHER):
                _flat(self.table.iloc[begin : begin + ROWS_TOGETHER]).to_csv(
                    file, header=not begin, float_format="%.6g"
                )
        worst = self.worst(decisions=Decisions.load(self.corpus))
        with writing(folder / "review.json") as temporary, temporary.open("wb") as file:
            file.write(b"[")
            for begin in range(0, len(worst), ROWS_TOGETHER):
                records = plain(worst.iloc[begin : begin + ROWS_TOGETHER].reset_index().to_dict(orient="records"))
                file.write(b",\n" if begin else b"\n")
                file.write(b",\n".join(_json(record).rstrip() for record in records))
            file.write(b"\n]\n")
        write_atomically(folder / "analysis.json", _json(self.to_dict()))
        return folder

    @classmethod
    def load(cls, folder: Path | str) -> "Analysis":
        """Read what `save` wrote. Raises `UserError` if it is not there or of another version."""
        folder = Path(folder)
        try:
            found = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise UserError(f"{folder} is of another version of tts-lab; run `tts-lab analyze` again.")
            texts = found["texts"]
            columns = {"columns": ["id", "kind", "found"]}
            texts |= {
                "near": [(first, second, alike) for first, second, alike in texts["near"]],
                "surprising": pd.DataFrame(texts["surprising"], **columns),
            }
            return cls(
                corpus=found["corpus"],
                fingerprint=found["fingerprint"],
                table=_read_csv(folder / "table.csv"),
                statistics=Statistics(**{name: _frame(found["statistics"][name]) for name in _FRAMES}),
                verdicts=[Verdict(**fields) for fields in found["verdicts"]],
                texts=Texts(**texts),
                tags=found["tags"],
                description=found["description"],
            )
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(f"{folder}: there is no analysis here. Make one with `tts-lab analyze`.") from error
        except (KeyError, TypeError, ValueError) as error:
            cause = f"{type(error).__name__}: {error}"
            raise UserError(f"{folder} is no analysis ({cause}); run `tts-lab analyze` again.") from error


def analyze(
    corpus: Corpus,
    *,
    base: Frontend | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    ears: Callable[..., Any] | None = None,
    console: Console | None = None,
) -> Analysis:
    """Measure every recording of `corpus`, and say in figures and words what they are worth to a voice.

    `base` is the front end of the voice that training will start from; `jobs`, `executor`, `ears` (speech
    recognition) and `console` are as in `measure_all`, which goes on where an earlier run stopped. The tags and
    descriptions are stored in the corpus's manifest, whose fingerprint they do not change. Raises `UserError` if the
    corpus has no utterances.
    """
    if next(corpus.stream(), None) is None:
        raise UserError(f"{corpus.folder} keeps no utterance, so there is nothing to analyse; see why in corpus.json.")
    table = rank(make_table(corpus, measure_all(corpus, jobs=jobs, executor=executor, ears=ears, console=console)))
    statistics, texts = collect(corpus, table), read_texts(table)
    verdicts = judge(corpus, table, statistics, texts, base)
    tag(corpus, table)
    return Analysis(
        str(corpus.folder), corpus.fingerprint, table, statistics, verdicts, texts, corpus.tags, corpus.description
    )


def compared(before: Analysis, after: Analysis) -> pd.DataFrame:
    """The verdicts side by side, a row a verdict: `before`, `after` (good, bad, unknown), `change`, and the words."""
    left, right = ({verdict.name: verdict for verdict in one.verdicts} for one in (before, after))
    worth = {"bad": -1, "unknown": 0, "good": 1}
    rows = {}
    for name in list(dict.fromkeys([*left, *right])):
        marks = [side[name].mark if name in side else "unknown" for side in (left, right)]
        step = worth[marks[1]] - worth[marks[0]]
        rows[name] = {
            "before": marks[0], "after": marks[1], "change": "better" if step > 0 else "worse" if step < 0 else "",
            "words before": left[name].words if name in left else "", "words after": right[name].words if name in right
            else "",
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def speech_left(before: Analysis, after: Analysis) -> pd.DataFrame:
    """Hours of speech against what the guides ask, a row a guide: `from, to, before, after, missing` after it."""
    one, two = against_guides(before.minutes), against_guides(after.minutes)
    return pd.DataFrame(
        {"from": two["from"], "to": two["to"], "before": one["there"], "after": two["there"], "missing": two["missing"]}
    )


def plain(value: Any) -> Any:
    """The same in types that JSON has; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _split(frame: pd.DataFrame) -> dict[str, Any]:
    return {"index": frame.index.tolist(), "columns": list(frame.columns), "data": frame.to_numpy(object).tolist()}


def _frame(parts: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(parts["data"], index=parts["index"], columns=parts["columns"])
    return frame.apply(pd.to_numeric)


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    """A part of the table with one value to a cell."""
    return table.assign(
        timbre=[" ".join(f"{part:.6g}" for part in timbre) if timbre else "" for timbre in table["timbre"]],
        reasons=["\n".join(reasons) for reasons in table["reasons"]],
    )


def _read_csv(path: Path) -> pd.DataFrame:
    # Texts such as "None" and "NA" are texts; only in columns of numbers does nothing mean that there is none.
    table = pd.read_csv(path, dtype={name: str for name in WORDS}, keep_default_na=False, na_values=None)
    numbers = [name for name in table.columns if name not in WORDS]
    table[numbers] = table[numbers].apply(pd.to_numeric)
    table["timbre"] = [tuple(map(float, cell.split())) if cell else None for cell in table["timbre"]]
    table["reasons"] = [cell.split("\n") if cell else [] for cell in table["reasons"]]
    unheard = (table["heard"] == "") & table["word_errors"].isna()
    table["heard"] = table["heard"].astype(object).where(~unheard, None)
    return table.set_index("id")
