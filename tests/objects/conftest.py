"""A live object store: its process on a TCP port and a state folder of its own, with one key pair."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from clary.stores.keys import FileKeys

ACCOUNT = "000000000000"
START = 30.0


class Live:
    """The process, and clients for it."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root, self.options = root, options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.key = FileKeys(root / "keys").create(ACCOUNT, "clary")
        self.log = root / "objects.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        read, write = os.pipe()
        argv = [sys.executable, "-m", "clary.app.objects", "--dir", str(self.root), "--port", str(self.port)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*argv, "--ready-fd", str(write), *self.options], stdout=log, stderr=log, pass_fds=(write,)
            )
        os.close(write)
        ready, _, _ = select.select([read], [], [], START)
        said = os.read(read, 16) if ready else b""
        os.close(read)
        assert said == b"ready\n", self.log.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def client(
        self, access_key: str | None = None, secret: str | None = None, token: str | None = None, **config: Any
    ) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=access_key or self.key.access_key_id,
            aws_secret_access_key=secret or self.key.secret,
            aws_session_token=token,
            config=Config(retries={"max_attempts": 1}, **{"s3": {"addressing_style": "path"}, **config}),
        )

    def other(self, account: str) -> Any:
        """A client of another account."""
        key = FileKeys(self.root / "keys").create(account, "other")
        return self.client(key.access_key_id, key.secret)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("live"))
    server.start()
    yield server
    server.end()


@pytest.fixture
def new_live(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Make live stores of this test's own."""
    made: list[Live] = []

    def make(*options: str, root: Path = tmp_path) -> Live:
        made.append(Live(root, *options))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        if server.process is not None and server.process.poll() is None:
            server.end(signal.SIGKILL)


@pytest.fixture
def s3(live: Live) -> Iterator[Any]:
    client = live.client()
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    """A bucket of this test's own."""
    import hashlib

    name = "t-" + hashlib.md5(request.node.nodeid.encode()).hexdigest()[:20]
    s3.create_bucket(Bucket=name)
    return name
