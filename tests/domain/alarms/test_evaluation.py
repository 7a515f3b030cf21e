"""Alarms: AWS's own tables of missing data, windows, what is decided early, and what is held."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.alarms import checks, evaluation, turn
from clary.domain.alarms.evaluation import EXTRA, State, StateValue
from clary.domain.alarms.rules import parse
from clary.domain.alarms.turn import Act, AlarmNote, Child, SeenAlarm
from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import Summary, WindowValue, single, weighed
from clary.domain.resources import Record, Scope

NOON = 1_800_000_000 // 3600 * 3600.0
KEEP = None
OK, ALARM, NO_DATA = StateValue.OK, StateValue.ALARM, StateValue.INSUFFICIENT_DATA


def request(**changes: Any) -> dict[str, Any]:
    return {
        "AlarmName": "a",
        "Namespace": "N",
        "MetricName": "m",
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": 0.5,
        "ComparisonOperator": "GreaterThanThreshold",
        **changes,
    }


def windows(drawn: str) -> list[WindowValue | None]:
    """'0 - X': oldest first, as AWS's guide draws them."""
    values = {"0": 0.0, "X": 1.0}
    marks = drawn.split()
    return [
        WindowValue(NOON - 60 * back, values[mark], 1.0) if mark in values else None
        for back, mark in enumerate(reversed(marks), 1)
    ]


# The two tables of "Configuring how CloudWatch alarms treat missing data": datapoints, then the state for
# missing, ignore, breaching, notBreaching.
THREE_OF_THREE = (
    ("0 - X - X", OK, OK, OK, OK),
    ("0 - - - -", OK, OK, OK, OK),
    ("- - - - -", NO_DATA, KEEP, ALARM, OK),
    ("0 X X - X", ALARM, ALARM, ALARM, ALARM),
    ("- - X - -", ALARM, KEEP, ALARM, OK),
)
TWO_OF_THREE = (
    ("0 - X - X", ALARM, ALARM, ALARM, ALARM),
    ("0 0 X 0 X", ALARM, ALARM, ALARM, ALARM),
    ("0 - X - -", OK, OK, ALARM, OK),
    ("- - - - 0", OK, OK, ALARM, OK),
    ("- - - X -", ALARM, KEEP, ALARM, OK),
)


@pytest.mark.parametrize(("needed", "table"), [(3, THREE_OF_THREE), (2, TWO_OF_THREE)])
def test_missing_data_is_treated_as_in_the_guide(needed: int, table: tuple[tuple[Any, ...], ...]) -> None:
    assert EXTRA == 2
    for drawn, *expected in table:
        for treat, wanted in zip(("missing", "ignore", "breaching", "notBreaching"), expected, strict=True):
            asked = request(DatapointsToAlarm=needed, TreatMissingData=treat)
            assert evaluation.evaluate(asked, windows(drawn)).value == wanted, (drawn, treat)


@pytest.mark.parametrize(
    ("operator", "below", "at", "above"),
    [
        ("GreaterThanThreshold", False, False, True),
        ("GreaterThanOrEqualToThreshold", False, True, True),
        ("LessThanThreshold", True, False, False),
        ("LessThanOrEqualToThreshold", True, True, False),
    ],
)
def test_comparisons(operator: str, below: bool, at: bool, above: bool) -> None:
    asked = request(ComparisonOperator=operator)
    assert [evaluation.breaches(asked, value) for value in (0.4, 0.5, 0.6)] == [below, at, above]


@pytest.mark.parametrize(
    ("period", "periods", "now", "begins"),
    [
        (10, 1, 7.0, [-10, -20, -30]),
        (10, 1, 10.0, [0, -10, -20]),
        (30, 1, 25.0, [-10, -40, -70]),
        (60, 2, 119.9, [0, -60, -120, -180]),
        (300, 1, 61.0, [-240, -540, -840]),
    ],
)
def test_windows_slide_by_ten_seconds_or_a_minute(period: int, periods: int, now: float, begins: list[int]) -> None:
    looked = evaluation.plan(request(Period=period, EvaluationPeriods=periods), NOON + now)
    assert [begin - NOON for begin in looked.begins(looked.end)] == begins
    assert looked.start == NOON + begins[-1]


def record(asked: Mapping[str, Any], **changes: Any) -> Record:
    document = {**evaluation.document(asked, [], NOON - 1000), **changes}
    status = document["state"]["value"]
    return Record(
        "alarm", Scope("0", "us-east-1"), "a", "arn:aws:cloudwatch:us-east-1:0:alarm:a", status, 0.0, 0.0, document
    )


