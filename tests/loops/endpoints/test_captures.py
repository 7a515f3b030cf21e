"""What fronts captured goes into S3, once, or its loss is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clary.domain.errors import Unavailable
from clary.domain.resources import Scope
from clary.loops.endpoints.captures import CapturedFiles
from clary.testing.clock import FakeClock
from clary.testing.logs import MemoryLogs
from clary.testing.memory_artifacts import MemoryArtifacts

SCOPE = Scope("000000000000", "us-east-1")


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "0" / "captures"
        self.folder.mkdir(parents=True)
        self.artifacts, self.logs = MemoryArtifacts({"kept": {}}), MemoryLogs()
        self.inbox = folder / "inbox"
        self.files = CapturedFiles(folder, self.artifacts, self.logs, FakeClock(), self.inbox, most=100)

    def left(self, name: str = "one", bucket: str = "kept") -> None:
        (self.folder / f"{name}.jsonl").write_text('{"record": 1}\n')
        told = {"account": SCOPE.account, "region": SCOPE.region, "endpoint": "iris", "variant": "main"}
        (self.folder / f"{name}.where").write_text(json.dumps({**told, "bucket": bucket, "key": f"here/{name}.jsonl"}))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_a_file_is_stored_and_goes(house: House) -> None:
    house.left("one")
    house.left("two")
    await house.files.turn()
    assert house.artifacts.buckets["kept"] == {f"here/{name}.jsonl": b'{"record": 1}\n' for name in ("one", "two")}
    assert list(house.folder.iterdir()) == []


async def test_records_that_are_not_whole_yet_wait(house: House) -> None:
    house.left()
    (house.folder / "one.where").unlink()
    await house.files.turn()
    assert house.artifacts.buckets["kept"] == {}
    assert [path.name for path in house.folder.iterdir()] == ["one.jsonl"]


async def test_a_destination_that_cannot_take_it_costs_the_records_and_is_told(house: House) -> None:
    house.left(bucket="nowhere")
    house.left("other")
    await house.files.turn()
    [line] = house.logs.tail(SCOPE, "/aws/sagemaker/Endpoints/iris", "main/data-log", 5)
    assert "s3://nowhere/here/one.jsonl" in line
    assert "bucket does not exist" in line
    assert list(house.artifacts.buckets["kept"]) == ["here/other.jsonl"]
    assert list(house.folder.iterdir()) == []


async def test_anothers_bucket_takes_nothing(house: House) -> None:
    house.artifacts.owners["kept"] = "111111111111"
    house.left()
    await house.files.turn()
    assert house.artifacts.buckets["kept"] == {}


async def test_a_store_that_is_away_is_asked_again(tmp_path: Path) -> None:
    class Away(MemoryArtifacts):
        away = True

        def of(self, account: str) -> MemoryArtifacts:
            if self.away:
                raise Unavailable("restarting")
            return super().of(account)

    house = House(tmp_path)
    away = Away({"kept": {}})
    house.files = CapturedFiles(tmp_path, away, house.logs, FakeClock(), tmp_path / "inbox")
    house.left()
    with pytest.raises(Unavailable):
        await house.files.turn()
    away.away = False
    await house.files.turn()
    assert list(away.buckets["kept"]) == ["here/one.jsonl"]


async def test_what_a_power_cut_left_empty_holds_up_nothing(house: House) -> None:
    (house.folder / "a.where").touch()
    house.left()
    await house.files.turn()
    assert list(house.artifacts.buckets["kept"]) == ["here/one.jsonl"]
    assert list(house.folder.iterdir()) == []


async def test_what_is_stored_goes_to_the_watch_for_drift(house: House) -> None:
    house.left()
    await house.files.turn()
    assert sorted(path.name for path in house.inbox.iterdir()) == ["one.jsonl", "one.where"]


async def test_a_hand_over_that_was_cut_off_is_finished_without_storing_again(house: House) -> None:
    house.left()
    house.inbox.mkdir()
    (house.folder / "one.jsonl").rename(house.inbox / "one.jsonl")
    await house.files.turn()
    assert house.artifacts.buckets["kept"] == {}
    assert sorted(path.name for path in house.inbox.iterdir()) == ["one.jsonl", "one.where"]
    assert list(house.folder.iterdir()) == []


async def test_a_watch_that_is_behind_costs_no_stored_record(house: House) -> None:
    house.inbox.mkdir()
    (house.inbox / "before.jsonl").write_text("x" * 95)
    house.left()
    await house.files.turn()
    assert list(house.artifacts.buckets["kept"]) == ["here/one.jsonl"]
    assert [path.name for path in house.inbox.iterdir()] == ["before.jsonl"]
    assert (list(house.folder.iterdir()), house.files.left_out) == ([], 1)
