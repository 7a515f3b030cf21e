"""The alarms of a target tracking policy: which metric they watch, and when they say that capacity is to change. Pure.

**Timing.** `aws`: three one-minute points above the target, fifteen below nine tenths of it. `fast`: the same numbers of points of ten
seconds, where Clary has such points (its own metrics; a sum's target is a rate, so that of ten seconds is a sixth). Metrics that users
put have one-minute points in both, and so has metric math with one of those or with a total: what its target is of, nobody knows.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clary.domain.autoscaling import latency
from clary.domain.autoscaling.record import COPIES, INSTANCES, MILLICPU, PROVISIONED, ScalableResource, place_of
from clary.domain.errors import Invalid

HIGH_POINTS, LOW_POINTS = 3, 15
LOW_SHARE = 0.9
COOLDOWN = 300.0
FAST, AWS = "fast", "aws"
_OWN = ("AWS/SageMaker", "/aws/sagemaker/", "clary/")
_RATES = ("Sum", "SampleCount")


@dataclass(frozen=True, slots=True)
class Predefined:
    """`period` 10: its points come each ten seconds on AWS too."""

    dimension: str
    namespace: str
    metric: str
    statistic: str
    period: int = 60


PREDEFINED: Mapping[str, Predefined] = {
    "SageMakerVariantInvocationsPerInstance": Predefined(INSTANCES, "AWS/SageMaker", "InvocationsPerInstance", "Sum"),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": Predefined(
        INSTANCES, "AWS/SageMaker", "ConcurrentRequestsPerModel", "Average", 10
    ),
    "SageMakerVariantProvisionedConcurrencyUtilization": Predefined(
        PROVISIONED, "AWS/SageMaker", "ServerlessProvisionedConcurrencyUtilization", "Average"
    ),
    "SageMakerInferenceComponentInvocationsPerCopy": Predefined(COPIES, "AWS/SageMaker", "InvocationsPerCopy", "Sum"),
    "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": Predefined(
        COPIES, "AWS/SageMaker", "ConcurrentRequestsPerCopy", "Average", 10
    ),
}


def check(config: Mapping[str, Any], dimension: str) -> None:
    """Invalid for a TargetTrackingScalingPolicyConfiguration that names no metric that can be tracked."""
    predefined, custom = config.get("PredefinedMetricSpecification"), config.get("CustomizedMetricSpecification")
    if bool(predefined) == bool(custom):
        raise Invalid(
            "Please provide either PredefinedMetricSpecification or CustomizedMetricSpecification in "
            "TargetTrackingScalingPolicyConfiguration."
        )
    if config["TargetValue"] <= 0:
        raise Invalid(f"TargetValue must be above 0; it is {config['TargetValue']:g}.")
    check_cooldowns(config)
    if predefined and predefined["PredefinedMetricType"] == latency.METRIC:
        latency.check_policy(config, dimension)
        return
    if predefined:
        name = predefined["PredefinedMetricType"]
        row = PREDEFINED.get(name)
        if row is None or row.dimension != dimension:
            known = ", ".join(key for key, each in PREDEFINED.items() if each.dimension == dimension)
            if dimension in (INSTANCES, MILLICPU):
                known = ", ".join(filter(None, (known, latency.METRIC)))
            raise Invalid(
                f"Unsupported PredefinedMetricType {name} for scalable dimension {dimension}. Those of it are: {known}."
            )
        return
    assert custom is not None
    if custom.get("Metrics"):
        _check_math(custom)
        return
    missing = [name for name in ("MetricName", "Namespace", "Statistic") if not custom.get(name)]
    if missing:
        raise Invalid(f"CustomizedMetricSpecification must have {', '.join(missing)}, or Metrics.")


def check_cooldowns(config: Mapping[str, Any]) -> None:
    """Invalid for a time that is none."""
    for member in ("ScaleOutCooldown", "ScaleInCooldown", "Cooldown"):
        if (config.get(member) or 0) < 0:
            raise Invalid(f"{member} must be at least 0, in seconds; it is {config[member]}.")


def _check_math(custom: Mapping[str, Any]) -> None:
    given = [name for name in ("MetricName", "Namespace", "Statistic", "Dimensions", "Unit") if custom.get(name)]
    if given:
        raise Invalid(f"CustomizedMetricSpecification has Metrics and {given[0]}; give one or the other.")
    for query in custom["Metrics"]:
        if bool(query.get("Expression")) == bool(query.get("MetricStat")):
            raise Invalid(f"Metrics: element {query['Id']} must have either Expression or MetricStat.")
    if len([query for query in custom["Metrics"] if query.get("ReturnData", True)]) != 1:
        raise Invalid("Exactly one element of Metrics must return data (ReturnData): the policy tracks it.")


def requests(
    policy: Mapping[str, Any], arn: str, id: str, timing: str, resource: str, dimension: str
) -> list[dict[str, Any]]:
    """PutMetricAlarm's parameters for both alarms; without the low one when scale-in is disabled. `id` marks them as the policy's own.
    A latency objective has none: it is decided each second from what the fronts count."""
    if latency.is_latency(policy):
        return []
    config = policy["TargetTrackingScalingPolicyConfiguration"]
    watched, points, scale = _watched(config, place_of(resource, dimension), dimension, timing)
    target = float(config["TargetValue"]) * scale
    made = []
    for which, compare, count, threshold in (
        ("AlarmHigh", "GreaterThanThreshold", points[0], target),
        ("AlarmLow", "LessThanThreshold", points[1], target * LOW_SHARE),
    ):
        if which == "AlarmLow" and config.get("DisableScaleIn"):
            continue
        made.append(
            {
                "AlarmName": f"TargetTracking-{resource}-{which}-{id}",
                "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {arn}.",
                "ActionsEnabled": True,
                "AlarmActions": [f"{arn}:createdBy/{id}"],
                **copy.deepcopy(watched),
                "EvaluationPeriods": count,
                "Threshold": threshold,
                "ComparisonOperator": compare,
            }
        )
    return made


def lost(policy: str, alarm: str) -> str:
    """What it means that somebody deleted this alarm of a target tracking policy, and what to do."""
    low = "-AlarmLow-" in alarm
    effect = (
        "it never scales in, and no other target tracking policy of this target does" if low else "it never scales out"
    )
    return f"policy {policy} has lost its alarm {alarm}, so {effect}: put the policy again to have the alarm back, or delete the policy"


def _watched(
    config: Mapping[str, Any], place: ScalableResource, dimension: str, timing: str
) -> tuple[dict[str, Any], tuple[int, int], float]:
    """The metric's part of the alarms, the numbers of points, and what the target is to be multiplied by."""
    predefined = config.get("PredefinedMetricSpecification")
    if predefined:
        row = PREDEFINED[predefined["PredefinedMetricType"]]
        where = (
            {"InferenceComponentName": place.name}
            if dimension == COPIES
            else {"EndpointName": place.name, "VariantName": place.variant}
        )
        metric = {
            "MetricName": row.metric,
            "Namespace": row.namespace,
            "Dimensions": [{"Name": name, "Value": value} for name, value in where.items()],
            "Statistic": row.statistic,
        }
        if row.period == 10:
            low = LOW_POINTS if timing == FAST else LOW_POINTS * 6
            return {**metric, "Period": 10}, (HIGH_POINTS, low), 1.0
        return _timed(metric, timing)
    custom = config["CustomizedMetricSpecification"]
    if custom.get("Metrics"):
        period = 10 if timing == FAST and all(_is_fine(query) for query in custom["Metrics"]) else 60
        return {"Metrics": [_query(query, period) for query in custom["Metrics"]]}, (HIGH_POINTS, LOW_POINTS), 1.0
    metric = {name: custom[name] for name in ("MetricName", "Namespace", "Statistic", "Unit") if custom.get(name)}
    return _timed({**metric, "Dimensions": list(custom.get("Dimensions") or ())}, timing)


