"""The loop's hands for inference components: those of endpoints, for records of another kind (`domain/components.py` tells why)."""

from __future__ import annotations

from clary.domain.names import COMPONENT
from clary.loops.endpoints import EndpointSubject


class ComponentSubject(EndpointSubject):
    """`loop.Subject` of inference components. Its models lie in the endpoints' folder, so both share one `Models`."""

    kind = COMPONENT
