from __future__ import annotations

import pytest

from clary.testing.runtimes import SKLEARN, Buildable, MemoryRuntimes, RuntimesConformance


class TestMemory(RuntimesConformance):
    @pytest.fixture
    async def buildable(self) -> Buildable:
        runtimes = MemoryRuntimes()
        runtimes.broken["nowhere==1"] = "No solution found."
        return Buildable(runtimes, SKLEARN, ("one==1", "two==1"), "nowhere==1")
