"""From a message, a symptom, a log or a run's folder to the rows of the tables that fit, the likeliest first."""

import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tts_lab.diagnosis.ailment import Ailment
from tts_lab.diagnosis.evidence import Evidence, read_end
from tts_lab.diagnosis.files import FILES
from tts_lab.diagnosis.machine import MACHINE
from tts_lab.diagnosis.messages import MESSAGES
from tts_lab.diagnosis.misleading import MISLEADING
from tts_lab.diagnosis.symptoms import SYMPTOMS
from tts_lab.diagnosis.trainium import TRAINIUM
from tts_lab.errors import UserError

TABLES: dict[str, tuple[Ailment, ...]] = {
    "Trainium": TRAINIUM, "error message": MESSAGES, "files": FILES, "machine": MACHINE,
    "misleading advice": MISLEADING, "symptom": SYMPTOMS,
}  # fmt: skip
"""By what a finding is called; of two that fit alike the earlier comes first."""
FEW_LINES = 5
"""A text of more lines, or with a traceback, is a log: everyday words in it tell of no symptom."""
_LAST_WORDS = re.compile(r"^(\w+\.)*\w*(Error|Exception|Exit|Interrupt)\b(: |$)", re.MULTILINE)
"""Where Python begins to say what was raised."""
SEND = (
    "Nothing in the tables matches. Send with your question: the whole message from its first line (not a picture of "
    "it), the command, config.yaml, log.txt and the last rows of metrics.csv, and what `tts-lab doctor` prints."
)


@dataclass(frozen=True)
class Finding:
    """A trouble that was recognised."""

    name: str
    kind: str
    """Which table it is from."""
    found: list[str]
    """What told of it: lines of the text, figures of the run."""
    means: str
    tries: list[dict[str, str]]
    """What to try, and its cost."""
    mind: str = ""
    """Advice about it that is wrong, and what is right; empty where there is none."""

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.kind})", *(f"  seen: {line}" for line in self.found), f"  {self.means}"]
        lines += [f"  try {n}: {one['what']} Cost: {one['cost']}." for n, one in enumerate(self.tries, 1)]
        return "\n".join([*lines, f"  mind: {self.mind}"] if self.mind else lines)

    def _repr_markdown_(self) -> str:
        seen = "".join(f"* seen: `{line.replace('`', chr(39))}`\n" for line in self.found)
        rows = "".join(f"| {_cell(one['what'])} | {_cell(one['cost'])} |\n" for one in self.tries)
        mind = f"\n**Mind:** {self.mind}\n" if self.mind else ""
        return f"**{self.name}** ({self.kind})\n\n{seen}\n{self.means}\n\n| try | cost |\n|:--|:--|\n{rows}{mind}"


@dataclass(frozen=True)
class Diagnosis:
    """Findings, the likeliest first; empty where nothing is wrong or nothing was recognised. Goes like a list."""

    of: str
    """What was looked at."""
    findings: list[Finding] = field(default_factory=list)
    otherwise: str = SEND
    """What to say where there are none."""

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __getitem__(self, number: int) -> Finding:
        return self.findings[number]

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.findings)) or self.otherwise

    def _repr_markdown_(self) -> str:
        return "\n".join(one._repr_markdown_() for one in self.findings) or self.otherwise


def diagnose(what: str | Path | BaseException) -> Diagnosis:
    """What is wrong, what it means, what to try, and what each try costs.

    Args:
        what: the folder of a run, a log file, an error that was caught, or a text: an error message, some lines of a
            log, a symptom in words such as "robotic" or "skips words".

    Raises:
        UserError: the folder is none of a run, or a file cannot be read.
    """
    if isinstance(what, BaseException):
        return _of_text("".join(traceback.format_exception(what)), type(what).__name__)
    path = Path(what)
    if isinstance(what, Path) or _is_path(what):
        if path.is_dir():
            return _of_run(path)
        if not path.exists():
            raise UserError(f"{path}: there is nothing of that name. Give a run's folder, a log file, or a message.")
        return _of_text(read_end(path), str(path), log=True)
    if not what.strip():
        raise UserError("there is nothing to diagnose: give a run's folder, a log file, a message or a symptom.")
    return _of_text(what, "the text")


def _is_path(what: str) -> bool:
    try:
        return Path(what).exists() or bool(re.fullmatch(r"\S*[\w.]/\S*|/\S+|\S+\.(log|txt)", what)) and ":" not in what
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        return False


def _of_text(text: str, of: str, log: bool = False) -> Diagnosis:
    lines = text.strip().count("\n") + 1
    typed = not log and lines <= FEW_LINES and "Traceback (most recent call last)" not in text
    heard = _heard(text, typed)
    if log and not heard:
        return Diagnosis(of, otherwise=f"No line of {of} tells of a known trouble. {SEND}")
    return Diagnosis(of, [_finding(kind, row, [line]) for kind, row, line in heard])


def _heard(text: str, typed: bool) -> list[tuple[str, Ailment, str]]:
    """Rows that the text tells of, what the last exception says before all else; symptoms as a person orders them."""
    raised = [said.start() for said in _LAST_WORDS.finditer(text)]
    last, found = raised[-1] if raised else 0, []
    for kind, table in TABLES.items():
        for row in table:
            if told := row.heard(text, typed):
                place, line = told
                found.append((place < last, place if kind == "symptom" else -1, len(found), (kind, row, line)))
    return [one for *_, one in sorted(found, key=lambda entry: entry[:3])]


def _of_run(run: Path) -> Diagnosis:
    evidence = Evidence.load(run)
    told: dict[str, tuple[str, Ailment, list[str]]] = {}
    for kind, row, line in _heard(evidence.log, typed=False) if evidence.log else []:
        told[row.name] = (kind, row, [f"log: {line}"])
    for kind, table in TABLES.items():
        for row in table:
            if row.shown and (figures := row.shown(evidence)):
                told.setdefault(row.name, (kind, row, []))[2].append(figures)
    order = [row.name for table in TABLES.values() for row in table]
    # What the figures show is so; a line of a log may be of a trouble that is over.
    shown = sorted(told.values(), key=lambda one: (one[2][-1].startswith("log: "), order.index(one[1].name)))
    healthy = (
        f"Nothing is wrong with {run} that its {len(evidence.rows)} logged rows, its log and its corpus could show. "
        "How it sounds they do not tell: `tts-lab evaluate` listens."
    )
    return Diagnosis(str(run), [_finding(kind, row, lines) for kind, row, lines in shown], healthy)


def _finding(kind: str, row: Ailment, found: list[str]) -> Finding:
    tries = [{"what": what, "cost": cost} for what, cost in row.tries]
    return Finding(row.name, kind, found, row.means, tries, row.mind)


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|")
