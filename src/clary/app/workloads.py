"""What runs in sandboxes when Clary ends: shims outlive the supervisor, so an orderly end stops them here.

The one place outside the control plane that reaches the backend, after the control plane is gone.
"""

from __future__ import annotations

import asyncio
from typing import Any

from clary.app.settings import Settings
from clary.backends import containers
from clary.backends.choice import BackendOptions, ChosenBackend, choose
from clary.backends.node.layout import NodePorts

GRACE = 10.0  # seconds between SIGTERM and SIGKILL at an orderly end


def backend(settings: Settings, ports: NodePorts | None = None) -> ChosenBackend[Any]:
    """The backend of this state folder, as the control plane and an orderly end both see it. Who starts workloads gives it `ports`."""
    options = BackendOptions(
        folder=str(settings.root / "backend"),
        fronts=tuple(str(settings.front_workers(index)) for index in range(settings.front_count)),
        uid_range=(settings.uid_first, settings.uid_first + settings.uid_count - 1),
        engine=containers.find(settings.container_engine),
        reach=(settings.endpoint, *settings.passed.values()),
        strict_network=settings.strict_network,
        ports=ports,
        listeners=str(settings.listeners),
        lost=float(settings.node_lost),
    )
    return choose(settings.backend, options)


async def end(settings: Settings, keep_jobs: bool) -> None:
    """Stop every replica, and every job too unless `keep_jobs`; return when they are gone."""
    runs = backend(settings)
    waiting = [handle for handle in await runs.handles() if not (keep_jobs and handle.startswith("job"))]
    for handle in waiting:
        await runs.stop(handle, GRACE)
    deadline = asyncio.get_running_loop().time() + GRACE + 5
    while waiting and asyncio.get_running_loop().time() < deadline:
        seen = [(handle, await runs.observe(handle)) for handle in waiting]
        waiting = [handle for handle, run in seen if run is not None and not run.state.is_terminal]
        await asyncio.sleep(0.02)
    await asyncio.to_thread(runs.tidy)
    runs.close()
