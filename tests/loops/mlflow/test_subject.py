"""The loop of MLflow servers over fakes: a backend in memory, and an MLflow that answers at the socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.api.requests import ROLE
from tests.api.world import ACCOUNT, REGION, World
from tests.loops.bundles import parent_ports
from tests.loops.mlflow.mlflow_fake import FakeMlflow

from clary.domain.mlflow import servers
from clary.domain.mlflow.life import Command, SeenServer
from clary.domain.resources import Scope
from clary.loops.core.loop import Loop
from clary.loops.mlflow import subject as mlflow
from clary.loops.mlflow.places import MlflowSettings
from clary.loops.mlflow.subject import MlflowSubject
from clary.ports import Runtime
from clary.testing.backends import MemoryBackend
from clary.testing.runtimes import MemoryRuntimes

RUNTIME = Runtime("mlflow-server", "mlflow-server", "", (), "", "3.17.2")


class MlflowHouse:
    """A control plane with nothing but tracking servers."""

    def __init__(self, folder: Path) -> None:
        self.world, self.backend, self.mlflow = World({"b": {}}), MemoryBackend(), FakeMlflow()
        self.settings = MlflowSettings(str(folder / "data"), str(folder / "s"), "http://127.0.0.1:1")
        api = self.world.ports
        runtimes = MemoryRuntimes((RUNTIME,))
        self.ports = parent_ports(api, backend=self.backend, runtimes=runtimes)
        self.start()

    def start(self) -> None:
        subject = MlflowSubject(servers.SERVER, self.ports, self.settings)
        self.loop: Loop[Command, SeenServer] = Loop(
            subject, self.ports.store, self.ports.clock, "o", sweep_seconds=0.02
        )
        self.undo = mlflow.attach(subject, self.loop, self.ports)
        self.task = asyncio.create_task(self.loop.run())

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.undo()

    async def ask(self, operation: str, **params: Any) -> dict[str, Any]:
        return dict(await self.world("sagemaker", operation, TrackingServerName="t", **params))

    async def create(self) -> None:
        await self.ask("CreateMlflowTrackingServer", ArtifactStoreUri="s3://b/x", RoleArn=ROLE)

    async def status(self, wanted: str) -> None:
        async def reached() -> bool:
            return str((await self.ask("DescribeMlflowTrackingServer"))["TrackingServerStatus"]) == wanted

        await until(reached)

    async def id(self) -> str:
        record = await self.world.store.get(servers.SERVER, Scope(ACCOUNT, REGION), "t")
        assert record is not None
        return str(record.document["id"])


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while True:
            met = condition()
            if await met if asyncio.iscoroutine(met) else met:
                return
            await asyncio.sleep(0.005)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[MlflowHouse]:
    made = MlflowHouse(tmp_path)
    yield made
    await made.end()


async def served(house: MlflowHouse) -> Any:
    """A server that is Created, its MLflow at its socket for as long as the test wants."""
    await house.create()
    id_ = await house.id()
    at = house.mlflow.at(Path(house.settings.sockets) / id_ / "s")
    await at.__aenter__()
    await house.status("Created")
    return at, id_


async def test_it_is_started_served_and_deleted_with_all_that_it_kept(house: MlflowHouse) -> None:
    at, id_ = await served(house)
    assert list(house.backend.workloads) == [f"mlflow-{id_}-1"]
    assert house.backend.secrets[f"mlflow-{id_}-1"]["AWS_SESSION_TOKEN"]
    folder = Path(house.settings.folder) / id_
    assert folder.exists()
    await house.ask("DeleteMlflowTrackingServer")
    await until(lambda: not folder.exists())
    assert await house.backend.observe(f"mlflow-{id_}-1") is None
    await at.__aexit__(None, None, None)


async def test_one_whose_process_was_killed_is_started_again(house: MlflowHouse) -> None:
    at, id_ = await served(house)
    house.backend.finish(f"mlflow-{id_}-1", 137)

    def again() -> bool:
        house.world.ports.clock.advance(0.1)  # type: ignore[attr-defined]
        return f"mlflow-{id_}-2" in house.backend.workloads

    await until(again)
    await house.status("Created")
    await at.__aexit__(None, None, None)


async def test_a_control_plane_that_follows_takes_the_process_up(house: MlflowHouse) -> None:
    at, id_ = await served(house)
    await house.end()
    await mlflow.clear(house.ports, "o")
    house.start()
    await house.ask("StopMlflowTrackingServer")
    await house.status("Stopped")
    assert list(house.backend.workloads) == [f"mlflow-{id_}-1"]
    await at.__aexit__(None, None, None)


async def test_processes_of_servers_that_are_no_more_are_ended(house: MlflowHouse) -> None:
    at, id_ = await served(house)
    record = await house.world.store.get(servers.SERVER, Scope(ACCOUNT, REGION), "t")
    assert record is not None
    await house.end()
    await house.world.store.remove(record)
    await mlflow.clear(house.ports, "o")
    assert await house.backend.observe(f"mlflow-{id_}-1") is None
    await at.__aexit__(None, None, None)
