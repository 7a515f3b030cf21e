"""Replicas that do worse than others, simulated: the functions that the queue of a variant asks, driven by a clock of numbers."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable

import pytest

from clary.serving import outliers
from clary.serving.boost import smoothed
from clary.serving.outliers import Health


class Machine:
    """A replica of `allowed` workers that answers one by one."""

    def __init__(self, name: str, service: float, allowed: int = 2) -> None:
        self.name = name
        self.service_time = service
        self.failing = False
        self.health = Health()
        self.busy = 0
        self.allowed = allowed
        self.draining = False
        self.known = float("inf")
        self.own: deque[float] = deque()  # where each replica has a queue of its own
        self.given = 0

    def cost(self) -> float:
        return self.known

    def restart(self, cost: float) -> None:
        self.known = cost

    def alive(self) -> bool:
        return True

    def spare(self, waiting: int = 0) -> int:
        return self.allowed - self.busy


Route = Callable[["World", float], Machine | None]


class World:
    """Requests that arrive at random (but always the same), machines, and a way to choose among them."""

    def __init__(self, machines: list[Machine], route: Route, common: bool, seed: int = 7) -> None:
        self.machines = machines
        self.route = route
        self.common = common
        self.random = random.Random(seed)
        self.now = 0.0
        self.queue: deque[float] = deque()
        self.events: list[tuple[float, int, str, object]] = []
        self.numbers = itertools.count()
        self.latencies: list[tuple[float, float]] = []  # when it arrived, how long it took
        self.failures: list[float] = []
        self.asked = 0
        self.changes: list[tuple[float, str, str]] = []

    def at(self, when: float, what: str, who: object = None) -> None:
        heapq.heappush(self.events, (when, next(self.numbers), what, who))

    def run(self, rate: float, seconds: float, script: dict[float, Callable[[], None]] | None = None) -> None:
        self.at(self.random.expovariate(rate), "arrive")
        self.at(0.25, "judge")
        for when, act in (script or {}).items():
            self.at(when, "act", act)
        while self.events:
            self.now, _, what, who = heapq.heappop(self.events)
            if what == "arrive":
                if self.now < seconds:
                    self.at(self.now + self.random.expovariate(rate), "arrive")
                    self.arrive()
            elif what == "done":
                self.done(*who)  # type: ignore[misc]
            elif what == "act":
                who()  # type: ignore[operator]
            elif self.now < seconds:
                for machine, change in outliers.judge(self.machines, 0.25, self.now):
                    self.changes.append((round(self.now, 2), machine.name, change))
                self.at(self.now + 0.25, "judge")

    def arrive(self) -> None:
        self.asked += 1
        if self.common:
            self.queue.append(self.now)
        else:
            machine = self.route(self, self.now)
            assert machine is not None
            machine.own.append(self.now)
        self.pump()

    def pump(self) -> None:
        if not self.common:
            for machine in self.machines:
                while machine.own and machine.spare():
                    self.begin(machine, machine.own.popleft())
            return
        while self.queue:
            machine = self.route(self, self.now)
            if machine is None:
                return
            self.begin(machine, self.queue.popleft())

    def begin(self, machine: Machine, arrived: float) -> None:
        machine.busy += 1
        machine.given += 1
        took = machine.service_time * self.random.uniform(0.8, 1.2)
        self.at(self.now + took, "done", (machine, arrived, took))

    def done(self, machine: Machine, arrived: float, took: float) -> None:
        machine.busy -= 1
        machine.known = smoothed(machine.known, took)
        machine.health.answers += 1
        if machine.health.slow:
            machine.health.sample(took)
        if machine.failing:
            machine.health.failures += 1
            self.failures.append(self.now)
        self.latencies.append((arrived, self.now - arrived))
        self.pump()

    def p99(self, after: float = 0.0) -> float:
        ordered = sorted(took for arrived, took in self.latencies if arrived >= after)
        return ordered[int(0.99 * len(ordered))]


def clary(world: World, now: float) -> Machine | None:
    """What a variant does: nearly always the one with the smallest busy share, and `outliers.pick` once some are not fit."""
    if all(machine.health.fit for machine in world.machines):
        return least(world, now)
    return outliers.pick(world.machines, len(world.queue), 0, world.asked, now)


def least(world: World, now: float) -> Machine | None:
    free = [machine for machine in world.machines if machine.spare()]
    return min(free, key=lambda machine: machine.busy, default=None)


def in_turn(world: World, now: float) -> Machine | None:
    return world.machines[world.asked % len(world.machines)]


def two_choices(world: World, now: float) -> Machine | None:
    return min(world.random.sample(world.machines, 2), key=lambda machine: machine.busy + len(machine.own))


QUICK, RATE, SECONDS = 0.01, 240.0, 60.0  # two quick machines of two workers are busy for 60 % of the time


def three(slow: float = 0.1) -> list[Machine]:
    return [Machine("a", slow), Machine("b", QUICK), Machine("c", QUICK)]


def measured(machines: list[Machine], route: Route, common: bool) -> World:
    world = World(machines, route, common)
    world.run(RATE, SECONDS)
    return world


def test_one_slow_replica_of_three_costs_the_99th_percentile_at_most_half() -> None:
    alone = measured([Machine("b", QUICK), Machine("c", QUICK)], least, True).p99()
    ours = measured(three(), clary, True)
    assert ours.p99() <= 1.5 * alone
    # what others do, so that this test can fail: a common queue alone, a queue each by two choices, and in turn
    assert measured(three(), least, True).p99() > 3 * alone
    assert measured(three(), two_choices, False).p99() > 3 * alone
    assert measured(three(), in_turn, False).p99() > 3 * alone
    [slow] = [machine for machine in ours.machines if machine.name == "a"]
    assert slow.health.slow
    assert slow.given < 0.01 * ours.asked


def test_a_replica_that_is_quick_again_gets_its_share_again() -> None:
    machines = three()
    world = World(machines, clary, True)
    world.run(RATE, SECONDS, {20.0: lambda: setattr(machines[0], "service_time", QUICK)})
    assert [(name, change) for _, name, change in world.changes] == [("a", "slow"), ("a", "quick")]
    assert 20 < world.changes[1][0] < 25
    share = machines[0].given / world.asked
    assert share > 0.15, share


def test_a_slow_replica_helps_where_waiting_would_take_longer() -> None:
    """More than the two quick ones can bear: the third works too, and the queue stays short."""
    machines = three(slow=0.05)
    world = World(machines, clary, True)
    world.run(430.0, 30.0)
    assert machines[0].health.slow
    assert machines[0].given > 0.05 * world.asked
    assert world.p99(10.0) < 0.5


def test_a_replica_that_fails_alone_is_out_and_comes_back() -> None:
    machines = [Machine(name, QUICK) for name in "abc"]
    machines[1].failing = True
    world = World(machines, clary, True)
    world.run(RATE, 40.0, {20.0: lambda: setattr(machines[1], "failing", False)})
    kinds = [change for _, name, change in world.changes if name == "b"]
    assert {name for _, name, _ in world.changes} == {"b"}
    assert kinds[0] == "out"
    assert kinds[-1] == "in"
    assert 4 <= kinds.count("out") <= 7, "twice as long each time: 1, 2, 4, 8 ... seconds"
    assert len([when for when in world.failures if when > 1]) < 10, "probes only"
    assert machines[1].given > 0.05 * world.asked


def test_when_all_fail_the_fault_is_in_what_is_asked() -> None:
    machines = [Machine(name, QUICK) for name in "abc"]
    for machine in machines:
        machine.failing = True
    world = World(machines, clary, True)
    world.run(RATE, 10.0)
    assert world.changes == []


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_at_most_half_are_out_or_slow(count: int) -> None:
    machines = [Machine(str(number), QUICK * (20 if number < count - 1 else 1)) for number in range(count)]
    for machine in machines[:-1]:
        machine.failing = True
    world = World(machines, clary, True)
    world.run(100.0, 20.0)
    assert sum(not machine.health.fit for machine in machines) <= count // 2
