from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.domain.endpoints.test_life import fleet

from clary.domain.endpoints.backlog import LONGEST_PAUSE, Backlog, BacklogRoom, Entry, room_of
from clary.domain.endpoints.fleets import Fleet, Plant, Replica
from clary.domain.endpoints.routing import route_of
from clary.domain.resources import Record, Scope


def backlog(*names: str, ttl: float = 100.0) -> Backlog:
    made = Backlog()
    for n, name in enumerate(names):
        assert made.offer(Entry(name, float(n), n + ttl))
    return made


def ids(entries: list[Entry]) -> list[str]:
    return [entry.id for entry in entries]


def test_first_come_first_served_up_to_the_capacity() -> None:
    queue = backlog("a", "b", "c")
    assert ids(queue.take(2, 5.0)) == ["a", "b"]
    assert queue.take(2, 5.0) == []
    queue.done("a")
    assert ids(queue.take(2, 5.0)) == ["c"]
    assert (len(queue), queue.waiting()) == (2, 0)


def test_an_invocation_is_taken_in_once_while_it_waits_or_runs() -> None:
    queue = backlog("a")
    assert not queue.offer(Entry("a", 0.0, 100.0))
    queue.take(1, 0.0)
    assert not queue.offer(Entry("a", 0.0, 100.0))
    queue.done("a")
    assert len(queue) == 0


def test_what_nobody_could_take_is_first_again_after_a_pause_that_grows() -> None:
    queue = backlog("a", "b")
    now, pauses = 10.0, []
    for _ in range(9):
        [entry] = queue.take(1, now)
        assert entry.id == "a"
        queue.put_back(entry, now)
        assert queue.take(1, now) == []
        pauses.append(queue.resumes() - now)
        now = queue.resumes()
    assert pauses[:3] == pytest.approx([0.1, 0.2, 0.4])
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE)
    queue.served()
    assert ids(queue.take(2, now)) == ["a", "b"]


def test_several_that_come_back_together_make_one_pause() -> None:
    queue = backlog("a", "b", "c")
    for entry in queue.take(3, 0.0):
        queue.put_back(entry, 0.0)
    assert queue.resumes() == pytest.approx(0.1)


def test_what_waits_too_long_expires_once_and_what_runs_does_not() -> None:
    queue = backlog("a", "b", "c", ttl=60.0)
    queue.take(1, 1.0)
    assert queue.expire(60.5) == []
    assert ids(queue.expire(61.0)) == ["b"]
    assert queue.expire(61.0) == []
    queue.done("b")
    assert (len(queue), queue.waiting()) == (2, 1)
    queue.done("a")
    assert ids(queue.take(1, 61.5)) == ["c"]


def test_ends_of_life_need_not_come_in_order() -> None:
    queue = Backlog()
    queue.offer(Entry("long", 0.0, 1000.0))
    queue.offer(Entry("short", 1.0, 61.0))
    assert ids(queue.expire(61.0)) == ["short"]


def test_one_that_came_back_expires_too() -> None:
    queue = backlog("a", ttl=60.0)
    [entry] = queue.take(1, 0.0)
    assert queue.expire(70.0) == []
    queue.put_back(entry, 70.0)
    assert ids(queue.expire(70.0)) == ["a"]


def test_emptied_at_the_end_of_the_endpoint() -> None:
    queue = backlog("a", "b", "c", ttl=60.0)
    queue.take(1, 0.0)
    assert ids(queue.empty()) == ["b", "c"]
    assert (queue.waiting(), len(queue)) == (0, 3)


def test_gauges() -> None:
    queue = backlog("a", "b", "c", "d")
    queue.take(1, 0.0)
    assert queue.metrics(2, 11.0) == {
        "ApproximateBacklogSize": 4.0,
        "ApproximateBacklogSizePerInstance": 2.0,
        "ApproximateAgeOfOldestRequest": 10.0,
        "HasBacklogWithoutCapacity": 0.0,
    }
    assert queue.metrics(0, 11.0)["HasBacklogWithoutCapacity"] == 1.0
    assert set(Backlog().metrics(0, 11.0).values()) == {0.0}


def serving(phases: list[str], **asynchronous: Any) -> Plant:
    made: Fleet = fleet(variants=(("A", 1.0), ("idle", 0.0)))
    replicas = tuple(Replica(f"i-{n}", phase) for n, phase in enumerate(phases))
    variants = tuple(replace(variant, replicas=replicas) for variant in made.variants)
    return Plant(seed="s", serving=replace(made, variants=variants, asynchronous=asynchronous))


def test_the_route_of_an_asynchronous_endpoint_takes_what_its_queue_may_send() -> None:
    document = {"plant": serving(["ready"], OutputConfig={}).to_json()}
    record = Record("endpoint", Scope("000000000000", "eu-west-1"), "e", "arn:e", "InService", 1.0, 1.0, document)
    route = route_of(record, serving(["ready"], OutputConfig={}), 1, cpus=2, rest=60.0)
    assert (route.asynchronous, route.max_payload) == (True, 1_000_000_000)
    assert {variant.timeout for variant in route.variants} == {3600.0}
    plain = route_of(record, serving(["ready"]), 1, cpus=2, rest=60.0)
    assert (plain.asynchronous, {variant.timeout for variant in plain.variants}) == (False, {60.0})


def test_room_is_what_ready_replicas_of_variants_with_traffic_may_run_at_once() -> None:
    config = {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4}}
    assert room_of(serving(["ready", "ready", "started", "draining"], **config), cpus=8) == BacklogRoom(8, 2, "A")
    assert room_of(serving(["ready"]), cpus=8) == BacklogRoom(2, 1, "A")  # an ml.m5.large has two workers
    assert room_of(serving([]), cpus=8) == BacklogRoom(0, 0, "A")
    assert room_of(Plant(seed="s"), cpus=8) == BacklogRoom()
