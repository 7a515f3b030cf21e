"""What replays come to in an objective's record, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.domain.objectives.test_turn import BOTH, NOW, House

from clary.domain.objectives.commands import Played
from clary.domain.objectives.record import Asked, Range
from clary.domain.objectives.tournament import judged, serving, setup_of
from clary.domain.scaling.candidates import CONTROL, SHIPPED
from clary.domain.scaling.decisions import TOURNAMENT, Event, State, line, parse
from clary.domain.scaling.shape import Bounds
from clary.domain.scaling.tournament import RUNNING, Score

STATE = State(2, 2000, 8)
BETTER = Played({SHIPPED: Score(1.3, 0.0), "surge=2": Score(1.1, 0.0), CONTROL: Score(1.0, 0.0)})
SAME = Played({SHIPPED: Score(1.1, 0.0), "surge=2": Score(1.1, 0.0)})


class Told:
    """A record, and what was told of it."""

    def __init__(self) -> None:
        self.document: dict[str, object] = {"tournament": None}
        self.events: list[Event] = []

    def hear(self, played: Played, times: int = 1, asked: Asked = BOTH) -> list[str]:
        """Why, of each event that this makes."""
        before = len(self.events)
        for _ in range(times):
            self.document["tournament"], event = judged(self.document, played, asked, STATE, NOW)
            self.events += [event] if event is not None else []
        return [event.why for event in self.events[before:]]


def test_a_challenger_that_wins_six_replays_running_serves_and_both_scores_are_told() -> None:
    told = Told()
    assert told.hear(BETTER, RUNNING - 1) == [
        "The last day was played again: shipped keeps serving at 1.300 (cost 1.300, and none late); "
        "surge=2 scores 1.100 and has won 1 of 6 replays running. "
        "AWS's target tracking would have come to 1.000."
    ]
    assert serving(told.document, BOTH) == SHIPPED
    [why] = told.hear(BETTER)
    assert why.startswith(
        "The last day was played again: surge=2 takes over from shipped: 1.100 against 1.300, the 6th replay running."
    )
    assert serving(told.document, BOTH) == "surge=2"
    event = told.events[-1]
    assert (event.level, event.won, event.applied, event.before) == (TOURNAMENT, "surge=2", True, event.after)
    assert parse(line(event)) == event


def test_the_control_never_serves() -> None:
    told = Told()
    told.hear(Played({SHIPPED: Score(1.3, 0.0), CONTROL: Score(1.0, 0.0)}), RUNNING + 1)
    assert serving(told.document, BOTH) == SHIPPED
    assert told.document["tournament"]["wins"] == {}  # type: ignore[index]


def test_what_stays_so_is_told_once() -> None:
    told = Told()
    assert len(told.hear(SAME, 5)) == 1
    assert len(told.hear(Played({}, "nothing is there"), 5)) == 1
    assert len(told.hear(SAME, 5)) == 1
    assert len({event.outcome for event in told.events}) == 2


def test_a_replay_that_failed_takes_no_win_away() -> None:
    told = Told()
    told.hear(BETTER, RUNNING - 1)
    assert told.hear(Played({}, "the replay failed")) == ["The replay failed."]
    told.hear(BETTER)
    assert serving(told.document, BOTH) == "surge=2"


def test_what_was_won_for_another_objective_or_against_the_users_keep_does_not_count() -> None:
    told = Told()
    keep = Played({SHIPPED: Score(1.3, 0.0), "keep=600": Score(1.1, 0.0)})
    told.hear(keep, RUNNING)
    assert serving(told.document, BOTH) == "keep=600"
    assert serving(told.document, replace(BOTH, keep=300.0)) == SHIPPED
    assert serving(told.document, replace(BOTH, objective=0.2)) == SHIPPED
    told.hear(BETTER, RUNNING, replace(BOTH, keep=300.0))
    assert serving(told.document, replace(BOTH, keep=300.0)) == "surge=2"


def test_a_record_of_before_the_tournament_is_shipped() -> None:
    assert serving({}, BOTH) == SHIPPED


def test_the_setting_that_serves_decides_the_turn() -> None:
    """Twelve minutes after a peak, replicas that are kept for ten have begun to go, those that are kept for twenty have not."""
    counts = {}
    for name in (SHIPPED, "keep=600"):
        house = House(Asked("p", 0.5, Range(1, 4)))
        kept = {"serving": name, "wins": {}, "objective": 0.5, "told": ""}
        house.record = replace(house.record, document={**house.record.document, "tournament": kept})
        for second in range(720):
            house.now = NOW + second
            house.sample(46 if second < 5 else 1)
            house.turn()
            house.settle()
        counts[name] = house.variant.count
    assert counts["keep=600"] < counts[SHIPPED]


@pytest.mark.parametrize(("cost", "workers"), [(0.0, 4), (1.0, 4), (1.7, 4), (0.5, 8), (0.001, 256)])
def test_a_model_that_waits_for_others_keeps_more_workers_busy_than_there_are_cpus(cost: float, workers: int) -> None:
    assert setup_of(BOTH, Bounds(1, 4, machine=4000), 2, 8, [], 1.2, cost).cpus == workers


def test_the_turn_knows_the_variant_as_a_day_is_played_for_it() -> None:
    house = House()
    house.sample(4)
    house.turn()
    setup = house.live.setup
    assert setup is not None
    assert (setup.objective, setup.least, setup.most, setup.ready, setup.allowance) == (0.5, 1, 4, 2, 8)
    assert (setup.kept, setup.cpus, setup.start) == (False, 8, 1.2)
