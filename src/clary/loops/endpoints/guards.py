"""The CloudWatch alarms that guard a rollout: their states as the endpoint's decision sees them, and whom a change of one wakes.

An alarm is a record of kind "alarm" in the endpoint's account and region, its name the alarm's and its status the alarm's state.
"""

from __future__ import annotations

from collections.abc import Set

from clary.domain.endpoints.fleets import Plant
from clary.domain.resources import Record, Scope
from clary.ports import Store

ALARM = "alarm"


class Guards:
    """Which alarms are watched for which endpoints, from the last look at each. One event loop's thread only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched: dict[tuple[Scope, str], set[str]] = {}

    async def states(self, record: Record, plant: Plant) -> dict[str, str | None]:
        """The state of every alarm that guards what this endpoint does now; None for one that is not there."""
        names = plant.rollout.alarms if plant.rollout is not None and not plant.rollout.back else ()
        for (scope, name), arns in list(self._watched.items()):
            if record.arn in arns and (scope != record.scope or name not in names):
                arns.discard(record.arn)
                if not arns:
                    del self._watched[scope, name]
        states: dict[str, str | None] = {}
        for name in names:
            self._watched.setdefault((record.scope, name), set()).add(record.arn)
            alarm = await self._store.get(ALARM, record.scope, name)
            states[name] = alarm.status if alarm is not None else None
        return states

    def guarded(self, record: Record) -> Set[str]:
        """ARNs of the endpoints whose rollout that record guards."""
        return frozenset(self._watched.get((record.scope, record.name), ()) if record.kind == ALARM else ())
