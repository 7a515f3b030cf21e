"""The inbox of captured files: counted once, whatever happens in the middle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clary.app.drift_process import ATTEMPTS, Inbox
from clary.domain.endpoints.capture import Exchange, Side, line
from clary.stores.drift import DriftStore, look

CONFIG: dict[str, Any] = {
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}
ACCOUNT = "0" * 12


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "inbox").mkdir()
        self.store = DriftStore(folder)
        self.inbox = Inbox(folder / "inbox", self.store)

    def file(self, name: str, rows: int = 10, *, text: str = "", at: float = 100.0, **told: str) -> None:
        body = "\n".join(f"{n}.5" for n in range(rows)).encode()
        exchange = Exchange(name, at, Side("text/csv", body), Side("text/csv", body))
        where = self.folder / "inbox" / f"{name}.where"
        where.with_suffix(".jsonl").write_text(text or line(CONFIG, exchange) + "\n")
        whose = {"account": ACCOUNT, "region": "us-east-1", "endpoint": "shop", "variant": "main", "config": "first"}
        where.write_text(json.dumps({**whose, "drift": "reference=100 window=50", **told}))
        os.utime(where, (at, at))

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "inbox").iterdir())

    def told(self) -> dict[str, Any]:
        [told] = look(self.folder, ACCOUNT, windows=50)
        return told


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_files_are_counted_and_go(house: House) -> None:
    house.file("one")
    house.file("two", rows=5)
    assert house.inbox.turn() == 2
    assert house.told()["seen"] == 15
    assert house.left() == []
    assert house.inbox.turn() == 0


def test_windows_are_judged_as_they_fill(house: House) -> None:
    for number in range(14):
        house.file(f"f{number}", rows=100, at=100.0 + number)
    house.inbox.turn()
    told = house.told()
    assert (told["phase"], told["seen"]) == ("", 1400)
    assert [each["size"] for each in told["windows"]][:5] == [0, 0, 1, 0, 0]
    assert told["windows"][2]["columns"]["output.0"][0] == 0.0


def test_one_that_was_counted_is_not_counted_again(house: House) -> None:
    house.file("one")
    house.inbox.turn()
    house.file("one")
    house.store._db.execute("insert into applied values ('one', 1)")  # killed between the count and the removal
    house.inbox.turn()
    assert house.told()["seen"] == 10
    assert house.left() == []


def test_a_file_that_ended_the_process_thrice_is_left_out(house: House) -> None:
    house.file("bad")
    for _ in range(ATTEMPTS):
        house.store.attempt("bad")
    house.inbox.turn()
    assert (look(house.folder, ACCOUNT), house.left()) == ([], [])


def test_torn_lines_are_told_of_and_cost_no_other(house: House) -> None:
    house.file("whole")
    good = (house.folder / "inbox" / "whole.jsonl").read_text()
    house.file("torn", text=good + good[:40] + "\n\xff\n" + good, at=200.0)
    house.inbox.turn()
    told = house.told()
    assert (told["seen"], told["unread"]) == (30, 2)
    assert "a captured line cannot be read" in told["why"]


@pytest.mark.parametrize("where", ["", "{}", "[]", '{"account": 1}'])
def test_what_a_power_cut_left_is_removed(house: House, where: str) -> None:
    house.file("one")
    (house.folder / "inbox" / "one.where").write_text(where)
    house.inbox.turn()
    assert (look(house.folder, ACCOUNT), house.left()) == ([], [])


def test_another_config_begins_anew(house: House) -> None:
    house.file("one")
    house.file("two", config="second", at=200.0)
    house.inbox.turn()
    assert (house.told()["seen"], house.told()["config"]) == (10, "second")
