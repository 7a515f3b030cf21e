"""Files of labels on their way to the process: each once, also late ones, also after a restart."""

from __future__ import annotations

import json
from pathlib import Path

from clary.domain.resources import Scope
from clary.loops.monitoring.labels import ALL, LARGEST, LabelFiles, LabelledEndpoint
from clary.testing.clock import FakeClock
from clary.testing.memory_artifacts import MemoryArtifacts

SCOPE = Scope("0" * 12, "us-east-1")
SHOP = LabelledEndpoint(SCOPE, "shop", "s3://data/captured/ground-truth/shop")
HOUR = "captured/ground-truth/shop/2027/01/15/08"
LATE = "captured/ground-truth/shop/2026/12/01/00"


class House:
    def __init__(self, folder: Path) -> None:
        self.inbox, self.clock = folder / "inbox", FakeClock()
        self.artifacts = MemoryArtifacts({"data": {}}, SCOPE.account)
        self.endpoints = [SHOP]
        self.files = self.another(set())

    def another(self, taken: set[str]) -> LabelFiles:
        return LabelFiles(self.inbox, self.artifacts, self.clock, lambda: self.endpoints, lambda: taken)

    def put(self, key: str, body: bytes = b"{}") -> None:
        self.artifacts.buckets["data"][key] = body

    def handed(self) -> list[str]:
        return sorted(json.loads(path.read_text())["truths"] for path in self.inbox.glob("*.where"))


async def test_labels_of_this_hour_and_the_one_before_come_at_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.files.turn()
    house.put(f"{HOUR}/one.jsonl")
    house.put("captured/ground-truth/shop/2027/01/15/07/two.jsonl")
    await house.files.turn()
    assert [each.rpartition("/")[2] for each in house.handed()] == ["two.jsonl", "one.jsonl"]
    [path] = [each for each in house.inbox.glob("*.where") if "one.jsonl" in each.read_text()]
    assert path.with_suffix(".jsonl").read_bytes() == b"{}"


async def test_late_ones_come_within_a_minute(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.files.turn()
    house.put(f"{LATE}/late.jsonl")
    await house.files.turn()
    assert house.handed() == []
    house.clock.advance(ALL)
    await house.files.turn()
    assert house.handed() == [f"s3://data/{LATE}/late.jsonl"]


async def test_each_comes_once_also_after_a_restart_and_again_when_it_was_written_anew(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.put(f"{HOUR}/one.jsonl")
    await house.files.turn()
    [taken] = [path.stem for path in house.inbox.glob("*.where")]
    for path in house.inbox.iterdir():
        path.unlink()
    await house.files.turn()
    await house.another({taken}).turn()
    assert house.handed() == []
    house.put(f"{HOUR}/one.jsonl", b"{} ")
    await house.files.turn()
    assert house.handed() == [f"s3://data/{HOUR}/one.jsonl"]


async def test_one_endpoint_without_its_bucket_does_not_hold_up_another(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.endpoints = [LabelledEndpoint(SCOPE, "gone", "s3://gone/labels"), SHOP]
    house.put(f"{HOUR}/one.jsonl")
    await house.files.turn()
    assert house.handed() == [f"s3://data/{HOUR}/one.jsonl"]


async def test_one_that_is_too_large_does_not_hold_up_another(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.put(f"{HOUR}/a.jsonl", bytes(LARGEST + 1))
    house.put(f"{HOUR}/b.jsonl")
    await house.files.turn()
    assert house.handed() == [f"s3://data/{HOUR}/b.jsonl"]
