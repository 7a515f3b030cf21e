"""The loop's hands for the replicas of transform jobs: those of endpoints, for records of another kind. A job makes such a record and drops
it; nobody else sees it, and no client reaches its route (`EndpointRoute.caller`)."""

from __future__ import annotations

from clary.domain.names import TRANSFORM_FLEET
from clary.loops.endpoints.subject import EndpointSubject


class TransformFleetSubject(EndpointSubject):
    """`loop.Subject` of the fleets of transform jobs. Its models lie in the endpoints' folder, so both share one `Models`."""

    kind = TRANSFORM_FLEET
