"""Captured requests and labels become data: which rows, on which side, with which weight."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit.failure import UserError
from clary.toolkit.retraining.collecting import Collection, run


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0

    def ask(self, rows: list[str], labels: str, *, minute: int = 0, encoding: str = "CSV") -> None:
        """A request of some rows, and its label."""
        self.number += 1
        id_ = f"r{self.number}"
        side = {"observedContentType": "text/csv", "data": "\n".join(rows), "encoding": "CSV"}
        metadata = {"eventId": f"e{self.number}", "inferenceId": id_, "inferenceTime": f"2026-12-03T06:{minute:02}:00Z"}
        self.write("capture", {"captureData": {"endpointInput": side}, "eventMetadata": metadata, "eventVersion": "0"})
        if labels:
            truth = {"groundTruthData": {"data": labels, "encoding": encoding}, "eventMetadata": {"eventId": id_}}
            self.write("labels", truth)

    def write(self, name: str, line: Any) -> None:
        path = self.folder / "input" / name / "a" / "data.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")

    def many(self, count: int, **more: Any) -> None:
        for number in range(count):
            self.ask([f"{number},2"], str(number % 2), **more)

    def collect(self, **more: Any) -> str:
        return run(Collection(**more), str(self.folder))

    def rows(self, name: str) -> list[list[str]]:
        with (self.folder / "output" / name / "data.csv").open() as file:
            return list(csv.reader(file))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_rows_with_labels_are_divided_and_none_is_on_both_sides(house: House) -> None:
    house.many(300)
    assert house.collect().startswith("2")
    train, judged = house.rows("train"), house.rows("validation")
    assert len(train) + len(judged) == 300
    assert 70 < len(judged) < 130
    assert train[0][1] == "1"
    assert not {row[2] for row in train} & {row[1] for row in judged}
    assert house.rows("judge")[0] == ["label", "f0", "f1", "clary_part"]
    before = house.rows("judge")
    house.collect()
    assert house.rows("judge") == before


def test_a_request_of_several_rows_has_a_label_for_each(house: House) -> None:
    house.many(200)
    house.ask(["7,8", "9,10"], "1,0")
    house.ask(["7,8", "9,10"], "[1, 0]", encoding="JSON")
    house.ask(["7,8", "9,10"], "1")
    assert "rows to train on" in house.collect()
    whole = house.rows("train") + [[row[0], "1", *row[1:]] for row in house.rows("validation")]
    assert sum(row[2:] == ["9", "10"] and row[0] == "0" for row in whole) == 2


def test_only_rows_since_it_got_worse_are_taken_where_these_are_enough(house: House) -> None:
    house.many(300, minute=1)
    house.many(250, minute=30)
    since = datetime(2026, 12, 3, 6, 15, tzinfo=UTC).timestamp()
    house.collect(since=since)
    assert len(house.rows("train")) + len(house.rows("validation")) == 250
    house.collect(since=since, least=260)
    assert len(house.rows("train")) + len(house.rows("validation")) == 550


def test_after_a_second_change_only_rows_of_the_newest_world_are_taken(house: House) -> None:
    for minute in (1, 20, 40):
        house.many(250, minute=minute)
    for minute in (15, 35):
        house.collect(since=datetime(2026, 12, 3, 6, minute, tzinfo=UTC).timestamp())
        taken = len(house.rows("train")) + len(house.rows("validation"))
        assert taken == (500 if minute == 15 else 250)


def test_old_rows_count_less(house: House) -> None:
    house.many(300)
    house.collect(half_life=50)
    weights = [float(row[1]) for row in house.rows("train")]
    assert weights == sorted(weights)
    assert weights[-1] == 1.0
    assert weights[-51] == pytest.approx(0.5)


def test_the_pinned_holdout_is_judged_on_as_it_is(house: House) -> None:
    house.many(250)
    pinned = house.folder / "input" / "pinned" / "rows.csv"
    pinned.parent.mkdir()
    pinned.write_text("1,5,6\n0,7,8\n")
    house.collect()
    assert [row for row in house.rows("judge") if row[-1] == "pinned"] == [
        ["1", "5", "6", "pinned"],
        ["0", "7", "8", "pinned"],
    ]
    pinned.write_text("1,5\n")
    with pytest.raises(UserError, match="The pinned holdout has 2 columns"):
        house.collect()


def test_too_few_rows_are_no_data_with_the_coverage(house: House) -> None:
    house.many(20)
    house.ask(["1,2"], "")
    house.write("labels", "{torn")
    with pytest.raises(UserError, match=r"NO_DATA: 20 labelled rows .* \(rows: captured 21, labels 20, joined 20\)"):
        house.collect()


def test_labels_that_contradict_each_other_are_told(house: House) -> None:
    house.many(250)
    truth = {"groundTruthData": {"data": "9", "encoding": "CSV"}, "eventMetadata": {"eventId": "r1"}}
    house.write("labels", truth)
    assert "1 labels contradicted an earlier one" in house.collect()


def test_what_is_no_option_is_refused() -> None:
    with pytest.raises(UserError, match="--colour is none of --window"):
        Collection.read({"colour": "red"})
    with pytest.raises(UserError, match="--window is a number"):
        Collection.read({"window": "many"})
    assert Collection.read({"window": "10", "since": "5.5"}) == Collection(window=10, since=5.5)
