"""Export jobs of model cards: written, written again, or failed in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.errors import ClaryError, Denied, Unavailable
from clary.domain.registry import cards
from clary.domain.resources import Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.registry.exports import ExportSubject
from clary.testing.clock import FakeClock
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "eu-west-1")
ARN = "arn:aws:sagemaker:eu-west-1:000000000000:model-card/c/export-job/j"


def job() -> Record:
    document = {
        "request": {"OutputConfig": {"S3OutputPath": "s3://b/out"}},
        "card": "c",
        "id": "id",
        "version": 1,
        "card_status": "Draft",
        "content": '{"intended_uses": {"intended_uses": "u"}}',
        "job": "j",
    }
    return Record(cards.EXPORT, SCOPE, "c/export-job/j", ARN, cards.IN_PROGRESS, 1.0, 1.0, document)


class Faulty(MemoryArtifacts):
    """Raises this once."""

    error: ClaryError | None = None

    def of(self, account: str) -> Faulty:
        return self

    async def store_file(self, *given: Any, **more: Any) -> str:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return await super().store_file(*given, **more)


class Press:
    def __init__(self) -> None:
        self.artifacts = Faulty({"b": {}}, SCOPE.account)
        self.store, self.clock = MemoryStore(), FakeClock()
        self.loop = Loop(ExportSubject(self.artifacts, self.clock), self.store, self.clock, "owner")

    async def turn(self) -> Record:
        await self.loop.turn(ARN)
        record = await self.store.by_arn(ARN)
        assert record is not None
        return record


async def test_a_job_writes_its_file_and_completes() -> None:
    press = Press()
    made = await press.store.add(job())
    assert (await press.turn()).status == cards.COMPLETED
    written = press.artifacts.buckets["b"]["out/c/1/j.pdf"]
    assert written.startswith(b"%PDF")
    assert press.artifacts.types["b", "out/c/1/j.pdf"] == "application/pdf"
    # Killed before its save: the next process writes the same.
    again = await press.store.by_arn(ARN)
    assert again is not None
    await press.store.save(replace(made, version=again.version))
    assert (await press.turn()).status == cards.COMPLETED
    assert press.artifacts.buckets["b"]["out/c/1/j.pdf"] == written


async def test_what_will_not_go_away_fails_the_job_in_words() -> None:
    press = Press()
    await press.store.add(job())
    press.artifacts.error = Denied("the bucket is another's")
    ended = await press.turn()
    assert (ended.status, ended.document["failure"]) == (cards.FAILED, "the bucket is another's")


async def test_what_is_away_for_now_is_tried_again() -> None:
    press = Press()
    await press.store.add(job())
    press.artifacts.error = Unavailable("the object store restarts")
    with pytest.raises(Unavailable):
        await press.turn()
    assert (await press.turn()).status == cards.COMPLETED
