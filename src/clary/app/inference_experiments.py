"""The room of inference experiments."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

from clary.app.given import Given, attended
from clary.domain.endpoints.inference_experiments import Serve, Served
from clary.loops.core.loop import Loop
from clary.loops.endpoints.inference_experiments import InferenceExperimentSubject, attach


def room(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """What must not end."""
    ports = given.ports
    subject = InferenceExperimentSubject(ports.store, given.operations, ports.clock)
    loop: Loop[Serve, Served | None] = Loop(subject, ports.store, ports.clock, given.owner)
    return (attended(loop, partial(attach, subject, loop, ports.store)),)
