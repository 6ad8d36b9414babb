"""A run brought back from its mirror, to a bare machine or one that was left behind."""

import os
import time
from pathlib import Path

from tts_lab.corpus.wholefile import replacing, write_atomically
from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.loggers import IDENTITY, identity
from tts_lab.training.mirror.inventory import Inventory, Kept
from tts_lab.training.mirror.remote import Remote
from tts_lab.voices.checkpoints import newest_checkpoint


def restore(config: TrainConfig, remote: Remote) -> tuple[Inventory, list[str]]:
    """Fetch the run from the mirror, where its newest checkpoint is newer than the folder's, and take the mirror over.

    A checkpoint that is not whole is left there, and the one before it fetched. The newest comes last, so a fetch that
    was cut short is done again.

    Returns:
        What the mirror holds, and what was done, in words.

    Raises:
        UserError: the mirror is another run's, holds files of something else, or `resume` forbids to go on with it.
    """
    run, listed = config.run, remote.read()
    newest = _newest(run)
    bare = newest is None and not (run / IDENTITY).is_file()
    if listed is None:
        if not remote.is_empty():
            raise UserError(f"mirror {remote.url} holds files that no run put there: name an empty prefix or folder")
        listed = Inventory(identity(run))
    elif bare:
        write_atomically(run / IDENTITY, f"{listed.run}\n".encode())
    elif identity(run) != listed.run:
        raise UserError(
            f"mirror {remote.url} is another run's than the folder {run}: name an empty prefix to mirror this run, or "
            "an empty run folder to go on with that one"
        )
    said, there = [], listed.newest
    if there and newest is None and config.resume != "auto":
        raise UserError(
            f"mirror {remote.url} holds checkpoints of a run and resume is {config.resume}: name an empty prefix, or "
            "go on with that run by resume: auto"
        )
    if there and config.resume == "auto" and (newest is None or there.saved > newest.stat().st_mtime_ns):
        size = sum(generations[0].bytes for generations in listed.generations())
        print(f"mirror: fetching {size / 1e6:.0f} MB from {remote.url}", flush=True)
        said = [line for generations in listed.generations() for line in _fetch(remote, generations, run)]
        newest = _newest(run)
        if newest is None:
            begin = f"mirror {remote.url} holds no whole checkpoint; to begin anew, name an empty prefix:"
            raise UserError("\n  ".join([begin, *said]))
        said.append(f"mirror: the run is fetched from {remote.url}; {newest.name} is its newest whole checkpoint")
    remote.claim(listed)
    return listed, said


def _newest(run: Path) -> Path | None:
    return newest_checkpoint(run / "checkpoints")


def _fetch(remote: Remote, generations: list[Kept], run: Path) -> list[str]:
    """Write the first of the generations of a file that is whole; returns what was wrong with others, in words."""
    said = []
    for kept in generations:
        path = run / kept.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            wrong = remote.fetch(kept, partial)
            if not wrong:
                # Its age decides which checkpoint is the newest; elsewhere a clock may have been ahead.
                saved = min(kept.saved, time.time_ns())
                os.utime(partial, ns=(saved, saved))
                return said
            partial.unlink(missing_ok=True)
        said.append(f"warning: {kept.stored} in {remote.url} is refused: {wrong}")
    return said
