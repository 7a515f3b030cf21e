"""Keeps synced results in step with the object store: stores what is new or changed, and deletes there what the run deleted.

What is stored is written down (`stamps.py`) in the folder of the run that has the files, so that an object which several hosts have goes
when the last of them deletes it. There `ROOT/syncing` is a file on its way into the object store. All of it may be repeated. Files that a
run wrote are read without following a link.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from clary import untrusted
from clary.backends.node import stamps as marks
from clary.backends.node.layout import RootOf, source_of
from clary.backends.node.stamps import Stamps
from clary.domain.errors import Unavailable
from clary.domain.machine.workload import Collected, Files, Result, Workload
from clary.domain.s3 import Location
from clary.ports import Artifacts

_SETTLED = 1.0  # a file must not have changed for so many seconds before it is stored while the run goes on


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the files of a result lie: that folder, of those files of the run in `root`."""

    folder: str
    files: str
    root: str


class Syncs:
    """Those of all runs of one backend, on the event loop."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}

    async def collect(
        self, workload: Workload, root: str, root_of: RootOf, artifacts: Artifacts, running: bool, now: float
    ) -> dict[str, Collected]:
        """What of a workload's synced results was stored now: URI -> object. `running`: the run goes on; `now` in epoch seconds."""
        stored: dict[str, Collected] = {}
        files = {each.name: each for each in workload.files}
        for result in workload.results:
            if result.synced and (result.running or not running):
                place = _place(files[result.files], root, root_of)
                lock = self._locks.setdefault(place.root, asyncio.Lock())
                try:
                    async with lock:
                        stored |= await _sync(result, place, artifacts.of(result.account), running, now)
                except OSError as error:
                    raise Unavailable(f"what was synced cannot be written down: {error}") from error
                finally:
                    if not lock.locked() and self._locks.get(place.root) is lock:
                        del self._locks[place.root]
        return stored


def _place(files: Files, root: str, root_of: RootOf) -> _Place:
    folder = source_of(files, root, root_of)
    return (
        _Place(folder, files.name, root)
        if files.left is None
        else _Place(folder, files.left.files, root_of(files.left.run))
    )


async def _sync(result: Result, place: _Place, artifacts: Artifacts, running: bool, now: float) -> dict[str, Collected]:
    if not os.path.isdir(place.folder):
        return {}
    stamps, stored, there = await asyncio.to_thread(marks.load, place.root), dict[str, Collected](), set[str]()
    try:
        for name, found in await asyncio.to_thread(lambda: list(untrusted.walk(place.folder))):
            to, stamp = marks.stored_as(result.to, name), [found.st_mtime_ns, found.st_size]
            there.add(str(to))
            if stamps.get(str(to), {}).get(place.files) == stamp or (running and now - found.st_mtime < _SETTLED):
                continue
            made = await _store(place, name, to, result.content_type, artifacts)
            if made is not None:
                stored[str(to)] = made
                stamps.setdefault(str(to), {})[place.files] = stamp
        if result.mirror:
            await _delete(result, place, there, stamps, artifacts)
    finally:
        await asyncio.to_thread(marks.save, place.root, stamps)
    return stored


async def _store(place: _Place, name: str, to: Location, content_type: str, artifacts: Artifacts) -> Collected | None:
    """A copy: what is stored is a whole file of ours, whatever the run does to its own meanwhile. None: it was replaced meanwhile, and the
    next time finds it."""
    staged = str(Path(place.root) / "syncing")
    try:
        await asyncio.to_thread(untrusted.copy, place.folder, name, staged)
    except OSError:
        return None
    size = os.path.getsize(staged)
    return Collected(await artifacts.store_file(staged, to.bucket, to.key, content_type, move=True), size)


async def _delete(result: Result, place: _Place, there: set[str], stamps: Stamps, artifacts: Artifacts) -> None:
    start = str(result.to)
    gone = [uri for uri, of in stamps.items() if place.files in of and uri.startswith(start) and uri not in there]
    for uri in gone:
        if len(stamps[uri]) == 1:
            await artifacts.delete(result.to.bucket, result.to.key + uri.removeprefix(start))
        del stamps[uri][place.files]
        if not stamps[uri]:
            del stamps[uri]
