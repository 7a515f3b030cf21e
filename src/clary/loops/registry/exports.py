"""Writes model cards as PDF files: `loop.Subject` of export jobs. A job carries all that it writes, so that another try writes the same."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from clary.domain.decisions import Decision, Unable
from clary.domain.errors import ClaryError, Unavailable
from clary.domain.registry import card_pages, cards
from clary.domain.registry.cards import Export
from clary.domain.resources import Record
from clary.domain.s3 import parse_uri
from clary.ports import Artifacts, Clock

log = logging.getLogger(__name__)


class ExportSubject:
    """`artifacts` is where files go, in the job's own account."""

    kind = cards.EXPORT
    statuses = (cards.IN_PROGRESS,)

    def __init__(self, artifacts: Artifacts, clock: Clock) -> None:
        self._artifacts = artifacts
        self._clock = clock

    async def observe(self, record: Record) -> None:
        """There is nothing to see: a file that was written is written again."""

    def decide(self, record: Record, observation: None, now: float) -> Decision[Export]:
        return Decision(record, (cards.export_of(record),) if record.status == cards.IN_PROGRESS else ())

    async def run(self, command: Export, record: Record) -> Unable | None:
        """Unable with the user's words: a bucket that is gone. What is only away for now is an exception, and tried again."""
        written = await asyncio.to_thread(
            card_pages.pages, command.name, command.version, command.status, command.content
        )
        where = parse_uri(command.uri)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "card.pdf")
            await asyncio.to_thread(path.write_bytes, written)
            try:
                store = self._artifacts.of(record.scope.account)
                await store.store_file(str(path), where.bucket, where.key, "application/pdf")
            except Unavailable:
                raise
            except ClaryError as error:
                log.warning("%s: %s", record.arn, error.message)
                return Unable(error.message)
        return None

    def absorb(self, record: Record, outcomes: Sequence[tuple[Export, Unable | None]]) -> Record:
        for _, outcome in outcomes:
            record = cards.ended(record, outcome.why if outcome is not None else "", self._clock.now())
        return record
