"""The rows of the troubleshooting notebook: a trouble is met, recognised, and shown to be over."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten

from tts_lab.diagnosis import Finding, diagnose
from tts_lab.errors import UserError
from tts_lab.notebook.markup import Html, table

LINES = 4
"""Of a message, what is shown."""


class Troubles:
    """What has been met so far, by the name under which `tts_lab.diagnosis` knows it.

    No row can pretend: each method raises UserError where the trouble did not come, came as another, or is not over.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, str]] = {}

    def meet(self, name: str, work: Callable[[], object]) -> Finding:
        """Do what goes wrong, print the error's last words as Python prints them, and say what it is."""
        try:
            work()
        except Exception as error:
            said = "".join(traceback.format_exception_only(error)).strip().splitlines()
            print("\n".join(said[:LINES]))
            return self.recognise(name, error)
        raise UserError(f"{name}: nothing went wrong here, so there is nothing to recognise.")

    def recognise(self, name: str, what: str | Path | BaseException) -> Finding:
        """What a run's folder, a log, an error or a symptom in words tells, which must be this one.

        Words must tell this one before others. A run may have other troubles beside it: one that trains while the
        machine does something else gets slower too.
        """
        found = diagnose(what)
        told = found if isinstance(what, Path) and what.is_dir() else found[:1]
        this = next((one for one in told if one.name == name), None)
        if this is None:
            raise UserError(f"{name}: recognised as {', '.join(one.name for one in found) or 'nothing'}.")
        self.rows[name] = {"trouble": name, "seen": this.found[0], "afterwards": "not mended yet"}
        return this

    def over(self, name: str, fact: str, holds: bool) -> None:
        """Say the fact by which the trouble is over."""
        if not holds:
            raise UserError(f"{name}: not over yet: {fact}.")
        self.rows[name]["afterwards"] = fact
        print(f"{name}. Over: {fact}.")

    def over_in(self, name: str, run: Path) -> None:
        """The same, for a run in which it can no longer be seen."""
        names = [one.name for one in diagnose(run)]
        self.over(name, f"the figures of {run.name} do not show it", name not in names)

    @property
    def left(self) -> list[str]:
        """Those that were met and are not over."""
        return [name for name, row in self.rows.items() if row["afterwards"] == "not mended yet"]

    def table(self) -> Html:
        """A row for each."""
        return table([row | {"seen": shorten(row["seen"], 90, placeholder=" …")} for row in self.rows.values()])
