"""What is done for a feature group, and when (`domain/features/life.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.domain.features.test_groups import REQUEST

from clary.domain.decisions import Decision, Unable
from clary.domain.features import life
from clary.domain.features.life import FLUSH_AFTER, FLUSH_LINES, TRY_AGAIN, Clear, Close, Flush, Make, SeenGroup
from clary.domain.resources import Record, Scope


def group(status: str = "Created", **document: Any) -> Record:
    told = {"request": REQUEST, "key": "k", "offline_status": "Active", **document}
    return Record("feature-group", Scope("000000000000", "us-east-1"), "g", "arn:g", status, 1.0, 1.0, told)


def test_a_new_group_is_made_and_says_when_it_cannot_be() -> None:
    new = group("Creating")
    assert life.decide(new, SeenGroup(), 5.0) == Decision(new, (Make(),))
    made = life.absorb(new, [(Make(), None)], 6.0)
    assert (made.status, made.modified) == ("Created", 6.0)
    failed = life.absorb(new, [(Make(), Unable("no bucket"))], 6.0)
    assert (failed.status, failed.document["failure"]) == ("CreateFailed", "no bucket")


def test_history_is_written_when_it_has_waited_or_is_much() -> None:
    there = group()
    assert life.decide(there, SeenGroup(), 5.0) == Decision(there)
    early = life.decide(there, SeenGroup(1, 4.0), 5.0)
    assert (early.commands, early.again) == ((), FLUSH_AFTER - 1.0)
    assert life.decide(there, SeenGroup(1, 5.0 - FLUSH_AFTER), 5.0).commands == (Flush(),)
    assert life.decide(there, SeenGroup(FLUSH_LINES, 5.0), 5.0).commands == (Flush(),)
    assert life.decide(there, SeenGroup(FLUSH_LINES + 1, 5.0), 5.0).again == 0.0


def test_a_write_that_fails_blocks_until_one_succeeds() -> None:
    blocked = life.absorb(group(), [(Flush(), Unable("no bucket"))], 10.0)
    assert blocked.document["offline_status"] == "Blocked"
    assert blocked.document["blocked"] == "no bucket"
    waits = life.decide(blocked, SeenGroup(5, 0.0), 11.0)
    assert (waits.commands, waits.again) == ((), TRY_AGAIN - 1.0)
    assert life.decide(blocked, SeenGroup(5, 0.0), 10.0 + TRY_AGAIN).commands == (Flush(),)
    again = life.absorb(blocked, [(Flush(), None)], 50.0)
    assert again.document == group().document


def test_a_deletion_writes_what_is_left_first() -> None:
    asked = group("Deleting")
    assert life.decide(asked, SeenGroup(), 5.0) == Decision(asked, (Close(),), again=0.0)
    going = life.absorb(asked, [(Close(), None)], 5.0)
    assert life.decide(going, SeenGroup(3, 4.9), 5.0).commands == (Flush(),)
    assert life.decide(going, SeenGroup(), 5.0) == Decision(going, (Clear(),), remove=True)


def test_a_deletion_that_cannot_write_fails_and_a_second_one_gives_up() -> None:
    failed = life.absorb(group("Deleting", closed=True), [(Flush(), Unable("The bucket is gone."))], 7.0)
    assert failed.status == "DeleteFailed"
    assert "Delete the feature group again" in failed.document["failure"]
    second = replace(failed, status="Deleting")
    assert life.decide(second, SeenGroup(3, 1.0), 8.0).commands == (Clear(),)
