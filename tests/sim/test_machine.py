"""Several endpoints on one machine."""

from __future__ import annotations

import pytest

from clary.domain.scaling.policy import ClaryPolicy
from clary.sim.machine import machine
from clary.sim.peers import Static
from clary.sim.run import World, run
from clary.sim.traces import Requests, stepped

WORLD = World(first=1)


def burst(begin: float, seed: int, work: float = 0.1, times: float = 10.0) -> Requests:
    rate = 2.0 / work
    return stepped([(begin, rate), (30.0, times * rate), (120.0 - begin, rate)], work, 0.3, seed)


def policies(asked: list[Requests]) -> list[ClaryPolicy]:
    return [ClaryPolicy(objective=requests.objective) for requests in asked]


def test_an_endpoint_alone_on_a_large_machine_is_as_if_it_had_no_machine() -> None:
    asked = burst(60.0, 1)
    (found,) = machine(policies([asked]), [asked], 4096, WORLD, sharing=True)
    alone = run(ClaryPolicy(objective=asked.objective), asked, WORLD)
    assert (found.late, found.decided) == (alone.late, alone.decided)
    assert found.cost == pytest.approx(alone.cost)


def test_nobody_has_more_than_the_machine() -> None:
    asked = [burst(60.0, seed) for seed in range(4)]
    for sharing in (True, False):
        found = machine(policies(asked), asked, 30, WORLD, sharing)
        held = sum(result.seconds[:, 8] for result in found)
        assert held.max() <= 30.5  # what is free is looked at each tenth of a second
        assert held.max() > 25
        assert all(result.done + result.waiting == len(q.arrivals) for result, q in zip(found, asked, strict=True))


def test_sharing_saves_requests_from_being_late() -> None:
    asked = [burst(50.0 + 5 * seed, seed, work=0.1 if seed % 2 else 0.8, times=4.0) for seed in range(6)]
    late = {}
    for sharing in (True, False):
        found = machine(policies(asked), asked, 40, WORLD, sharing)
        late[sharing] = sum(result.late * len(q.arrivals) for result, q in zip(found, asked, strict=True))
    assert late[False] > 0
    assert late[True] < 0.5 * late[False]


def test_a_replica_without_room_waits_for_it() -> None:
    asked = [burst(60.0, seed) for seed in range(2)]
    world = World(first=1, allowance=2)
    found = machine([Static(count=8), Static(count=8)], asked, 20, world, sharing=False)
    live = sum(result.seconds[-1, 9] for result in found)
    assert live == 10
