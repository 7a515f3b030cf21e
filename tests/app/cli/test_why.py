"""`clary why`: the story that it makes of decision records."""

from __future__ import annotations

from dataclasses import replace

from clary.app.cli.history import when
from clary.app.cli.why import story
from clary.domain.scaling.decisions import FLEET, HOLD, STAFFING, Event, State, parse
from clary.domain.scaling.signals import Term

AT = 1_800_000_000.0
OUT = Event(
    at=AT,
    policy="p99",
    level=FLEET,
    won="load",
    why="Add 2, to 3 replicas: 46.00 requests a second of 100 ms need 5 workers now, at most 5 lately.",
    before=State(1, 2000, 8),
    after=State(3, 2000, 8),
    saw={"rate": 46.0, "service_ms": 100.0, "in_flight": 4, "queued": 0, "count": 1},
    candidates=(Term("surge", 2), Term("load", 3), Term("least", 1)),
    applied=True,
)
KEPT = replace(OUT, level=STAFFING, won="spare", why="Keep 3 replicas: why not.", before=OUT.after, applied=False)
INDENT = " " * 21


def test_a_decision_is_told_with_what_it_saw_wanted_and_did() -> None:
    assert story([OUT]) == [
        f"{when(AT)}  {OUT.why} [p99]",
        f"{INDENT}seen: 46 requests a second of 100 ms, 4 in work and 0 waiting, 1 replica of 2000 millicpu, 8 workers each at most",
        f"{INDENT}wanted: load 3, surge 2, least 1; chosen: load",
        f"{INDENT}done: 1 to 3 replicas",
    ]


def test_what_stays_so_is_told_once() -> None:
    again = [replace(KEPT, at=AT + 60 * n) for n in range(1, 5)]
    lines = story([OUT, *again])
    assert lines[-1] == f"{INDENT}so until {when(AT + 240)}, decided again 3 times"
    assert sum("Keep 3 replicas" in line for line in lines) == 1


def test_what_could_not_be_had_was_asked_and_not_done() -> None:
    keep = replace(
        OUT, at=AT + 0.1, level=HOLD, won="p99", why="Keep instance count at 1.", before=State(1), after=State(1)
    )
    refused = replace(keep, applied=False, refused="TargetServicePutResourceAsUnscalable")
    assert f"{INDENT}asked: 1 to 3 replicas" in story([OUT, refused])
    assert story([OUT, refused])[-1] == f"{INDENT}not done: TargetServicePutResourceAsUnscalable"
    size = replace(refused, before=State(millicpu=2000), after=State(millicpu=2000))
    assert f"{INDENT}done: 1 to 3 replicas" in story([OUT, size]), "it was the size that could not be had"
    assert f"{INDENT}done: 1 to 3 replicas" in story([OUT, replace(refused, at=AT + 60)])


def test_what_is_refused_each_minute_is_told_once() -> None:
    refused = replace(OUT, applied=False, refused="no room")
    lines = story([replace(refused, at=AT + 60 * n) for n in range(60)])
    assert lines[-2:] == [
        f"{INDENT}not done (1 to 3 replicas): no room",
        f"{INDENT}so until {when(AT + 59 * 60)}, decided again 59 times",
    ]
    assert len(lines) == 5
    again = [replace(OUT, at=AT + n) for n in range(2)]
    assert sum("Add 2" in line for line in story(again)) == 2, "what was done twice is told twice"


def test_what_is_held_or_refused_says_so() -> None:
    held = replace(KEPT, level=HOLD, won="stale", why="Keep 3 replicas: the newest sample is 9 s old.")
    assert story([held])[-1] == f"{INDENT}held"
    refused = replace(OUT, applied=False, refused="no room")
    assert story([refused])[-1] == f"{INDENT}not done (1 to 3 replicas): no room"


def test_an_event_of_a_level_that_an_earlier_version_had_is_told_by_its_sentence() -> None:
    """The shadow tournament wrote such ones; a log keeps them for 14 days. Their candidates wanted no capacity."""
    written = (
        '{"at":1800000000.0,"policy":"p99","level":"tournament","saw":{},"candidates":[{"name":"shipped","wanted":1.3,"cost":1.3,'
        '"late":0}],"won":"shipped","why":"The last day was played again.","from":{"count":3,"millicpu":2000,"allowance":8},'
        '"to":{"count":3,"millicpu":2000,"allowance":8},"applied":false}'
    )
    event = parse(written)
    assert event is not None
    assert story([event]) == [
        f"{when(AT)}  The last day was played again. [p99]",
        f"{INDENT}seen: 3 replicas of 2000 millicpu, 8 workers each at most",
    ]


def test_nothing_is_told_of_nothing() -> None:
    assert story([]) == []
