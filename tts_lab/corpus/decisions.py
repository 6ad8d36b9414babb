"""What a person decided about clips, saved as it is decided, and obeyed by `prepare`.

`review.jsonl` in the corpus folder holds one decision a line, and lines are only ever added, so a crash costs at most
the line being written and two files can be joined with `cat`. The last decision about an id stands, and is whole: one
that cuts a clip whose text was corrected before carries that text on. `undo` takes back the last one that stands.

    {"id": "a17", "action": "text", "about": "Good by.", "recording": "a17.wav", "text": "Goodbye.", "at": "2026-…"}
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tts_lab.corpus.plain import parse_json
from tts_lab.corpus.rows import Manifest, Row
from tts_lab.corpus.spool import Spool
from tts_lab.errors import UserError

NAME = "review.jsonl"
ACTIONS = {"keep": "kept", "text": "text corrected", "cut": "cut", "reject": "rejected"}
"""What can be decided, and how it is counted."""
UNDO = "undo"
LONGEST = 1e9
"""Seconds into a recording that can be meant. No NaN is less, and a whole number too great for a float is compared."""
_NAMED = 5  # ids told in a sentence; the file has them all


@dataclass(frozen=True)
class Decision:
    """What stands about one clip."""

    id: str
    action: str
    """One of `ACTIONS`, or "undo"."""
    about: str = ""
    """The text that the manifest gave when it was decided."""
    recording: str = ""
    """File name of the recording it was decided about."""
    text: str | None = None
    """What is said, where that is not `about`."""
    begin: float | None = None
    """Seconds in the recording from which it is used; None from its beginning."""
    end: float | None = None
    """Seconds to which it is used; None to its end."""
    reason: str = ""
    """Why it is rejected."""
    at: str = ""
    """When, in UTC."""

    def __post_init__(self) -> None:
        if problem := _problem(self):
            raise UserError(f"{self.id}: {problem}.")

    @property
    def cut(self) -> tuple[float, float] | None:
        """Seconds of the recording that are used, or None for all of it."""
        return None if self.begin is None or self.end is None else (self.begin, self.end)

    def fits(self, text: str, recording: str) -> bool:
        """Whether it is about this text (as it was, or as it was corrected to) and recording (a file name)."""
        return text in (self.about, self.text) and recording == self.recording

    def line(self) -> str:
        """As one line of JSON, without what is not decided."""
        return json.dumps({k: v for k, v in asdict(self).items() if v not in (None, "")}, ensure_ascii=False)


def _problem(decision: Decision) -> str | None:
    times = (decision.begin, decision.end)
    if not isinstance(decision.id, str) or not decision.id:
        return "a decision needs the clip's id"
    if decision.action not in (*ACTIONS, UNDO):
        return f"the action {decision.action!r} is none of {', '.join([*ACTIONS, UNDO])}"
    if any(not isinstance(part, str) for part in (decision.about, decision.recording, decision.reason, decision.at)):
        return "about, recording, reason and at must be text"
    if decision.text is not None and (not isinstance(decision.text, str) or not decision.text.strip()):
        return "the corrected text is empty; write what is said, or reject the clip"
    if decision.action == "cut" and None in times or (times[0] is None) != (times[1] is None):
        return "a cut needs begin and end, in seconds of the recording"
    if None not in times:
        if not all(isinstance(time, int | float) and abs(time) < LONGEST for time in times):
            return "begin and end must be numbers, in seconds of the recording"
        if not 0 <= times[0] < times[1]:
            return f"the cut from {times[0]:g} to {times[1]:g} s is empty; begin must be 0 or more and before end"
    return None


class Decisions:
    """Every decision in one file; a new one is on the disk before `decide` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        """Lines that could not be read, as a crash leaves them; they are passed over."""
        self.made: list[Decision] = []
        """Every line in order, undone ones and each undo included."""
        self._of: dict[str, list[Decision]] = {}

    @classmethod
    def load(cls, path: Path | str) -> "Decisions":
        """Read a file NAME.jsonl, or `review.jsonl` in a corpus folder; one that is not there yet holds no decision.

        A half-written line is passed over and told in `problems`. Raises `UserError` for lines that are whole and
        yet no decision, all of them at once, and if the file cannot be read.
        """
        path = Path(path)
        is_file = path.is_file() or (path.suffix == ".jsonl" and not path.is_dir())
        decisions = cls(path if is_file else path / NAME)
        try:
            lines = decisions.path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        except FileNotFoundError:
            return decisions
        except OSError as error:
            raise UserError(f"{decisions.path} cannot be read ({error.strerror}); check its permissions.") from error
        wrong, seen = [], set()
        for number, line in enumerate(lines, 1):
            # Two files joined with `cat` may both hold a line; an undo must not have to take it back twice.
            if not line.strip() or line.strip() in seen:
                continue
            seen.add(line.strip())
            try:
                decisions._take(Decision(**parse_json(line)))
            except ValueError:
                decisions.problems.append(f"{decisions.path.name}:{number} is half-written and was passed over")
            except (TypeError, UserError) as error:
                wrong.append(f"  {decisions.path}:{number}: {str(error).removeprefix('Decision.__init__() ')}")
        if wrong:
            told = "\n".join(wrong)
            raise UserError(f"{len(wrong)} lines are no decisions; correct or remove them:\n{told}")
        return decisions

    def __iter__(self) -> Iterator[Decision]:
        """What stands, a decision an id."""
        return (past[-1] for past in self._of.values())

    def __len__(self) -> int:
        return len(self._of)

    def of(self, id: str) -> Decision | None:
        """What stands about `id`."""
        past = self._of.get(id)
        return past[-1] if past else None

    def decide(
        self,
        id: str,
        action: str,
        *,
        about: str,
        recording: Path | str,
        text: str | None = None,
        begin: float | None = None,
        end: float | None = None,
        reason: str = "",
    ) -> Decision:
        """Save one decision, and return it as it stands.

        `about` is the text that was on screen and `recording` the file that was heard. What an earlier decision
        about the same line corrected is carried on, unless it is given anew. Raises `UserError` if the decision
        makes no sense, or cannot be written; then what stood before stands.
        """
        about, recording = " ".join(about.split()), Path(recording).name
        corrected = " ".join(text.split()) if text is not None else None
        if action == "reject" and not corrected:  # nothing is said that could be written
            corrected = None
        if corrected is None and action == "text":
            raise UserError(f"{id}: the corrected text is missing.")
        earlier = self.of(id)
        if earlier and earlier.fits(about, recording):
            # The text on screen may be the corrected one, of a corpus prepared since; the manifest's is the older.
            about = earlier.about
            corrected = earlier.text if corrected is None else corrected
            begin, end = (earlier.begin, earlier.end) if begin is None and end is None else (begin, end)
        if corrected == about:
            corrected, action = None, "keep" if action == "text" else action
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        decision = Decision(id, action, about, recording, corrected, begin, end, reason.strip(), now)
        self._write(decision)
        return decision

    def undo(self, id: str) -> Decision | None:
        """Take back the last decision about `id`, and return what stands then."""
        if id in self._of:
            self._write(Decision(id, UNDO, at=datetime.now(UTC).isoformat(timespec="microseconds")))
        return self.of(id)

    def counts(self) -> Counter[str]:
        """How often each of `ACTIONS` stands."""
        return Counter(decision.action for decision in self)

    def _take(self, decision: Decision) -> None:
        self.made.append(decision)
        if decision.action != UNDO:
            self._of.setdefault(decision.id, []).append(decision)
        elif past := self._of.get(decision.id):
            past.pop()
            if not past:
                del self._of[decision.id]

    def _write(self, decision: Decision) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - 1))
                # After a crash the last line may be half: a new one must not grow onto it.
                broken = file.read(1) not in (b"", b"\n")
                file.write(b"\n" * broken + decision.line().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"{self.path}: the decision about {decision.id} could not be saved ({error.strerror}). "
                "Make room or check the folder's permissions, then decide it again."
            ) from error
        self._take(decision)


