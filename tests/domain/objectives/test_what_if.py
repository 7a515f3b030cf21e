"""What a file with another policy may say, and both replays of a variant's load."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.objectives.record import KEEP
from clary.domain.objectives.what_if import Known, WhatIf, late_of, parse, play_both
from clary.domain.scaling.recorded import Service, day_of
from clary.domain.scaling.replay import UNKNOWN, Day

BEGIN = 1_800_000_000
RANGE = {"MinCapacity": 1, "MaxCapacity": 4}
CONFIG = {
    "TargetValue": 600.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}
TRACKING = {"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": CONFIG, **RANGE}
ALARM = {
    "Namespace": "/aws/sagemaker/Endpoints",
    "MetricName": "CPUUtilization",
    "Statistic": "Average",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 80,
    "ComparisonOperator": "GreaterThanThreshold",
}
ROW = {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}
STEPS = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": [ROW]}
STEP = {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": STEPS, "Alarms": [ALARM], **RANGE}


@pytest.mark.parametrize(
    ("document", "asked"),
    [
        ({"LatencyObjective": 250, **RANGE}, WhatIf(0.25, KEEP, (), 1, 4)),
        ({"LatencyObjective": "250", "ScaleInCooldown": 60}, WhatIf(0.25, 60.0)),
        (
            {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {
                    "TargetValue": 250.0,
                    "ScaleInCooldown": 60,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": "ClaryLatencyObjective"},
                },
                **RANGE,
            },
            WhatIf(0.25, 60, (), 1, 4),
        ),
        (TRACKING, WhatIf(policies=({"PolicyName": "what-if", **TRACKING},), least=1, most=4)),
        ({**STEP, "PolicyName": "s"}, WhatIf(policies=({**STEP, "PolicyName": "s"},), least=1, most=4)),
    ],
    ids=["milliseconds", "as a tag", "as a policy", "tracking", "step"],
)
def test_what_a_file_may_say(document: Any, asked: WhatIf) -> None:
    assert parse(document) == asked


def test_several_policies_share_one_range() -> None:
    found = parse([TRACKING, {name: value for name, value in STEP.items() if name not in RANGE}])
    assert (len(found.policies), found.least, found.most) == (2, 1, 4)
    assert found.words == "target tracking of SageMakerVariantInvocationsPerInstance at 600 and step scaling"


def changed(document: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {**document, **members}


def tracked(**members: Any) -> dict[str, Any]:
    return changed(TRACKING, TargetTrackingScalingPolicyConfiguration=changed(CONFIG, **members))


def stepped(**members: Any) -> dict[str, Any]:
    return changed(STEP, StepScalingPolicyConfiguration=changed(STEPS, **members))


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (7, r"\$: must be an object, not 7"),
        ([], r"\$: must be a list with something in it"),
        ({}, r"\$: must have LatencyObjective, TargetTracking.* or StepScaling"),
        ({"LatencyObjective": 0}, r"\$\.LatencyObjective: must be above 0"),
        ({"LatencyObjective": "soon"}, r"\$\.LatencyObjective: must be a p99 in milliseconds, not 'soon'"),
        ({"LatencyObjective": True}, r"\$\.LatencyObjective: must be a number, not true"),
        ({"LatencyObjective": 5, "Cooldown": 1}, r"\$\.Cooldown: is not known here"),
        ({"LatencyObjective": 5, "MinCapacity": 1}, r"\$\.MaxCapacity: must be a number, not missing"),
        ({"LatencyObjective": 5, "MinCapacity": 3, "MaxCapacity": 2}, r"\$\.MaxCapacity: must be at least 1"),
        ({"LatencyObjective": 5, "MinCapacity": 1.5, "MaxCapacity": 2}, r"\$\.MinCapacity: must be a whole number"),
        (changed(TRACKING, PolicyType="Predictive"), r"\$\.PolicyType: must be one of"),
        (changed(TRACKING, ScalableDimension="ecs:service:DesiredCount"), r"\$\.ScalableDimension: must be one of"),
        (tracked(TargetValue="much"), r"\$\.TargetTrackingScalingPolicyConfiguration\.TargetValue: must be a number"),
        (tracked(Extra=1), r"\$\.TargetTrackingScalingPolicyConfiguration\.Extra: is not known here"),
        (tracked(ScaleInCooldown=-1), r"\.ScaleInCooldown: must be at least 0"),
        (
            tracked(PredefinedMetricSpecification={"PredefinedMetricType": "ALBRequestCountPerTarget"}),
            r"PredefinedMetricSpecification\.PredefinedMetricType: must be one of",
        ),
        (
            tracked(PredefinedMetricSpecification=None),
            r"\$\.TargetTrackingScalingPolicyConfiguration: Please provide either",
        ),
        (
            tracked(
                PredefinedMetricSpecification=None,
                CustomizedMetricSpecification={
                    "MetricName": "ModelLatency",
                    "Namespace": "AWS/SageMaker",
                    "Statistic": "Average",
                },
            ),
            r"CustomizedMetricSpecification\.MetricName: must be one of Invocations, ",
        ),
        (
            tracked(PredefinedMetricSpecification=None, CustomizedMetricSpecification={"Metrics": [{}]}),
            r"CustomizedMetricSpecification\.Metrics: metric math is not in a replay",
        ),
        (changed(STEP, Alarms=None), r"\$\.Alarms: must be a list with something in it, not missing"),
        (changed(STEP, Alarms=[changed(ALARM, Period=7)]), r"\$\.Alarms\[0\]\.Period: must be at least 10"),
        (changed(STEP, Alarms=[changed(ALARM, Namespace="x")]), r"\$\.Alarms\[0\]\.Namespace: must be one of"),
        (stepped(AdjustmentType="Twice"), r"\$\.StepScalingPolicyConfiguration\.AdjustmentType: must be one of"),
        (
            stepped(StepAdjustments=[ROW, {"ScalingAdjustment": "x"}]),
            r"\$\.StepScalingPolicyConfiguration\.StepAdjustments\[1\]\.ScalingAdjustment: must be a number",
        ),
        (stepped(StepAdjustments=[ROW, ROW]), r"\$\.StepScalingPolicyConfiguration: .*no upper bound"),
        ([TRACKING, changed(TRACKING, MaxCapacity=9)], r"\$: MinCapacity and MaxCapacity are of the variant"),
        (
            [
                TRACKING,
                tracked(
                    TargetValue=5.0,
                    PredefinedMetricSpecification={"PredefinedMetricType": "ClaryLatencyObjective"},
                ),
            ],
            r"\$: a policy on ClaryLatencyObjective is played alone",
        ),
    ],
)
def test_what_it_may_not_say_is_told_with_its_place(document: Any, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        parse(document)


# -- replays ----------------------------------------------------------------------------------------------------------------------

KNOWN = Known(
    workers=2,
    objective=0.0,
    millicpu=2000,
    cost=1.0,
    cpus=64,
    starts=(8.0,),
    start=8.0,
    replicas=((BEGIN, 1.0),),
    late=0.5,
    timing="fast",
)
LIGHT, HEAVY = 5, 60


def day() -> Day:
    """Ten quiet minutes, ten in which one replica of two workers is far too small, and ten quiet ones."""
    counts = [LIGHT] * 600 + [HEAVY] * 600 + [LIGHT] * 600
    seconds = [(float(BEGIN + place), float(count)) for place, count in enumerate(counts)]
    return day_of(seconds, [], [Service(float(BEGIN), 0.1, 0.1, 0.1)], float(BEGIN), float(BEGIN + len(counts)))


def test_what_was_is_what_the_replicas_that_were_there_could_do() -> None:
    asked = parse({"LatencyObjective": 500, **RANGE})
    both = play_both(day(), KNOWN, asked, 60)
    assert both is not None
    assert (both.was.most, both.was.late > 0.5) == (1, True)
    enough = play_both(day(), replace(KNOWN, replicas=((BEGIN, 1.0), (BEGIN + 600, 4.0))), asked, 60)
    assert enough is not None
    assert (enough.was.most, enough.was.late) == (4, 0.0)
    assert [each.replicas for each in enough.was.bins][::10] == [60, 240, 240]
    assert both.what_if == enough.what_if, "what would have been does not follow from what was, but for its beginning"


def test_an_objective_keeps_what_the_load_needs_and_is_late_less() -> None:
    both = play_both(day(), KNOWN, parse({"LatencyObjective": 500, **RANGE}), 60)
    assert both is not None
    assert both.what_if.late < 0.01 < both.was.late
    assert both.what_if.most in (3, 4)
    assert sum(each.requests for each in both.what_if.bins) == 600 * (2 * LIGHT + HEAVY)


def test_a_policy_of_application_auto_scaling_comes_later_than_the_boost() -> None:
    tracked_too = play_both(day(), KNOWN, parse(TRACKING), 60)
    objective = play_both(day(), KNOWN, parse({"LatencyObjective": 500, **RANGE}), 60)
    assert tracked_too is not None
    assert objective is not None
    assert objective.what_if.late < tracked_too.what_if.late < tracked_too.was.late
    assert tracked_too.what_if.most == 4
    first = next(place for place, each in enumerate(tracked_too.what_if.bins) if each.replicas > each.seconds)
    assert first in (10, 11), "three points of ten seconds after the load came"
    stepped_too = play_both(day(), KNOWN, parse(STEP), 60)
    assert stepped_too is not None
    assert 1 < stepped_too.what_if.most <= 4


@pytest.mark.parametrize(
    ("workers", "objective", "fixed"), [(2, 0.0, False), (5, 0.0, True), (8, 0.5, False), (3, 0.5, True)]
)
def test_a_number_of_workers_that_does_not_follow_from_the_size_is_the_users(
    workers: int, objective: float, fixed: bool
) -> None:
    assert replace(KNOWN, workers=workers, objective=objective).set_by_user == fixed


def test_a_small_machine_bounds_what_is_busy() -> None:
    asked = parse({"LatencyObjective": 500, **RANGE})
    large, small = (play_both(day(), replace(KNOWN, cpus=cpus), asked, 60) for cpus in (0, 2))
    assert large is not None
    assert small is not None
    assert small.what_if.late > 0.3 > large.what_if.late
    waits = play_both(day(), replace(KNOWN, cpus=2, cost=0.1), asked, 60)
    assert waits is not None
    assert waits.what_if.late < 0.01, "workers that wait for others need no CPU each"


def test_nothing_is_played_where_nothing_came() -> None:
    quiet = Day(BEGIN, [0] * 300 + [UNKNOWN] * 300, [(0.1, 0.0)] * 10)
    assert play_both(quiet, KNOWN, parse({"LatencyObjective": 500, **RANGE}), 60) is None


def test_what_counts_as_late() -> None:
    assert late_of(WhatIf(0.25), 0.5, [0.1]) == 0.25
    assert late_of(WhatIf(), 0.5, [0.1]) == 0.5
    assert late_of(WhatIf(), 0.0, [0.1, 0.3]) == pytest.approx(1.0)
