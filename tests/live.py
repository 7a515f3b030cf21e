"""A real Clary for real clients: started in a state folder of its own, on a free port, as fixtures that a folder's conftest takes up."""

from __future__ import annotations

import os
import pathlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config

from clary.app import up
from clary.app.keys import open_keys
from clary.app.settings import Settings, load

ROOT = pathlib.Path(__file__).resolve().parent.parent
ACCEPTANCE = pathlib.Path(os.environ.get("CLARY_ACCEPTANCE") or ROOT.parent / "shared" / "acceptance")
_MAKING = threading.Lock()  # boto3's default session makes one client at a time: it is no thing for threads
ROLE = "arn:aws:iam::000000000000:role/FlowRole"


class Server:
    """A running Clary: its settings, the environment that clients need, and clients."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        key = open_keys(settings).all()[0]
        self.environment: Mapping[str, str] = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_"))},
            "AWS_ENDPOINT_URL": settings.endpoint,
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        self.key = key

    def client(self, service: str, region: str = "us-east-1", **config: Any) -> Any:
        with _MAKING:
            return boto3.client(
                service,
                region_name=region,
                endpoint_url=self.settings.endpoint,
                aws_access_key_id=self.key.access_key_id,
                aws_secret_access_key=self.key.secret,
                config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
            )

    def run(
        self, argv: list[str], timeout: float = 240, cwd: str | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """A client program with the environment that `clary env` would give it."""
        return subprocess.run(
            argv,
            env={**self.environment, **extra},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=cwd,
        )


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a Clary with these settings, and with `environment` over the machine's own; all are ended at the end."""
    started: list[Settings] = []
    environments = tmp_path_factory.getbasetemp().parent / "clary-environments"

    def start(environment: Mapping[str, str] | None = None, **flags: Any) -> Server:
        flags = {"port": 0, "environments": str(environments), "container_engine": "none", **flags}
        flags.setdefault("dir", str(tmp_path_factory.mktemp("clary")))
        machine = {k: v for k, v in os.environ.items() if not k.startswith("CLARY_")}
        settings = up.detached(load(flags, {**machine, **(environment or {})}))
        started.append(settings)
        return Server(settings)

    yield start
    with ThreadPoolExecutor(8) as pool:  # each takes seconds to end, and does little in them
        ending = [pool.submit(up.down, settings) for settings in started]
    for each in ending:
        each.result()


@pytest.fixture(scope="session")
def server(start: Callable[..., Server]) -> Server:
    return start()
