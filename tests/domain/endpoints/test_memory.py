"""Replicas that need more memory, in the small world of test_endpoints: grown in time, restarted larger, or told why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.domain.endpoints.test_life import World, fleet

from clary.domain.endpoints.commands import LogDeath, ResizeReplica, SeenEndpoint, Started, StartReplica, WriteHistory
from clary.domain.endpoints.life import asked_update
from clary.domain.endpoints.memory import RESERVE
from clary.domain.endpoints.sizes import asked_size
from clary.domain.machine.instances import GIB, find

MIB = 1 << 20


class Machine(World):
    """A machine with memory: `available` bytes are free on it."""

    def __init__(self, count: int = 1, memory: int = 64 * GIB, available: int = 40 * GIB) -> None:
        super().__init__(fleet(count=count))
        self.memory, self.available = memory, available
        self.settle()
        assert self.record.status == "InService"
        self.log.clear()

    def seen(self) -> SeenEndpoint:
        return replace(super().seen(), memory=self.memory, available=self.available)

    def use(self, replica: str, **how: Any) -> None:
        self.runs[replica] = replace(self.runs[replica], **how)
        self.settle()

    @property
    def sized(self) -> set[str]:
        return {self.sizes[replica] for replica in self.ready()}

    def told(self) -> list[tuple[str, str]]:
        return [(c.note.what, c.note.why) for c in self.of(WriteHistory)]


def test_a_replica_near_its_limit_is_grown_before_it_ends() -> None:
    world = Machine(count=2)
    old = world.ready()
    world.use(old[0], memory_bytes=7300 * MIB)  # of 8192
    assert world.log == []
    world.use(old[0], memory_bytes=7400 * MIB)
    assert [c.instance_type for c in world.of(ResizeReplica)] == ["ml.m5.large with 16384 MB"] * 2
    assert (world.ready(), world.record.status) == (old, "InService")
    why = f"A, replica {old[0]}: 7400 MiB are used at a limit of 8192 MiB; it gets 16384 MiB"
    assert world.told() == [("memory grown", why)]
    assert world.record.document["system_tags"]["aws:clary:sizes"] == "A=with 16384 MB"
    world.log.clear()
    world.use(old[1], memory_bytes=16000 * MIB)
    assert {c.instance_type for c in world.of(ResizeReplica)} == {"ml.m5.large with 32768 MB"}


def test_a_worker_that_the_kernel_ended_is_a_sign_too_and_counts_once() -> None:
    world = Machine()
    [only] = world.ready()
    world.use(only, memory_bytes=1000 * MIB, oom_kills=1, oom_killed=True)
    assert world.sized == {"ml.m5.large with 16384 MB"}
    world.use(only, memory_bytes=2000 * MIB)
    assert world.sized == {"ml.m5.large with 16384 MB"}
    world.use(only, memory_bytes=2000 * MIB, oom_kills=2)
    assert world.sized == {"ml.m5.large with 32768 MB"}


def test_a_replica_that_was_ended_for_its_memory_comes_back_one_size_larger_and_says_so() -> None:
    world = Machine(count=2)
    first, other = world.ready()
    world.end(first, exit_code=137, oom_killed=True)
    world.settle()
    assert [c.instance_type for c in world.of(StartReplica)] == ["ml.m5.large with 16384 MB"]
    assert [(c.id, c.instance_type) for c in world.of(ResizeReplica)] == [(other, "ml.m5.large with 16384 MB")]
    said = "it ran out of memory at a limit of 8192 MiB; its successor gets 16384 MiB"
    assert [c.how for c in world.of(LogDeath)] == [said]
    assert world.told() == [("memory grown", f"A, replica {first}: {said}")]


def test_two_that_end_together_are_one_growth() -> None:
    world = Machine(count=2)
    for replica in world.ready():
        world.end(replica, exit_code=137, oom_killed=True)
    for _ in range(5):
        world.settle()
        world.now += 1
    assert len(world.ready()) == 2
    assert world.sized == {"ml.m5.large with 16384 MB"}


def test_a_model_that_does_not_fit_while_it_loads_grows_until_it_does() -> None:
    world = Machine(count=1)
    start: Callable[[str, str], Started] = world.start

    def hungry(id_: str, how: str) -> Started:
        answer = start(id_, how)
        if "32768" not in world.sizes[id_]:
            world.end(id_, exit_code=137, oom_killed=True)
        return answer

    world.start = hungry  # type: ignore[method-assign]
    world.record = asked_update(world.record, fleet("f2", 1, VERSION="2"), {}, world.now)
    for _ in range(20):
        world.settle()
        world.now += 1
    assert world.record.status == "InService"
    assert world.sized == {"ml.m5.large with 32768 MB"}
    assert world.plant.failure == ""


@pytest.mark.parametrize(
    ("memory", "available", "size"),
    [
        (12 * GIB, 32 * GIB, "ml.m5.large with 12288 MB"),  # all that the machine gives
        (64 * GIB, 2 * GIB + 512 * MIB, "ml.m5.large with 10148 MB"),  # all that is free
        (64 * GIB, 1 * GIB, "ml.m5.large"),  # not worth it
        (8 * GIB, 32 * GIB, "ml.m5.large"),
        (0, 32 * GIB, "ml.m5.large"),  # nobody knows
    ],
)
def test_growth_ends_where_the_machine_does(memory: int, available: int, size: str) -> None:
    world = Machine(1, memory, available)
    [only] = world.ready()
    world.use(only, memory_bytes=8100 * MIB)
    assert world.sized == {size}


def test_without_room_the_end_says_what_to_do() -> None:
    world = Machine(available=0)
    world.end(world.ready()[0], exit_code=137, oom_killed=True)
    world.settle()
    assert [c.how for c in world.of(LogDeath)] == [
        "it ran out of memory on ml.m5.large; use an instance type with more memory"
    ]
    assert world.sized == {"ml.m5.large"}


def test_memory_that_is_refused_is_not_asked_for_again_and_again() -> None:
    world = Machine()
    world.no_resize = "12 of 16 GiB are reserved"
    [only] = world.ready()
    world.use(only, memory_bytes=8000 * MIB)
    world.now += 299
    world.settle()
    assert len(world.of(ResizeReplica)) == 1
    assert [what for what, _ in world.told()] == ["memory grown", "size kept"]
    assert world.sized == {"ml.m5.large"}
    world.now += 2
    world.no_resize = ""
    world.settle()
    assert world.sized == {"ml.m5.large with 16384 MB"}


def test_where_no_larger_one_can_be_started_one_of_the_types_own_size_is() -> None:
    world = Machine()
    start: Callable[[str, str], Started] = world.start
    world.start = lambda id_, how: start(id_, "refused" if "with" in world.sizes[id_] else how)  # type: ignore[method-assign]
    world.end(world.ready()[0], exit_code=137, oom_killed=True)
    for _ in range(5):
        world.settle()
        world.now += 1
    assert (world.record.status, world.sized) == ("InService", {"ml.m5.large"})


def test_cpu_and_memory_are_asked_for_beside_each_other() -> None:
    world = Machine()
    world.record = asked_size(world.record, "A", 1500, world.now)
    world.use(world.ready()[0], memory_bytes=8000 * MIB)
    assert world.sized == {"ml.m5.large at 1500 millicpu with 16384 MB"}


def test_an_update_keeps_grown_memory_unless_it_changes_the_type() -> None:
    world = Machine()
    world.use(world.ready()[0], memory_bytes=8000 * MIB)
    for name, kind, size in (
        ("f2", "ml.m5.large", "ml.m5.large with 16384 MB"),
        ("f3", "ml.m5.xlarge", "ml.m5.xlarge"),
    ):
        world.record = asked_update(world.record, fleet(name, 1, kind=kind, VERSION=name), {}, world.now)
        for _ in range(5):
            world.settle()
            world.now += 1
        assert world.sized == {size}


@pytest.mark.parametrize(("used", "wait"), [(1000, 10.0), (5000, 1.0), (6500, 0.25)])
def test_the_nearer_it_is_the_more_often_it_is_looked_at(used: int, wait: float) -> None:
    world = Machine()
    [only] = world.ready()
    world.use(only, memory_bytes=used * MIB)
    assert world.turn().again == wait


def grown(count: int = 1) -> Machine:
    """Of 16 GiB, where the type has 8."""
    world = Machine(count)
    world.use(world.ready()[0], memory_bytes=7400 * MIB)
    assert world.sized == {"ml.m5.large with 16384 MB"}
    world.log.clear()
    return world


def rest(world: Machine, seconds: float, used: int, step: float = 60.0) -> None:
    """Every replica uses so many MiB for so long."""
    for replica in world.ready():
        world.use(replica, memory_bytes=used * MIB)
    until = world.now + seconds
    while world.now < until:
        world.now += step
        world.settle()


def test_memory_that_was_not_needed_for_an_hour_is_given_back_and_the_history_says_so() -> None:
    world = grown(count=2)
    old = world.ready()
    rest(world, 3500, 3000)
    assert world.sized == {"ml.m5.large with 16384 MB"}
    rest(world, 200, 3000)
    assert (world.sized, world.ready()) == ({"ml.m5.large"}, old)
    [(what, why)] = world.told()
    assert (what, why[:62]) == ("memory shrunk", "A: all of its replicas used little for 1 h; they get 8192 MiB")
    rest(world, 20_000, 100)
    assert world.sized == {"ml.m5.large"}  # never below its type's own


def test_it_shrinks_by_half_at_a_time() -> None:
    world = grown()
    world.use(world.ready()[0], memory_bytes=15_000 * MIB)
    assert world.sized == {"ml.m5.large with 32768 MB"}
    rest(world, 2 * 3600 + 120, 1000)
    assert world.sized == {"ml.m5.large with 16384 MB"}
    rest(world, 2 * 3600 + 120, 1000)
    assert world.sized == {"ml.m5.large"}


def test_one_that_needs_it_now_and_then_keeps_it_for_all() -> None:
    world = grown(count=2)
    for _ in range(12):
        rest(world, 1800, 1000)
        world.use(world.ready()[1], memory_bytes=6000 * MIB)
        world.use(world.ready()[1], memory_bytes=1000 * MIB)
    assert world.sized == {"ml.m5.large with 16384 MB"}
    assert world.told() == []


def test_a_need_that_comes_back_every_hour_changes_its_size_ever_less_often() -> None:
    """Three days of a model that needs much for a minute in every 65."""
    world = grown()
    for _ in range(66):
        rest(world, 65 * 60, 1000, step=300.0)
        rest(world, 60, 7400)
    assert len(world.told()) <= 2 * 6  # ups and downs: 1 h, 2 h, 4 h ... of rest before each


def test_at_rest_nothing_is_saved() -> None:
    world = grown()
    rest(world, 600, 3000)
    before = world.record
    rest(world, 600, 3500)
    assert world.record == before


def test_a_clock_that_goes_back_begins_the_hour_anew() -> None:
    world = grown()
    rest(world, 1800, 3000)
    world.now -= 100_000
    world.settle()
    rest(world, 3500, 3000)
    assert world.sized == {"ml.m5.large with 16384 MB"}
    rest(world, 300, 3000)
    assert world.sized == {"ml.m5.large"}


def test_a_leak_is_followed_up_to_what_the_machine_has_and_no_further() -> None:
    """Three growths in all, however often it ends and leaks again; the reserve stays free, and each end names what it had."""
    world = Machine(memory=64 * GIB, available=40 * GIB)
    free = 40 * GIB
    ends = 0
    for _ in range(1200):
        [only] = world.ready() or [""]
        if only:
            size = find(world.sizes[only])
            assert size is not None
            used, limit = world.runs[only].memory_bytes + 200 * MIB, size.memory
            world.available = free - min(used, limit)
            assert world.available >= RESERVE, "neighbours have nothing left"
            if used >= limit:
                ends += 1
                world.available = free
                world.end(only, exit_code=137, oom_killed=True)
            else:
                world.use(only, memory_bytes=used)
        world.settle()
        world.now += 1
    sizes = [why.rpartition("it gets ")[2] for what, why in world.told() if what == "memory grown"]
    assert sizes == ["16384 MiB", "32768 MiB", "40448 MiB"]
    assert ends >= 3
    said = "it ran out of memory on ml.m5.large with 40448 MB; use an instance type with more memory"
    assert [command.how for command in world.of(LogDeath)] == [said] * ends
    assert {command.instance_type for command in world.of(StartReplica)} == {"ml.m5.large with 40448 MB"}
