"""The measure of what a latency objective costs decides and saves as the loop does."""

from __future__ import annotations

from pathlib import Path

from benchmarks.objectives import costs

from clary.domain.resources import Scope
from clary.domain.scaling.decisions import parse
from clary.stores.logs import FileLogs


async def test_it_measures_turns_that_decide(tmp_path: Path) -> None:
    took = await costs(tmp_path, 2, 5)
    assert len(took) == 5
    assert min(took) > 0.0
    page = FileLogs(tmp_path / "logs").page(Scope("000000000000", "us-east-1"), "/clary/Scaling/e1", "v", limit=100)
    events = [parse(event.message) for event in page.events]
    assert any(event is not None and event.won != "stale" for event in events)
