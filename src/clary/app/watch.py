"""Alarms and what they scale put together: the alarm loop, and the scaling loop that it tells."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from clary.app.queues import World
from clary.app.settings import Settings
from clary.domain.alarm_turn import Command as AlarmCommand
from clary.domain.alarm_turn import Seen as AlarmSeen
from clary.domain.autoscaling_activity import Command as ScalingCommand
from clary.domain.autoscaling_activity import Seen as ScalingSeen
from clary.loops import alarms, scaling
from clary.loops.alarms import Tell
from clary.loops.ledger import Places
from clary.loops.loop import Loop


class Watch:
    """`run` answers the work that must not end. `tell` tells topics."""

    def __init__(self, settings: Settings, world: World, owner: str, places: Places, tell: Tell):
        store, clock = world.store, world.clock
        actions: dict[str, Tell] = {"arn:aws:sns:": tell}
        ports = alarms.AlarmPorts(store, world.datapoints, clock, actions)
        subject = alarms.AlarmSubject(ports)
        self._alarms: Loop[AlarmCommand, AlarmSeen] = Loop(subject, store, clock, owner)
        strict = settings.capacity == "strict"
        scaled = scaling.ScalingSubject(
            scaling.ScalingPorts(
                store,
                clock,
                subject,
                settings.scaling_timing,
                lambda: places.book().machine if strict else None,
                places.book,
                places.wish,
            )
        )
        self._scaling: Loop[ScalingCommand, ScalingSeen] = Loop(scaled, store, clock, owner)
        actions["arn:aws:autoscaling:"] = scaled.tell
        self._undo = (
            alarms.attach(subject, self._alarms, ports),
            scaling.attach(scaled, self._scaling, store),
        )

    def run(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return self._alarms.run(), self._scaling.run()

    def close(self) -> None:
        for each in self._undo:
            each()
