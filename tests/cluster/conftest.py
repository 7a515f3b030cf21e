"""A head on this machine and nodes on machines of their own (`machines.py`)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.machines import Machine, machines, missing, wait
from tests.live import Server, start
from tests.sdk.acts import User

__all__ = ["start"]
CLARY = [sys.executable, "-m", "clary.app.cli"]


class Cluster:
    """A head, and the nodes that joined it."""

    def __init__(self, server: Server, address: str, made: list[Machine], folder: Path) -> None:
        self.server, self.address, self.machines, self.folder = server, address, made, folder
        self.user = User(server)
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("CLARY_", "AWS_"))}

    def clary(self, *words: str, good: bool = True) -> str:
        """What a command about this head prints; what it says against it where it is to be refused."""
        done = subprocess.run(
            [*CLARY, *words, "--dir", self.server.settings.dir], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode == 0) is good, done.stderr
        return done.stdout if good else done.stderr

    def token(self) -> str:
        return str(json.loads(self.clary("node", "token", "--json"))["token"])

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def run(self, index: int, name: str, *words: str) -> subprocess.Popen[bytes]:
        """An agent on that machine; with `words` it joins."""
        command = [*CLARY, "node", "join", *words, "--dir", str(self.folder / name)]
        environment = {
            **self.environment,
            "CLARY_ENVIRONMENTS": self.server.settings.environments,
            "CLARY_CONTAINER_ENGINE": "none",
        }
        self.agents[name] = self.machines[index].start(command, self.log(name), environment)
        return self.agents[name]

    def join(self, index: int, name: str) -> None:
        self.run(index, name, self.address, "--token", self.token(), "--name", name)
        wait(lambda: self.state(name) == "Ready", 30, f"{name} joins; {self.log(name).read_text()}")

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in json.loads(self.clary("node", "list", "--json"))["nodes"]}

    def state(self, name: str) -> str:
        return str(self.nodes().get(name, {}).get("state", ""))

    def drain(self, name: str, undo: bool = False) -> None:
        self.clary("node", "drain", name, *(["--undo"] if undo else []))

    def kill_agent(self, name: str) -> None:
        """SIGKILL: its runs go on."""
        inside = Path(f"/proc/{self.agents[name].pid}/task/{self.agents[name].pid}/children").read_text().split()
        os.kill(int(inside[0]) if inside else self.agents[name].pid, signal.SIGKILL)
        self.agents[name].wait(timeout=30)

    def where(self, job: str) -> str:
        """The node that has a place for this job."""
        return next((name for name, node in self.nodes().items() if job in node["jobs"]), "")


@pytest.fixture(scope="module")
def cluster(start: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes, a machine that is none, and a head that takes no jobs itself."""
    if why := missing():
        pytest.skip(why)
    with machines(3) as (host, made):
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        server = start(backend="cluster", node_listen=f"{host}:{port}")
        found = Cluster(server, f"{host}:{port}", made, tmp_path_factory.mktemp("nodes"))
        found.join(0, "node-a")
        found.join(1, "node-b")
        found.drain(os.uname().nodename)
        yield found
