"""Places of replicas: all that a change needs or none of it, given back at the end, wished for while there is no room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.endpoints.commands import ReplicaNeed, SeenEndpoint
from clary.domain.endpoints.fleets import PLANNED, READY, Fleet, Plant, Replica, new_fleet
from clary.domain.endpoints.turn import places, with_plant
from clary.domain.errors import LimitExceeded
from clary.domain.machine.capacity import REPLICA_FLOOR, Machine
from clary.domain.machine.instances import GIB, KEPT, serverless
from clary.domain.machine.workload import Observation, RunState
from clary.domain.models.containers import Container
from clary.domain.resources import Record, Scope
from clary.loops.core.ledger import Ledger
from clary.loops.endpoints.replica_rooms import ReplicaRooms
from clary.testing.clock import FakeClock
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "us-east-1")
LARGE = "ml.m5.large"  # 2 vCPU, 8 GiB


class Town:
    """Two endpoints on one machine."""

    def __init__(self, cpus: int = 4, policy: str = "strict", available: int = 32 * GIB) -> None:
        self.machine = Machine(cpus, 64 * GIB, available)
        self.clock = FakeClock(1000.0)
        self.ledger = Ledger(MemoryStore())
        self.rooms = ReplicaRooms(self.ledger, lambda: self.machine, self.clock, policy)

    async def take(self, record: Record, *ids: str, own: int = 0, **place: Any) -> None:
        wanted = [ReplicaNeed(id_, **({"size": LARGE} | place)) for id_ in ids]
        await self.rooms.take(record, wanted[own], wanted)

    async def settle(self, record: Record, plant: Plant, seen: dict[str, Observation | None]) -> None:
        """A turn of the record's loop, in which these runs were seen; what is not among them is not known to the backend."""
        self.rooms.weigh(seen)
        strays = dict.fromkeys(self.rooms.strays(record, plant))
        command = self.rooms.unsettled(record, plant, {**strays, **seen})
        if command is not None:
            await self.rooms.settle(command, record.arn)
        assert self.rooms.unsettled(record, plant, {**strays, **seen}) is None

    def holding(self) -> list[str]:
        return sorted(claim.key for claim in self.ledger.held())

    def waiting(self) -> list[str]:
        return [each.owner.name for each in self.ledger.book(self.machine, "strict", self.clock.now()).waiting]


def endpoint(name: str, serving: Fleet | None = None, incoming: Fleet | None = None) -> Record:
    plant = Plant(seed="s", serving=serving, incoming=incoming)
    return Record("endpoint", SCOPE, name, f"arn:{name}", "Updating", 0.0, 0.0, {"plant": plant.to_json()})


def fleet(id_: str, count: int, *replicas: Replica) -> Fleet:
    row = {"VariantName": "v", "ModelName": "m", "InstanceType": LARGE, "InitialInstanceCount": count}
    made = new_fleet(id_, "c", [row], {"m": [Container("m", "image")]}, 0.0)
    return made.with_variant(replace(made.variants[0], replicas=replicas, made=len(replicas)))


async def test_of_two_changes_that_start_at_once_one_goes_through() -> None:
    """Each needs the whole room: were it taken replica by replica, each would get a half and both would fail."""
    town, one, other = Town(), endpoint("one"), endpoint("other")
    await town.take(one, "a1", "a2", own=0)
    for own in (0, 1):
        with pytest.raises(LimitExceeded) as refusal:
            await town.take(other, "b1", "b2", own=own)
    await town.take(one, "a1", "a2", own=1)
    assert town.holding() == ["a1", "a2"]
    assert refusal.value.message.startswith(
        "CapacityError: Unable to provision requested ML compute capacity due to Insuff"
    )
    assert "4 vCPU are needed, 4 of 4 are reserved, held by endpoint one (4 vCPU)" in refusal.value.message


