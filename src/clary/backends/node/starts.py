"""Brings runs by value from their request to their shim, or to their end where they have no command, each in a task of its own and under
the run's lock.

The lock makes it one process that does so, and tells others that somebody does; if that one dies, whoever takes the run up begins again.
Owns nothing on disk but how a run ended that was never started.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping

from clary.backends.node import requests
from clary.backends.node.layout import LaidOut, NodePorts, RootOf, lay_out
from clary.backends.state import Folder, laid_out, never_wanted, unstarted
from clary.domain.errors import ClaryError, Denied, Invalid, NotFound
from clary.domain.machine.workload import Workload

log = logging.getLogger(__name__)

Launch = Callable[[Workload, Mapping[str, str], str, int], None]


class Starts:
    """`launch(workload, secrets, log path, lock)` starts the shim, in a thread; `told(key)` is called when a run has started or ended."""

    def __init__(self, ports: NodePorts | None, launch: Launch, told: Callable[[str], None], root_of: RootOf) -> None:
        self._ports = ports
        self._root_of = root_of
        self._launch = launch
        self._told = told
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._layouts: dict[str, asyncio.Task[LaidOut]] = {}
        self._phases: dict[str, str] = {}

    def begin(self, key: str, root: str) -> None:
        """Unless it is under way here. A run that has started, or ended, stays as it is."""
        if key not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._bring(key, root), name=f"start {key}")
            self._tasks[key] = task
            task.add_done_callback(lambda ended: self._broken(key, root, ended))

    async def done(self, key: str) -> None:
        """Wait for the start that is under way here, however it ends."""
        task = self._tasks.get(key)
        if task is not None:
            await asyncio.wait({task})

    def phase(self, key: str) -> str:
        """What is being done for the run; '' where nothing is, or another process does it."""
        return self._phases.get(key, "")

    async def stop(self, key: str, folder: Folder) -> None:
        """The run is not wanted any more (its stop.json is written): end its layout. Where the shim is being started, that looks for it."""
        layout = self._layouts.get(key)
        if layout is not None:
            layout.cancel()
            return
        if key not in self._tasks:
            await asyncio.to_thread(_settle, folder)

    def close(self) -> None:
        """Leave what is under way to a successor."""
        for task in self._tasks.values():
            task.cancel()

    def _broken(self, key: str, root: str, ended: asyncio.Task[None]) -> None:
        """An error of ours ends the run too: nobody may wait for it for ever."""
        error = None if ended.cancelled() else ended.exception()
        if error is not None:
            log.error("the start of %s failed", key, exc_info=error)
            why = unstarted(f"{type(error).__name__}: {error}", False, time.time())
            Folder.of(root).write("exit.json", why)
            self._told(key)

    async def _bring(self, key: str, root: str) -> None:
        folder = Folder.of(root)
        try:
            lock = await asyncio.to_thread(folder.lock)
            if lock is not None:
                await self._start(key, root, folder, lock)
        except FileNotFoundError:
            return  # it was forgotten meanwhile
        finally:
            self._phases.pop(key, None)
            self._tasks.pop(key, None)
        self._told(key)

    async def _start(self, key: str, root: str, folder: Folder, lock: int) -> None:
        ours = True
        try:
            asked = requests.kept(folder)
            if asked is None or folder.read("run.json") is not None or folder.read("exit.json") is not None:
                return
            try:
                made = await self._lay_out(key, asked, root, folder)
                if not asked[0].command:
                    await asyncio.to_thread(folder.write, "exit.json", laid_out(made.laid, time.time()))
                    return
                ours = False
                await asyncio.to_thread(self._launch, *asked, made.log, lock)
            except (ClaryError, OSError) as error:
                client = isinstance(error, Invalid | NotFound | Denied)
                said = error.message if isinstance(error, ClaryError) else f"{type(error).__name__}: {error}"
                await asyncio.to_thread(folder.write, "exit.json", unstarted(said, client, time.time()))
        except _Unwanted:
            await asyncio.to_thread(folder.write, "exit.json", never_wanted(time.time()))
        finally:
            if ours:
                os.close(lock)

    async def _lay_out(self, key: str, asked: tuple[Workload, Mapping[str, str]], root: str, folder: Folder) -> LaidOut:
        def tell(phase: str) -> None:
            self._phases[key] = phase

        layout = asyncio.get_running_loop().create_task(lay_out(*asked, root, self._root_of, self._ports, tell))
        self._layouts[key] = layout
        try:
            if folder.read("stop.json") is not None:
                layout.cancel()
            return await layout
        except asyncio.CancelledError:
            if folder.read("stop.json") is not None:
                raise _Unwanted from None
            layout.cancel()
            raise
        finally:
            self._layouts.pop(key, None)
            tell("starting")


class _Unwanted(Exception):
    """The run was stopped before its shim was started."""


def _settle(folder: Folder) -> None:
    """Write down the end of a run that nobody is starting, and that never started."""
    with folder.locked() as ours:
        if ours and folder.read("run.json") is None and folder.read("exit.json") is None:
            folder.write("exit.json", never_wanted(time.time()))
