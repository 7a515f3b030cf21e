"""Schedules: when they fire, through changes of clocks, windows, ends, and what follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.events import deliveries, scheduled
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
QUEUE = "arn:aws:sqs:eu-west-1:000000000000:q"
NOW = datetime(2026, 3, 28, 12, 0, tzinfo=UTC).timestamp()


def schedule(expression: str, now: float = NOW, **more: Any) -> Record:
    request = {
        "ScheduleExpression": expression,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": QUEUE, "RoleArn": "r"},
        **more,
    }
    scheduled.check(request, SCOPE)
    document = {"request": request, "id": "i", "began": now, "due": None}
    return Record(
        scheduled.SCHEDULE,
        SCOPE,
        "default/s",
        scheduled.schedule_arn(SCOPE, "default", "s"),
        "ENABLED",
        now,
        now,
        document,
    )


def fired(record: Record, moments: list[float]) -> list[float]:
    """The times that are fired when the loop looks at these moments, and once more after each change."""
    found: list[float] = []
    for now in moments:
        for _ in range(3):
            decision = scheduled.decide(record, now)
            found += [command.at for command in decision.commands]
            record = decision.record
            if decision.remove:
                return found
    return found


def test_a_rate_fires_once_each_time() -> None:
    moments = [NOW + seconds for seconds in range(0, 301, 10)]
    assert fired(schedule("rate(1 minute)"), moments) == [NOW + 60 * n for n in range(1, 6)]


def test_after_a_long_sleep_the_missed_times_are_one() -> None:
    assert fired(schedule("rate(1 minute)"), [NOW, NOW + 3600, NOW + 3601]) == [NOW + 60]


def test_a_clock_that_is_set_back_repeats_none() -> None:
    record = schedule("rate(1 minute)")
    assert fired(record, [NOW, NOW + 60, NOW - 3600, NOW + 30, NOW + 61, NOW + 120]) == [NOW + 60, NOW + 120]


def test_cron_at_a_change_of_summer_time() -> None:
    """Berlin skips 02:30 on 29 March 2026: it is due when the clock has passed it; 02:30 on 25 October comes twice and is due once."""
    record = schedule("cron(30 2 * * ? *)", ScheduleExpressionTimezone="Europe/Berlin")
    hours = [NOW + 1800 * n for n in range(2 * 48)]
    first = fired(record, hours)[0]
    assert datetime.fromtimestamp(first, UTC).isoformat() == "2026-03-29T01:30:00+00:00"
    autumn = datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp()
    late = schedule("cron(30 2 * * ? *)", autumn, ScheduleExpressionTimezone="Europe/Berlin")
    assert len(fired(late, [autumn + 600 * n for n in range(6 * 24)])) == 1


def test_at_fires_once_and_may_delete_itself() -> None:
    record = schedule("at(2026-03-28T13:00:00)", ActionAfterCompletion="DELETE")
    assert fired(record, [NOW, NOW + 3599, NOW + 3600, NOW + 9999]) == [NOW + 3600]
    due = scheduled.decide(replace(record, document={**record.document, "due": NOW + 3600}), NOW + 3600)
    assert due.remove
    assert len(due.commands) == 1


def test_nothing_fires_before_its_start_and_behind_its_end() -> None:
    record = schedule("rate(1 minute)", StartDate=NOW + 120, EndDate=NOW + 240)
    assert fired(record, [NOW + 10.0 * n for n in range(60)]) == [NOW + 120, NOW + 180, NOW + 240]


def test_a_window_moves_each_time_within_itself_and_always_alike() -> None:
    window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 10}
    moments = [NOW + 30.0 * n for n in range(300)]
    times = fired(schedule("rate(30 minutes)", FlexibleTimeWindow=window), moments)
    assert times == fired(schedule("rate(30 minutes)", FlexibleTimeWindow=window), moments)
    assert len(times) == 4
    assert all(0 <= at - NOW - 1800 * (n + 1) < 600 for n, at in enumerate(times))


def test_what_a_target_is_given() -> None:
    record = schedule(
        "rate(1 minute)", Target={"Arn": QUEUE, "RoleArn": "r", "Input": "at <aws.scheduler.scheduled-time>"}
    )
    one, again = (scheduled.planned(record, NOW, NOW) for _ in range(2))
    assert one.document["input"] == "at 2026-03-28T12:00:00Z"
    assert one.name == again.name  # two control planes plan the same one
    assert one.name != scheduled.planned(record, NOW + 60, NOW).name


@pytest.mark.parametrize(
    "more",
    [
        {"ScheduleExpression": "rate(0 minutes)"},
        {"ScheduleExpression": "cron(* * * * * *)"},
        {"ScheduleExpressionTimezone": "Mars/Olympus"},
        {"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}},
        {"FlexibleTimeWindow": {"Mode": "OFF", "MaximumWindowInMinutes": 5}},
        {"StartDate": NOW, "EndDate": NOW},
        {"Target": {"Arn": "arn:aws:ecs:eu-west-1:000000000000:cluster/x", "RoleArn": "r"}},
        {"Target": {"Arn": f"{QUEUE}.fifo", "RoleArn": "r"}},
        {"Target": {"Arn": QUEUE.replace("eu-west-1", "us-east-1"), "RoleArn": "r"}},
        {"Target": {"Arn": QUEUE, "RoleArn": "r", "RetryPolicy": {"MaximumRetryAttempts": 999}}},
    ],
)
def test_what_is_no_schedule(more: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        schedule(**{"expression": "rate(1 minute)", **{k: v for k, v in more.items() if k != "ScheduleExpression"}, **(
            {"expression": more["ScheduleExpression"]} if "ScheduleExpression" in more else {})})  # fmt: skip


def test_a_delivery_is_tried_as_its_policy_says_then_given_up() -> None:
    target = {"Arn": QUEUE, "RetryPolicy": {"MaximumRetryAttempts": 2}}
    record, now, tries = deliveries.new(SCOPE, "s", "o", target, "{}", NOW), NOW, 0
    while True:
        decision = deliveries.decide(record, now)
        if decision.remove:
            break
        if decision.commands:
            tries += 1
            record = deliveries.absorb(record, deliveries.Carried(now, "busy", "Throttled"))
        now += decision.again or 0.0
    assert tries == 3
    assert isinstance(decision.commands[0], deliveries.GiveUp)


def test_the_delivery_of_a_time_stays_for_a_while() -> None:
    record = deliveries.new(SCOPE, "s", "o", {"Arn": QUEUE}, "{}", NOW, deliveries.KEPT)
    done = deliveries.absorb(record, deliveries.Carried(NOW))
    assert not deliveries.decide(done, NOW + 1).remove
    assert deliveries.decide(done, NOW + deliveries.KEPT).remove
