"""The room of lineage: what Clary records of jobs, packages and endpoints by itself."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from clary.app.given import Given
from clary.loops.lineage.follower import LineageFollower


def room(given: Given) -> Iterable[Coroutine[Any, Any, None]]:
    """The follower."""
    return (LineageFollower(given.ports.store, given.ports.clock).run(),)
