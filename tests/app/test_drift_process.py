"""The inbox of captured files: counted once, whatever happens in the middle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clary.app.drift_process import ATTEMPTS, Inbox
from clary.domain.endpoints.capture import Exchange, Side, line
from clary.domain.monitoring.labels import lines
from clary.stores.drift import DriftStore, WatchedVariant, look, taken

CONFIG: dict[str, Any] = {
    "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}
ACCOUNT = "0" * 12
WHOSE = WatchedVariant(ACCOUNT, "us-east-1", "shop", "main")


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


# -- labels --------------------------------------------------------------------------------------------------------------------------------


def ask(house: House, name: str, answer: str, *, inference: str = "", config: str = "first") -> None:
    exchange = Exchange(name, 100.0, Side("text/csv", b"1"), Side("text/csv", answer.encode()), inference)
    house.file(
        name, text=line(CONFIG, exchange) + "\n", config=config, labels="reference=50 window=20 problem=classification"
    )


def label(house: House, name: str, given: dict[str, str], *, text: str = "") -> None:
    where = house.folder / "inbox" / f"{name}.where"
    where.with_suffix(".jsonl").write_text(text or lines(given))
    whose = {"account": ACCOUNT, "region": "us-east-1", "endpoint": "shop", "truths": f"s3://labels/{name}"}
    where.write_text(json.dumps(whose))


def labels_of(house: House) -> dict[str, Any]:
    found: dict[str, Any] = house.told()["labels"]
    return found


def test_labels_are_joined_by_inference_id_else_by_event_id(house: House) -> None:
    ask(house, "one", "a", inference="order-1")
    ask(house, "two", "b")
    house.inbox.turn()
    label(house, "labels-1", {"order-1": "a", "two": "a", "one": "b", "nobody": "a"})
    house.inbox.turn()
    told = labels_of(house)
    assert (told["joined"], told["conflicts"]) == (2, 0)
    assert told["reference"]["accuracy"] == 0.5
    assert house.left() == []


def test_labels_that_come_before_their_request_wait_for_it(house: House) -> None:
    ask(house, "zero", "a")
    house.inbox.turn()
    label(house, "labels-1", {"one": "a"})
    house.inbox.turn()
    assert labels_of(house)["joined"] == 0
    ask(house, "one", "a")
    house.inbox.turn()
    assert labels_of(house)["joined"] == 1


def test_a_label_twice_counts_once_and_one_that_contradicts_it_is_told(house: House) -> None:
    ask(house, "one", "a")
    house.inbox.turn()
    for name, value in (("labels-1", "a"), ("labels-2", "a"), ("labels-3", "b")):
        label(house, name, {"one": value})
        house.inbox.turn()
    told = labels_of(house)
    assert (told["joined"], told["conflicts"], told["reference"]["accuracy"]) == (1, 1, 1.0)


def test_a_request_of_several_rows_has_a_label_for_each(house: House) -> None:
    ask(house, "one", "a\nb\nb")
    house.inbox.turn()
    label(house, "labels-1", {"one": "a,b,a"}, text=lines({"one": "X"}).replace("X", "a,b,a"))
    house.inbox.turn()
    assert (labels_of(house)["joined"], labels_of(house)["unmatched"]) == (3, 0)


def test_each_endpoint_config_is_judged_by_its_own_answers(house: House) -> None:
    ask(house, "one", "a")
    house.inbox.turn()
    ask(house, "two", "b", config="second")
    house.inbox.turn()
    label(house, "labels-1", {"one": "b", "two": "b"})
    house.inbox.turn()
    assert (labels_of(house)["joined"], labels_of(house)["reference"]["accuracy"]) == (1, 1.0)


def test_a_canary_that_is_worse_than_the_fleet_beside_it_is_told_whichever_answered_last(house: House) -> None:
    rule = "reference=50 window=20 problem=classification"
    for number in range(120):
        config, at = ("second" if number >= 80 and number % 2 else "first"), 100.0 + number
        answer = b"b" if config == "second" else b"a"
        exchange = Exchange(f"r{number}", at, Side("text/csv", b"1"), Side("text/csv", answer))
        house.file(f"r{number}", text=line(CONFIG, exchange) + "\n", config=config, labels=rule, at=at)
    house.inbox.turn()
    assert house.told()["worse_than_before"] is None
    label(house, "labels-1", {f"r{number}": "a" for number in range(110)})
    house.inbox.turn()
    assert house.told()["worse_than_before"] is False  # 15 rows of the newer one are not enough
    label(house, "labels-2", {f"r{number}": "a" for number in range(110, 120)})
    house.inbox.turn()
    assert house.told()["worse_than_before"] is True
    ask(house, "again", "a")
    house.inbox.turn()
    assert (house.told()["config"], house.told()["worse_than_before"]) == ("first", True)


def test_torn_labels_cost_only_themselves(house: House) -> None:
    ask(house, "one", "a")
    house.inbox.turn()
    label(house, "labels-1", {}, text='{"eventMetadata"\n' + lines({"one": "a"}) + "[]\n")
    house.inbox.turn()
    assert labels_of(house)["joined"] == 1


def test_worse_labels_are_told_without_a_change_of_the_answers(house: House) -> None:
    for part in range(8):
        for number in range(20):
            ask(house, f"r{part}-{number}", "a")
    house.inbox.turn()
    for part in range(8):
        label(house, f"labels-{part}", {f"r{part}-{number}": "a" if part < 5 else "b" for number in range(20)})
        house.inbox.turn()
    told = labels_of(house)
    assert told["since"] is not None
    assert [column["since"] for column in house.told()["columns"]] in ([], [None], [None, None])


def test_a_killed_process_takes_a_file_of_labels_once(house: House) -> None:
    ask(house, "one", "a")
    house.inbox.turn()
    label(house, "labels-1", {"one": "a"})
    house.inbox.turn()
    assert house.store.known("labels-1")
    label(house, "labels-1", {"one": "a"})
    house.inbox.turn()
    assert labels_of(house)["joined"] == 1
    assert taken(house.folder) == {"labels-1"}


# -- estimates where labels lack ---------------------------------------------------------------------------------------------------------


def predicted(house: House, name: str, asked: str, answered: str, rule: str, at: float = 100.0) -> None:
    exchange = Exchange(name, at, Side("text/csv", asked.encode()), Side("text/csv", answered.encode()))
    house.file(name, text=line(CONFIG, exchange) + "\n", labels=rule, at=at)


def test_accuracy_is_estimated_by_the_answers_own_probabilities_before_a_label_comes(house: House) -> None:
    predicted(house, "one", "1\n2\n3\n4", "0.9\n0.2\n0.6\n0.7", "problem=classification")
    house.inbox.turn()
    estimate = labels_of(house)["estimate"]
    assert (estimate["method"], estimate["calibrated"], estimate["rolling"]["rows"]) == ("CBPE", False, 4)
    assert estimate["rolling"]["accuracy"] == pytest.approx((0.9 + 0.8 + 0.6 + 0.7) / 4)
    assert labels_of(house)["joined"] == 0


def test_errors_are_learned_from_labelled_rows_and_estimated_for_others_over_a_restart(house: House) -> None:
    """Predictions are 1 off below 50 and 5 off above; half the requests are labelled after the process ended in between."""
    rule = "reference=100 window=50 problem=regression"
    rows = [(f"r{number}", number % 100) for number in range(120)]
    for number, (name, value) in enumerate(rows):
        predicted(house, name, f"{value}", f"{value}", rule, 100.0 + number)
    house.inbox.turn()
    assert labels_of(house)["estimate"]["phase"] == "learns from labelled rows: 0 of 100"
    for part in (rows[:60], rows[60:]):
        label(house, f"labels-{part[0][0]}", {name: f"{value + (5 if value >= 50 else 1)}" for name, value in part})
        house.inbox.turn()
        house.inbox = Inbox(house.folder / "inbox", DriftStore(house.folder))
    for number, value in enumerate((80, 90, 70, 95)):
        predicted(house, f"later{number}", f"{value}", f"{value}", rule, 300.0 + number)
    house.inbox.turn()
    estimate = labels_of(house)["estimate"]
    assert (estimate["method"], estimate["phase"], estimate["rolling"]["rows"]) == ("DLE", "", 4)
    assert estimate["rolling"]["mae"] == pytest.approx(5.0, abs=0.3)
    assert estimate["rolling"]["rmse"] == pytest.approx(5.0, abs=0.3)


def test_an_older_clarys_standing_goes_on_with_an_estimate(house: House) -> None:
    predicted(house, "one", "1", "0.9", "problem=classification")
    house.inbox.turn()
    [state] = house.store.qualities(WHOSE).values()
    del state["estimate"]
    house.store._db.execute("update quality set state = ?", (json.dumps(state),))
    predicted(house, "two", "1", "0.7", "problem=classification", 200.0)
    house.inbox.turn()
    assert labels_of(house)["estimate"]["rolling"]["rows"] == 1
