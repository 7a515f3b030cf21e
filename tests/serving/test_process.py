"""A front as a process that is drained, killed and started again, with replicas that are processes too."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serving.fakes import (
    ACCOUNT,
    KEY_ID,
    REGION,
    SECRET,
    Answer,
    call,
    listening,
    replica,
    route,
    signed,
    token,
    until,
    variant,
)

from clary.domain.endpoints.routes import EndpointRoute, ReplicaRoute
from clary.ports import Credential
from clary.serving.client import FrontClient

HERE = Path(__file__).parent
PROGRAM = """
import asyncio, socket, sys, os
from pathlib import Path
import uvloop
from clary.serving.process import FrontSettings, serve
sockets = [socket.socket(fileno=int(n)) for n in sys.argv[1:4]]
settings = FrontSettings(0, 1, *sockets, Path(sys.argv[4]))
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(serve(settings, lambda: os.write(int(sys.argv[5]), b"ready"), asyncio.Event()))
"""


class SomeKeys:
    """One credential, as the Keys port answers it."""

    def find(self, access_key_id: str, session_token: str = "") -> Credential | None:
        if access_key_id != KEY_ID:
            return None
        return Credential(KEY_ID, SECRET, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/clary")


def spawn(command: list[str], environment: dict[str, str], descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env={**os.environ, **environment}, pass_fds=descriptors)


class Stage:
    """What the supervisor owns (sockets), the front, its control client, the replicas."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sockets = {name: listening(folder / f"{name}.sock") for name in ("http", "workers", "ctl")}
        self.journal = folder / "journal"
        self.replicas: list[subprocess.Popen[bytes]] = []
        self.front: subprocess.Popen[bytes] | None = None
        self.client = FrontClient([str(folder / "ctl.sock")], SomeKeys())  # type: ignore[arg-type]

    async def start_front(self) -> None:
        read, write = os.pipe()
        numbers = [s.fileno() for s in self.sockets.values()]
        arguments = [*map(str, numbers), str(self.folder / "routes"), str(write)]
        self.front = spawn([sys.executable, "-c", PROGRAM, *arguments], {}, (*numbers, write))
        os.close(write)
        ready = await asyncio.wait_for(asyncio.to_thread(os.read, read, 5), 20)
        os.close(read)
        assert ready == b"ready"

    async def put(self, wanted: EndpointRoute) -> None:
        await asyncio.wait_for(self.client.connected(), 10)
        await self.client.put(wanted)

    async def start_replica(self, name: str, workers: int = 1, batch: int = 64, **environment: str) -> None:
        command = [
            sys.executable, str(HERE / "fake_replica.py"), str(self.folder / "workers.sock"), name, token(name),
            str(workers), str(batch), str(self.journal),
        ]  # fmt: skip
        self.replicas.append(spawn(command, environment, ()))

    async def ready(self, name: str, workers: int = 1) -> None:
        async with asyncio.timeout(60):
            while True:
                view = await self.client.observe(ACCOUNT, REGION, "iris")
                seen = {r.id: r for v in view.variants for r in v.replicas} if view else {}
                if name in seen and seen[name].state == "ready" and seen[name].workers >= workers:
                    return
                await asyncio.sleep(0.01)

    async def invoke(self, body: bytes, seconds: float = 20, **headers: str) -> Answer:
        request = signed(body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        return await asyncio.wait_for(call(str(self.folder / "http.sock"), request), seconds)

    def begun(self) -> list[bytes]:
        return self.journal.read_bytes().splitlines() if self.journal.exists() else []

    async def close(self) -> None:
        await self.client.close()
        for process in [*self.replicas, *([self.front] if self.front else [])]:
            if process.poll() is None:
                process.kill()
            process.wait(10)
        for listener in self.sockets.values():
            listener.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    await stage.client.start()
    await stage.start_front()
    yield stage
    await stage.close()


def one(timeout: float = 60.0, *replicas: ReplicaRoute) -> EndpointRoute:
    return route(variant("AllTraffic", 1, *(replicas or (replica("r1"),)), timeout=timeout))


async def load(stage: Stage, stop: asyncio.Event, results: list[int | str]) -> None:
    """One client that asks again and again; the kernel's refusals are results too."""
    number = 0
    while not stop.is_set():
        number += 1
        try:
            results.append((await stage.invoke(b"%d" % number)).status)
        except (OSError, asyncio.IncompleteReadError) as error:
            results.append(type(error).__name__)


async def test_on_sigterm_nothing_fails_and_the_successor_goes_on(stage: Stage) -> None:
    await stage.put(one())
    await stage.start_replica("r1", workers=2, batch=1)
    await stage.ready("r1")
    stop, results = asyncio.Event(), []
    clients = [asyncio.create_task(load(stage, stop, results)) for _ in range(8)]
    running = asyncio.create_task(stage.invoke(b"sleep 0.5"))
    await until(lambda: len(results) > 50)
    assert stage.front is not None
    stage.front.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(stage.front.wait, 15) == 0
    assert (await running).status == 200
    await stage.start_front()  # without a word of the control plane: the route is on disk
    count = len(results)
    await until(lambda: len(results) > count + 50)
    stop.set()
    await asyncio.gather(*clients)
    assert set(results) == {200}


async def test_after_kill_9_only_what_was_in_the_front_is_lost(stage: Stage) -> None:
    await stage.put(one())
    await stage.start_replica("r1", workers=2, batch=1)
    await stage.ready("r1")
    stop, results = asyncio.Event(), []
    clients = [asyncio.create_task(load(stage, stop, results)) for _ in range(8)]
    await until(lambda: len(results) > 50)
    assert stage.front is not None
    stage.front.kill()
    stage.front.wait(10)
    waiting = [asyncio.create_task(stage.invoke(b"w%d" % i)) for i in range(5)]  # in the backlog
    await stage.start_front()
    assert [(await task).status for task in waiting] == [200] * 5
    count = len(results)
    await until(lambda: len(results) > count + 50)
    stop.set()
    await asyncio.gather(*clients)
    lost = [result for result in results if result != 200]
    assert len(lost) <= 8, "at most one per client: what the front had read, or was given"


async def test_a_prediction_of_a_killed_front_does_not_go_on_beside_its_retry(stage: Stage) -> None:
    await stage.put(one())
    await stage.start_replica("r1", workers=2, batch=1)
    await stage.ready("r1", workers=2)
    first = asyncio.create_task(stage.invoke(b"sleep 30 a"))
    await until(lambda: stage.begun() == [b"sleep 30 a"])
    assert stage.front is not None
    stage.front.kill()
    stage.front.wait(10)
    with pytest.raises((asyncio.IncompleteReadError, OSError)):
        await first
    await stage.start_front()
    await stage.ready("r1", workers=2)
    # both workers are free: the busy one was killed with its prediction
    answers = await asyncio.gather(*(stage.invoke(b"sleep 0.1 %d" % i) for i in range(2)))
    assert [answer.status for answer in answers] == [200, 200]


async def test_a_worker_that_crashes_or_hangs_is_replaced(stage: Stage) -> None:
    await stage.put(one(0.5))
    await stage.start_replica("r1", workers=1, batch=1)
    await stage.ready("r1")
    crashed = await stage.invoke(b"crash")
    assert json.loads(crashed.body)["OriginalStatusCode"] == 500
    assert (await stage.invoke(b"1")).status == 200
    hung = await stage.invoke(b"hang")
    assert json.loads(hung.body)["OriginalStatusCode"] == 0
    assert (await stage.invoke(b"2")).status == 200


async def test_a_replica_that_is_killed_and_comes_back_serves_again(stage: Stage) -> None:
    await stage.put(one(60, replica("r1"), replica("r2")))
    await stage.start_replica("r1")
    await stage.start_replica("r2")
    await stage.ready("r1")
    await stage.ready("r2")
    stage.replicas[0].kill()
    stage.replicas[0].wait(10)
    answers = await asyncio.gather(*(stage.invoke(b"%d" % i) for i in range(20)))
    assert sum(answer.status != 200 for answer in answers) == 0
    await stage.start_replica("r1")
    await stage.ready("r1")


async def test_the_control_plane_hears_of_changes_and_of_failures(stage: Stage) -> None:
    heard = []
    stage.client.watch(lambda account, region, name: heard.append(name))
    await stage.put(one())
    await stage.start_replica("r1", FAKE_LOADS="no")
    await until(lambda: "iris" in heard, 30)

    async def failure() -> str:
        view = await stage.client.observe(ACCOUNT, REGION, "iris")
        return view.variants[0].replicas[0].failure if view else ""

    async with asyncio.timeout(60):
        while not await failure():
            await asyncio.sleep(0.01)
    assert "ValueError: no model" in await failure()


async def test_the_control_plane_may_come_and_go(stage: Stage) -> None:
    await stage.put(one())
    await stage.start_replica("r1")
    await stage.ready("r1")
    assert (await stage.invoke(b"1")).status == 200
    await stage.client.close()
    assert (await stage.invoke(b"2")).status == 200, "the front knows key and route"
    held = asyncio.create_task(call(str(stage.folder / "http.sock"), signed(b"3", key_id="AKIASOMEBODY")))
    await asyncio.sleep(0)
    stage.client = FrontClient([str(stage.folder / "ctl.sock")], SomeKeys())  # type: ignore[arg-type]
    await stage.client.start()
    answer = await asyncio.wait_for(held, 10)
    assert answer.headers["x-amzn-errortype"] == "UnrecognizedClientException"


async def test_what_happened_while_a_front_was_away_is_told_on_its_return(stage: Stage) -> None:
    await stage.put(one())
    assert stage.front is not None
    stage.front.kill()
    stage.front.wait(10)
    await until(lambda: not stage.client._lines[0].up.is_set())
    await stage.client.drop(ACCOUNT, REGION, "iris")
    await stage.client.put(route(variant("Again", 1, replica("r9"))))  # the same name, made anew: revision 1 again
    await stage.start_front()
    await asyncio.wait_for(stage.client.connected(), 10)
    view = await stage.client.observe(ACCOUNT, REGION, "iris")
    assert view is not None
    assert [v.name for v in view.variants] == ["Again"]


def test_a_socket_is_not_removed_when_its_reader_ends(tmp_path: Path) -> None:
    """The path must stay: the supervisor listens on it, workers dial it."""
    listener = listening(tmp_path / "s.sock")
    program = (
        "import asyncio, socket, sys, uvloop\n"
        "async def main():\n"
        "    server = await asyncio.get_running_loop().create_unix_server(asyncio.Protocol, sock=socket.socket(fileno=int(sys.argv[1])))\n"
        "    server.close()\n"
        "with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner: runner.run(main())\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(listener.fileno())], pass_fds=(listener.fileno(),), check=True, timeout=20
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s.sock"))
    listener.close()
