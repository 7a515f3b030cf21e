"""What puts, updates and deletions do to the online store and to the history (`domain/features/online.py`)."""

from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import Invalid, NotFound, Stale
from clary.domain.features import online
from clary.domain.features.groups import Feature, Group
from clary.domain.features.online import Change, History, Stored, Write
from clary.domain.s3 import Location

FEATURES = {"id": Feature("id", "String"), "at": Feature("at", "Fractional"), "n": Feature("n", "Integral")}
GROUP = Group("key", "people", "arn", "000000000000", "id", "at", FEATURES, "InMemory", None, Location("b", "data"))
VALUES = {"id": "a", "at": "10", "n": "1"}


def write(event: float = 10.0, now: float = 100.0, **changed: Any) -> Write:
    given: dict[str, Any] = {"values": VALUES, "ttl": None, "online": True, "offline": True, **changed}
    return Write(event=event, now=now, **given)


@pytest.mark.parametrize("before", [None, Stored(9.0, {}), Stored(10.0, {}), Stored(9.0, {}, deleted=True)])
def test_the_same_or_a_later_event_time_replaces(before: Stored | None) -> None:
    change = online.put(GROUP, before, write())
    assert (change.row, change.keeps) == (Stored(10.0, VALUES), False)
    assert change.history == History("a", 10.0, VALUES, 100.0)


@pytest.mark.parametrize("before", [Stored(11.0, {}), Stored(10.5, {}, deleted=True)])
def test_an_earlier_one_is_history_alone(before: Stored) -> None:
    assert online.put(GROUP, before, write()) == Change(keeps=True, history=History("a", 10.0, VALUES, 100.0))


def test_a_row_whose_time_is_over_stands_in_nobodys_way() -> None:
    assert online.put(GROUP, Stored(50.0, {}, expires=100.0), write()).row == Stored(10.0, VALUES)


def test_a_record_lives_for_its_time_from_its_event() -> None:
    assert online.put(GROUP, None, write(95.0, ttl=10.0)).row == Stored(95.0, VALUES, 105.0)
    late = online.put(GROUP, Stored(1.0, {}), write(ttl=10.0))
    assert (late.row, late.keeps) == (None, False)
    assert late.history is not None


def test_stores_that_are_not_meant_get_nothing() -> None:
    assert online.put(GROUP, None, write(offline=False)).history is None
    assert online.put(GROUP, None, write(online=False)).keeps


def delete(before: Stored | None, event: str = "10", hard: bool = False, to_online: bool = True) -> Change:
    return online.delete(GROUP, "a", before, event, hard, to_online, True, 100.0)


def test_a_soft_deletion_hides_and_remembers_its_event_time() -> None:
    change = delete(Stored(10.0, VALUES))
    assert change.row == Stored(10.0, {}, deleted=True)
    assert change.history == History("a", 10.0, {"id": "a", "at": "10"}, 100.0, deleted=True)
    assert online.put(GROUP, change.row, write(9.0)).keeps


def test_an_older_soft_deletion_is_a_marker_alone() -> None:
    change = delete(Stored(11.0, VALUES))
    assert (change.keeps, change.history is not None) == (True, True)


def test_a_hard_deletion_removes_and_an_older_one_is_refused() -> None:
    assert delete(Stored(10.0, VALUES), hard=True) == Change(None, history=delete(None).history)
    with pytest.raises(Invalid, match="before that of the stored record"):
        delete(Stored(10.1, VALUES), hard=True)
    assert delete(Stored(11.0, VALUES), hard=True, to_online=False).keeps


def update(before: Stored | None, ttl: float | None = None, **changed: str) -> Change:
    return online.update(GROUP, "a", before, changed, ttl, True, 100.0)


def test_an_update_changes_what_it_names() -> None:
    change = update(Stored(10.0, VALUES, expires=110.0), at="12", n="2")
    assert change.row == Stored(12.0, {"id": "a", "at": "12", "n": "2"}, 112.0)
    changed = update(Stored(99.0, {**VALUES, "at": "99"}), ttl=5.0, n="2")
    assert changed.row == Stored(99.0, {"id": "a", "at": "99", "n": "2"}, 104.0)


@pytest.mark.parametrize("before", [None, Stored(1.0, {}, deleted=True), Stored(1.0, VALUES, expires=99.0)])
def test_only_a_record_that_is_there_is_updated(before: Stored | None) -> None:
    with pytest.raises(NotFound):
        update(before, n="2")


def test_an_update_from_before_is_a_conflict() -> None:
    with pytest.raises(Stale):
        update(Stored(10.0, VALUES), at="9.5")


def test_a_time_to_live_needs_both_parts() -> None:
    assert online.ttl_seconds({"Unit": "Hours", "Value": 2}) == 7200
    assert online.ttl_seconds(None) is None
    with pytest.raises(Invalid):
        online.ttl_seconds({"Unit": "Hours"})
