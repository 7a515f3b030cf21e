"""A front on real sockets: requests, answers, refusals, batching, deadlines, crashes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clary.toolkit import frames
from tests.serving.fakes import ACCOUNT, Bench, call, echo, replica, route, signed, until, variant


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        yield bench


async def test_a_prediction_goes_through(bench: Bench) -> None:
    await bench.put(route(variant("AllTraffic", 1, replica("r1"))))
    fake = await bench.replica("r1")
    answer = await bench.invoke(b"1,2,3", Accept="text/csv")
    assert answer.status == 200
    assert answer.body == b"1,2,3"
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
    assert len(answer.headers["x-amzn-requestid"]) == 36
    [[request]] = fake.seen
    assert (request.content_type, request.accept) == ("text/csv", "text/csv")
