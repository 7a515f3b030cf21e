"""What EventBridge is told of an alarm: the fields of CloudWatch's user guide."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from clary.domain.alarms import evaluation, events
from clary.domain.alarms.evaluation import State, StateValue
from clary.domain.alarms.suppression import Hush
from clary.domain.alarms.turn import with_state
from clary.domain.resources import Record, Scope

ARN = "arn:aws:cloudwatch:us-east-1:000000000000:alarm:high"
METRIC = {
    "AlarmName": "high",
    "AlarmDescription": "CPU is high",
    "Namespace": "AWS/EC2",
    "MetricName": "CPUUtilization",
    "Dimensions": [{"Name": "InstanceId", "Value": "i-1"}],
    "Statistic": "Average",
    "Period": 300,
    "EvaluationPeriods": 1,
    "Threshold": 50.0,
    "ComparisonOperator": "GreaterThanThreshold",
}


def alarm(request: dict[str, Any], acted: bool = True) -> Record:
    """One that went from INSUFFICIENT_DATA to ALARM."""
    document = evaluation.document(request, [], 0.0)
    made = Record("alarm", Scope("000000000000", "us-east-1"), "high", ARN, "INSUFFICIENT_DATA", 0.0, 0.0, document)
    moved = with_state(made, State(StateValue.ALARM, "Threshold Crossed", '{"version":"1.0"}', 60.5, 60.5))
    return replace(moved, document={**moved.document, "acted": moved.document["moves"]}) if acted else moved


def test_a_change_is_told_when_it_was_acted_upon() -> None:
    document = evaluation.document(METRIC, [], 0.0)
    made = Record("alarm", Scope("0", "r"), "high", ARN, "INSUFFICIENT_DATA", 0.0, 0.0, document)
    assert [events.occasions(each) for each in (made, alarm(METRIC, acted=False), alarm(METRIC))] == [0, 0, 1]


def test_an_alarm_of_one_metric() -> None:
    told = events.detail(alarm(METRIC))
    metric = {"name": "CPUUtilization", "namespace": "AWS/EC2", "dimensions": {"InstanceId": "i-1"}}
    [shown] = told["configuration"].pop("metrics")
    assert shown.pop("id")
    assert shown == {"metricStat": {"metric": metric, "period": 300, "stat": "Average"}, "returnData": True}
    assert told == {
        "alarmName": "high",
        "configuration": {"description": "CPU is high"},
        "previousState": {
            "value": "INSUFFICIENT_DATA",
            "reason": "Unchecked: Initial alarm creation",
            "timestamp": "1970-01-01T00:00:00.000+0000",
        },
        "state": {
            "value": "ALARM",
            "reason": "Threshold Crossed",
            "reasonData": '{"version":"1.0"}',
            "timestamp": "1970-01-01T00:01:00.500+0000",
        },
    }
    json.dumps(told)


def test_an_alarm_on_metric_math() -> None:
    stat = {
        "Metric": {"Namespace": "N", "MetricName": "In", "Dimensions": []},
        "Period": 60,
        "Stat": "p90",
        "Unit": "Bytes",
    }
    queries = [
        {"Id": "e1", "Expression": "m1 * 2", "Label": "twice"},
        {"Id": "m1", "MetricStat": stat, "ReturnData": False},
    ]
    request = {"AlarmName": "high", "Metrics": queries, "EvaluationPeriods": 1, "Threshold": 1.0}
    assert events.detail(alarm(request))["configuration"] == {
        "metrics": [
            {"id": "e1", "expression": "m1 * 2", "label": "twice", "returnData": True},
            {
                "id": "m1",
                "metricStat": {
                    "metric": {"name": "In", "namespace": "N", "dimensions": {}},
                    "period": 60,
                    "stat": "p90",
                    "unit": "Bytes",
                },
                "returnData": False,
            },
        ]
    }


def test_a_composite_alarm_says_what_holds_its_actions_back() -> None:
    request = {
        "AlarmName": "high",
        "AlarmRule": "ALARM(a)",
        "ActionsSuppressor": "quiet",
        "ActionsSuppressorWaitPeriod": 10,
        "ActionsSuppressorExtensionPeriod": 20,
    }
    record = alarm(request)
    held = replace(record, document={**record.document, "hushed": Hush("WaitPeriod", 70.0).to_json()})
    told = events.detail(held)
    assert told["configuration"] == {
        "alarmRule": "ALARM(a)",
        "actionsSuppressor": "quiet",
        "actionsSuppressorWaitPeriod": 10,
        "actionsSuppressorExtensionPeriod": 20,
    }
    assert told["state"]["actionsSuppressedBy"] == "WaitPeriod"
    assert told["state"]["actionsSuppressedReason"]
