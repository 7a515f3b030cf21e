"""Deletes endpoints that a processing job made for its own use and could not delete, because it was killed.

Such an endpoint and its configuration have one name, and the tag `sagemaker:clarify-processing-job-arn` with the job's ARN
(`toolkit/clarify/endpoint.py` writes it). Once that job has ended, or is gone, nobody needs them. Looks when a job ends and once at the
start; every step may be repeated, also by several control planes at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from clary.domain.conditions import Text
from clary.domain.errors import ClaryError, NotFound
from clary.domain.jobs import processing
from clary.domain.jobs.record import ACTIVE
from clary.domain.resources import Query, Record
from clary.ports import Operations, Store

log = logging.getLogger(__name__)

TAG = "sagemaker:clarify-processing-job-arn"
AGAIN = 10.0  # seconds until what could not be deleted is tried again
_PAGE = 200
_CONFIG = "endpoint-config"


class Leftovers:
    """One a control plane."""

    def __init__(self, store: Store, operations: Operations) -> None:
        self._store = store
        self._operations = operations
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        undo = self._store.watch(self.hear)
        again = False
        self._ended.set()
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), AGAIN if again else None)
                self._ended.clear()
                try:
                    again = not await self.clear()
                except ClaryError as error:
                    log.warning("endpoints that jobs left behind are looked for later: %s", error)
                    again = True
        finally:
            undo()

    def hear(self, record: Record) -> None:
        """A write of any record."""
        if record.kind == processing.KIND and record.status not in ACTIVE:
            self._ended.set()

    async def clear(self) -> bool:
        """Delete all that is left over; whether all of it is gone."""
        done = True
        for scope in await self._store.scopes(_CONFIG):
            found = await self._store.page(Query(_CONFIG, scope, limit=_PAGE, condition=Text(TAG)))
            for config in found:
                done = await self._delete(config) and done
            done = done and len(found) < _PAGE
        return done

    async def _delete(self, config: Record) -> bool:
        """Delete a configuration and its endpoint, unless the job runs; whether nothing is left to do."""
        job = next((str(tag["Value"]) for tag in config.document.get("tags", ()) if tag["Key"] == TAG), "")
        record = await self._store.by_arn(job) if job else None
        if not job or (record is not None and record.status in ACTIVE):
            return True
        log.info("%s: its job has ended without deleting it", config.arn)
        try:
            with contextlib.suppress(NotFound):
                await self._operations.call("sagemaker", "DeleteEndpoint", {"EndpointName": config.name}, parent=config)
            with contextlib.suppress(NotFound):
                params = {"EndpointConfigName": config.name}
                await self._operations.call("sagemaker", "DeleteEndpointConfig", params, parent=config)
        except ClaryError as error:
            log.warning("%s is deleted later: %s", config.arn, error)
            return False
        return True
