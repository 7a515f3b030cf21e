"""The loop of drift: a process while data waits, each finding told once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from clary.domain.metrics.datapoints import Series
from clary.domain.resources import Scope
from clary.loops.monitoring.drift import DriftWatch, Told
from clary.stores.datapoints import FileDatapoints

SCOPE = Scope("0" * 12, "us-east-1")
SERIES = Series.of("Clary/Drift", "RowsWatched", {"EndpointName": "shop", "VariantName": "main"})


def told(at: float, seen: int) -> Told:
    return Told(SCOPE, "shop", "main", at, {"seen": seen, "phase": "takes its reference", "current": None})


def sums(datapoints: FileDatapoints) -> list[tuple[float, float]]:
    return [(at, each.total) for at, each in datapoints.get(SCOPE, SERIES, 0.0, 1e9, 1)]


async def test_each_finding_is_told_once_also_by_a_successor(tmp_path: Path) -> None:
    findings = [told(1000.5, 3), told(1002.5, 7)]

    def changed(since: float) -> Sequence[Told]:
        return [each for each in findings if each.at > since]

    datapoints = FileDatapoints(tmp_path / "datapoints")
    for _ in range(2):
        await DriftWatch(tmp_path, "json.tool", changed, datapoints).turn()
    assert sums(datapoints) == [(1000.0, 3.0), (1002.0, 7.0)]
    findings.append(told(1004.5, 9))
    await DriftWatch(tmp_path, "json.tool", changed, datapoints).turn()
    assert sums(datapoints)[2:] == [(1004.0, 9.0)]


async def test_the_process_runs_while_data_waits_and_again_after_its_end(tmp_path: Path) -> None:
    watch = DriftWatch(tmp_path, "clary.app.drift_process", lambda _: [], FileDatapoints(tmp_path / "datapoints"))
    await watch.turn()
    assert watch.pid is None
    (tmp_path / "inbox").mkdir()
    waits = tmp_path / "inbox" / "one.where"
    running = asyncio.create_task(watch.run())
    try:
        for _ in range(2):
            waits.write_text("{}")
            async with asyncio.timeout(20):
                while waits.exists() or watch.pid is None:
                    await asyncio.sleep(0.02)
            os.kill(watch.pid, signal.SIGKILL)
            async with asyncio.timeout(20):
                while watch.pid is not None:
                    await asyncio.sleep(0.02)
        waits.write_text("{}")
        async with asyncio.timeout(20):
            while watch.pid is None:
                await asyncio.sleep(0.02)
        last = watch.pid
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not Path(f"/proc/{last}").exists()
