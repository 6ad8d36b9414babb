"""The clips to be reviewed, worst first, as the panel in a notebook and the page for a browser both show them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from tts_lab.corpus.decisions import ACTIONS, Decision, Decisions
from tts_lab.errors import UserError

# Column of the analysis and how it is told; what was not measured is left out.
FIGURES = {
    "score": "score {:.1f}",
    "recorded_seconds": "{:.1f} s",
    "characters": "{:.0f} characters",
    "snr": "{:.0f} dB over the noise",
    "loudness": "{:.0f} LUFS",
    "bandwidth": "up to {:.0f} Hz",
    "reverberation": "reverberation {:.2f} s",
    "pitch": "pitch {:.0f} Hz",
    "word_errors": "{:.0%} of words misheard",
}


@dataclass(frozen=True)
class Clip:
    """One row of the list."""

    id: str
    text: str
    recording: Path | None
    """None where the manifest's line names no recording that is there."""
    recorded: float
    """Seconds of the recording; NaN if it was not measured."""
    figures: str
    """Score and measures, in words."""
    reasons: list[str]
    """Why it is in the list, worst first; why it is quarantined before all."""
    heard: str
    """What the ASR understood, if it was asked."""

    def standing(self, decisions: Decisions) -> Decision | None:
        """What was decided about it, unless that was about another text or recording."""
        decision = decisions.of(self.id)
        name = self.recording.name if self.recording else ""
        return decision if decision and decision.fits(self.text, name) else None


def review_list(table: pd.DataFrame, decisions: Decisions) -> list[Clip]:
    """The rows of a ranked `table` (see `tts_lab.analysis.ranking.rank`), worst first, decided ones last.

    Raises `UserError` if the table is not ranked.
    """
    if missing := {"text", "recording", "score", "reasons"} - set(table.columns):
        raise UserError(f"The table of clips lacks {', '.join(sorted(missing))}: rank it first, as analyze() does.")
    ranked = table.sort_values("score", ascending=False, kind="stable", na_position="last")
    clips = [_clip(id, row) for id, row in zip(ranked.index, ranked.to_dict("records"), strict=True)]
    return sorted(clips, key=lambda clip: clip.standing(decisions) is not None)


def _clip(id: str, row: Mapping[str, object]) -> Clip:
    heard = row.get("heard")
    told = [form.format(row[name]) for name, form in FIGURES.items() if name in row and pd.notna(row[name])]
    return Clip(
        id=str(id),
        text=str(row["text"]),
        recording=Path(str(row["recording"])) if row["recording"] else None,
        recorded=float(row.get("recorded_seconds", math.nan)),
        figures=" · ".join(told),
        reasons=[str(reason) for reason in row["reasons"]],
        heard=heard if isinstance(heard, str) else "",
    )


def told(decision: Decision | None) -> str:
    """What stands about a clip, in a sentence."""
    if decision is None:
        return "undecided"
    changes = []
    if decision.text is not None:
        changes.append("text corrected")
    if decision.cut:
        changes.append(f"cut to {decision.begin:.2f}–{decision.end:.2f} s")
    if decision.action == "reject":
        return "rejected" + (f": {decision.reason}" if decision.reason else "")
    return ", ".join(changes) or "kept as it is"


def progress(clips: Iterable[Clip], decisions: Decisions) -> str:
    """How many of `clips` are decided, and how."""
    clips = list(clips)
    actions = [decision.action for clip in clips if (decision := clip.standing(decisions))]
    counts = [f"{actions.count(action)} {done}" for action, done in ACTIONS.items() if action in actions]
    return f"{len(actions)} of {len(clips)} decided" + (": " + ", ".join(counts) if counts else "")


def decided(table: pd.DataFrame, decisions: Decisions) -> pd.DataFrame:
    """What was decided about the clips of a ranked `table`: a row an action, its `clips` and recorded `minutes`.

    The last row is of the clips that nobody decided about. Raises `UserError` as `review_list`.
    """
    words = [*ACTIONS.values(), "undecided"]
    rows = {"clips": dict.fromkeys(words, 0), "minutes": dict.fromkeys(words, 0.0)}
    for clip in review_list(table, decisions):
        decision = clip.standing(decisions)
        word = ACTIONS[decision.action] if decision else "undecided"
        rows["clips"][word] += 1
        rows["minutes"][word] += 0.0 if math.isnan(clip.recorded) else clip.recorded / 60
    return pd.DataFrame(rows)


def why(clip: Clip) -> str:
    """Reasons and what was heard, as markup."""
    lines = "".join(f"<li>{escape(reason)}</li>" for reason in clip.reasons) or "<li>Nothing odd was found.</li>"
    heard = f'<li class="quiet">Heard: “{escape(clip.heard)}”</li>' if clip.heard else ""
    return f'<ul style="margin:.2em 0;padding-left:1.2em">{lines}{heard}</ul>'
