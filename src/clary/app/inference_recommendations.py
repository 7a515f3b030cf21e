"""The room of inference recommendations jobs."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

from clary.app.given import Given, attended
from clary.domain.costs.report import prices
from clary.domain.inference_recommendations.record import Command, SeenTest
from clary.loops.core.loop import Loop
from clary.loops.inference_recommendations.subject import RecommendationsSubject, attach


def room(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """What must not end."""
    ports, settings = given.ports, given.settings
    subject = RecommendationsSubject(given.parents, settings.capacity, prices(settings.prices))
    loop: Loop[Command, SeenTest] = Loop(subject, ports.store, ports.clock, given.owner)
    return (attended(loop, partial(attach, loop, ports.store)),)