def in_state(value: StateValue, since: float = NOON - 500) -> dict[str, Any]:
    return {"state": State(value, "r", "", since, since).to_json()}


def seen(now: float, *steps: tuple[float, Summary]) -> SeenAlarm:
    return SeenAlarm(NOON + now, tuple((NOON + at, summary) for at, summary in steps))


FAST = request(Statistic="Sum", Period=10, EvaluationPeriods=1, Threshold=0.0, TreatMissingData="notBreaching")


@pytest.mark.parametrize(
    ("asked", "summary", "expected"),
    [
        (FAST, single(1.0, 2), ALARM),
        (FAST, weighed([(0.0, 5), (1.0, 1)]), ALARM),
        (FAST, single(0.0, 5), OK),
        (FAST, weighed([(-3.0, 1), (9.0, 1)]), OK),  # a sum that may fall again
        ({**FAST, "Statistic": "SampleCount"}, single(0.0, 1), ALARM),
        ({**FAST, "Statistic": "Maximum"}, single(3.0), ALARM),
        ({**FAST, "Statistic": "Average"}, single(3.0), OK),
        ({**FAST, "Statistic": "Minimum"}, single(3.0), OK),
        ({**FAST, "Statistic": "Minimum", "ComparisonOperator": "LessThanThreshold"}, single(-1.0), ALARM),
        ({**FAST, "ComparisonOperator": "LessThanOrEqualToThreshold"}, single(-1.0), OK),
    ],
)
def test_a_running_window_alarms_when_no_sample_can_undo_it(
    asked: dict[str, Any], summary: Summary, expected: StateValue
) -> None:
    decision = turn.decide(record(asked, **in_state(OK)), seen(13.0, (10.0, summary)), NOON + 13.0)
    assert decision.record.status == expected


def test_a_running_window_counts_as_one_of_the_windows() -> None:
    asked = {**FAST, "EvaluationPeriods": 2}
    once = seen(13.0, (0.0, single(0.0)), (10.0, single(1.0)))
    twice = seen(13.0, (0.0, single(1.0)), (10.0, single(1.0)))
    assert turn.decide(record(asked, **in_state(OK)), once, NOON + 13).record.status == OK
    assert turn.decide(record(asked, **in_state(OK)), twice, NOON + 13).record.status == ALARM


def test_nothing_but_an_alarm_is_early() -> None:
    running_well = seen(13.0, (-10.0, single(0.0)), (0.0, single(1.0)), (10.0, single(0.0)))
    decision = turn.decide(record(FAST, **in_state(ALARM)), running_well, NOON + 13)
    assert decision.record.status == ALARM
    over = seen(20.0, (0.0, single(1.0)), (10.0, single(0.0)))
    assert turn.decide(record(FAST, **in_state(ALARM)), over, NOON + 20).record.status == OK


def test_when_the_next_look_is() -> None:
    early = turn.decide(record(FAST, **in_state(OK)), seen(13.5), NOON + 13.5)
    slow = turn.decide(record(request(), **in_state(OK)), seen(13.5), NOON + 13.5)
    assert early.again == pytest.approx(0.5 + evaluation.SETTLE)
    assert slow.again == pytest.approx(46.5 + evaluation.SETTLE)


def test_what_a_change_of_state_says_and_does() -> None:
    asked = {
        **request(Statistic="Sum", Threshold=1.0, EvaluationPeriods=2, DatapointsToAlarm=1, Unit="None"),
        "AlarmActions": ["arn:aws:sns:us-east-1:0:t"],
        "OKActions": ["arn:aws:sns:us-east-1:0:u"],
    }
    at = seen(0.0, (-120.0, single(0.0)), (-60.0, single(5.0)))
    decision = turn.decide(record(asked, **in_state(OK)), at, NOON + 0.3)
    assert decision.commands == ()  # before the state is saved, nobody hears of it
    state = evaluation.state_of(decision.record.document)
    assert state.reason == (
        "Threshold Crossed: 1 out of the last 2 datapoints [5.0 (15/01/27 07:59:00)] was greater than the threshold (1.0) "
        "(minimum 1 datapoint for OK -> ALARM transition)."
    )
    data = json.loads(state.data)
    assert (data["recentDatapoints"], data["threshold"], data["period"]) == ([0.0, 5.0], 1.0, 60)
    assert (data["statistic"], data["unit"], data["version"]) == ("Sum", "None", "1.0")
    assert data["evaluatedDatapoints"][0] == {
        "timestamp": "2027-01-15T07:59:00.000+0000",
        "sampleCount": 1.0,
        "value": 5.0,
    }
    told = turn.decide(decision.record, at, NOON + 0.4)
    note, act = told.commands
    assert isinstance(note, AlarmNote)
    assert note.entry["HistorySummary"] == "Alarm updated from OK to ALARM"
    assert isinstance(act, Act)
    assert act.action == "arn:aws:sns:us-east-1:0:t"
    assert act.subject == 'ALARM: "a" in us-east-1'
    message = json.loads(act.message)
    assert (message["OldStateValue"], message["NewStateValue"]) == ("OK", "ALARM")
    assert message["Trigger"]["MetricName"] == "m"
    assert turn.decide(decision.record, at, NOON + 0.9).commands == told.commands
    again = turn.decide(told.record, at, NOON + 1)
    assert (again.commands, again.record) == ((), told.record)


