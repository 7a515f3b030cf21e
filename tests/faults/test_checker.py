"""The checker of histories: what is legal passes, and every forged loss, double and leap is caught."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from tests.faults.checker import check, reachable
from tests.faults.history import (
    DEFAULT,
    FAILED_CALL,
    OK,
    RAW,
    REFUSED,
    UNKNOWN,
    Answered,
    Counted,
    Event,
    Failed,
    Fault,
    History,
    Issued,
    Listed,
    Ran,
    Read,
    Seen,
    Write,
    Wrong,
    parse,
)
from tests.faults.plan import CLOCK, FULL, KILLS, PAUSES, SLOW, acts
from tests.faults.tally import NONE, Row, rows, table

from clary.domain import lifecycle


def found(*events: Event) -> list[str]:
    history = History(list(events))
    assert parse(history.lines()).events == history.events, "a history is read as it was written"
    return [violation.rule for violation in check(history)]


def put(key: str, value: str | None, at: float, outcome: str = OK, fresh: bool = False) -> Write:
    return Write(key, value, at, at + 0.5, outcome, fresh)


LEGAL: list[Event] = [
    put("k", "1", 1),
    Read("k", "1", 2, 2.1),
    put("k", "2", 3, UNKNOWN),
    Read("k", "1", 4, 4.1),  # it was not done
    Read("k", "2", 5, 5.1),  # or it was, and only later
    put("k", "3", 6),
    Read("k", "3", 7, 7.1),
    put("k", None, 8),
    Read("k", None, 9, 9.1),
    put("k", "4", 10, REFUSED),
    Read("k", None, 11, 11.1),
    put("config/c", "1", 1, fresh=True),
    put("config/c", "2", 2, REFUSED, fresh=True),
    Listed("config/", ("config/c",), 3, 3.1),
    put("config/c", None, 4),
    put("config/c", "3", 5, fresh=True),
    Issued("output", "a", "1"),
    Issued("output", "b", "2"),
    Seen("job", "j", "InProgress", 1),
    Seen("job", "j", "Completed", 2),
    Ran("j", "Completed", ("begun", "done"), True),
    Ran("killed", "Failed", ("begun",), False, "its run was lost"),
    Fault("kill job", 1.0, 1.1, "killed"),
    Fault("kill control", 1.0, 9.0, room=2.0),
    Fault("kill clary up", 1.0, 9.0),
    Fault("pause control", 1.0, 6.0, lasted=3.0),
    Seen("endpoint", "e", "InService", 1),
    Seen("endpoint", "e", "Updating", 2),
    Seen("endpoint", "e", "InService", 3),
    Answered("1", OK, ("1",)),
    Answered("2", UNKNOWN, ()),
    Answered("3", UNKNOWN, ("3",)),
    Counted("replicas", 2, 2),
    Failed(RAW, "PutObject", 503, 1, 1.1),
]


def test_a_history_that_may_be_is_accepted() -> None:
    assert found(*LEGAL) == []


@pytest.mark.parametrize(
    ("forged", "rule"),
    [
        ([Read("k", None, 7.2, 7.3)], "lost"),
        ([Read("k", "1", 7.2, 7.3)], "wrong content"),
        ([Read("k", "4", 12, 12.1)], "wrong content"),
        ([Read("k", "3", 12, 12.1)], "wrong content"),
        ([Read("nobody", "1", 12, 12.1)], "wrong content"),
        ([Listed("config/", (), 3, 3.1)], "lost"),
        ([Listed("config/", ("config/c", "config/c"), 3, 3.1)], "doubled"),
        ([Listed("config/", ("config/c",), 4.6, 4.7)], "risen"),
        ([put("config/c", "4", 6, fresh=True)], "doubled"),
        ([Issued("output", "a", "3")], "doubled id"),
        ([Seen("job", "j", "InProgress", 3)], "status"),
        ([Seen("job", "j", "Failed", 3)], "status"),
        ([Seen("endpoint", "e", "Creating", 4)], "status"),
        ([Seen("endpoint", "e", "Failed", 4, "no room")], "status"),
        ([Seen("endpoint", "f", "Failed", 4, "no room")], "failed"),
        ([Ran("j", "Completed", ("begun", "begun", "done"), True)], "doubled"),
        ([Ran("j", "Completed", ("begun",), True)], "lost"),
        ([Ran("j", "Completed", ("begun", "done"), False)], "lost"),
        ([Ran("j", "Failed", ("begun",), False, "no reason")], "failed"),
        ([Ran("killed", "Failed", ("begun", "begun"), False)], "doubled"),
        ([Answered("4", OK, ())], "lost"),
        ([Answered("4", OK, ("4", "4"))], "doubled"),
        ([Answered("4", UNKNOWN, ("4", "4"))], "doubled"),
        ([Answered("4", OK, ("5",))], "wrong content"),
        ([Answered("4", OK, (FAILED_CALL,))], "failed"),
        ([Answered("4", OK, ("4", FAILED_CALL))], "doubled"),
        ([Counted("replicas", 2, 3)], "doubled"),
        ([Counted("replicas", 2, 1)], "lost"),
        ([Wrong(DEFAULT, "InvokeEndpoint", "another's answer", 3)], "wrong"),
        ([Fault("kill control", 5, None)], "no recovery"),
        ([Fault("kill control", 5, 10.5)], "slow"),
        ([Fault("pause control", 5, 14.0, lasted=3.0)], "slow"),
        ([Fault("kill control", 5, 16.0, room=2.0)], "slow"),
    ],
)
def test_what_is_forged_is_caught(forged: list[Event], rule: str) -> None:
    assert rule in found(*LEGAL, *forged)


def test_what_an_unanswered_write_wrote_may_come_late_but_nothing_else_may() -> None:
    events = [put("k", "1", 1), put("k", "2", 2, UNKNOWN), put("k", "3", 3)]
    assert found(*events, Read("k", "2", 4, 4.1)) == []
    assert found(*events, Read("k", "1", 4, 4.1)) == ["wrong content"]
    under_way = Write("k", "5", 4, 6, OK)
    assert found(*events, under_way, Read("k", "3", 5, 5.1), Read("k", "5", 5, 5.1)) == []


def test_a_job_may_fail_while_the_disk_is_full_and_not_long_after() -> None:
    full = Fault("full disk", 10.0, 14.0, lasted=3.0)
    failed = Ran("j", "Failed", (), False, "no space left")
    assert found(full, Seen("job", "j", "InProgress", 12), failed) == []
    assert found(full, Seen("job", "j", "InProgress", 60), failed) == ["failed"]
    quiet = Ran("j", "Completed", ("done",), True)
    assert found(full, Seen("job", "j", "InProgress", 12), quiet) == []
    assert found(full, Seen("job", "j", "InProgress", 60), quiet) == ["lost"]


def test_reachable_follows_the_lifecycle_to_its_end() -> None:
    jobs = reachable(lifecycle.JOB)
    assert jobs["Completed"] == {"Completed", "Deleting"}
    assert "Failed" in jobs["Stopping"]
    assert "InProgress" not in jobs["Stopping"]


def test_failures_are_counted_with_the_fault_that_was_under_way() -> None:
    history = History(
        [
            Failed(RAW, "x", 503, 0.0, 0.5),  # before all of them
            Fault("kill control", 1.0, 3.0),
            Failed(RAW, "x", 0, 0.9, 1.5),
            Failed(DEFAULT, "x", 503, 2.0, 2.5),
            Failed(RAW, "x", 503, 8.0, 9.0),  # long after
            Fault("kill control", 10.0, 11.0),
            Fault("pause front", 20.0, 22.5, lasted=2.0),
            Failed(RAW, "x", 503, 21.0, 21.5),
        ]
    )
    assert rows(history) == [
        Row("kill control", 2, 1, 1, 1.5, 2.0),
        Row("pause front", 1, 1, 0, 0.5, 0.5),
        Row(NONE, 0, 2, 0, 0.0, 0.0),
    ]
    assert "| kill control | 2 | 1 | 1 | 1.50 s | 2.00 s |" in table(rows(history))


def test_a_seed_says_what_is_done() -> None:
    every = (CLOCK, SLOW, FULL)
    first = list(islice(acts(7, every), 400))
    assert first == list(islice(acts(7, every), 400))
    assert first != list(islice(acts(8, every), 400))
    kinds = {act.kind for act in first}
    assert {f"kill {whom}" for whom in KILLS} | {f"pause {whom}" for whom in PAUSES} | set(every) == kinds
    assert 0.7 < sum(act.kills for act in first) / len(first) < 0.95
    assert not {CLOCK, SLOW, FULL} & {act.kind for act in islice(acts(7), 400)}
    assert replace(first[0], pause=0.0) != first[1]
