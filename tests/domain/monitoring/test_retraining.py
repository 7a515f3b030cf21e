"""When an endpoint is retrained, when not, and what is told of it: once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.decisions import Unable
from clary.domain.errors import Invalid
from clary.domain.monitoring import retraining
from clary.domain.monitoring.retraining import (
    MONTH,
    RetrainPlan,
    SeenForRetraining,
    SeenRun,
    StartRetraining,
    TellRetraining,
)
from clary.domain.resources import Record, Scope

SCOPE = Scope("0" * 12, "us-east-1")
NOW = 1_800_000_000.0
TAG = "pipeline=P on=worse,drift,violation cooldown=1h budget=3 topic=pager fresh=200"
RUN = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/P/execution/one"


def endpoint(status: str = "InService", created: float = NOW - 9000) -> Record:
    return Record("endpoint", SCOPE, "shop", "arn:shop", status, created, created, {})


def watched(joined: int = 1000, since: float | None = NOW - 60, conflicts: int = 0, **more: Any) -> dict[str, Any]:
    each = {"accuracy": 0.7, "lower": 0.6, "upper": 0.8, "rows": 400}
    labels = {"joined": joined, "conflicts": conflicts, "since": since, "rolling": each, "reference": each}
    return {"variant": "main", "config": "c1", "labels": labels, "columns": [], **more}


def seen(**more: Any) -> SeenForRetraining:
    given = {"endpoint": endpoint(), "tag": TAG, "watched": [watched()], "parameters": frozenset({"Reason"})}
    return SeenForRetraining(**{**given, **more})


class House:
    """Turns of the record of an endpoint, as the loop makes them."""

    def __init__(self) -> None:
        self.record = retraining.new(endpoint(), "arn:retraining", NOW - 9000)
        self.now = NOW
        self.starts: list[StartRetraining] = []
        self.told: list[TellRetraining] = []

    def turn(self, observation: SeenForRetraining, outcome: str | Unable = RUN, times: int = 1) -> House:
        for _ in range(times):
            decision = retraining.decide(self.record, observation, self.now)
            self.record = decision.record
            for command in decision.commands:
                if isinstance(command, StartRetraining):
                    self.starts.append(command)
                    self.record = retraining.started(self.record, command, outcome, self.now)
                else:
                    self.told.append(command)
            self.now += 2
        return self

    @property
    def what(self) -> list[str]:
        return [each.what for each in self.told]


def test_a_model_that_got_worse_is_retrained_once_at_a_time() -> None:
    house = House().turn(seen())
    assert [each.pipeline for each in house.starts] == ["P"]
    assert "accuracy of main went from 0.7 to 0.7" in house.starts[0].parameters["Reason"]
    house.turn(seen(run=SeenRun(RUN, "Executing")), times=5)
    assert (len(house.starts), house.what) == (1, ["retraining started"])


def test_what_came_of_it_is_told_once() -> None:
    house = House().turn(seen()).turn(seen(run=SeenRun(RUN, "Executing")))
    quiet = seen(watched=[watched(since=None)])
    house.turn(replace(quiet, run=SeenRun(RUN, "Succeeded", "version 2 was registered"))).turn(quiet, times=3)
    assert house.what == ["retraining started", "retraining ended"]
    assert house.told[1].why == "P succeeded: version 2 was registered"
    assert not any(each.topic for each in house.told)


def test_the_world_changes_twice_and_each_time_it_is_retrained_once() -> None:
    house = House().turn(seen()).turn(seen(run=SeenRun(RUN, "Executing")), times=2)
    calm = seen(watched=[watched(joined=40, since=None, config="c2")])  # the new config counts anew
    house.turn(replace(calm, run=SeenRun(RUN, "Succeeded", "version 2 was registered"))).turn(calm, times=3)
    house.now += 3600
    again = RUN.replace("one", "two")
    worse = seen(watched=[watched(joined=640, since=house.now - 60, config="c2")])
    house.turn(worse, outcome=again).turn(replace(worse, run=SeenRun(again, "Executing")), times=3)
    calm = seen(watched=[watched(joined=40, since=None, config="c3")])
    house.turn(replace(calm, run=SeenRun(again, "Succeeded", "version 3 was registered"))).turn(calm, times=3)
    assert house.what == ["retraining started", "retraining ended"] * 2
    assert len({each.token for each in house.starts}) == len(house.starts) == 2
    assert house.told[-1].why == "P succeeded: version 3 was registered"


def test_a_gate_that_keeps_the_incumbent_is_told_and_tried_again_after_the_cool_down() -> None:
    house = House().turn(seen()).turn(seen(run=SeenRun(RUN, "Failed", "Keep: the incumbent stays")))
    house.turn(seen(watched=[watched(joined=1500)]), times=3)
    assert house.what == ["retraining started", "retraining kept the incumbent", "retraining refused"]
    assert "the cool-down is 1 hours" in house.told[-1].why
    assert house.told[-1].topic == ""
    house.now += 3600
    house.turn(seen(watched=[watched(joined=1500)]))
    assert len(house.starts) == 2


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"watched": [watched(joined=150)]}, "too few new rows: 150 labelled ones since the last training, of 200"),
        ({"watched": [watched(conflicts=30)]}, "labels disagree: 30 contradict an earlier one"),
        ({"no_data": ["monitor m: NO_DATA: nothing"]}, "NO_DATA"),
        ({"known": False}, "there is no pipeline P"),
        (
            {"watched": [watched(columns=[{"name": "input.0", "since": None, "missing": 1.0, "outside": 0.0, "reference": [9, 0, 0]}])]},
            "the schema broke: input.0 is missing in 100% of the rows",
        ),
        (
            {"watched": [watched(columns=[{"name": "input.0", "since": None, "missing": 0.0, "outside": 1.0, "reference": [9, 0, 0]}])]},
            "input.0 is out of its range in 100% of the rows",
        ),
    ],
)  # fmt: skip
def test_what_a_person_has_to_look_at_calls_one_and_starts_nothing(more: dict[str, Any], why: str) -> None:
    house = House().turn(seen(**more), times=4)
    assert house.starts == []
    [told] = house.told
    assert why in told.why
    assert (told.what, told.topic) == ("retraining refused", "pager")


def test_a_refusal_is_told_again_when_the_occasion_went_and_came_back() -> None:
    house = House().turn(seen(watched=[watched(joined=1)])).turn(seen(watched=[watched(joined=1, since=None)]))
    house.turn(seen(watched=[watched(joined=1)]), times=2)
    assert house.what == ["retraining refused"] * 2


def test_the_budget_is_of_thirty_days() -> None:
    house = House()
    for number in range(4):
        house.turn(seen(watched=[watched(joined=1000 * (number + 1))])).turn(
            seen(watched=[watched(joined=1000 * (number + 1), since=None)], run=SeenRun(RUN, "Succeeded"))
        )
        house.now += 4000
    assert len(house.starts) == 3
    assert "3 trainings in 30 days are the whole budget" in house.told[-1].why
    house.now += MONTH
    house.turn(seen(watched=[watched(joined=9000)]))
    assert len(house.starts) == 4


def test_drift_violations_and_alarms_start_it_each_occasion_once() -> None:
    quiet = [watched(since=None)]
    for more, why in (
        ({"violations": [("m", NOW, "DataQuality")]}, "monitor m had violations"),
        ({"alarms": [("a", NOW, "Threshold Crossed")]}, "alarm a is in ALARM"),
    ):
        house = House().turn(seen(watched=quiet, **more))
        assert why in house.starts[0].why
        house.turn(seen(watched=quiet, run=SeenRun(RUN, "Succeeded"), **more))
        house.now += 7200
        house.turn(seen(watched=[watched(joined=5000, since=None)], **more), times=2)
        assert len(house.starts) == 1
    moved = watched(since=None, columns=[{"name": "input.1", "since": NOW}])
    assert "1 columns of main drift: input.1" in House().turn(seen(watched=[moved])).starts[0].why


def test_a_schedule_and_new_rows_start_it() -> None:
    quiet = [watched(since=None)]
    assert "days have passed" in House().turn(seen(tag="pipeline=P every=2h", watched=quiet)).starts[0].why.replace(
        "hours", "days"
    )
    assert "1,000 new labelled rows" in House().turn(seen(tag="pipeline=P rows=1000", watched=quiet)).starts[0].why
    assert House().turn(seen(tag="pipeline=P rows=1001", watched=quiet)).starts == []


def test_a_person_need_not_wait_for_the_cool_down() -> None:
    quiet = seen(watched=[watched(since=None)])
    house = House().turn(replace(quiet, ask="t1")).turn(replace(quiet, ask="t1", run=SeenRun(RUN, "Succeeded")))
    assert len(house.starts) == 1
    later = seen(watched=[watched(joined=2000, since=None)], ask="t2")
    house.turn(later, times=3)
    assert len(house.starts) == 2
    refused = House().turn(seen(watched=[watched(joined=10, since=None)], ask="t1"), times=3)
    assert refused.what == ["retraining refused"]


def test_nothing_starts_while_another_execution_runs_or_the_endpoint_changes() -> None:
    house = House().turn(seen(other=RUN), times=3)
    assert (house.starts, house.what) == ([], ["retraining refused"])
    assert House().turn(seen(endpoint=endpoint("Updating")), times=3).told == []


def test_a_start_that_failed_is_told_once_and_tried_again_under_the_same_token() -> None:
    house = House().turn(seen(), Unable("no"), times=3).turn(seen())
    assert len({each.token for each in house.starts}) == 1
    assert house.what == ["retraining refused"]
    assert "P cannot be started: no" in house.told[0].why
    assert house.told[0].topic == "pager"


def test_counts_begin_anew_with_a_new_endpoint_config() -> None:
    house = House().turn(seen()).turn(seen(run=SeenRun(RUN, "Succeeded"), watched=[watched(joined=0, since=None)]))
    house.now += 7200
    house.turn(seen(watched=[watched(joined=250)]))
    assert len(house.starts) == 2


@pytest.mark.parametrize("gone", [seen(endpoint=None), seen(tag=""), seen(endpoint=endpoint(created=NOW))])
def test_the_record_goes_with_the_endpoint_or_the_tag(gone: SeenForRetraining) -> None:
    assert retraining.decide(House().record, gone, NOW).remove


@pytest.mark.parametrize(
    "text", ["", "on=worse", "pipeline=P on=mood", "pipeline=P every=7", "pipeline=P rows=x", "pipeline=P budget=0", "colour=red"]
)  # fmt: skip
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="clary:retrain"):
        RetrainPlan.read(text)
