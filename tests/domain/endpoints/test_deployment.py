"""Plans of rollouts, and how facts move them on."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from clary.domain.endpoints import deployment
from clary.domain.endpoints.deployment import Rollout, advance, due, fact_of, going_back, plan, seconds_of
from clary.domain.errors import IllegalTransition
from clary.domain.lifecycle import RolloutFact, RolloutPhase


def size(value: int, kind: str = "INSTANCE_COUNT") -> dict[str, Any]:
    return {"Type": kind, "Value": value}


def blue_green(kind: str, wait: int = 0, keep: int = 0, limit: int | None = None, **sizes: Any) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": wait, **sizes},
        "TerminationWaitInSeconds": keep,
    }
    if limit is not None:
        policy["MaximumExecutionTimeoutInSeconds"] = limit
    return {"BlueGreenUpdatePolicy": policy}


def rolling(batch: dict[str, Any], wait: int = 0, **more: Any) -> dict[str, Any]:
    return {"RollingUpdatePolicy": {"MaximumBatchSize": batch, "WaitIntervalInSeconds": wait, **more}}


def shares(rollout: Rollout) -> list[float]:
    return [round(step.shares["A"], 4) for step in rollout.steps]


@pytest.mark.parametrize(
    ("config", "count", "wanted"),
    [
        ({}, 3, [1.0]),
        (blue_green("ALL_AT_ONCE"), 3, [1.0]),
        (blue_green("CANARY", CanarySize=size(1)), 2, [0.5, 1.0]),
        (blue_green("CANARY", CanarySize=size(1)), 10, [0.1, 1.0]),
        (blue_green("CANARY", CanarySize=size(5, "CAPACITY_PERCENT")), 1, [0.05, 1.0]),
        (blue_green("LINEAR", LinearStepSize=size(10, "CAPACITY_PERCENT")), 1, [n / 10 for n in range(1, 11)]),
        (blue_green("LINEAR", LinearStepSize=size(40, "CAPACITY_PERCENT")), 1, [0.4, 0.8, 1.0]),
        (blue_green("LINEAR", LinearStepSize=size(50, "CAPACITY_PERCENT")), 4, [0.5, 1.0]),
        (blue_green("LINEAR", LinearStepSize=size(1)), 3, [0.3333, 0.6667, 1.0]),
        (rolling(size(1)), 3, [0.3333, 0.6667, 1.0]),
        (rolling(size(5, "CAPACITY_PERCENT")), 4, [0.25, 0.5, 0.75, 1.0]),
        (rolling(size(50, "CAPACITY_PERCENT")), 5, [0.6, 1.0]),
    ],
)
def test_the_shares_of_each_step(config: Any, count: int, wanted: list[float]) -> None:
    assert shares(plan(config, {"A": count}, {"A": count}, 0.0)) == wanted


def test_blue_green_has_the_whole_new_fleet_before_traffic_moves_and_the_old_one_until_the_end() -> None:
    rollout = plan(blue_green("CANARY", CanarySize=size(1)), {"A": 2}, {"A": 4}, 0.0)
    assert [(step.wanted, step.left) for step in rollout.steps] == [({"A": 4}, {"A": 2})] * 2
    assert rollout.left is None


def test_rolling_has_enough_of_the_old_fleet_for_its_share_at_every_step() -> None:
    rollout = plan(rolling(size(2)), {"A": 3, "gone": 2}, {"A": 5}, 0.0)
    assert [step.wanted["A"] for step in rollout.steps] == [2, 4, 5]
    for before, step in zip(rollout.steps, rollout.steps[1:], strict=False):
        assert before.left["A"] >= 3 * (1 - before.shares["A"]), "what is left carries what is left to it"
        assert step.left["A"] <= before.left["A"]
    assert rollout.steps[-1].left == rollout.steps[-2].left, "the last of the old fleet goes with the end"


def test_variants_of_unequal_size_get_a_step_each_until_the_largest_is_done() -> None:
    rollout = plan(rolling(size(1)), {"A": 1, "B": 4}, {"A": 1, "B": 4}, 0.0)
    assert [(s.shares["A"], s.shares["B"]) for s in rollout.steps] == [(1.0, 0.25), (1.0, 0.5), (1.0, 0.75), (1.0, 1.0)]


def test_the_waits_of_a_plan() -> None:
    linear = blue_green("LINEAR", wait=30, keep=60, LinearStepSize=size(25, "CAPACITY_PERCENT"))
    assert seconds_of(plan(linear, {"A": 1}, {"A": 1}, 0.0)) == 4 * 30 + 60


def test_it_comes_back_from_json_as_it_was() -> None:
    rollout = plan(rolling(size(1), 5), {"A": 2}, {"A": 2}, 3.0, 0.01)
    assert Rollout.from_json(json.loads(json.dumps(asdict(rollout)))) == rollout


def walk(rollout: Rollout, now: float) -> list[tuple[str, int, float]]:
    """Everything is ready and told at once; time stands still until a wait ends it."""
    seen = []
    while rollout.phase != RolloutPhase.DONE:
        fact = fact_of(rollout, True, True, now)
        if fact is None:
            end = due(rollout)
            assert end is not None
            assert end > now
            now = end
            continue
        rollout = advance(rollout, fact, now)
        seen.append((rollout.phase, rollout.step, now))
    return seen


def test_a_canary_walks_through_its_phases_exactly_at_their_ends() -> None:
    rollout = plan(blue_green("CANARY", wait=10, keep=5, CanarySize=size(1)), {"A": 2}, {"A": 2}, 100.0)
    assert walk(rollout, 100.0) == [
        ("shifting", 0, 100.0),
        ("baking", 0, 100.0),
        ("starting", 0, 110.0),
        ("shifting", 1, 110.0),
        ("baking", 1, 110.0),
        ("keeping", 1, 120.0),
        ("done", 1, 125.0),
    ]


def test_a_bake_begins_when_the_front_knows_not_before() -> None:
    rollout = advance(plan(blue_green("ALL_AT_ONCE", wait=10), {"A": 1}, {"A": 1}, 0.0), RolloutFact.READY, 1.0)
    assert fact_of(rollout, True, False, 50.0) is None
    rollout = advance(rollout, RolloutFact.TOLD, 50.0)
    assert due(rollout) == 60.0
    assert fact_of(rollout, True, True, 59.99) is None
    assert fact_of(rollout, True, True, 60.0) is RolloutFact.LAST_WAITED


def test_a_fact_that_does_not_belong_to_the_phase_is_an_error() -> None:
    with pytest.raises(IllegalTransition):
        advance(plan({}, {"A": 1}, {"A": 1}, 0.0), RolloutFact.WAITED, 0.0)


def test_wanted_and_left_follow_the_phase_of_a_rolling_update() -> None:
    rollout = plan(rolling(size(1), 5), {"A": 2}, {"A": 2}, 0.0)
    assert (rollout.wanted, rollout.left, rollout.share("A")) == ({"A": 1}, None, 0.0)
    rollout = advance(rollout, RolloutFact.READY, 1.0)
    assert (rollout.wanted, rollout.left, rollout.share("A")) == ({"A": 1}, None, 0.5)
    rollout = advance(advance(rollout, RolloutFact.TOLD, 1.0), RolloutFact.WAITED, 6.0)
    assert (rollout.wanted, rollout.left, rollout.share("A")) == ({"A": 2}, {"A": 1}, 0.5)


def test_the_way_back_is_all_at_once_or_by_batches() -> None:
    config = rolling(size(1), 5)
    rollout = plan(config, {"A": 4}, {"A": 4}, 0.0)
    for fact in (RolloutFact.READY, RolloutFact.TOLD, RolloutFact.WAITED) * 2:
        rollout = advance(rollout, fact, 1.0)
    assert rollout.left == {"A": 2}
    at_once = going_back(rollout, config, {"A": 4}, {"A": 4}, 9.0)
    assert [(s.wanted["A"], s.shares["A"], s.left["A"]) for s in at_once.steps] == [(4, 0.0, 0)]
    assert at_once.share("A") == 0.5, "until the old fleet is whole again"
    batches = rolling(size(1), 5, RollbackMaximumBatchSize=size(25, "CAPACITY_PERCENT"))
    steps = going_back(rollout, batches, {"A": 4}, {"A": 4}, 9.0).steps
    assert [(s.wanted["A"], s.shares["A"], s.left["A"]) for s in steps] == [(3, 0.25, 1), (4, 0.0, 0)]


def test_alarms_are_taken_once_each() -> None:
    config = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}, {"AlarmName": "b"}, {"AlarmName": "a"}]}}
    assert plan(config, {"A": 1}, {"A": 1}, 0.0).alarms == ("a", "b")


def test_every_kind_of_the_model_is_known() -> None:
    from clary.api.registry import model

    kinds = model("sagemaker").shape_for("TrafficRoutingConfigType").enum
    assert set(kinds) == {deployment.ALL_AT_ONCE, deployment.CANARY, deployment.LINEAR}
