"""The one loop that converges the world to the records: claim, observe, decide, run commands, guarded save.

A kind plugs in as a `Subject`: an async `observe`, a pure `decide`, an async `run` for each command, a pure `absorb` that puts
what commands answered (a process handle) into the record. The loop owns order, leases, wake-ups, back-off and isolation, and
knows nothing of endpoints or jobs.

**The crash story**, told once: commands run *before* the record is saved, and every command is idempotent by the key it
carries. A process that dies in between, or loses the save to another writer, leaves a record that still says the old thing; the
next turn sees the same facts, decides the same commands with the same keys, and they are no-ops. Nothing is remembered only
here: leases expire (or are renewed at once by a successor with the same owner name), timers are made again by the next
decision, background work (`tasks.py`) is started again.

**Wake-ups**: `wake(arn)` from `Store.watch` (wired here), and from `Backend.watch`, `Fronts.watch`, `Tasks.watch` (wired by
the kind). A turn that changed its record is followed by another at once, until nothing changes; then `Decision.again` says when
to look without an event. A sweep claims what is new from other control planes. One record has one turn at a time; different
records run beside each other, at most `width`.

**Errors**: an exception in one record's turn is logged with its ARN and backed off (0.5 s doubling to 60 s); it never stops the
loop. A `Stale` save is not an error: somebody wrote first, so read again at once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from clary.domain.decisions import Decision
from clary.domain.errors import Stale
from clary.domain.resources import Lease, Record
from clary.ports import Clock, Store

log = logging.getLogger(__name__)

BUSY = 100  # turns in a row that each changed the record: something that never settles
_LONGEST_PAUSE = 5.0  # seconds between its turns then
PART = 250  # records that are claimed at once
_STEP = 2.0  # seconds by which a clock is set, not slewed

C = TypeVar("C")
O = TypeVar("O")  # noqa: E741


class Subject(Protocol[C, O]):
    """One kind of record as the loop sees it. `statuses` are those in which there is something to look after."""

    kind: str

    @property
    def statuses(self) -> tuple[str, ...]: ...

    async def observe(self, record: Record) -> O:
        """What the world says about this record. Touches nothing."""
        ...

    def decide(self, record: Record, observation: O, now: float) -> Decision[C]:
        """Pure."""
        ...

    async def run(self, command: C, record: Record) -> Any:
        """Carry out one command (idempotent by key); what it answers goes to `absorb`. Commands run in order; neighbours of a
        class with a true `together` run beside each other. ClaryErrors that the decision shall
        know of are answers, not exceptions."""
        ...

    def absorb(self, record: Record, outcomes: Sequence[tuple[C, Any]]) -> Record:
        """Pure: the decided record, with what its commands answered."""
        ...


@runtime_checkable
class Moves(Protocol):
    """A Subject whose records hold beginnings of waits."""

    def moved(self, record: Record, step: float) -> Record:
        """The record with those moved by as many seconds as the clock was set: what was so long ago still is."""
        ...


class Loop(Generic[C, O]):
    """Runs one Subject. `owner` names this control plane in leases; a successor with the same name goes on at once. `away`:
    seconds by which the clock was set while nobody looked after the records that are there at its start."""

    def __init__(
        self,
        subject: Subject[C, O],
        store: Store,
        clock: Clock,
        owner: str,
        *,
        lease_seconds: float = 30.0,
        sweep_seconds: float = 5.0,
        width: int = 32,
        away: float = 0.0,
    ) -> None:
        self.subject = subject
        self.store = store
        self.clock = clock
        self.owner = owner
        self.lease_seconds = lease_seconds
        self.sweep_seconds = sweep_seconds
        self._slots = asyncio.Semaphore(width)
        self._leases: dict[str, Lease] = {}
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._changed_by: dict[
            str, tuple[Record, Record]
        ] = {}  # ARN -> the record before and after the turn that changed it
        self._running = False
        self._away = away
        self._offset = clock.now() - clock.monotonic()
        self._steps: dict[str, float] = {}  # ARN -> by how much the clock was set since its record was last decided on

    async def run(self) -> None:
        """Until cancelled. On the way out turns are ended and leases given back."""
        unwatch = self.store.watch(self._changed)
        self._running = True
        try:
            while True:
                await self._sweep()
                await asyncio.sleep(self.sweep_seconds)
        finally:
            self._running = False
            unwatch()
            await self._stop()

    def wake(self, arn: str) -> None:
        """Look at that record now, or once more after the turn that is under way. From the event loop's thread."""
        if not self._running:
            return
        if arn in self._turns:
            self._again.add(arn)
            return
        self._cancel_timer(arn)
        self._turns[arn] = asyncio.get_running_loop().create_task(
            self._turns_of(arn), name=f"{self.subject.kind} {arn}"
        )

    async def turn(self, arn: str) -> Decision[C] | None:
        """One pass: claim, observe, decide, commands, save. None when the record is not ours to look after.

        Stale when the save lost."""
        self._after_a_step()
        lease = await self._lease(arn)
        if lease is None:
            return None
        record = await self.store.get(self.subject.kind, lease.record.scope, lease.record.name)
        if record is None:
            self._forget(arn)
            return None
        if record.status not in self.subject.statuses:
            await self._give_back(arn)
            return None
        step = self._steps.get(arn, 0.0)
        current = self.subject.moved(record, step) if step and isinstance(self.subject, Moves) else record
        observation = await self.subject.observe(current)
        decision = self.subject.decide(current, observation, self.clock.now())
        outcomes = await self._run(decision)
        wanted = self.subject.absorb(decision.record, outcomes) if outcomes else decision.record
        if decision.remove:
            await self.store.remove(record, lease)
            self._forget(arn)
        elif decision.grants is not None or not _same(wanted, record):
            self._changed_by[arn] = record, wanted
            await self.store.save(replace(wanted, version=record.version), lease, decision.grants)
        self._stepped(arn, -step)
        return decision

    async def _run(self, decision: Decision[C]) -> list[tuple[C, Any]]:
        """In order; neighbours of one class that says `together` beside each other."""
        outcomes: list[tuple[C, Any]] = []
        for kind, group in itertools.groupby(decision.commands, type):
            commands = list(group)
            if getattr(kind, "together", False):
                answers = await asyncio.gather(*(self.subject.run(c, decision.record) for c in commands))
            else:
                answers = [await self.subject.run(c, decision.record) for c in commands]
            outcomes += zip(commands, answers, strict=True)
        return outcomes

    async def _turns_of(self, arn: str) -> None:
        """Turns until nobody wakes this record any more; exceptions end here."""
        again: float | None = None
        changes = 0
        try:
            while True:
                if changes >= BUSY:
                    await self._unsettled(arn, changes)
                self._again.discard(arn)
                self._changed_by.pop(arn, None)
                async with self._slots:
                    again = await self._guarded(arn)
                changes = changes + 1 if arn in self._changed_by else 0
                if arn not in self._again:
                    return
        finally:
            del self._turns[arn]
            self._changed_by.pop(arn, None)
            if again is not None and self._running:
                self._timers[arn] = asyncio.get_running_loop().call_later(again, self.wake, arn)

    async def _unsettled(self, arn: str, changes: int) -> None:
        """Wait ever longer before the next turn of a record that each turn changes, and say what changes."""
        pause = min(_LONGEST_PAUSE, 0.25 * 2 ** min(changes - BUSY, 10))
        log.warning(
            "%s: not settled after %d changes in a row (the last one: %s); next turn in %g s",
            arn, changes, difference(*self._changed_by[arn]), pause,
        )  # fmt: skip
        await asyncio.sleep(pause)

    async def _guarded(self, arn: str) -> float | None:
        """A turn with back-off; answers in how many seconds to look again."""
        try:
            decision = await self.turn(arn)
        except Stale:
            self._leases.pop(arn, None)
            self._again.add(arn)
            return None
        except Exception:
            failures = self._failures[arn] = self._failures.get(arn, 0) + 1
            delay = float(min(60.0, 0.25 * 2**failures))
            log.exception("%s: turn failed (%d in a row), next in %.1f s", arn, failures, delay)
            return delay
        self._failures.pop(arn, None)
        return decision.again if decision is not None else None

    async def _sweep(self) -> None:
        """Claim what is there (renewing our own leases); look at what this process has not seen yet."""
        try:
            while await self._claimed():
                pass
        except Exception:
            log.exception("%s loop: claiming failed", self.subject.kind)
            return
        self._away = 0.0  # what is claimed later was made, or looked after, under the clock as it is
        self._after_a_step()

    async def _claimed(self) -> bool:
        """Claim a part, that with the oldest leases first: of thousands of records in one go nothing else would be done meanwhile. True:
        there may be more that is new, or whose lease ends soon."""
        now, more = self.clock.now(), True
        leases = await self.store.claim(
            self.subject.kind, self.owner, now, self.lease_seconds, self.subject.statuses, PART
        )
        for lease in leases:
            arn = lease.record.arn
            held = self._leases.get(arn)
            self._leases[arn] = lease
            if held is None:
                self._stepped(arn, self._away)
                self.wake(arn)
            elif held.until - now > self.lease_seconds * 2 / 3:
                more = False  # all others are held for as long at least
        return more and len(leases) == PART

    def _after_a_step(self) -> None:
        """Timers count seconds; what they wait for is often a time of day. After somebody has set the clock all is looked at again."""
        offset = self.clock.now() - self.clock.monotonic()
        step, self._offset = offset - self._offset, offset
        if abs(step) < _STEP:
            return
        log.warning("%s loop: the clock was set by %+.0f s", self.subject.kind, step)
        for arn in list(self._leases):
            self._stepped(arn, step)
            self.wake(arn)

    def _stepped(self, arn: str, step: float) -> None:
        left = self._steps.pop(arn, 0.0) + step
        if abs(left) >= _STEP:
            self._steps[arn] = left

    async def _lease(self, arn: str) -> Lease | None:
        now = self.clock.now()
        held = self._leases.get(arn)
        if held is not None and held.until - now > self.lease_seconds / 3:
            return held
        claimed = await self.store.claim(
            self.subject.kind, self.owner, now, self.lease_seconds, self.subject.statuses, 1, [arn]
        )
        if not claimed:
            self._forget(arn)
            return None
        self._leases[arn] = claimed[0]
        return claimed[0]

    def _changed(self, record: Record) -> None:
        if record.kind == self.subject.kind and (record.status in self.subject.statuses or record.arn in self._leases):
            self.wake(record.arn)

    async def _give_back(self, arn: str) -> None:
        lease = self._leases.pop(arn, None)
        self._forget(arn)
        if lease is not None:
            await self.store.release(lease)

    def _forget(self, arn: str) -> None:
        self._leases.pop(arn, None)
        self._steps.pop(arn, None)
        self._failures.pop(arn, None)
        self._cancel_timer(arn)

    def _cancel_timer(self, arn: str) -> None:
        timer = self._timers.pop(arn, None)
        if timer is not None:
            timer.cancel()

    async def _stop(self) -> None:
        for arn in list(self._timers):
            self._cancel_timer(arn)
        turns = list(self._turns.values())
        for task in turns:
            task.cancel()
        await asyncio.gather(*turns, return_exceptions=True)
        for arn in list(self._leases):
            await self._give_back(arn)


def difference(one: Record, other: Record) -> str:
    """Where two states of a record differ, for a log: the path of the first part of the document that does, or the status."""
    if one.status != other.status:
        return f"status {one.status} to {other.status}"
    path, left, right = "document", *(json.loads(json.dumps(record.document)) for record in (one, other))
    while left != right:
        if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
            key = next(key for key in left if left[key] != right[key])
            path, left, right = f"{path}.{key}", left[key], right[key]
        elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            at = next(at for at, item in enumerate(left) if item != right[at])
            path, left, right = f"{path}[{at}]", left[at], right[at]
        else:
            return path
    return "modified"


def _same(one: Record, other: Record) -> bool:
    """Equal as they would be stored (a tuple in a document is a list there): else an unchanged record would be saved for ever."""
    if one == other:
        return True
    if replace(one, document={}) != replace(other, document={}):
        return False
    return json.dumps(one.document, sort_keys=True) == json.dumps(other.document, sort_keys=True)
