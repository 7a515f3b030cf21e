"""Changes of the files of a run that goes on: texts that are replaced, and objects that are put there for a while.

A folder that was placed is as old as the last time that somebody asked for it; `FOLDER.part` is one that is not whole yet.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from clary.backends.node.layout import NodePorts, write
from clary.domain.errors import Invalid, Unavailable
from clary.domain.machine.workload import Objects


class Changes:
    """Those of all runs of one backend, on the event loop."""

    def __init__(self, ports: NodePorts | None) -> None:
        self._ports = ports
        self._locks: dict[str, asyncio.Lock] = {}

    async def write(self, folder: str, texts: Mapping[str, str]) -> None:
        """Invalid for a path that leaves the folder; Unavailable where the disk is at fault."""
        try:
            for path, text in texts.items():
                await asyncio.to_thread(write, folder, path, text)
        except OSError as error:
            raise Unavailable(f"the files of the run cannot be written: {error}") from error

    async def place(self, top: str, folder: str, objects: Objects, keep: float, now: float) -> None:
        """See `ports.Backend.place`; `top` is where the files lie, `now` epoch seconds."""
        if not folder or "/" in folder or folder.startswith("."):
            raise Invalid(f"{folder!r} cannot be the name of a folder in a run's files")
        if self._ports is None:
            raise Unavailable("this backend was given no object store")
        lock = self._locks.setdefault(top, asyncio.Lock())
        try:
            async with lock:
                await self._place(self._ports, Path(top), folder, objects, keep, now)
        except OSError as error:
            raise Unavailable(f"{folder} cannot be placed at the moment: {error}") from error
        finally:
            if not lock.locked() and self._locks.get(top) is lock:
                del self._locks[top]

    async def _place(self, ports: NodePorts, top: Path, folder: str, objects: Objects, keep: float, now: float) -> None:
        await asyncio.to_thread(_sweep, top, now - keep)
        if await asyncio.to_thread(_touch, top / folder, now):
            return
        part = top / f".{folder}.part"
        await asyncio.to_thread(_fresh, part)
        await ports.artifacts.of(objects.account).place(objects.bucket, objects.keys, str(part))
        await asyncio.to_thread(_finish, part, top / folder, now)


def _touch(folder: Path, now: float) -> bool:
    """Whether it is there; then it stays for a while."""
    try:
        os.utime(folder, (now, now))
    except FileNotFoundError:
        return False
    return True


def _fresh(part: Path) -> None:
    """Only below a folder that is there: that of a run that was forgotten is not made again."""
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()


def _finish(part: Path, target: Path, now: float) -> None:
    part.chmod(0o755)
    os.utime(part, (now, now))
    part.rename(target)


def _sweep(top: Path, before: float) -> None:
    for entry in top.iterdir():
        with suppress(FileNotFoundError):
            if entry.stat().st_mtime < before:
                shutil.rmtree(entry, ignore_errors=True)
