"""Data capture at the front: what is chosen, and the files that it leaves for the control plane."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving.fakes import ACCOUNT, REGION, Bench, Pipe, replica, route, until, variant

from clary.domain.endpoints.capture import Exchange, Side
from clary.serving.capture import Captures, Whose
from clary.toolkit import frames

CONFIG = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://kept/here",
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as made:
        yield made


async def kept(bench: Bench) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """(where, records) of every file."""
    await bench.front.captures.flush()
    found = []
    for where in sorted((bench.folder / "routes" / "captures").glob("*.where")):
        lines = where.with_suffix(".jsonl").read_text().splitlines()
        found.append((json.loads(where.read_text()), [json.loads(line) for line in lines]))
    return found


def data(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (one["captureData"]["endpointInput"]["data"], one["captureData"]["endpointOutput"]["data"]) for one in records
    ]


async def test_every_request_with_its_answer(bench: Bench) -> None:
    await bench.put(route(variant("main", 1, replica("r1"), capture=CONFIG)))
    await bench.replica("r1")
    for n in range(3):
        await bench.invoke(b"%d" % n, X_Amzn_SageMaker_Inference_Id=f"id-{n}")
    [(where, records)] = await kept(bench)
    assert data(records) == [("0", "0"), ("1", "1"), ("2", "2")]
    assert [one["eventMetadata"]["inferenceId"] for one in records] == ["id-0", "id-1", "id-2"]
    assert (where["account"], where["region"], where["endpoint"], where["variant"]) == (ACCOUNT, REGION, "iris", "main")
    assert where["bucket"] == "kept"
    assert where["key"].startswith("here/iris/main/20")


async def test_a_quarter_is_a_quarter_and_a_new_route_changes_it(bench: Bench) -> None:
    quarter = {**CONFIG, "InitialSamplingPercentage": 25}
    await bench.put(route(variant("main", 1, replica("r1"), capture=quarter)))
    await bench.replica("r1")
    for n in range(6):
        await bench.invoke(b"%d" % n)
    # the same config in a newer route goes on where it was
    await bench.put(route(variant("main", 1, replica("r1"), capture=quarter), revision=2))
    for n in range(6, 8):
        await bench.invoke(b"%d" % n)
    [(_, records)] = await kept(bench)
    assert [asked for asked, _ in data(records)] == ["3", "7"]
    await bench.put(route(variant("main", 1, replica("r1")), revision=3))
    await bench.invoke(b"8")
    assert len(await kept(bench)) == 1


async def test_failures_and_refusals_are_not_kept(bench: Bench) -> None:
    async def fail(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        return [(each.id, 500, frames.result_meta("text/plain"), b"no") for each in batch]

    await bench.put(route(variant("main", 1, replica("r1"), capture=CONFIG)))
    await bench.replica("r1", fail)
    assert (await bench.invoke()).status == 424
    assert await kept(bench) == []


async def test_a_shadow_is_kept_under_its_own_name(bench: Bench) -> None:
    async def other(batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        return [(each.id, 200, frames.result_meta("text/csv"), b"shadow") for each in batch]

    await bench.put(
        route(
            variant("main", 1, replica("r1"), capture=CONFIG),
            variant("dark", 1, replica("r2"), capture=CONFIG, shadow_of="main", sample=1.0),
        )
    )
    await bench.replica("r1")
    await bench.replica("r2", other)
    assert (await bench.invoke(b"1")).body == b"1"
    await bench.invoke(b"2")
    await until(lambda: bench.front.captures.waiting() == 4)  # nobody waits for the copies' answers
    found = {where["variant"]: data(records) for where, records in await kept(bench)}
    assert found["main"] == [("1", "1"), ("2", "2")]
    assert found["dark"] == [("1", "shadow"), ("2", "shadow")]


async def test_an_answer_in_pieces_is_not_kept(bench: Bench) -> None:
    async def stream(request: frames.Request, pipe: Pipe) -> None:
        await pipe.begin()
        await pipe.chunk(b"piece", frames.LAST)

    await bench.put(route(variant("main", 1, replica("r1"), capture=CONFIG)))
    await bench.replica("r1", stream=stream)
    answer = await bench.stream()
    assert answer.status == 200
    assert await kept(bench) == []


async def test_what_does_not_fit_is_skipped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    captures = Captures(tmp_path, asyncio.get_running_loop(), lambda: 0.0, most=6)
    whose = Whose((ACCOUNT, REGION, "iris"), "main", json.dumps(CONFIG))
    for body in (b"12", b"34", b"5"):
        captures.add(whose, Exchange("id", 0.0, Side("text/csv", body), Side("text/csv", body)))
    await captures.flush()
    [file] = tmp_path.glob("*.jsonl")
    assert data([json.loads(line) for line in file.read_text().splitlines()]) == [("12", "12"), ("5", "5")]
    assert "1 requests were not captured" in caplog.text


async def test_what_a_killed_front_left_half_written_goes(tmp_path: Path) -> None:
    for name in ("whole.where", "whole.jsonl", "half.jsonl", "half.new"):
        (tmp_path / name).write_text("{}")
    Captures(tmp_path, asyncio.get_running_loop(), lambda: 0.0).clean()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole.jsonl", "whole.where"]
