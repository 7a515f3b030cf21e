"""The room of MLflow servers: the loops of tracking servers and of apps."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

from clary.api.call import Ports
from clary.api.identity import Identity
from clary.app import proxies, reach
from clary.app.given import Given, attended
from clary.app.mlflow_door import Application, MlflowDoor
from clary.app.settings import Settings
from clary.domain.mlflow import servers
from clary.domain.mlflow.life import Command, SeenServer
from clary.loops.core.loop import Loop
from clary.loops.mlflow import subject as mlflow
from clary.loops.mlflow.places import MlflowSettings
from clary.loops.mlflow.subject import MlflowSubject


def settings_of(settings: Settings) -> MlflowSettings:
    endpoint = reach.inside(settings)
    return MlflowSettings(
        folder=str(settings.root / "mlflow"),
        sockets=str(settings.run / "mlflow"),
        endpoint=endpoint,
        passed=proxies.passed(settings),
        ca_bundle=reach.bundle_text(settings, endpoint),
    )


def door(behind: Application, settings: Settings, ports: Ports) -> MlflowDoor:
    """The way to the servers, and to the application behind."""
    identity = Identity(ports.keys, ports.clock)
    return MlflowDoor(behind, ports.store, identity, ports.clock, settings_of(settings), ports.settings.page_key)


def room(given: Given) -> Iterable[Coroutine[Any, Any, None]]:
    """What a predecessor left of servers that are no more is ended first."""
    api = given.ports
    ports = given.parents

    async def run() -> None:
        await mlflow.clear(ports, given.owner)
        loops = []
        for kind in servers.KINDS:
            subject = MlflowSubject(kind, ports, settings_of(given.settings))
            loop: Loop[Command, SeenServer] = Loop(subject, api.store, api.clock, given.owner)
            loops.append(attended(loop, partial(mlflow.attach, subject, loop, ports)))
        await asyncio.gather(*loops)

    return (run(),)
