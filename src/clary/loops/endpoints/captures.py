"""Stores data capture records in S3: uploads the files that fronts wrote, then removes them.

Owns the order that survives a crash: a file is stored under a key of its own, then its `.where` goes, then the records; a
successor that finds it again stores the same once more. A destination that cannot take it (no such bucket, another account's) costs
those records, and the endpoint's log says so, as AWS drops what it may not write. Does not know what is in the files.
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


class CapturedFiles:
    """`folder` is that of all fronts: `<front>/captures/<id>.where` and `.jsonl`."""

    def __init__(self, folder: Path, artifacts: Artifacts, logs: Logs, clock: Clock) -> None:
        self._folder = folder
        self._artifacts = artifacts
        self._logs = logs
        self._clock = clock

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
                own = self._artifacts.of(told["account"])
                await own.store_file(str(records), told["bucket"], told["key"], "application/jsonlines")
            except (NotFound, Denied, Invalid) as error:
                await asyncio.to_thread(self._tell, told, error.message)
            except (ValueError, FileNotFoundError) as error:
                log.error("captured requests in %s are lost: %s", records, error)  # the machine itself went down
            await asyncio.to_thread(_remove, where, records)

    def _tell(self, told: dict[str, Any], why: str) -> None:
        scope = Scope(told["account"], told["region"])
        group, stream, now = log_group(told["endpoint"]), f"{told['variant']}/data-log", self._clock.now()
        with suppress(AlreadyExists):
            self._logs.add_group(scope, group, now, {})
        with suppress(AlreadyExists):
            self._logs.add_stream(scope, group, stream, now)
        line = f"Data capture: records for s3://{told['bucket']}/{told['key']} are lost: {why}"
        self._logs.append(scope, group, stream, [(int(now * 1000), line)])


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