@pytest.mark.parametrize(
    ("treat", "periods", "reason"),
    [
        ("missing", 1, "Insufficient Data: 1 datapoint was unknown."),
        ("missing", 3, "Insufficient Data: 3 datapoints were unknown."),
        (
            "notBreaching",
            1,
            "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [NonBreaching].",
        ),
        (
            "breaching",
            2,
            "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as [Breaching].",
        ),
    ],
)
def test_what_no_data_says(treat: str, periods: int, reason: str) -> None:
    before = {"missing": OK, "notBreaching": NO_DATA, "breaching": OK}[treat]
    asked = request(TreatMissingData=treat, EvaluationPeriods=periods)
    decision = turn.decide(record(asked, **in_state(before)), seen(0.0), NOON)
    assert evaluation.state_of(decision.record.document).reason == reason


def test_a_state_that_was_set_is_held_and_its_actions_are_told_once() -> None:
    asked = {**FAST, "AlarmActions": ["arn:aws:sns:us-east-1:0:t"]}
    made = turn.with_state(record(asked, **in_state(OK)), State(ALARM, "set", "", NOON, NOON), held=NOON + 10)
    first = turn.decide(made, seen(1.0), NOON + 1)
    assert (first.record.status, [type(c) for c in first.commands]) == (ALARM, [AlarmNote, Act])
    second = turn.decide(first.record, seen(1.0), NOON + 1)
    assert (second.record, second.commands, second.again) == (first.record, (), 9.0)
    later = turn.decide(first.record, seen(10.3), NOON + 10.3)
    assert later.record.status == OK


def test_a_state_that_was_set_is_held_no_longer_when_the_clock_is_set_back() -> None:
    made = turn.with_state(record(FAST, **in_state(OK)), State(ALARM, "set", "", NOON, NOON), held=NOON + 10)
    told = replace(made, document={**made.document, "acted": made.document["moves"]})
    early = NOON - 3600
    looked = SeenAlarm(early, ((early - 10, single(0.0)),))
    assert turn.decide(told, looked, early).record.status == OK


def test_actions_that_are_disabled_are_not_told() -> None:
    asked = {**FAST, "AlarmActions": ["arn:aws:sns:us-east-1:0:t"], "ActionsEnabled": False}
    moved = turn.decide(record(asked, **in_state(OK)), seen(13.0, (10.0, single(1.0))), NOON + 13)
    told = turn.decide(moved.record, seen(13.0), NOON + 13)
    assert [type(command) for command in told.commands] == [AlarmNote]


def test_a_percentile_of_too_few_samples_changes_nothing() -> None:
    asked = {
        **request(EvaluationPeriods=1, ExtendedStatistic="p90", EvaluateLowSampleCountPercentile="ignore"),
        "Statistic": None,
    }
    few, many = weighed([(0.0, 50), (9.0, 40)]), weighed([(0.0, 500), (9.0, 400)])
    assert turn.decide(record(asked, **in_state(OK)), seen(0.0, (-60.0, few)), NOON).record.status == OK
    assert turn.decide(record(asked, **in_state(OK)), seen(0.0, (-60.0, many)), NOON).record.status == ALARM


# -- composite alarms --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("ALARM(a)", True),
        ("OK(a)", False),
        ('ALARM("a") AND OK(b)', True),
        ("NOT ALARM(a) OR OK(b)", True),
        ("NOT (ALARM(a) OR OK(b))", False),
        ("OK(a) AND OK(b) OR TRUE", True),
        ("TRUE AND FALSE", False),
        ("INSUFFICIENT_DATA(c) and not ok(nobody)", True),
        ("ALARM(arn:aws:cloudwatch:us-east-1:0:alarm:a)", True),
        ('OK("with (brackets) and \\"quotes\\"")', True),
    ],
)
def test_rules(rule: str, holds: bool) -> None:
    states = {"a": "ALARM", "b": "OK", "c": "INSUFFICIENT_DATA", 'with (brackets) and "quotes"': "OK"}
    assert parse(rule).holds(states) is holds


