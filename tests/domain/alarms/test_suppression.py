"""Actions that a suppressor holds back, from the state that calls for them to their telling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.alarms import evaluation, suppression, turn
from clary.domain.alarms.turn import Act, AlarmNote, Child, SeenAlarm
from clary.domain.errors import Invalid
from clary.domain.resources import Record, Scope

NOON = 1_800_000_000.0
REQUEST = {
    "AlarmName": "parent",
    "AlarmRule": "ALARM(child)",
    "AlarmActions": ["arn:alarm"],
    "OKActions": ["arn:ok"],
    "ActionsSuppressor": "arn:aws:cloudwatch:us-east-1:000000000000:alarm:quiet",
    "ActionsSuppressorWaitPeriod": 60,
    "ActionsSuppressorExtensionPeriod": 120,
}


class Play:
    """An alarm as the loop turns it: every turn until nothing changes. `told` are actions, `notes` what the history says of them."""

    def __init__(self, **changes: Any) -> None:
        request = {key: value for key, value in {**REQUEST, **changes}.items() if value is not None}
        document = evaluation.document(request, (), NOON)
        self.record = Record(
            "alarm", Scope("0" * 12, "us-east-1"), "parent", "arn:p", "INSUFFICIENT_DATA", NOON, NOON, document
        )
        self.again: float | None = None

    def see(self, child: str, suppressor: str, now: float) -> tuple[list[str], list[str]]:
        told, notes = [], []
        seen = SeenAlarm(NOON + now, children={"child": Child("arn:c", child, NOON)}, suppressor=suppressor)
        for _ in range(10):
            decision = turn.decide(self.record, seen, NOON + now)
            told += [each.action for each in decision.commands if isinstance(each, Act)]
            notes += [str(each.entry["HistorySummary"]) for each in decision.commands if isinstance(each, AlarmNote)]
            self.again = decision.again
            if decision.record == self.record:
                return told, [note.removeprefix("Actions suppressed by ") for note in notes if "suppressed" in note]
            self.record = decision.record
        raise AssertionError("it never settles")

    @property
    def by(self) -> str:
        hush = suppression.hush_of(self.record.document)
        return hush.by if hush else ""


def test_while_the_suppressor_is_in_alarm_nothing_is_told_and_afterwards_once() -> None:
    play = Play()
    assert play.see("OK", "OK", 0) == (["arn:ok"], [])
    assert play.see("ALARM", "ALARM", 10) == ([], ["Alarm"])
    assert (play.by, play.again) == ("Alarm", None)
    assert play.see("ALARM", "ALARM", 5000) == ([], [])
    assert play.see("ALARM", "OK", 6000) == ([], ["ExtensionPeriod"])
    assert (play.by, play.again) == ("ExtensionPeriod", 120.0)
    assert play.see("ALARM", "ALARM", 6060) == ([], ["Alarm"])
    play.see("ALARM", "OK", 7000)
    assert play.see("ALARM", "OK", 7119) == ([], [])
    assert play.see("ALARM", "OK", 7120) == (["arn:alarm"], [])
    assert (play.by, play.again) == ("", None)
    assert play.see("ALARM", "OK", 7200) == ([], [])


def test_the_suppressor_has_some_time_to_follow() -> None:
    play = Play()
    play.see("OK", "OK", 0)
    assert play.see("ALARM", "OK", 10) == ([], ["WaitPeriod"])
    assert play.again == 60.0
    assert play.see("ALARM", "ALARM", 50) == ([], ["Alarm"])
    late = Play()
    late.see("OK", "OK", 0)
    late.see("ALARM", "INSUFFICIENT_DATA", 10)
    assert late.see("ALARM", "INSUFFICIENT_DATA", 70) == (["arn:alarm"], [])


def test_what_is_told_in_the_end_is_the_state_that_holds_then() -> None:
    play = Play()
    play.see("OK", "OK", 0)
    play.see("ALARM", "ALARM", 10)
    assert play.see("OK", "ALARM", 20) == ([], ["Alarm"])
    assert play.see("OK", "OK", 30) == ([], ["ExtensionPeriod"])
    assert play.see("ALARM", "OK", 40) == ([], ["ExtensionPeriod"]), "the extension goes on"
    assert play.see("ALARM", "OK", 150) == (["arn:alarm"], [])


def test_an_alarm_that_is_over_before_the_wait_is_does_not_wait_any_more() -> None:
    play = Play()
    play.see("OK", "OK", 0)
    play.see("ALARM", "OK", 10)
    assert play.see("OK", "OK", 20) == (["arn:ok"], [])
    assert (play.by, play.again) == ("", None)


def test_periods_of_no_time_hold_nothing_back() -> None:
    play = Play(ActionsSuppressorWaitPeriod=0, ActionsSuppressorExtensionPeriod=0)
    play.see("OK", "OK", 0)
    assert play.see("ALARM", "", 10) == (["arn:alarm"], [])
    play.see("OK", "OK", 20)
    play.see("ALARM", "ALARM", 30)
    assert play.see("ALARM", "OK", 40) == (["arn:alarm"], [])


def test_without_a_suppressor_any_more_what_was_held_back_is_told() -> None:
    play = Play()
    play.see("ALARM", "ALARM", 0)
    request = {key: value for key, value in REQUEST.items() if not key.startswith("ActionsSuppressor")}
    play.record = replace(play.record, document={**play.record.document, "request": request})
    assert play.see("ALARM", "", 10) == (["arn:alarm"], [])


def test_a_clock_that_is_set_back_makes_no_period_longer() -> None:
    play = Play()
    play.see("ALARM", "OK", 100_000)
    assert play.see("ALARM", "OK", 10) == (["arn:alarm"], [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ActionsSuppressorWaitPeriod": None}, "ActionsSuppressorWaitPeriod must be specified together"),
        ({"ActionsSuppressorExtensionPeriod": None}, "ActionsSuppressorExtensionPeriod must be specified together"),
        ({"ActionsSuppressor": None}, "is only for alarms with an ActionsSuppressor"),
        ({"ActionsSuppressorWaitPeriod": -1}, "must be 0 to 86400 seconds; it is -1"),
        ({"ActionsSuppressor": "parent"}, "must not name the alarm itself"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], words: str) -> None:
    request = {key: value for key, value in {**REQUEST, **changes}.items() if value is not None}
    with pytest.raises(Invalid, match=words):
        suppression.check(request)


def test_reasons() -> None:
    assert suppression.words(REQUEST, suppression.Hush("Alarm")) == "The suppressor quiet is in state ALARM"
    waiting = suppression.words(REQUEST, suppression.Hush("WaitPeriod", NOON))
    assert waiting == "The suppressor quiet may still go to ALARM: waiting until 2027-01-15T08:00:00Z"
