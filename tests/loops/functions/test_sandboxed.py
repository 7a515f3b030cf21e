"""The sandbox of a function as a value, and its start where it cannot be laid out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.loops.bundles import loop_ports

from clary.domain.errors import Unavailable
from clary.domain.machine.addresses import Address
from clary.domain.machine.workload import Environment, Files, LogTarget, Mount, MountMode, Objects, RunFailure, Workload
from clary.domain.resources import Record, Scope
from clary.loops.functions import sandboxed
from clary.loops.functions.pool import FunctionPool
from clary.loops.functions.sandboxed import FunctionSettings
from clary.testing.backends import MemoryBackend
from clary.testing.keys import MemoryKeys

SCOPE = Scope("000000000000", "eu-west-1")
LISTENER = Address("unix", "/inside/s")
CONFIG = {
    "Handler": "app.handler",
    "Runtime": "python3.12",
    "Role": "arn:aws:iam::000000000000:role/r",
    "MemorySize": 256,
}
FUNCTION = Record(
    "lambda-function",
    SCOPE,
    "f",
    "arn:aws:lambda:eu-west-1:000000000000:function:f",
    "",
    0.0,
    0.0,
    {"config": CONFIG, "code": {"bucket": "code", "key": "f.zip"}, "revision": "1", "runtime": "python"},
)


def test_it_is_laid_out_by_the_backend_and_dials_where_that_says() -> None:
    settings = FunctionSettings(sockets="/run/x", endpoint="http://127.0.0.1:1")
    made = sandboxed.workload(FUNCTION, settings, "one", Environment("python", "0"), "stream", LISTENER)
    assert made.by_value
    code, work = made.files
    assert code.objects == (Objects(SCOPE.account, "code", {"f.zip": "code.zip"}),)
    assert json.loads(code.texts["function.json"])["archive"] == f"{code.target}/code.zip"
    assert work == Files("work", "/var/function", MountMode.READ_WRITE)
    assert made.logs == LogTarget(SCOPE, "/aws/lambda/f", "stream")
    assert not made.mounts
    assert made.dials == "one"
    assert json.loads(code.texts["function.json"])["socket"] == LISTENER.place


def test_an_authority_is_a_text_of_it_as_it_is_when_the_sandbox_starts() -> None:
    texts = iter(["FIRST", "FIRST", "RENEWED", "RENEWED"])
    settings = FunctionSettings(sockets="/run/x", endpoint="https://127.0.0.1:1", ca_bundle=lambda: next(texts))
    for text in ("FIRST", "RENEWED"):
        made = sandboxed.workload(FUNCTION, settings, "one", Environment("python", "0"), "stream", LISTENER)
        files = made.files[-1]
        assert files == Files("certificates", "/opt/clary/certificates", texts={"ca.pem": text})
        assert made.environment["AWS_CA_BUNDLE"] == "/opt/clary/certificates/ca.pem"


def test_its_roles_keys_are_no_part_of_it() -> None:
    settings = FunctionSettings(sockets="/run/x", endpoint="http://127.0.0.1:1")
    made = sandboxed.workload(FUNCTION, settings, "one", Environment("python", "0"), "stream", LISTENER)
    issued = MemoryKeys().issue(SCOPE.account, sandboxed.principal(FUNCTION), 60.0, 0.0)
    secrets = sandboxed.secrets(issued)
    assert set(secrets) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert not set(secrets) & set(made.environment)


async def test_one_that_cannot_be_laid_out_is_no_failure_of_the_function(tmp_path: Path) -> None:
    backend = MemoryBackend()
    failure = RunFailure("The object store does not answer.")

    def end(handle: str) -> None:
        run = backend._runs.get(handle)
        if run is not None and not run.state.is_terminal:
            asyncio.get_running_loop().call_soon(lambda: backend.finish(handle, 1, failure=failure))

    backend.watch(end)
    settings = FunctionSettings(sockets=str(tmp_path / "s"), endpoint="http://127.0.0.1:1")
    ports = loop_ports(backend=backend)
    pool = FunctionPool(ports, settings)
    with pytest.raises(Unavailable, match="f could not be started: The object store does not answer"):
        await pool.invoke(FUNCTION, b"{}", id_="1")
    assert await backend.handles() == []
    assert list((tmp_path / "s").iterdir()) == []


async def test_what_a_predecessor_left_is_removed_before_anything_is_invoked(tmp_path: Path) -> None:
    """Also of an older Clary, whose functions dialled a folder of the host's that their workload mounted."""
    backend = MemoryBackend()
    older = Workload("function-0", ("python",), {}, (Mount("/run/x/0", "/run/clary-function"),))
    for workload in (older, Workload("function-1", ("python",), {}, dials="1"), Workload("job-1", ("python",), {})):
        await backend.start(workload)
    (tmp_path / "1").mkdir()
    ports = loop_ports(backend=backend)
    await FunctionPool(ports, FunctionSettings(sockets=str(tmp_path), endpoint="http://127.0.0.1:1")).clear()
    assert await backend.handles() == ["job-1"]
    assert not tmp_path.exists()
