"""To zero and back (scaling reference 2.7): in which order an idle replica gives back what it holds.

Owns the stages and when each is due. Refuses to know how a stage is reached; waking is the front's, which holds the request.
"""

from __future__ import annotations

from enum import IntEnum

PARK_REPLICA = 600.0  # seconds without a request
DROP = 3600.0


class Stage(IntEnum):
    """What is left: each stage holds less than the one before."""

    ACTIVE = 0
    WORKERS_PARKED = 1
    REPLICA_PARKED = 2  # given no work, CPU lowered, memory kept
    ZYGOTE_ONLY = 3
    NOTHING = 4  # the model is on disk


def stage(idle: float, in_flight: int, hold: float, scarce: bool, zero: bool, patience: float = DROP) -> Stage:
    """Of a replica that got no request for `idle` seconds. `scarce` is whether memory is wanted elsewhere, `zero` whether the variant
    may go to nothing (see `may_sleep`). A request in flight keeps all."""
    if in_flight or idle < hold:
        return Stage.ACTIVE
    if idle < PARK_REPLICA:
        return Stage.WORKERS_PARKED
    if idle < patience and not (scarce and zero):
        return Stage.REPLICA_PARKED
    if not zero:
        return Stage.REPLICA_PARKED
    return Stage.NOTHING if scarce and idle >= patience else Stage.ZYGOTE_ONLY


def may_sleep(wake: float, service_tail: float, objective: float) -> bool:
    """Whether a variant may go to nothing by default: only where the request that wakes it is still in time. `wake` is the 99th
    percentile of its start, `service_tail` the 95th of its service, in seconds."""
    return wake + service_tail < objective
