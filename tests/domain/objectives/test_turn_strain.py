"""A turn on a machine whose CPUs are all wanted: what it claims, what it holds, and what it says."""

from __future__ import annotations

import pytest
from tests.domain.objectives.test_turn import House as Plain

from clary.domain.objectives import turn as objective_turn
from clary.domain.objectives.commands import SeenObjective
from clary.domain.objectives.record import Asked, Range
from clary.domain.objectives.turn import ObjectiveStep
from clary.domain.scaling.costs import EASY, Strain
from clary.domain.scaling.decisions import CUT, line, parse, seen
from clary.domain.scaling.shape import NO_IDLE


class House(Plain):
    """The same, with what its machine tells."""

    def __init__(self, wants: Asked | None) -> None:
        self.strain = EASY
        super().__init__(wants)

    def turn(self) -> ObjectiveStep:
        step = objective_turn.decide(
            self.record,
            SeenObjective(self.endpoint, self.asked, self.live, self.recent, 8, self.usual, strain=self.strain),
            self.now,
        )
        self.carry(step)
        return step


@pytest.fixture
def house() -> House:
    made = House(Asked("p", 0.5, Range(1, 4, True), Range(500, 2000, True)))
    made.turn()
    return made


def test_a_variant_claims_what_it_would_use_at_the_cost_that_is_known(house: House) -> None:
    house.strain = Strain(cost=0.25)
    assert house.live.claim is None
    house.recent.working = 3
    step = house.second(40, queued=10)
    claim = step.live.claim
    assert claim is not None
    assert (claim.service, claim.queued, claim.cost) == (0.1, 10, 0.25)
    assert 4 <= claim.wanted <= 8
    house.now += 10.0
    assert house.turn().live.claim is None  # nothing is heard of it


def test_one_that_is_held_back_claims_what_its_front_would_take(house: House) -> None:
    """Else it would be let go for a second each time that its queue is short for a machine that it had for itself."""
    house.recent.working = 1
    claims = []
    for waits in (0.0, 0.9):
        house.strain = Strain(1.0, 1, 6, waits, full=True)
        for _ in range(5):
            step = house.second(2, service=0.1 / (1.0 - waits), queued=5)
        claims.append(step.live.claim)
    alone, held = claims
    assert alone is not None
    assert held is not None
    assert alone.service == pytest.approx(0.1)
    assert held.service == pytest.approx(0.1)
    assert alone.wanted <= 2
    assert held.wanted == 5  # a worker for each request that waits


def test_a_cut_is_written_down_when_it_begins_and_when_it_ends(house: House) -> None:
    for _ in range(8):
        house.second(10)
    told = len(house.events)
    house.strain = Strain(1.0, 2, 6, full=True)
    for _ in range(20):
        house.second(10)
    [event] = house.events[told:]
    assert event.why.endswith(" All CPUs of the machine are wanted: no more than 2 workers of 6 may be busy.")
    assert event.saw[CUT] == 2
    again = parse(line(event))
    assert again is not None
    assert again.saw[CUT] == 2
    house.strain = EASY
    house.second(10)
    assert CUT not in house.events[-1].saw


def test_a_cut_that_comes_and_goes_each_second_is_no_event_each_second(house: House) -> None:
    for at in range(30):
        house.strain = Strain(1.0, 2, 6, full=True) if at % 2 else EASY
        house.second(10)
    assert sum(CUT in event.saw for event in house.events) <= 6


def test_a_model_whose_workers_wait_for_cpus_does_not_grow_and_says_why(house: House) -> None:
    house.strain = Strain(1.0, waits=0.75, full=True)
    house.second(46, service=0.4, queued=200)
    assert house.wish == {}
    event = house.events[-1]
    assert (event.won, event.refused, event.applied) == ("no-room", NO_IDLE, False)
    assert "workers that wait for a CPU 75 % of their time" in seen(event)
    house.strain = EASY
    house.second(46, queued=200)
    assert house.wish


def test_a_service_time_that_others_stretch_is_not_remembered_as_a_need(house: House) -> None:
    house.strain = Strain(1.0, waits=0.75, full=True)
    for _ in range(10):
        house.second(10, service=0.4)
    assert max(need for _, need in house.live.memory.peaks) <= 2  # of 0.1 s; of 0.4 s there would be five
    house.strain = EASY
    for _ in range(5):
        house.second(10)
    assert house.variant.count == 1
    assert house.wish.keys() <= {"clary:variant:DesiredMillicpuPerInstance"}