def follow(decisions: Decisions, manifest: Manifest) -> list[tuple[Row, str]]:
    """Change `manifest.rows` as was decided, tell it in `manifest.notes`, return the rejected rows with reasons.

    A decision about a line or a recording that is another now is told and not followed.
    """
    rows, rejected, stale = Spool(), [], []
    done = dict.fromkeys(("kept as they are", "texts corrected", "cut", "rejected"), 0)
    left = {decision.id: decision for decision in decisions}
    for row in manifest.rows:
        decision = left.pop(row.id, None)
        if decision is None:
            rows.append(row)
        elif not decision.fits(row.text, row.audio.name):
            stale.append(f"{row.id} ({row.where})")
            rows.append(row)
        elif decision.action == "reject":
            done["rejected"] += 1
            rejected.append((row, f"rejected in review: {decision.reason or 'no reason given'}"))
        else:
            changed = replace(row, text=decision.text or row.text, cut=decision.cut, review=_told(decision))
            if changed.text != row.text and row.phoneme_ids is not None:  # they spell the text as it was
                changed = replace(changed, phoneme_ids=None)
            done["kept as they are"] += decision.text is None and decision.cut is None
            done["texts corrected"] += decision.text is not None
            done["cut"] += decision.cut is not None
            rows.append(changed)
    manifest.rows = rows
    name, unusable = decisions.path.name, [problem.id for problem in manifest.problems if left.pop(problem.id, None)]
    if any(done.values()):
        told = ", ".join(f"{count} {what}" for what, count in done.items() if count)
        manifest.notes.append(f"{name} was followed: {told}")
    for ids, why in (
        (stale, "the text or the recording is another now, so look again"),
        (unusable, "the manifest's line cannot be used, see below"),
        (list(left), "the manifest has no such id"),
    ):
        if ids:
            more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
            told = ", ".join(ids[:_NAMED]) + more
            manifest.notes.append(f"{name}: not followed, because {why} ({len(ids)}): {told}")
    manifest.notes += decisions.problems
    return rejected


def _told(decision: Decision) -> tuple[str, ...]:
    told = ["text corrected in review"] if decision.text is not None else []
    if decision.cut:
        told.append(f"cut in review to {decision.begin:.2f}–{decision.end:.2f} s")
    return tuple(told or ["kept in review"])
