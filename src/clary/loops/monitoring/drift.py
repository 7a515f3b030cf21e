"""Runs the process that watches captured data for drift while there is some, and tells CloudWatch what it found.

Owns the order that survives a crash: the process keeps what it found, and this tells what is newer than the mark that is stored with the
datapoints. Does not know statistics, nor how rows are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clary.domain.errors import Unavailable
from clary.domain.monitoring.metrics import datapoints_of
from clary.domain.resources import Scope
from clary.ports import Datapoints

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between looks
MARK = "drift"


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one variant, and since when."""

    scope: Scope
    endpoint: str
    variant: str
    at: float
    shown: Mapping[str, Any]


Changed = Callable[[float], Sequence[Told]]  # those that changed since then, in order of time; blocking


class DriftWatch:
    """`folder` has the inbox; `module` is the process. `changed` reads what the process keeps."""

    def __init__(self, folder: Path, module: str, changed: Changed, datapoints: Datapoints) -> None:
        self._folder = folder
        self._module = module
        self._changed = changed
        self._datapoints = datapoints
        self._process: Process | None = None
        self._since: float | None = None  # what was told up to; None: the mark was not read yet

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        try:
            while True:
                try:
                    await self.turn()
                except (OSError, Unavailable) as error:
                    log.warning("drift is not told: %s", error)
                await asyncio.sleep(EVERY)
        finally:
            await self._end()

    async def turn(self) -> None:
        """Start the process where captured data waits; tell what is new."""
        if self.pid is None and await asyncio.to_thread(self._waits):
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, str(self._folder), stdin=PIPE
            )
        await asyncio.to_thread(self._tell)

    def _waits(self) -> bool:
        return next((self._folder / "inbox").glob("*.where"), None) is not None

    def _tell(self) -> None:
        if self._since is None:
            self._since = float(self._datapoints.marks(MARK).get(MARK, "0"))
        for each in self._changed(self._since):
            points = datapoints_of(each.endpoint, each.variant, each.at, each.shown)
            self._datapoints.put(each.scope, points, {MARK: repr(each.at)})
            self._since = each.at

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
