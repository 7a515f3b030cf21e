"""The files of the local backend about a run: an index from keys to folders, and the files of one run.

The lock tells whether a run's shim lives: the backend takes it, the shim inherits it and keeps it as long as it lives. So a successor
needs no memory of its predecessor, and a reused process id deceives nobody.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clary.backends.shim.proc import pidfd, started_ticks
from clary.backends.shim.records import load, save
from clary.domain.machine.workload import Laid, Observation, RunFailure, RunState
from clary.domain.stored import dumped, loaded


@dataclass(frozen=True, slots=True)
class Folder:
    """`ROOT/shim`: spec.json, run.json, exit.json, stop.json, limits.json, lock, shim.log, bwrap.args, etc/."""

    path: Path

    @classmethod
    def of(cls, root: str) -> Folder:
        return cls(Path(root) / "shim")

    @property
    def mark(self) -> str:
        """What the processes of its shim and its sandbox's makers are known by (`shim.proc.MARK`)."""
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:32]

    def read(self, name: str) -> Mapping[str, Any] | None:
        return load(str(self.path), name)

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        save(str(self.path), name, dict(value))

    def lock(self) -> int | None:
        """A file descriptor (above those that a shim is given) that holds the run's lock; None while a shim or a starter has it."""
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
        except BlockingIOError:
            return None
        finally:
            os.close(fd)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Whether we hold the lock inside."""
        try:
            fd = self.lock()
        except FileNotFoundError:
            fd = None
        try:
            yield fd is not None
        finally:
            if fd is not None:
                os.close(fd)

    def alive(self) -> bool:
        """A shim (or a starter) holds the lock."""
        if not (self.path / "lock").exists():
            return False
        with self.locked() as ours:
            return not ours

    def shim(self) -> int | None:
        """A pidfd of the living shim, certainly of this one; the caller closes it."""
        said = self.read("run.json")
        fd = pidfd(said["pid"]) if said else None
        if said is None or fd is None:
            return None
        the_same = False
        try:
            the_same = started_ticks(said["pid"]) == said["ticks"]
        finally:
            if not the_same:
                os.close(fd)
        return fd if the_same else None

    def lost(self) -> bool:
        """No shim lives that could say how the run ended. What it left may still hold its lock, for a moment."""
        if not self.alive():
            return True
        fd = self.shim()
        if fd is not None:
            os.close(fd)
        return fd is None

    def tell(self, number: signal.Signals) -> None:
        """Signal the shim, if it lives."""
        fd = self.shim()
        if fd is None:
            return
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class Base:
    """A folder that may be moved as a whole: what is kept on disk names folders inside it relative to it."""

    path: Path

    def kept(self, folder: str) -> str:
        """How a folder is written down: from the base on, or whole where it lies elsewhere."""
        path = Path(folder)
        return str(path.relative_to(self.path)) if path.is_relative_to(self.path) else folder

    def found(self, kept: str) -> str:
        """The folder that was written down so."""
        return str(self.path / kept)


class Index:
    """`folder/<hash of key>.json` -> key and root. Entries are made before anything of a run, and removed last. Roots inside `base` are
    kept relative to it."""

    def __init__(self, folder: Path, base: Base) -> None:
        self._folder = folder
        self._base = base

    def add(self, key: str, root: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        save(str(self._folder), self._name(key), {"key": key, "root": self._base.kept(root)})

    def root(self, key: str) -> str | None:
        said = load(str(self._folder), self._name(key))
        return self._base.found(said["root"]) if said else None

    def keys(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        said = [load(str(self._folder), path.name) for path in sorted(self._folder.glob("*.json"))]
        return [item["key"] for item in said if item]

    def remove(self, key: str) -> None:
        (self._folder / self._name(key)).unlink(missing_ok=True)

    @staticmethod
    def _name(key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()[:40] + ".json"


def remove(folder: Folder) -> None:
    """All at once: a half-removed folder (that a run had begun, but not how it ended) would tell of a run that was lost."""
    gone = folder.path.with_name(folder.path.name + ".gone")
    shutil.rmtree(gone, ignore_errors=True)  # of a removal that was cut off
    try:
        folder.path.rename(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)


def disk(folder: Folder) -> int | None:
    """Bytes that the run's mounts hold, as its shim last said."""
    said = folder.read("disk.json")
    return int(said["bytes"]) if said else None


def ended(said: Mapping[str, Any]) -> Observation:
    """How a run ended, as its exit.json says."""
    if said["state"] == "lost":
        return Observation(RunState.LOST, started_at=said["started_at"], ended_at=said["ended_at"])
    if said["state"] == "laid":
        laid = {name: loaded(Laid, each) for name, each in said["laid"].items()}
        return Observation(RunState.EXITED, ended_at=said["ended_at"], exit_code=0, laid=laid)
    if said["state"] == "unstarted":
        failure = None if said.get("stopped") else RunFailure(said["message"], said["client"])
        why = failure.message if failure else ""
        return Observation(
            RunState.EXITED, ended_at=said["ended_at"], stopped=failure is None, detail=why, failure=failure
        )
    return Observation(
        RunState.EXITED,
        started_at=said["started_at"],
        ended_at=said["ended_at"],
        exit_code=said["exit_code"],
        oom_killed=said["oom"],
        timed_out=said["timed_out"],
        stopped=said["stopped"],
        cpu_seconds=said["cpu_seconds"],
        memory_peak_bytes=said["memory_peak"],
        detail=said["detail"],
    )


def unstarted(message: str, client: bool, now: float) -> dict[str, Any]:
    """The exit.json of a run whose command never ran."""
    return {"state": "unstarted", "ended_at": now, "message": message, "client": client}


def laid_out(laid: Mapping[str, Laid], now: float) -> dict[str, Any]:
    """The exit.json of a run without a command, whose files are there."""
    return {"state": "laid", "ended_at": now, "laid": {name: dumped(each) for name, each in laid.items()}}


def never_wanted(now: float) -> dict[str, Any]:
    """The exit.json of a run that was stopped before its command ran."""
    return {"state": "unstarted", "ended_at": now, "stopped": True}
