"""The alarm loop: reads what metrics and other alarms say, lets `domain/alarms/turn.py` decide, keeps history, tells actions.

A composite alarm is looked at when one of its children changes, a metric alarm when its plan says so. Actions are told
after the decision and before the save: an action may be told twice by a control plane that died in between, under the same id.

`actions` is the seam for those that can be told: from the service of an action's ARN to a function. What nobody takes is in the history
as failed, with the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from clary.domain.alarms import evaluation, turn, words
from clary.domain.alarms.evaluation import KIND, StateValue, is_composite, state_of
from clary.domain.alarms.rules import parse
from clary.domain.alarms.suppression import suppressor_of
from clary.domain.alarms.turn import Act, AlarmNote, Child, Command, SeenAlarm
from clary.domain.decisions import Decision
from clary.domain.errors import AlreadyExists, ClaryError, Invalid, Stale
from clary.domain.metrics.datapoints import Series
from clary.domain.metrics.math import Budget
from clary.domain.metrics.queries import line, parse_queries
from clary.domain.metrics.statistics import needs_spread
from clary.domain.resources import Query, Record, Scope
from clary.loops.core.loop import Loop
from clary.ports import Clock, Datapoints, Store

log = logging.getLogger(__name__)

HISTORY = "alarm-history"
KEEP_HISTORY = 14 * 86_400.0
_SWEPT_AT_ONCE = 20

Tell = Callable[[Record, Act], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class AlarmPorts:
    store: Store
    datapoints: Datapoints
    clock: Clock
    actions: Mapping[str, Tell] = field(default_factory=dict)


class AlarmSubject:
    """See `loops.loop.Subject`."""

    kind = KIND
    statuses = tuple(str(value) for value in StateValue)

    def __init__(self, ports: AlarmPorts) -> None:
        self._ports = ports
        self.parents: dict[tuple[Scope, str], set[str]] = {}  # a child's scope and name -> composite alarms' ARNs

    async def observe(self, record: Record) -> SeenAlarm:
        now = self._ports.clock.now()
        request = record.document["request"]
        if is_composite(record.document):
            return SeenAlarm(now, children=await self._children(record), suppressor=await self._suppressor(record))
        looked = evaluation.plan(request, now)
        if request.get("Metrics"):
            return SeenAlarm(now, values=await asyncio.to_thread(self._computed, record, looked))
        spread = needs_spread(evaluation.statistic_name(request))
        steps = await asyncio.to_thread(
            self._ports.datapoints.get,
            record.scope,
            series_of(request),
            looked.start,
            looked.last,
            looked.step,
            spread,
        )
        return SeenAlarm(now, tuple(steps))

    def decide(self, record: Record, observation: SeenAlarm, now: float) -> Decision[Command]:
        return turn.decide(record, observation, now)

    async def run(self, command: Command, record: Record) -> None:
        match command:
            case AlarmNote(entry):
                await keep(self._ports.store, record, entry)
            case Act():
                error = await self._tell(command, record)
                told = words.acted(record, command.action, error, state_of(record.document).since)
                await keep(self._ports.store, record, told)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return record

    async def _tell(self, act: Act, record: Record) -> str:
        """What went wrong, in words; nothing when it was told."""
        tell = self._ports.actions.get(act.action.split(":")[2])
        if tell is None:
            return "Clary knows nothing that takes this action."
        try:
            await tell(record, act)
        except ClaryError as error:
            return error.message
        return ""

    def _computed(self, record: Record, looked: evaluation.Plan) -> dict[float, float]:
        """The values of metric math, by the begin of their window. An expression that has no result has no values."""
        budget, start = Budget(), looked.start
        try:
            queries = parse_queries(record.document["request"]["Metrics"])
            lines = {}
            for read in queries.reads():
                windows = self._ports.datapoints.get(
                    record.scope, read.series, start, looked.end, read.period, read.spread
                )
                lines[read] = line(read, windows, budget)
            (result,) = queries.compute(lines, start, looked.end, budget=budget)
        except (Invalid, ValueError) as error:
            log.warning("%s: %s", record.arn, error)
            return {}
        return dict(result.points)

    async def _children(self, record: Record) -> dict[str, Child]:
        found = {}
        for name in parse(record.document["request"]["AlarmRule"]).children:
            self.parents.setdefault((record.scope, name), set()).add(record.arn)
            child = await self._ports.store.get(KIND, record.scope, name)
            if child is not None:
                found[name] = Child(child.arn, child.status, state_of(child.document).since)
        return found

    async def _suppressor(self, record: Record) -> str:
        """The state of the alarm that holds its actions back; nothing where there is none."""
        name = suppressor_of(record.document["request"])
        if not name:
            return ""
        self.parents.setdefault((record.scope, name), set()).add(record.arn)
        found = await self._ports.store.get(KIND, record.scope, name)
        return found.status if found is not None else ""


def series_of(request: Mapping[str, Any]) -> Series:
    """What a metric alarm watches."""
    dimensions = {each["Name"]: each["Value"] for each in request.get("Dimensions", ())}
    return Series.of(request["Namespace"], request["MetricName"], dimensions, request.get("Unit") or "")


def attach(subject: AlarmSubject, loop: Loop[Command, SeenAlarm], ports: AlarmPorts) -> Callable[[], None]:
    """Let a change of an alarm wake the composite ones above it; answers the way to stop."""

    def changed(record: Record) -> None:
        if record.kind == KIND:
            for arn in subject.parents.get((record.scope, record.name), ()):
                loop.wake(arn)

    return ports.store.watch(changed)


async def keep(store: Store, record: Record, entry: Mapping[str, Any]) -> None:
    """Add an entry to the history of alarms, once; entries of more than two weeks ago go."""
    at = float(entry["Timestamp"])
    name = words.entry_name(record, entry)
    arn = f"{record.arn}:history:{name}"
    with suppress(AlreadyExists):
        await store.add(Record(HISTORY, record.scope, name, arn, "", at, at, entry))
    old = Query(HISTORY, record.scope, created_before=at - KEEP_HISTORY, descending=False, limit=_SWEPT_AT_ONCE)
    for each in await store.page(old):
        with suppress(Stale):
            await store.remove(each)