@pytest.mark.parametrize(
    "rule", ["", "a", "ALARM(a", "ALARM()", "AND", "ALARM(a) OK(b)", "NOT", '"', "(" * 101, "ALARM(a))"]
)
def test_rules_that_cannot_be_read(rule: str) -> None:
    with pytest.raises(Invalid, match="AlarmRule"):
        parse(rule)


def test_a_composite_alarm_says_who_moved_it() -> None:
    made = record({"AlarmName": "a", "AlarmRule": "ALARM(b) OR ALARM(c)"})
    children = {"b": Child("arn:b", "OK", NOON - 9), "c": Child("arn:c", "ALARM", NOON - 5)}
    decision = turn.decide(made, SeenAlarm(NOON, children=children), NOON)
    assert (decision.record.status, decision.again) == (ALARM, None)
    state = evaluation.state_of(decision.record.document)
    assert state.reason == "arn:c transitioned to ALARM at Friday 15 January, 2027 07:59:55 UTC"
    assert json.loads(state.data)["triggeringAlarms"][0]["arn"] == "arn:c"


# -- what may be put ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Period": 17}, "Period 17 is not valid"),
        ({"Period": 90}, "Period 90 is not valid"),
        ({"EvaluationPeriods": 1441}, "more than a day"),
        ({"Period": 3600, "EvaluationPeriods": 169}, "more than 7 days"),
        ({"DatapointsToAlarm": 4}, "must be at most EvaluationPeriods"),
        ({"TreatMissingData": "maybe"}, "'maybe' is not valid"),
        ({"ExtendedStatistic": "p90"}, "Exactly one"),
        ({"Statistic": None}, "Exactly one"),
        ({"Statistic": None, "ExtendedStatistic": "tm101"}, "tm101 for parameter ExtendedStatistic is not one of"),
        ({"Threshold": None}, "Threshold is required"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "anomaly detection"),
        ({"AlarmActions": ["me"]}, "Invalid arn syntax: me"),
        ({"Dimensions": [{"Name": "a", "Value": "1"}, {"Name": "a", "Value": "2"}]}, "same name"),
        ({"WarmUpConfiguration": {"WarmUpPeriodDurationInMinutes": 1}}, "not available in Clary"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        checks.check(request(**changes))


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (
            "ANOMALY_DETECTION_BAND(m, 2)",
            "Error in expression 'e': the function ANOMALY_DETECTION_BAND is not available in Clary, which has no anomaly detection",
        ),
        ("1 + [SUM(m), NOSUCH(m)]", "the function NOSUCH is not available"),
        ("RATE(m, 1)", "RATE takes 1 argument, not 2"),
    ],
)
def test_an_alarm_on_math_that_cannot_be_computed_is_not_made(expression: str, words: str) -> None:
    stat = {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    metrics = [{"Id": "m", "MetricStat": stat, "ReturnData": False}, {"Id": "e", "Expression": expression}]
    watched = dict.fromkeys(("Namespace", "MetricName", "Statistic", "Period", "Dimensions"))
    with pytest.raises(Invalid, match=words):
        checks.check(request(**watched, Metrics=metrics))


def test_a_composite_alarm_does_not_scale() -> None:
    policy = "arn:aws:autoscaling:us-east-1:000000000000:scalingPolicy:id:resource/sagemaker/endpoint/e:policyName/p"
    composite = {"AlarmName": "c", "AlarmRule": "ALARM(a)"}
    checks.check_composite({**composite, "AlarmActions": ["arn:aws:sns:us-east-1:000000000000:t"]})
    for action in (policy, "arn:aws:automate:us-east-1:ec2:stop"):
        with pytest.raises(Invalid, match="OKActions: a composite alarm cannot scale"):
            checks.check_composite({**composite, "OKActions": [action]})
    checks.check(request(AlarmActions=[policy]))


def test_what_is_taken() -> None:
    checks.check(request())
    checks.check(request(Period=3600, EvaluationPeriods=168, DatapointsToAlarm=1, TreatMissingData="ignore"))
    checks.check(request(Statistic=None, ExtendedStatistic="p99.9", EvaluateLowSampleCountPercentile="ignore"))
