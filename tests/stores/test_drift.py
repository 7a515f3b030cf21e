"""What the watch keeps: a captured file and what it changed go together."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from clary.domain.errors import Unavailable
from clary.stores.drift import (
    ASKED,
    FILE,
    WINDOWS,
    AnsweredRequest,
    DriftStore,
    Joined,
    Standing,
    WatchedVariant,
    changed,
    look,
)

WHOSE = WatchedVariant("0" * 12, "us-east-1", "shop", "main")


def standing(at: float, **told: object) -> Standing:
    return Standing("config", {"watch": at}, {"seen": at, **told}, at)


def test_a_file_is_applied_with_what_it_changed(tmp_path: Path) -> None:
    store = DriftStore(tmp_path)
    assert (store.standing(WHOSE), store.applied("one")) == (None, False)
    store.save(WHOSE, "one", standing(5.0), [{"size": 0, "n": 1}])
    store.close()
    store = DriftStore(tmp_path)
    assert (store.standing(WHOSE), store.applied("one")) == (standing(5.0), True)
    store.forget(["one"])
    assert not store.applied("one")


def test_a_file_that_ends_the_process_is_counted(tmp_path: Path) -> None:
    assert [DriftStore(tmp_path).attempt("bad") for _ in range(3)] == [1, 2, 3]
    store = DriftStore(tmp_path)
    store.save(WHOSE, "bad", standing(1.0), [])
    assert store.attempt("bad") == 1


def test_others_look_at_what_is_theirs(tmp_path: Path) -> None:
    assert look(tmp_path, "0" * 12) == changed(tmp_path, 0.0) == []
    store = DriftStore(tmp_path)
    store.save(WHOSE, "one", standing(5.0, name="å\U0001f600"), [{"n": n} for n in range(4)])
    other = WatchedVariant("1" * 12, "us-east-1", "shop", "main")
    store.save(other, "two", standing(7.0), [{"n": 9}])
    [found] = look(tmp_path, "0" * 12, "us-east-1", "shop", 2)
    assert (found["variant"], found["seen"], found["name"], found["windows"]) == (
        "main",
        5.0,
        "å\U0001f600",
        [{"n": 2}, {"n": 3}],
    )
    assert look(tmp_path, "0" * 12, "eu-west-1") == look(tmp_path, "0" * 12, endpoint="else") == []
    assert changed(tmp_path, 5.0) == [(other, 7.0, {"seen": 7.0})]


def test_windows_are_bounded(tmp_path: Path) -> None:
    store = DriftStore(tmp_path)
    store.save(WHOSE, "one", standing(1.0), [{"n": n} for n in range(WINDOWS + 7)])
    [found] = look(tmp_path, "0" * 12, windows=WINDOWS + 100)
    assert [found["windows"][0], len(found["windows"])] == [{"n": 7}, WINDOWS]


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(Unavailable, match="the store of drift"):
        DriftStore(tmp_path)
    with pytest.raises(Unavailable, match="the store of drift"):
        look(tmp_path, "0" * 12)


def test_nothing_is_saved_in_part(tmp_path: Path) -> None:
    store = DriftStore(tmp_path)
    with pytest.raises(TypeError):
        store.save(WHOSE, "one", standing(1.0), [{"n": object()}])
    assert (store.standing(WHOSE), store.applied("one")) == (None, False)
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("select count(*) from windows").fetchone() == (0,)


def test_rows_of_a_request_stay_until_its_label_comes_and_are_bounded(tmp_path: Path) -> None:
    store = DriftStore(tmp_path)
    one = AnsweredRequest("one", "main", "config", 1.0, [1.0], rows=[{"input.0": 7.0}])
    two = replace(one, id="two", rows=())
    store.save(WHOSE, "file", standing(1.0), [], Joined([one, two]))
    assert store.answered(WHOSE, ["one", "two", "three"]) == {"one": one, "two": two}
    store.save_labels(WHOSE, "labels", Joined([replace(one, label=[1.0])]), 2.0)
    assert store.answered(WHOSE, ["one"]) == {"one": replace(one, label=[1.0], rows=())}
    more = [replace(one, id=f"r{number}") for number in range(ASKED + 1)]
    store.save(WHOSE, "more", standing(3.0), [], Joined(more))
    found = store.answered(WHOSE, ["r0", f"r{ASKED}"])
    assert [each.rows for each in found.values()] == [(), [{"input.0": 7.0}]]
