"""Application Auto Scaling's policies in a replay: alarms over what load and capacity come to, and what policies do."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from clary.domain.autoscaling.alarms import AWS, FAST
from clary.domain.autoscaling.replayed import Replayed, ReplayedReplica
from clary.domain.scaling.signals import Current, Sample

BEGIN = 1_800_000_000
REPLICA = ReplayedReplica(workers=2, cpu=0.5)


def tracks(target: float, metric: str = "SageMakerVariantInvocationsPerInstance", **more: Any) -> dict[str, Any]:
    config = {"TargetValue": target, "PredefinedMetricSpecification": {"PredefinedMetricType": metric}, **more}
    return {
        "PolicyName": "p",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": config,
    }


def steps(*rows: dict[str, float], above: bool = True, threshold: float = 80.0, **more: Any) -> dict[str, Any]:
    alarm = {
        "Namespace": "/aws/sagemaker/Endpoints",
        "MetricName": "CPUUtilization",
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold" if above else "LessThanThreshold",
    }
    config = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": list(rows), "Cooldown": 60, **more}
    return {"PolicyName": "s", "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": config, "Alarms": [alarm]}


class House:
    """Load, and replicas that are there in the second after they were wanted."""

    def __init__(self, *policies: dict[str, Any], most: int = 10, timing: str = FAST) -> None:
        self.policy = Replayed(policies, 1, most, REPLICA, timing)
        self.now, self.count, self.samples = BEGIN, 1, list[Sample]()
        self.counts: list[int] = []

    def play(self, seconds: int, arrivals: int, service: float = 0.1, starting: int = 0) -> int:
        for _ in range(seconds):
            self.now += 1
            self.samples = [*self.samples, Sample(self.now, arrivals, arrivals, arrivals, 0, 0, service, 0.0)][-60:]
            if (self.now - BEGIN) % self.policy.every == 0:
                current = Current(self.count, starting, start=1.0)
                self.count = self.policy.decide(self.samples, current, 0.0, float(self.now)).count - starting
            self.counts.append(self.count)
        return self.count


def test_three_points_above_the_target_scale_out_in_proportion_and_fifteen_below_in_by_one() -> None:
    house = House(tracks(600.0))  # a minute: 10 requests a second each
    assert house.policy.every == 10
    assert house.play(30, 40) == 1
    assert house.play(10, 40) == 4
    assert house.play(600, 40) == 4
    assert house.play(160, 10) == 3
    assert house.play(900, 10) == 1


def test_the_timing_of_aws_has_points_of_a_minute() -> None:
    house = House(tracks(600.0), timing=AWS)
    assert house.policy.every == 60
    assert house.play(180, 40) == 1
    assert house.play(60, 40) == 4


def test_what_is_starting_is_waited_for_and_the_range_holds() -> None:
    house = House(tracks(600.0), most=3)
    assert house.play(120, 100, starting=1) == 1, "what there is stays while something starts"
    assert house.play(60, 100) == 3


def test_scale_in_waits_for_its_cooldown_and_may_be_disabled() -> None:
    house = House(tracks(600.0, ScaleInCooldown=300))
    house.play(60, 40)
    house.play(700, 5)
    fell = [n for n, (before, after) in enumerate(pairwise(house.counts)) if after < before]
    assert [later - sooner for sooner, later in pairwise(fell)] == [300]
    kept = House(tracks(600.0, DisableScaleIn=True))
    kept.play(60, 40)
    assert kept.play(900, 5) == 4


def test_two_that_track_must_both_want_less() -> None:
    both = House(tracks(600.0), tracks(5.0, "SageMakerVariantConcurrentRequestsPerModelHighResolution"))
    assert both.play(60, 40) == 8, "the larger one wins"
    both.play(1200, 16)
    assert both.count == 4, "one alone would go to two"


def test_steps_by_how_far_the_metric_is_beyond_its_threshold() -> None:
    out = steps(
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 10, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": 10, "ScalingAdjustment": 3},
    )
    into = steps({"MetricIntervalUpperBound": 0, "ScalingAdjustment": -1}, above=False, threshold=10.0)
    house = House(out, into)
    assert house.play(180, 30) == 4, "two busy workers of half a vCPU are 100 %"
    assert house.play(600, 30) == 4, "at 38 % there is no step"
    assert house.play(1200, 1) == 1
