"""What a run was made with: machine, packages, lock, code, corpus and settings, as `environment.json` keeps it.

The file holds the newest stretch of the run, and under `before` those it had with something else in them: a run that is
resumed on another machine, with other packages, code, corpus or settings begins a new one.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

import tts_lab
from tts_lab.corpus.corpus import Corpus
from tts_lab.corpus.plain import Count, read_json, typed
from tts_lab.corpus.wholefile import write_atomically
from tts_lab.errors import UserError

NAME = "environment.json"
VARIABLES = ("NEURON_", "XLA_", "PJRT_", "CUDA_", "OMP_", "MKL_", "PYTORCH_", "TORCH_")
"""Beginnings of environment variables that change what, or how fast, a run computes."""
OF_THE_MOMENT = ("from_step", "began", "command")
"""What two stretches may differ in and still be one."""


def write_record(run: Path, settings: dict[str, Any], corpus: Corpus, processes: int, from_step: int) -> Path:
    """Write `environment.json` of a run that begins, or goes on, at `from_step`; returns its path.

    Whole or not at all. Stretches that began at this step or later have been undone, and are left out; where nothing
    differs from the stretch before it, the file stays as it is.

    Args:
        settings: `TrainConfig.to_dict()`, as resolved.
        processes: in all.
    """
    path = run / NAME
    now = {
        "from_step": from_step,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        **environment(),
        "accelerator": settings["accelerator"],
        "processes": processes,
        "corpus": corpus_facts(corpus),
        "config": settings,
    }
    stretches = [known for known in stretches_of(run) if known.get("from_step", 0) < from_step]
    if not stretches or _lasting(stretches[-1]) != _lasting(json.loads(json.dumps(now))):
        stretches.append(now)
    content = stretches[-1] | {"before": stretches[:-1]}
    write_atomically(path, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
    return path


def stretches_of(run: Path) -> list[dict[str, Any]]:
    """Every stretch that `environment.json` of a run folder knows, the oldest first; none where it cannot be read."""
    try:
        newest = typed(_Stretch, read_json(run / NAME), run / NAME)
    except UserError:
        return []
    return [*newest.pop("before", []), newest]


class _Corpus(TypedDict):
    __pydantic_config__ = {"extra": "allow"}

    fingerprint: str


class _Stretch(TypedDict):
    """Of a stretch, what is read of it; there is more."""

    __pydantic_config__ = {"extra": "allow"}

    from_step: NotRequired[Count]
    config: NotRequired[dict[str, Any]]
    packages: NotRequired[dict[str, str]]
    lock: NotRequired[dict[str, Any] | None]
    corpus: NotRequired[_Corpus]
    before: NotRequired[list["_Stretch"]]


def environment() -> dict[str, Any]:
    """The machine, the versions, the lock and the code that are here."""
    import torch

    packages = {d.metadata["Name"]: d.version for d in distributions()}
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
        **code(Path(tts_lab.__file__).parent),
        "lock": lock(Path(tts_lab.__file__).parents[1] / "requirements.lock", packages),
        "packages": packages,
    }


def code(package: Path) -> dict[str, Any]:
    """`commit` that `package` is checked out at, files that differ from it (`dirty`), and a digest of how (`changes`).

    All are None where the package is not part of a git repository, as when it was installed from a wheel.
    """

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], capture_output=True, cwd=package)
        except OSError:  # no git here
            return None
        return done.stdout.decode(errors="replace").strip("\n") if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "__init__.py") is None:  # a folder in somebody else's repository
        return {"commit": None, "dirty": None, "changes": None}
    # Files of this package alone: a notebook that was run changes nothing in what trains.
    dirty = [line[3:] for line in (git("status", "--porcelain", "--", ".") or "").splitlines()]
    root = Path(git("rev-parse", "--show-toplevel") or package)
    digest = hashlib.sha256((git("diff", "HEAD", "--", ".") or "").encode())
    for name in dirty:
        if not git("ls-files", "--", str(root / name)) and (root / name).is_file():  # new, so in no diff
            digest.update((root / name).read_bytes())
    return {"commit": git("rev-parse", "HEAD"), "dirty": dirty, "changes": digest.hexdigest()[:16] if dirty else None}


def lock(path: Path, packages: dict[str, str]) -> dict[str, Any] | None:
    """A lock file's digest, and which of the installed `packages` have another version than it says; None: no lock."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    locked = dict(re.findall(r"^([\w.\-]+)==([^\s;\\]+)", content.decode(errors="replace"), re.MULTILINE))
    locked = {_plain(name): version for name, version in locked.items()}
    other = {
        name: f"{version}, locked {locked[_plain(name)]}"
        for name, version in sorted(packages.items())
        if locked.get(_plain(name), version) != version
    }
    return {"sha256": hashlib.sha256(content).hexdigest()[:16], "differs": other}


def corpus_facts(corpus: Corpus) -> dict[str, Any]:
    """Folder, fingerprint, and clips and seconds of each split."""
    amounts = {
        split: {"clips": clips, "seconds": round(seconds, 2)} for split, (clips, seconds) in corpus.amounts().items()
    }
    return {"folder": str(corpus.folder), "fingerprint": corpus.fingerprint, **amounts}


def _lasting(stretch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in stretch.items() if name not in OF_THE_MOMENT}


def _plain(name: str) -> str:
    """As package indexes compare names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
