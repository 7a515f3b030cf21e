from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from clary.testing.store import MemoryStore
from clary.testing.stores import StoreConformance


class TestMemory(StoreConformance):
    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryStore]:
        store = MemoryStore()
        yield store
        await store.close()
