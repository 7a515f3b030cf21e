"""The room that deletes endpoints which jobs made for themselves and left behind."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from clary.app.given import Given
from clary.loops.jobs.leftovers import Leftovers


def room(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """What must not end."""
    return (Leftovers(given.ports.store, given.operations).run(),)
