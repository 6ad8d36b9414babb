"""A run's folder kept off the machine while it trains.

Training waits for none of it: a thread looks at the folder and sends what is new, the newest checkpoint before all
else. What fails is said once and tried again.
"""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tts_lab.errors import UserError
from tts_lab.training.config import TrainConfig
from tts_lab.training.loggers import IDENTITY
from tts_lab.training.mirror.inventory import Inventory, Kept, is_checkpoint
from tts_lab.training.mirror.remote import Remote, reaching, reason
from tts_lab.training.mirror.restore import restore
from tts_lab.training.terminal import log

LOOK = 2.0
"""Seconds between looks at the run folder."""
RETRY = 60.0
"""Seconds after which what failed is tried again."""
AT_THE_END = 300.0
"""Seconds to wait for the last upload of a run that is done. Other processes wait for this one, but not for ever."""
RECORDS = ("metrics.csv", "log.txt", "environment.json", "config.yaml", IDENTITY)
"""What a run that goes on from a checkpoint needs besides it: its curves until there, and what it was made with."""
INTERRUPTED = 90.0
"""The same for a run that is interrupted: a spot instance is taken away two minutes after it is told."""


@contextmanager
def mirrored(config: TrainConfig) -> Iterator[None]:
    """Bring the run folder up to the mirror, then the mirror up to the folder; at the end wait for that, with a bound.

    Raises:
        UserError: on entry: the mirror cannot be reached or written, or is another run's.
    """
    with reaching(config.mirror):
        remote = Remote(config.mirror)
        listed, said = restore(config, remote)
        mirror = Mirror(config.run, remote, listed)
    if said:
        mirror.say("\n  ".join(said))
    mirror.start()
    try:
        yield
    except BaseException:
        mirror.finish(INTERRUPTED)
        raise
    mirror.finish(AT_THE_END)


@dataclass(frozen=True)
class _Here:
    """A file of the run folder."""

    path: Path
    name: str
    bytes: int
    saved: int


class TakenOverError(UserError):
    """Another process writes to the mirror now."""


class Mirror:
    """The thread that sends, and what it has sent."""

    def __init__(self, run: Path, remote: Remote, listed: Inventory) -> None:
        self.run, self.remote, self.listed = run, remote, listed
        self.failure = ""
        self._stored = {kept.stored for kept in listed.files}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self, bound: float) -> None:
        """Wait ``bound`` seconds at most until all of the folder is there, and say how that went."""
        if not self._thread.is_alive():
            return  # and has said why
        self._ending.set()
        self._thread.join(1.0)
        if self._thread.is_alive():
            self.say(f"mirror: waiting for the last upload to {self.remote.url}, {bound:.0f} s at most")
            self._thread.join(bound)
        if not self._thread.is_alive() and not self.failure:
            self.say(f"mirror: {self.remote.url} holds the whole run")
            return
        newest = self.listed.newest
        when = time.strftime("%H:%M:%S", time.localtime(newest.saved / 1e9)) if newest else ""
        self.say(
            f"warning: mirror: not all of the run is in {self.remote.url} ({self.failure or 'too slow'}). The newest "
            f"checkpoint there is {f'{newest.name} of {when}' if newest else 'none'}; the same command sends the rest"
        )

    def say(self, text: str) -> None:
        """On the terminal and, unless the disk is full, in log.txt."""
        print(text, flush=True)
        with suppress(OSError):
            log(self.run, text)

    def _work(self) -> None:
        pause = LOOK
        while True:
            ending = self._ending.wait(pause)
            try:
                if ending or self.failure or self._new(self._checkpoints()):
                    self._send_all()
                if self.failure:
                    self.say(f"mirror: {self.remote.url} works again, and holds all until now")
                self.failure, pause = "", LOOK
                if ending:
                    return
            except TakenOverError as error:
                self.failure = str(error)
                if not ending:  # then it is said in the end
                    self.say(f"warning: mirror: {error}")
                return
            except Exception as error:
                if not self.failure:
                    self.say(
                        f"warning: mirror: nothing could be sent to {self.remote.url}: {reason(error)}. Training goes "
                        f"on; it is tried again every {RETRY:.0f} s"
                    )
                self.failure, pause = reason(error), RETRY
                if ending:
                    time.sleep(LOOK)

    def _send_all(self) -> None:
        """Everything new: the newest checkpoint, whenever one comes, then other files, then other checkpoints."""
        self._send_newest()
        for file in self._new(self._files(self.run)):
            if not is_checkpoint(file.name):
                self._send(file)
                self._send_newest()
        while others := self._new(self._checkpoints()):
            self._send(max(others, key=lambda file: file.saved))
            self._write()
        self.listed = self.listed.rotated({file.name for file in self._checkpoints()})
        self._write()

    def _send_newest(self) -> None:
        newest = max(self._checkpoints(), key=lambda file: file.saved, default=None)
        if newest and self._new([newest]):
            self._send(newest)
            for file in self._new(self._files(self.run, deep=False)):
                if file.name in RECORDS:
                    self._send(file)
            self._write()  # which names the checkpoint, so only now

    def _send(self, file: _Here) -> None:
        try:
            source = open(file.path, "rb")
        except FileNotFoundError:  # the run has just deleted it
            return
        with source:  # one open file is one content, whatever takes its name meanwhile
            status = os.fstat(source.fileno())
            kept = Kept(file.name, file.name, status.st_size, status.st_mtime_ns)
            if is_checkpoint(file.name):
                digest = hashlib.file_digest(source, "sha256").hexdigest()
                source.seek(0)
                stored = f"checkpoints/{file.path.stem}-{digest[:12]}.ckpt"
                kept = replace(kept, stored=stored, sha256=digest)
                self.remote.add(source, stored)
            else:
                self.remote.replace(source, file.name)
        self.listed = self.listed.with_file(kept)

    def _write(self) -> None:
        """The list, and delete what it no longer names; not if another process has become the writer.

        An instance may outlive the start of its replacement, whose files it does not know and must not touch.
        """
        if not self.remote.is_ours():
            raise TakenOverError(
                f"{self.remote.url} is written by another process since, so nothing more goes there from here. Two "
                "runs must not have the same mirror"
            )
        self.remote.write(self.listed)
        stored = {kept.stored for kept in self.listed.files}
        for gone in self._stored - stored:
            self.remote.remove(gone)
        self._stored = stored

    def _new(self, files: list[_Here]) -> list[_Here]:
        return [file for file in files if not self.listed.holds(file.name, file.bytes, file.saved)]

    def _checkpoints(self) -> list[_Here]:
        return [file for file in self._files(self.run / "checkpoints") if is_checkpoint(file.name)]

    def _files(self, within: Path, deep: bool = True) -> list[_Here]:
        """What is in a folder of the run, and in those below, less what is hidden: half-written files are."""
        found = []
        for folder, folders, names in os.walk(within):
            folders[:] = [name for name in folders if deep and not name.startswith(".")]
            for path in (Path(folder) / name for name in names if not name.startswith(".")):
                try:
                    status = path.lstat()
                except FileNotFoundError:  # the run has just deleted it
                    continue
                if stat.S_ISREG(status.st_mode):
                    name = path.relative_to(self.run).as_posix()
                    found.append(_Here(path, name, status.st_size, status.st_mtime_ns))
        return found