async def test_a_change_that_has_no_room_is_looked_at_once_and_the_next_one_anew() -> None:
    """Each of its starts asks for the places of all: five hundred replicas would hold everything up for seconds."""
    town, one = Town(available=0, policy="fit"), endpoint("one")
    looks = 0

    def measure() -> Machine:
        nonlocal looks
        looks += 1
        return town.machine

    town.rooms = ReplicaRooms(town.ledger, measure, town.clock, "fit")
    change = [ReplicaNeed(f"r{number}", LARGE) for number in range(500)]
    for own in change:
        with pytest.raises(LimitExceeded, match="MiB of memory are needed"):
            await town.rooms.take(one, own, change)
    assert looks == 1
    town.machine = replace(town.machine, available=500 * GIB)
    await town.rooms.take(one, change[0], list(change))
    assert len(town.holding()) == 500


async def test_places_taken_early_are_given_back_when_the_change_is() -> None:
    town, incoming = Town(), fleet("new", 2)
    one = endpoint("one", incoming=incoming)
    wanted = places(incoming, SeenEndpoint())
    await town.rooms.take(one, wanted[0], wanted)
    await town.settle(one, Plant(seed="s", incoming=incoming), {})
    assert town.holding() == sorted(place.id for place in wanted)
    started = {wanted[0].id: Observation(RunState.RUNNING)}
    await town.settle(
        one, Plant(seed="s"), started
    )  # gave up before the second one started; the first one is about to end
    assert town.holding() == [wanted[0].id]
    await town.rooms.drop(wanted[0].id)
    assert town.holding() == []


async def test_a_record_that_goes_leaves_nothing() -> None:
    town, one = Town(), endpoint("one")
    await town.take(one, "a1", "a2")
    await town.rooms.drop("a1")
    await town.rooms.forget(one.arn, ())
    assert town.holding() == ["a2"]  # it still runs
    await town.rooms.forget(one.arn, ["a2"])
    assert town.holding() == []


async def test_the_same_is_asked_for_twice() -> None:
    town, one = Town(), endpoint("one")
    for own in (0, 1, 0, 1):
        await town.take(one, "a1", "a2", own=own)
    assert town.holding() == ["a1", "a2"]


async def test_replicas_that_grow_take_what_they_lack_all_at_once() -> None:
    town, one, other = Town(cpus=6), endpoint("one"), endpoint("other")
    for record, id_ in ((one, "a1"), (one, "a2")):
        await town.take(record, id_)
    await town.take(one, "a1", "a2", size="ml.m5.large at 3000 millicpu")
    with pytest.raises(LimitExceeded, match="6 of 6 are reserved"):
        await town.take(other, "b1")


async def test_a_replica_that_shrinks_keeps_its_place_until_it_has() -> None:
    town = Town()
    await town.take(endpoint("one"), "a1")
    await town.take(endpoint("one"), "a1", size="ml.m5.large at 500 millicpu")
    assert [claim.fits[0].cpu for claim in town.ledger.held()] == [2.0]
    smaller = fleet("f", 1, Replica("a1", READY, "h", 5.0, size="ml.m5.large at 500 millicpu"))
    run = Observation(RunState.RUNNING, memory_bytes=77)
    await town.settle(endpoint("one"), Plant(seed="s", serving=smaller), {"a1": run})
    assert [(claim.fits[0].cpu, claim.used) for claim in town.ledger.held()] == [(0.5, 77)]


async def test_what_ended_gives_its_place_back_and_what_runs_has_one() -> None:
    town = Town()
    serving = fleet("f", 2, Replica("a1", READY, "h1"), Replica("a2", READY, "h2"), Replica("a3", PLANNED))
    runs = {"a1": Observation(RunState.RUNNING), "a2": Observation(RunState.RUNNING)}
    await town.settle(endpoint("one"), Plant(seed="s", serving=serving), runs)
    assert town.holding() == ["a1", "a2"]
    await town.settle(endpoint("one"), Plant(seed="s", serving=serving), {**runs, "a1": Observation(RunState.EXITED)})
    assert town.holding() == ["a2"]


