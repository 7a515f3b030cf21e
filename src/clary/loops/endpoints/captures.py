"""Stores data capture records in S3: uploads the files that fronts wrote, then hands them to the watch for drift.

Owns the order that survives a crash: a file is stored under a key of its own, then its records go into the watch's inbox, then its
`.where`, which ends it; a successor that finds it again stores the same once more. A destination that cannot take it (no such bucket,
another account's) costs those records, and the endpoint's log says so, as AWS drops what it may not write. Does not know what is in the
files.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from clary.domain.errors import AlreadyExists, Denied, Invalid, NotFound, Unavailable
from clary.domain.names import log_group
from clary.domain.resources import Scope
from clary.ports import Artifacts, Clock, Logs

log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between looks
MOST = 256 << 20  # bytes that wait for the watch


class CapturedFiles:
    """`folder` is that of all fronts: `<front>/captures/<id>.where` and `.jsonl`. `inbox` is where the watch for drift takes them from:
    on the same filesystem; while more than `most` bytes wait there, it gets no more."""

    def __init__(
        self, folder: Path, artifacts: Artifacts, logs: Logs, clock: Clock, inbox: Path, most: int = MOST
    ) -> None:
        self._folder = folder
        self._artifacts = artifacts
        self._logs = logs
        self._clock = clock
        self._inbox = inbox
        self._most = most
        self.left_out = 0  # files that the watch did not get

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        while True:
            try:
                await self.turn()
            except (OSError, Unavailable) as error:
                log.warning("captured requests wait: %s", error)
            await asyncio.sleep(EVERY)

    async def turn(self) -> None:
        """Store all that is there."""
        for where in await asyncio.to_thread(lambda: sorted(self._folder.glob("*/captures/*.where"))):
            records = where.with_suffix(".jsonl")
            try:
                told = json.loads(await asyncio.to_thread(where.read_text))
                if not await asyncio.to_thread(
                    (self._inbox / records.name).exists
                ):  # else it is stored, and half handed over
                    own = self._artifacts.of(told["account"])
                    await own.store_file(str(records), told["bucket"], told["key"], "application/jsonlines")
            except (NotFound, Denied, Invalid) as error:
                await asyncio.to_thread(self._tell, told, error.message)
            except (ValueError, FileNotFoundError) as error:
                log.error("captured requests in %s are lost: %s", records, error)  # the machine itself went down
            await asyncio.to_thread(self._hand_over, where, records)

    def _hand_over(self, where: Path, records: Path) -> None:
        """Both files into the inbox, the `.where` last, as the watch looks for it; or away, where there is no room or no record."""
        if records.exists():
            self._inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _size(self._inbox) + records.stat().st_size <= self._most:
                records.replace(self._inbox / records.name)
            else:
                if not self.left_out:
                    log.warning("the watch for drift is behind: captured requests are stored, but not all are watched")
                self.left_out += 1
                records.unlink(missing_ok=True)
        if (self._inbox / records.name).exists():
            where.replace(self._inbox / where.name)
        where.unlink(missing_ok=True)

    def _tell(self, told: dict[str, Any], why: str) -> None:
        scope = Scope(told["account"], told["region"])
        group, stream, now = log_group(told["endpoint"]), f"{told['variant']}/data-log", self._clock.now()
        with suppress(AlreadyExists):
            self._logs.add_group(scope, group, now, {})
        with suppress(AlreadyExists):
            self._logs.add_stream(scope, group, stream, now)
        line = f"Data capture: records for s3://{told['bucket']}/{told['key']} are lost: {why}"
        self._logs.append(scope, group, stream, [(int(now * 1000), line)])


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # the watch has just taken it
            total += path.stat().st_size
    return total
