"""What `tts-lab lint` says: findings as they are met, to the terminal and to a JSON file, then what they come to."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tts_lab.corpus.lint import Finding, Lint, lint
from tts_lab.corpus.wholefile import replacing
from tts_lab.errors import UserError


def print_lint(source: Path | str, json_file: Path | None = None, **options: Any) -> Lint:
    """`lint` with each finding on a line; `options` are its own. The JSON file is written finding by finding."""
    with _json(json_file) as (write, summary):

        def report(finding: Finding) -> None:
            mark = "BAD " if finding.bad else "odd "
            print(f"{mark}{finding.where}: {finding.message}")
            write(finding)

        found = lint(source, report, **options)
        summary |= vars(found) | {"source": str(source), "fixed": str(found.fixed) if found.fixed else None}
    print(f"Layout {found.layout}: {found.why}.")
    for note in found.notes:
        print(f"Note: {note}")
    print(f"{found.rows} usable, {found.bad} bad" + "".join(f"; {n} × {kind}" for kind, n in found.kinds.most_common()))
    if found.fixed:
        changes = "".join(f"; {change}: {n}" for change, n in found.changes.items())
        print(f"{found.fixed} holds {found.written} corrected lines{changes}.")
    elif options.get("fix"):
        print("No line could be corrected with certainty, so there is no corrected copy.")
    return found


@contextmanager
def _json(path: Path | None) -> Iterator[tuple[Callable[[Finding], None], dict[str, Any]]]:
    """A writer of findings, and a dictionary for what is to stand beside them."""
    if path is None:
        yield lambda _: None, {}
        return
    summary: dict[str, Any] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write('{"findings": [')
            before = "\n"

            def write(finding: Finding) -> None:
                nonlocal before
                file.write(before + json.dumps(asdict(finding), ensure_ascii=False))
                before = ",\n"

            yield write, summary
            file.write("\n]," + json.dumps(summary, ensure_ascii=False)[1:] + "\n")
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror or error}.") from error
