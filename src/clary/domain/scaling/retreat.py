"""When a variant may go to zero (scaling reference 2.7). Pure. Waking is the front's, which holds the request."""

from __future__ import annotations


def may_sleep(wake: float, service_tail: float, objective: float) -> bool:
    """Whether a variant may go to nothing by default: only where the request that wakes it is still in time. `wake` is the 99th
    percentile of its start, `service_tail` the 95th of its service, in seconds."""
    return wake + service_tail < objective
