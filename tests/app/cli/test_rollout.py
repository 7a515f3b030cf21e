"""`clary rollout` and `clary history`: what they make of what the API and the fronts say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.app.cli import history, rollout
from clary.domain.endpoints.routes import EndpointView, VariantView


def event(n: int, what: str, at: int = 0, created: float = 1.0, **more: Any) -> dict[str, Any]:
    line = {"n": n, "created": created, "what": what, "why": "", "config": "c", "status": "Updating", **more}
    return {"timestamp": 1000 * (at or n), "message": json.dumps(line)}


def test_a_line_written_twice_counts_once_and_other_lines_do_not_count() -> None:
    events = [
        event(1, "in service"),
        event(1, "in service", 9),
        {"timestamp": 5, "message": "hello"},
        event(2, "failed"),
    ]
    events += [event(1, "in service", created=2.0), {"timestamp": 6, "message": "[1]"}]
    assert [(s["created"], s["n"], s["at"]) for s in history.steps(events)] == [
        (1.0, 1, 1.0),
        (1.0, 2, 2.0),
        (2.0, 1, 1.0),
    ]


def test_the_table_tells_how_long_after_it_was_asked() -> None:
    steps = history.steps(
        [event(1, "update asked", 10), event(2, "traffic moved", 12), event(3, "rolled back", 15, why="a\nb\x1b[2J")]
    )
    lines = history.words(steps).splitlines()
    assert lines[0].split() == ["WHEN", "AFTER", "WHAT", "CONFIG", "STATUS", "WHY"]
    assert "+2.0s" in lines[2]
    assert "+5.0s" in lines[3]
    assert lines[3].endswith("a b\\x1b[2J")


def test_a_long_reason_keeps_both_ends() -> None:
    text = history.one_line("begin " + "x" * 500 + " end")
    assert len(text) <= 165
    assert text.startswith("begin x")
    assert text.endswith("x end")


@pytest.fixture
def described() -> dict[str, Any]:
    variant = {"VariantName": "A", "CurrentInstanceCount": 2, "DesiredInstanceCount": 2, "CurrentWeight": 0.75}
    baking = [{"Status": "Baking", "StatusMessage": "CANARY, step 1 of 2: 25 % of the traffic until 10:00:00 UTC"}]
    return {
        "EndpointName": "e",
        "EndpointStatus": "Updating",
        "EndpointConfigName": "old",
        "ProductionVariants": [variant],
        "PendingDeploymentSummary": {
            "EndpointConfigName": "new",
            "ProductionVariants": [{**variant, "CurrentWeight": 0.25, "VariantStatus": baking}],
        },
    }


def test_a_rollout_is_shown_by_fleets_and_steps(described: dict[str, Any]) -> None:
    view = EndpointView(
        "0",
        "r",
        "e",
        1,
        (
            VariantView("A", completed=100, errors_5xx=1, p50=0.001, p99=0.01, key="A@1", fleet="old"),
            VariantView("A", completed=30, errors_5xx=20, p50=0.002, p99=0.02, key="A@2", fleet="new"),
        ),
    )
    steps = history.steps([event(1, "in service"), event(2, "update asked"), event(3, "baking")])
    found = rollout.state(described, steps, view)
    assert [step["what"] for step in found["steps"]] == ["update asked", "baking"]
    assert [(f["role"], f["config"], f["variants"][0]["errors_5xx"]) for f in found["fleets"]] == [
        ("serving", "old", 1),
        ("coming", "new", 20),
    ]
    text = rollout.words(found)
    assert "e Updating" in text
    assert "Baking: CANARY, step 1 of 2" in text
    assert "reason" not in text


def test_a_failure_is_shown_when_it_is_over(described: dict[str, Any]) -> None:
    described |= {"FailureReason": "it broke", "EndpointStatus": "InService"}
    del described["PendingDeploymentSummary"]
    found = rollout.state(described, history.steps([event(1, "update asked"), event(2, "rolled back")]), None)
    assert "reason: it broke" in rollout.words(found)
    assert len(found["fleets"]) == 1
