from __future__ import annotations

import json
from pathlib import Path

import pytest

from clary.domain.endpoints import topics as domain
from clary.domain.resources import Query, Record, Scope
from clary.stores.sql import SqlStore, open_store
from clary.stores.topics import StoredTopics
from clary.testing.topics import ACCOUNT, TOPIC, MemoryTopics, TopicsConformance

SCOPE = Scope(ACCOUNT, "us-east-1")


class TestStoredTopics(TopicsConformance):
    @pytest.fixture
    async def topics(self, tmp_path: Path) -> StoredTopics:
        self.store: SqlStore = open_store(f"sqlite:///{tmp_path / 'records.db'}")
        await self.store.add(Record(domain.TOPIC, SCOPE, "news", TOPIC, "", 1.0, 1.0, {"attributes": {}}))
        for name, topic in (("one", TOPIC), ("two", TOPIC), ("other", f"{TOPIC}2")):
            document = {"topic": topic, "protocol": "s3", "endpoint": "s3://b", "attributes": {}}
            await self.store.add(Record(domain.SUBSCRIPTION, SCOPE, name, f"arn:{name}", "", 1.0, 1.0, document))
        return StoredTopics(self.store)

    async def told(self) -> list[str]:
        found = await self.store.page(Query(domain.DELIVERY, SCOPE, limit=100))
        return [json.loads(record.document["body"])["Message"] for record in found]


class TestMemoryTopics(TopicsConformance):
    @pytest.fixture
    def topics(self) -> MemoryTopics:
        self.memory = MemoryTopics({TOPIC: 2})
        return self.memory

    async def told(self) -> list[str]:
        return [message for told in self.memory.told.values() for message, _ in told.values() for _ in range(2)]
