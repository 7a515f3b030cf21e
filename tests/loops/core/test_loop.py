"""The loop with a kind of its own: it counts down, one command a turn."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from clary.domain.decisions import Decision
from clary.domain.errors import Stale
from clary.domain.resources import Record, Scope
from clary.loops.core.loop import BUSY, PART, Loop, difference
from clary.loops.core.tasks import Done, Failed, Running, Tasks
from clary.testing.clock import FakeClock
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "us-east-1")


def record(name: str = "a", n: int = 3, status: str = "Creating") -> Record:
    return Record("endpoint", SCOPE, name, f"arn:{name}", status, 1.0, 1.0, {"n": n})


@dataclass(frozen=True)
class Step:
    n: int


class Countdown:
    kind = "endpoint"
    statuses = ("Creating", "Deleting")

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.broken: set[str] = set()
        self.interfere: Any = None

    async def observe(self, record: Record) -> int:
        return record.document["n"]

    def decide(self, record: Record, observation: int, now: float) -> Decision[Step]:
        if record.name in self.broken:
            raise RuntimeError("boom")
        if record.status == "Deleting":
            return Decision(record, remove=True)
        if observation == 0:
            return Decision(replace(record, status="InService"))
        return Decision(replace(record, document={"n": observation - 1}), (Step(observation),))

    async def run(self, command: Step, record: Record) -> str:
        self.ran.append(command.n)
        if self.interfere is not None:
            await self.interfere()
        return f"did {command.n}"

    def absorb(self, record: Record, outcomes: Sequence[tuple[Step, Any]]) -> Record:
        return replace(record, document={**record.document, "last": outcomes[-1][1]})


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def make(store: MemoryStore, subject: Countdown, owner: str = "me") -> Loop[Step, int]:
    return Loop(subject, store, FakeClock(), owner, sweep_seconds=0.01)


async def test_converges_on_its_own_and_absorbs_outcomes() -> None:
    store, subject = MemoryStore(), Countdown()
    loop = make(store, subject)
    task = asyncio.create_task(loop.run())
    await asyncio.sleep(0)
    await store.add(record())

    async def status() -> str:
        found = await store.get("endpoint", SCOPE, "a")
        assert found is not None
        return found.status

    async with asyncio.timeout(60):
        while await status() != "InService":
            await asyncio.sleep(0.001)
    found = await store.get("endpoint", SCOPE, "a")
    assert found is not None
    assert found.document["last"] == "did 1"
    assert subject.ran == [3, 2, 1]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await store.claim("endpoint", "other", FakeClock().now(), 30, ("InService",), 1)  # given back


async def test_finds_what_was_there_before_it() -> None:
    store, subject = MemoryStore(), Countdown()
    await store.add(record(n=1))
    task = asyncio.create_task(make(store, subject).run())
    await until(lambda: subject.ran == [1])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_broken_record_stops_nobody(caplog: Any) -> None:
    store, subject = MemoryStore(), Countdown()
    subject.broken.add("bad")
    await store.add(record("bad"))
    await store.add(record("good", 1))
    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(make(store, subject).run())
        await until(lambda: subject.ran == [1] and "arn:bad" in caplog.text)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lost_save_runs_the_same_command_again() -> None:
    store, subject = MemoryStore(), Countdown()
    await store.add(record(n=2))
    raced: list[int] = []

    async def interfere() -> None:
        if not raced:
            raced.append(1)
            found = await store.get("endpoint", SCOPE, "a")
            assert found is not None
            await store.save(replace(found, document={**found.document, "tags": []}))

    subject.interfere = interfere
    loop = make(store, subject)
    try:
        await loop.turn("arn:a")
        raise AssertionError("saved over another writer")
    except Stale:
        pass
    await loop.turn("arn:a")
    assert subject.ran == [2, 2]


async def test_a_record_leased_by_another_is_left_alone() -> None:
    store, subject = MemoryStore(), Countdown()
    await store.add(record())
    await store.claim("endpoint", "other", FakeClock().now(), 30, ("Creating",), 1)
    assert await make(store, subject).turn("arn:a") is None
    assert subject.ran == []


class Due(Countdown):
    """Looks again when its hour has come."""

    def __init__(self, hour: float) -> None:
        super().__init__()
        self.hour, self.looked = hour, 0

    def decide(self, record: Record, observation: int, now: float) -> Decision[Step]:
        self.looked += 1
        if now < self.hour:
            return Decision(record, again=self.hour - now)
        return Decision(replace(record, status="InService"))


@pytest.mark.parametrize("way", [1, -1])
async def test_a_clock_that_is_set_wakes_what_waits_for_a_time(way: int, caplog: Any) -> None:
    clock, store = FakeClock(), MemoryStore()
    subject = Due(clock.now() + 3600)
    await store.add(record())
    task = asyncio.create_task(Loop(subject, store, clock, "me", sweep_seconds=0.01).run())
    await until(lambda: subject.looked == 1)
    clock.advance(60)  # as time goes by
    with caplog.at_level(logging.WARNING):
        clock.jump(way * 3600.0)
        await until(lambda: subject.looked == 2)
    found = await store.get("endpoint", SCOPE, "a")
    assert found is not None
    assert found.status == ("InService" if way > 0 else "Creating")
    assert f"the clock was set by {way * 3600:+d} s" in caplog.text
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Since(Due):
    """Waits for an hour from the moment that its record names."""

    def moved(self, record: Record, step: float) -> Record:
        return replace(record, document={**record.document, "since": record.document["since"] + step})


async def test_a_clock_that_was_set_while_nobody_looked_moves_what_was_there_once() -> None:
    clock, store = FakeClock(), MemoryStore()
    subject = Since(clock.now() + 10 * 3600)
    await store.add(replace(record(), document={"n": 1, "since": 5000.0}))
    loop = Loop(subject, store, clock, "me", sweep_seconds=0.01, away=-3600.0)
    task = asyncio.create_task(loop.run())

    async def since(name: str) -> float:
        found = await store.get("endpoint", SCOPE, name)
        assert found is not None
        return float(found.document["since"])

    async with asyncio.timeout(20):
        while await since("a") != 1400.0:
            await asyncio.sleep(0.005)
    await store.add(replace(record("b"), document={"n": 1, "since": 5000.0}))
    await until(lambda: subject.looked >= 3)
    looked = subject.looked
    for name in ("a", "b"):
        loop.wake(f"arn:{name}")
    await until(lambda: subject.looked >= looked + 2)
    assert (await since("a"), await since("b")) == (1400.0, 5000.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_successor_of_the_same_name_goes_on_at_once() -> None:
    store = MemoryStore()
    await store.add(record())
    await make(store, Countdown()).turn("arn:a")
    successor = Countdown()
    assert await make(store, successor).turn("arn:a") is not None
    assert successor.ran == [2]


async def test_removal() -> None:
    store, subject = MemoryStore(), Countdown()
    await store.add(record(status="Deleting"))
    await make(store, subject).turn("arn:a")
    assert await store.get("endpoint", SCOPE, "a") is None


async def test_tasks_keep_outcomes_until_forgotten() -> None:
    tasks = Tasks()
    woken: list[str] = []
    tasks.watch(woken.append)
    gate = asyncio.Event()

    async def work() -> int:
        await gate.wait()
        return 7

    async def broken() -> None:
        raise Stale("words")

    tasks.start("a", work, "arn:a")
    tasks.start("a", work, "arn:a")
    assert tasks.state("a") == Running()
    gate.set()
    await until(lambda: woken == ["arn:a"])
    assert tasks.state("a") == Done(7)
    tasks.start("b", broken, "arn:b")
    await until(lambda: woken == ["arn:a", "arn:b"])
    state = tasks.state("b")
    assert isinstance(state, Failed)
    assert (state.message, state.known) == ("words", True)
    tasks.forget("a")
    assert tasks.state("a") is None
    gate.clear()
    tasks.start("c", work, "arn:c")
    await tasks.close()
    assert tasks.state("c") is None


async def test_an_unchanged_record_is_not_saved_whatever_its_python_types() -> None:
    class Tuples(Countdown):
        def decide(self, record: Record, observation: int, now: float) -> Decision[Step]:
            return Decision(replace(record, document={"list": (1, 2), "n": 1}))

    store = MemoryStore()
    await store.add(replace(record(), document={"n": 1, "list": [1, 2]}))
    saved: list[Record] = []
    store.watch(saved.append)
    await make(store, Tuples()).turn("arn:a")
    assert saved == []


async def test_neighbours_that_may_run_together_do() -> None:
    @dataclass(frozen=True)
    class Slow(Step):
        together = True

    class Many(Countdown):
        def __init__(self) -> None:
            super().__init__()
            self.gate = asyncio.Barrier(3)

        def decide(self, record: Record, observation: int, now: float) -> Decision[Step]:
            return Decision(replace(record, document={"n": 0}), (Step(9), Slow(1), Slow(2), Slow(3), Step(8)))

        async def run(self, command: Step, record: Record) -> int:
            if isinstance(command, Slow):
                async with asyncio.timeout(60):
                    await self.gate.wait()
            self.ran.append(command.n)
            return command.n

        def absorb(self, record: Record, outcomes: Sequence[tuple[Step, Any]]) -> Record:
            return replace(record, document={"answers": [answer for _, answer in outcomes]})

    store, subject = MemoryStore(), Many()
    await store.add(record())
    await make(store, subject).turn("arn:a")
    found = await store.get("endpoint", SCOPE, "a")
    assert found is not None
    assert found.document == {"answers": [9, 1, 2, 3, 8]}
    assert (subject.ran[0], subject.ran[-1]) == (9, 8)


class Restless(Countdown):
    """Each turn changes the record: it never settles."""

    def decide(self, record: Record, observation: int, now: float) -> Decision[Step]:
        return Decision(replace(record, document={"n": observation + 1, "same": [1]}), (Step(observation),))

    def absorb(self, record: Record, outcomes: Sequence[tuple[Step, Any]]) -> Record:
        return record


async def test_a_record_that_never_settles_does_not_spin_and_the_log_says_what_changes(caplog: Any) -> None:
    store, subject = MemoryStore(), Restless()
    await store.add(record(n=0))
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(make(store, subject).run())
        await until(lambda: "not settled" in caplog.text)
    assert len(subject.ran) == BUSY
    assert (
        f"arn:a: not settled after {BUSY} changes in a row (the last one: document.n); next turn in 0.25 s"
        in caplog.text
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_where_two_states_of_a_record_differ() -> None:
    one = replace(record(), document={"plant": {"variants": [{"a": 1, "prepared": None}]}})
    other = replace(record(), document={"plant": {"variants": [{"a": 1, "prepared": {"model": "m"}}]}})
    assert difference(one, other) == "document.plant.variants[0].prepared"
    assert difference(one, replace(one, status="Failed")) == "status Creating to Failed"
    assert difference(one, replace(one, modified=2.0)) == "modified"


async def test_thousands_are_claimed_in_parts_and_kept() -> None:
    """No lease of them ends while others are claimed, and none is renewed long before its end."""
    store = MemoryStore()
    for number in range(2 * PART + 1):
        await store.add(record(f"n{number}"))
    claims: list[int] = []
    claim = store.claim

    async def counted(*given: Any) -> Any:
        leases = await claim(*given)
        claims.append(len(leases))
        return leases

    clock = FakeClock()
    store.claim = counted  # type: ignore[method-assign]
    made = Loop(Countdown(), store, clock, "me")
    await made._sweep()
    assert len(made._leases) == 2 * PART + 1
    assert claims == [PART] * 3
    claims.clear()
    clock.advance(5.0)
    await made._sweep()
    assert claims == [PART], "all are held for long enough"
    for _ in range(20):
        clock.advance(5.0)
        await made._sweep()
        assert min(lease.until for lease in made._leases.values()) > clock.now() + 9
