"""The pytest plugin that comes with Clary: the fixture `clary` gives each test an account of its own on one shared server.

    def test_it_trains(clary):
        sagemaker = clary.client("sagemaker")      # or boto3.client("sagemaker"): the environment points there too

The server is started once a session, for all workers of pytest-xdist together, on a free port in a folder of its own, and ended with
the session. The runtimes that it builds stay, with those of the user's own Clary. `--clary-dir DIR` uses the Clary that runs on a
folder instead. After each test the account's endpoints are deleted, its jobs stopped and its key revoked. Nothing of Clary is imported
until a test asks for a fixture.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from clary.app.cli.site import Site

_FOLDER = pytest.StashKey[str]()
_KEY = "clary_folder"  # in what xdist tells its workers
_LOCK = "lock"
_STATE = "state"
_USERS = "users"  # a file that every process holds a shared lock on that uses the server
_holds: list[int] = []  # until the process ends, however that is


@dataclass(frozen=True)
class Account:
    """An account on the shared server. `environment` is what AWS clients read; `role` may be given wherever AWS wants one; `bucket`
    is the default bucket's name (SDKs make it when they need it)."""

    id: str
    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str
    role: str
    bucket: str
    environment: Mapping[str, str]

    def client(self, service: str, region: str | None = None, **options: Any) -> Any:
        """A boto3 client of this account."""
        import boto3

        session = boto3.Session(self.access_key_id, self.secret_access_key, region_name=region or self.region)
        return session.client(service, endpoint_url=self.endpoint, **options)


# -- the session --------------------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("clary")
    group.addoption(
        "--clary-dir", default=None, help="use the Clary that runs on this state folder instead of a fresh one"
    )
    parser.addini("clary_region", "region of the accounts that the fixture `clary` gives", default="us-east-1")


def pytest_configure(config: pytest.Config) -> None:
    told = getattr(config, "workerinput", None)
    config.stash[_FOLDER] = (
        told[_KEY] if told else os.path.join(tempfile.gettempdir(), f"clary-pytest-{secrets.token_hex(8)}")
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist starts a worker: it uses the same server."""
    node.workerinput[_KEY] = node.config.stash[_FOLDER]
    if not _holds:
        _hold(node.config.stash[_FOLDER])


def pytest_unconfigure(config: pytest.Config) -> None:
    """The process that all workers belong to ends the server, when one was started."""
    folder = config.stash[_FOLDER]
    if hasattr(config, "workerinput") or not os.path.isdir(folder):
        return
    state = os.path.join(folder, _STATE)
    if os.path.isdir(state):
        from clary.app import up
        from clary.app.settings import load

        up.down(load({"dir": state}))
    shutil.rmtree(folder, ignore_errors=True)


def _hold(folder: str) -> None:
    """While this process lives the server does; it ends by itself after a session that was killed."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor = os.open(os.path.join(folder, _USERS), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _holds.append(descriptor)


# -- fixtures -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def clary_server(request: pytest.FixtureRequest) -> Site:
    """The shared server: its `settings` (endpoint, folder)."""
    from clary.app.cli.site import find

    given = request.config.getoption("--clary-dir")
    if given:
        site = find(given)
        site.require()
        return site
    return _started(request.config.stash[_FOLDER])


@pytest.fixture
def clary(clary_server: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A fresh account, and the environment that points AWS clients and SDKs to it while the test runs."""
    from clary.app.cli.environment import unset

    account = _made(clary_server, str(request.config.getini("clary_region")))
    for name in unset(os.environ):
        monkeypatch.delenv(name, raising=False)
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    if "boto3" in sys.modules:  # its default session would remember the account before
        monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    yield account
    _emptied(clary_server, account)


def _started(folder: str) -> Site:
    """The server of this session, which the first worker starts."""
    from clary.app import folders, up
    from clary.app.cli.site import find
    from clary.app.settings import load

    _hold(folder)
    state = os.path.join(folder, _STATE)
    with _locked(Path(folder) / _LOCK):
        # runtimes that the user's own Clary has built, or that an earlier session did
        runtimes = str(load().environments_folder)
        settings = load({"dir": state, "port": 0, "environments": runtimes, "ephemeral": True})
        if folders.holding(settings.root / "clary.lock") is None:
            up.detached(settings, Path(folder) / _USERS)
    return find(state)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _made(site: Site, region: str) -> Account:
    from clary.app.cli.environment import variables
    from clary.domain.access.roles import default_role_arn

    number = f"{secrets.randbelow(9 * 10**11) + 10**11}"
    mine = site.of(number)
    key = mine.credential()
    return Account(
        id=number,
        endpoint=mine.settings.endpoint,
        region=region,
        access_key_id=key.access_key_id,
        secret_access_key=key.secret,
        role=default_role_arn(number, region),
        bucket=mine.settings.bucket or f"sagemaker-{region}-{number}",
        environment=variables(mine, region, os.environ),
    )


def _emptied(site: Site, account: Account) -> None:
    """What still works for the account stops; its records and objects go with the server."""
    from clary.app.cli.client import ApiFailure, Client
    from clary.app.cli.environment import sdk_file
    from clary.app.keys import open_keys

    mine = site.of(account.id)
    client = Client(account.endpoint, mine.credential(), account.region, mine.settings.tls_cert)
    try:
        for endpoint in client.pages("sagemaker", "ListEndpoints", "Endpoints", {"MaxResults": 100}):
            try:
                client.call("sagemaker", "DeleteEndpoint", {"EndpointName": endpoint["EndpointName"]})
            except ApiFailure:
                pass  # it changes right now, or goes already
        running = {"StatusEquals": "InProgress", "MaxResults": 100}
        for job in client.pages("sagemaker", "ListTrainingJobs", "TrainingJobSummaries", running):
            try:
                client.call("sagemaker", "StopTrainingJob", {"TrainingJobName": job["TrainingJobName"]})
            except ApiFailure:
                pass  # it ended meanwhile
    finally:
        client.close()
    open_keys(site.settings).revoke(account.access_key_id)
    sdk_file(mine.settings, account.region, account.id).unlink(missing_ok=True)