async def test_what_found_no_room_waits_until_it_has_or_is_not_wanted_any_more() -> None:
    town, one, other = Town(cpus=2), endpoint("one"), endpoint("other")
    await town.take(one, "a1")
    with pytest.raises(LimitExceeded):
        await town.take(other, "b1")
    assert town.waiting() == ["other"]
    wanting = fleet("f", 1)
    await town.settle(with_plant(other, Plant(seed="s", serving=wanting)), Plant(seed="s", serving=wanting), {})
    assert town.waiting() == ["other"]  # it is going to be tried again
    await town.settle(other, Plant(seed="s"), {})
    assert town.waiting() == []
    with pytest.raises(LimitExceeded):
        await town.take(other, "b1")
    await town.rooms.drop("a1")
    await town.take(other, "b1")
    assert town.waiting() == []


async def test_where_cpu_is_shared_a_start_needs_the_memory_that_its_like_use() -> None:
    town = Town(policy="fit", available=3 * GIB)
    await town.take(endpoint("one"), "a1", "a2", like=GIB)
    town.machine = replace(town.machine, available=REPLICA_FLOOR // 2)
    await town.take(endpoint("one"), "a1", own=0)  # it is there already
    with pytest.raises(LimitExceeded, match="128 MiB of memory are needed, 0 MiB are free") as refusal:
        await town.take(endpoint("other"), "b1")
    assert "strict" not in refusal.value.message


async def test_a_size_that_changes_needs_no_memory_where_cpu_is_shared() -> None:
    town = Town(policy="fit", available=3 * GIB)
    await town.take(endpoint("one"), "a1")
    town.machine = replace(town.machine, available=0)
    await town.take(endpoint("one"), "a1", size="ml.m5.xlarge")
    assert [claim.fits[0].cpu for claim in town.ledger.held()] == [4.0]


async def test_provisioned_workers_need_memory_that_is_free() -> None:
    """When their replica starts, and when there are to be more of them; what was there stays."""
    town, one = Town(policy="fit", available=3 * KEPT), endpoint("one")
    with pytest.raises(LimitExceeded, match=r"CapacityError: .*512 MiB of memory are needed, 384 MiB are free"):
        await town.take(one, "r", size=serverless(1024, 10, 4))
    assert (town.holding(), town.waiting()) == ([], ["one"])
    await town.take(one, "r", size=serverless(1024, 10, 2))
    assert (town.holding(), town.waiting()) == (["r"], [])
    with pytest.raises(LimitExceeded, match="512 MiB of memory are needed, 384 MiB are free"):
        await town.take(one, "r", size=serverless(1024, 10, 4))
    await town.take(one, "r", size=serverless(1024, 10, 3))
    await town.take(one, "r", size=serverless(1024, 20, 1))
    assert town.holding() == ["r"]


async def test_what_a_young_replica_is_sure_to_use_is_nobody_elses() -> None:
    town = Town(policy="fit", available=5 * KEPT)
    await town.take(endpoint("one"), "r", size=serverless(1024, 10, 3))
    with pytest.raises(LimitExceeded, match="384 MiB of memory are needed, 256 MiB are free"):
        await town.take(endpoint("other"), "s", size=serverless(1024, 10, 3))


async def test_what_is_kept_of_a_replica_takes_the_place_of_what_it_uses() -> None:
    town, one = Town(policy="fit", available=2 * KEPT), endpoint("one")
    await town.take(one, "r", size=serverless(1024, 10, 2))
    town.ledger.weigh("r", 2 * KEPT)
    town.machine = replace(town.machine, available=KEPT)
    await town.take(one, "r", size=serverless(1024, 10, 3))
    with pytest.raises(LimitExceeded, match="512 MiB of memory are needed, 384 MiB are free"):
        await town.take(one, "r", size=serverless(1024, 10, 4))
