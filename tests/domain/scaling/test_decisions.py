"""Decision records: the format survives the log, absurd figures do no harm, and only what is news is written."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from clary.domain.scaling.decisions import (
    AGAIN,
    CALM,
    ENDED,
    FLEET,
    HOLD,
    Event,
    State,
    candidates_of,
    done,
    line,
    parse,
    seen,
    short,
    wanted,
    worth,
)
from clary.domain.scaling.signals import Reason, Term

EVENT = Event(
    at=1_800_000_000.25,
    policy="p",
    level=FLEET,
    won="load",
    why="Add 2, to 3 replicas: because.",
    before=State(1, 2000, 8),
    after=State(3, 2000, 8),
    saw={"rate": 42.123456789, "service_ms": 90.0, "in_flight": 3, "queued": 1, "starting": 1},
    candidates=(Term("surge", 2), Term("load", 3, (("need", 5.0), ("short", 0.0)))),
    applied=True,
)


def test_an_event_comes_back_from_its_line() -> None:
    back = parse(line(EVENT))
    assert back == replace(EVENT, saw={**EVENT.saw, "rate": 42.1235})
    assert json.loads(line(EVENT))["candidates"][1] == {"name": "load", "wanted": 3, "need": 5, "short": 0}


@pytest.mark.parametrize("absurd", [math.nan, math.inf, -math.inf])
def test_what_no_number_is_becomes_null(absurd: float) -> None:
    text = line(replace(EVENT, saw={"rate": absurd}, candidates=(Term("load", absurd, (("need", absurd),)),)))
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["saw"] == {"rate": None}
    assert document["candidates"] == [{"name": "load", "wanted": None, "need": None}]
    back = parse(text)
    assert back is not None
    assert math.isnan(back.saw["rate"])


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", "1", '{"at": 1}', line(EVENT)[:-20]])
def test_other_lines_are_no_events(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("change", "after", "busy", "expected"),
    [
        ({}, 1.0, True, False),
        ({}, AGAIN, True, True),
        ({}, AGAIN, False, False),
        ({}, -5.0, True, True),  # the clock was set back
        ({"won": "surge"}, CALM, False, True),
        ({"won": "surge"}, 1.0, False, False),
        ({"policy": "q"}, 1.0, False, True),
        ({"refused": "no room"}, 1.0, False, True),
        ({"level": HOLD}, 1.0, False, True),
        ({"after": State(2, 2000, 8)}, 1.0, False, True),
        ({"saw": {"rate": 9.0}}, 1.0, False, False),
    ],
)
def test_only_news_are_written(change: dict[str, object], after: float, busy: bool, expected: bool) -> None:
    calm = replace(EVENT, after=EVENT.before)
    event = replace(calm, at=calm.at + after, **change)  # type: ignore[arg-type]
    assert worth(event, calm.outcome, calm.at, busy) is expected


def test_the_first_is_news() -> None:
    assert worth(EVENT, None, 0.0, False)


def test_figures_are_no_candidates() -> None:
    terms, figures = candidates_of(Reason("load", (Term("load", 1), Term("psi", 1.5, (("share", 0.5),)))))
    assert [term.name for term in terms] == ["load"]
    assert figures == {"psi": 1.5, "share": 0.5}


def test_the_words() -> None:
    assert seen(EVENT) == (
        "42.1 requests a second of 90 ms, 3 in work and 1 waiting, "
        "1 replica (1 starting) of 2000 millicpu, 8 workers each at most"
    )
    assert seen(replace(EVENT, saw={"rate": 1.0, "waits": 0.04})).startswith("1 request a second, 1 replica")
    assert "wait for a CPU 5 % of their time" in seen(replace(EVENT, saw={"waits": 0.05}))
    assert [short(each) for each in (0.1364, 12.34, 1840.2)] == ["0.136", "12.3", "1840"]
    late = replace(EVENT, saw={"rate": 42.0, "p99_ms": 310.0, "objective_ms": 250.0})
    assert seen(late).startswith("42 requests a second, p99 310 ms (objective 250 ms), ")
    assert wanted(EVENT) == "load 3, surge 2"
    assert done(EVENT) == "1 to 3 replicas"
    assert done(replace(EVENT, refused="no room", applied=False)) == "not done (1 to 3 replicas): no room"
    assert done(replace(EVENT, level=HOLD, after=EVENT.before)) == "held"
    assert done(replace(EVENT, after=EVENT.before)) == "nothing to change"
    assert done(replace(EVENT, level=HOLD, won=ENDED, after=EVENT.before)) == "nothing to change"
    assert done(replace(EVENT, after=State(0, 2000, 8))) == "1 to 0 replicas"
