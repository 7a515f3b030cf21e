"""The loop's hands for inference components: those of endpoints, for records of another kind (`domain/endpoints/components.py` tells
why), and their placement, looked at once more where it is decided.

A handler checks the placement of what is asked; of two that are asked at once both may pass. So a change of a component gets its places
only beside the copies that have theirs: who comes first goes through, the other fails and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from clary.domain.endpoints import components
from clary.domain.endpoints.components import Need
from clary.domain.endpoints.life import plant_of
from clary.domain.endpoints.turn import NO_CAPACITY
from clary.domain.errors import LimitExceeded
from clary.domain.lifecycle import EndpointStatus
from clary.domain.machine.capacity import owner_of
from clary.domain.names import COMPONENT
from clary.domain.resources import Query, Record
from clary.loops.endpoints.subject import EndpointSubject

_CHANGING = (EndpointStatus.CREATING, EndpointStatus.UPDATING)
_MANY = 100_000


class ComponentSubject(EndpointSubject):
    """`loop.Subject` of inference components. Its models lie in the endpoints' folder, so both share one `Models`."""

    kind = COMPONENT

    async def _placement(self, record: Record) -> Callable[[], None]:
        """LimitExceeded when the copies that a change asks for have no place beside those of others. What died comes back in any case."""
        store, scope = self._ports.store, record.scope
        endpoint = await store.get("endpoint", scope, record.document["endpoint"])
        if record.status not in _CHANGING or endpoint is None:
            return lambda: None
        found = await store.page(Query(COMPONENT, scope, where={"endpoint": endpoint.name}, limit=_MANY))
        variant = record.document["variant"]
        others = [each for each in found if each.document["variant"] == variant and each.name != record.name]
        plant = plant_of(endpoint)
        host = components.host_of(plant.serving or plant.incoming, endpoint.name, variant)

        def look() -> None:
            granted = self._rooms.granted()
            try:
                held = [need for o in others for need in _held(o, granted[owner_of(o)])]
                components.check_room(host, components.asked_need(record), held)
            except LimitExceeded as error:
                raise LimitExceeded(NO_CAPACITY + error.message) from None

        return look


def _held(other: Record, places: int) -> Iterator[Need]:
    """What another component's copies have: during its own update, which brings new ones beside the old, no more than one of the two."""
    for need in components.needs_of(other):
        yield replace(need, copies=min(places, need.copies))
        places -= min(places, need.copies)