def _timed(metric: dict[str, Any], timing: str) -> tuple[dict[str, Any], tuple[int, int], float]:
    if timing == AWS or not str(metric["Namespace"]).startswith(_OWN):
        return {**metric, "Period": 60}, (HIGH_POINTS, LOW_POINTS), 1.0
    scale = 1 / 6 if metric["Statistic"] in _RATES else 1.0
    return {**metric, "Period": 10}, (HIGH_POINTS, LOW_POINTS), scale


def _is_fine(query: Mapping[str, Any]) -> bool:
    """Whether it says the same of ten seconds as of a minute."""
    stat = query.get("MetricStat")
    if not stat:
        return True
    return str(stat["Metric"].get("Namespace")).startswith(_OWN) and stat["Stat"] not in _RATES


def _query(query: Mapping[str, Any], period: int) -> dict[str, Any]:
    made = {name: value for name, value in query.items() if value is not None}
    if made.get("MetricStat"):
        made["MetricStat"] = {"Period": period, **made["MetricStat"]}
    return {"ReturnData": True, **made}


def cooldown(config: Mapping[str, Any], member: str, timing: str) -> float:
    """Seconds: as given, else AWS's five minutes, which are fifty seconds where minutes are ten seconds."""
    given = config.get(member)
    if given is not None:
        return float(given)
    return COOLDOWN if timing == AWS else COOLDOWN / 6
