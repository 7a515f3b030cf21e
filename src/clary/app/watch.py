"""Alarms and what they scale put together: the alarm loop, the scaling loop that it tells, the loop of latency objectives, and the sharing
of a full machine among them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from clary.app.machine import idle_seconds
from clary.app.queues import World
from clary.app.settings import Settings
from clary.domain.alarms.turn import Command as AlarmCommand
from clary.domain.alarms.turn import SeenAlarm as AlarmSeen
from clary.domain.autoscaling.activity import Command as ScalingCommand
from clary.domain.autoscaling.activity import SeenTarget as ScalingSeen
from clary.domain.metrics.counts import Count
from clary.domain.objectives.commands import Command as ObjectiveCommand
from clary.domain.objectives.commands import SeenObjective as ObjectiveSeen
from clary.loops.alarms import subject as alarms
from clary.loops.alarms.subject import Tell
from clary.loops.core.ledger import Places
from clary.loops.core.loop import Loop
from clary.loops.scaling import objectives, targets
from clary.loops.scaling.sharing import Sharing, SharingPorts
from clary.ports import Fronts


class Watch:
    """`run` answers the work that must not end. `tell` tells topics."""

    def __init__(self, settings: Settings, world: World, owner: str, places: Places, fronts: Fronts, tell: Tell):
        store, clock = world.store, world.clock
        actions: dict[str, Tell] = {"sns": tell}
        ports = alarms.AlarmPorts(store, world.datapoints, clock, actions)
        subject = alarms.AlarmSubject(ports)
        self._alarms: Loop[AlarmCommand, AlarmSeen] = Loop(subject, store, clock, owner)
        strict = settings.capacity == "strict"
        scaled = targets.ScalingSubject(
            targets.ScalingPorts(
                store,
                clock,
                subject,
                settings.scaling_timing,
                lambda: places.book().machine if strict else None,
                places.book,
                places.wish,
                world.logs,
            )
        )
        self._scaling: Loop[ScalingCommand, ScalingSeen] = Loop(scaled, store, clock, owner)
        actions["autoscaling"] = scaled.tell
        cpus = places.measure().cpus  # read once: it is asked each second
        self.sharing = Sharing(SharingPorts(fronts, clock, lambda: cpus, idle_seconds, places.book, places.share))
        self._objective = objectives.ObjectiveSubject(
            objectives.ObjectivePorts(
                store, world.logs, clock, lambda: cpus, places.book, world.datapoints, places.wish, self.sharing
            )
        )
        self._objectives: Loop[ObjectiveCommand, ObjectiveSeen] = Loop(self._objective, store, clock, owner)
        self._finder = objectives.Finder(store, clock, owner)
        self._undo = (
            alarms.attach(subject, self._alarms, ports),
            targets.attach(scaled, self._scaling, store),
            objectives.attach(self._objective, self._objectives, self._finder, store),
        )

    def hear(self, count: Count, now: float) -> None:
        """What the fronts counted in this second: latency objectives are decided by it."""
        told = self._objective.hear(count, now)
        self.sharing.hear(told)
        for arn in told:
            self._objectives.wake(arn)

    def run(self) -> tuple[Coroutine[Any, Any, None], ...]:
        objective = (self._objectives.run(), self._finder.run(), self.sharing.run())
        return self._alarms.run(), self._scaling.run(), *objective

    def close(self) -> None:
        for each in self._undo:
            each()
