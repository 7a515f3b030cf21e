"""One sandbox of a function: its workload, a value; the socket that it dials; and the frames that go to and from it
(`toolkit/function.py` is its other end).

What comes back is a user's: its lengths are bounded, and what is not understood ends the sandbox.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clary.domain.access.roles import assumed_arn, parse_role
from clary.domain.errors import Unavailable
from clary.domain.functions import record as functions
from clary.domain.machine.addresses import Address
from clary.domain.machine.workload import Environment, Files, LogTarget, MountMode, Objects, Workload
from clary.domain.resources import Record
from clary.loops.core.sandboxes import LIBRARY, bundle_files, bundle_variables
from clary.ports import Credential

LENGTHS = struct.Struct("!II")
LONGEST_HEADER = 1 << 16
LONGEST_BODY = functions.LARGEST_PAYLOAD + (1 << 20)  # an error's payload may say more than an answer's
INPUT, WORK = "/opt/clary/in", "/var/function"
TASK = f"{WORK}/task"
PREFIX = "function-"  # of the keys of functions' runs


class Broken(Exception):
    """The other end hung up, or says what is no frame."""


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """`sockets` (a short path) is where this process listens for sandboxes: the backend's folder of listeners. `endpoint` is
    AWS_ENDPOINT_URL as a sandbox reaches it, `ca_bundle` says the PEM text that goes with it under TLS; `passed` are variables of
    `clary up` that sandboxes see. `most` run at once."""

    sockets: str
    endpoint: str
    passed: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Callable[[], str] = str
    most: int = 16
    idle: float = 300.0  # seconds that a sandbox without work is kept
    wait: float = 60.0  # seconds that an invocation waits for room at most


@dataclass(slots=True)
class FunctionSandbox:
    """A sandbox that has dialled. `broken` once it can take no more work."""

    id: str
    arn: str
    revision: str
    handle: str
    log_path: str
    stream: str
    born: float  # monotonic
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_since: float = 0.0

    async def ask(self, header: Mapping[str, Any], payload: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Give it an event, and wait for its answer. Broken when there is none."""
        text = json.dumps(header).encode()
        try:
            self.writer.write(LENGTHS.pack(len(text), len(payload)) + text + payload)
            await self.writer.drain()
        except OSError as error:
            raise Broken(str(error)) from error
        return await receive(self.reader)

    @property
    def is_idle(self) -> bool:
        """Whether it still listens."""
        return not self.reader.at_eof() and not self.writer.is_closing()


async def receive(reader: asyncio.StreamReader) -> tuple[Mapping[str, Any], bytes]:
    """The next frame."""
    try:
        of_header, of_body = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
        if of_header > LONGEST_HEADER or of_body > LONGEST_BODY:
            raise Broken("a frame is too long")
        header = json.loads(await reader.readexactly(of_header))
        body = await reader.readexactly(of_body)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        raise Broken(str(error)) from error
    if not isinstance(header, dict):
        raise Broken("a frame has no header")
    return header, body


@dataclass(frozen=True, slots=True)
class FunctionSocket:
    """Where this process listens for one sandbox. What that dials is its backend's to tell, by the listener's name, the sandbox's id."""

    folder: Path

    @classmethod
    def of(cls, settings: FunctionSettings, id_: str) -> FunctionSocket:
        return cls(Path(settings.sockets) / id_)

    @property
    def socket(self) -> str:
        return str(self.folder / "s")

    def make(self) -> None:
        """The sandbox's user gets into it; nobody else gets as far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        if len(self.socket) > 107:
            raise Unavailable(
                f"The path {self.socket} is too long for a socket; give Clary a state folder with a shorter path"
            )

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def spec_of(record: Record, stream: str, listener: Address) -> dict[str, Any]:
    """What the sandbox reads. No secrets: those are in its environment."""
    return {
        "archive": f"{INPUT}/code.zip",
        "target": TASK,
        "limits": {"bytes": functions.LARGEST_CODE, "entries": 100_000},
        "socket": listener.place,
        "handler": record.document["config"]["Handler"],
        "name": functions.plain_name(record),
        "version": functions.version(record),
        "arn": record.arn,
        "memory": functions.memory(record),
        "group": functions.log_group(record),
        "stream": stream,
    }


def workload(
    record: Record,
    settings: FunctionSettings,
    id_: str,
    environment: Environment,
    stream: str,
    listener: Address,
) -> Workload:
    """The sandbox of a function: Lambda's variables, its own memory and a share of CPU that grows with it. Its role's credentials go
    beside it (`secrets`)."""
    code = record.document["code"]
    archive = Objects(record.scope.account, code["bucket"], {code["key"]: "code.zip"})
    memory = functions.memory(record)
    return Workload(
        key=f"{PREFIX}{id_}",
        command=(environment.python, "-m", "clary.toolkit.function", f"{INPUT}/function.json"),
        environment=_variables(record, settings, environment, stream),
        packages=environment,
        dials=id_,
        files=(
            Files(
                "in", INPUT, texts={"function.json": json.dumps(spec_of(record, stream, listener))}, objects=(archive,)
            ),
            Files("work", WORK, MountMode.READ_WRITE),
            *bundle_files(settings.ca_bundle()),
        ),
        logs=LogTarget(record.scope, functions.log_group(record), stream),
        cpu=max(0.25, memory / 1769),  # Lambda: one vCPU at 1,769 MB
        burst=1.0,
        memory=(memory + _OWN_MEMORY) << 20,
        pids=1024,
        disk=functions.LARGEST_CODE + (64 << 20),
        hostname="function",
        stop_grace=0.0,
    )


_OWN_MEMORY = 32  # MB of the shim's side of the sandbox and of what is unpacked, beside the function's own


def secrets(credential: Credential) -> dict[str, str]:
    """The variables of a function's environment that are no part of its workload."""
    return {
        "AWS_ACCESS_KEY_ID": credential.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credential.secret,
        "AWS_SESSION_TOKEN": credential.session_token,
    }


def _variables(record: Record, settings: FunctionSettings, environment: Environment, stream: str) -> dict[str, str]:
    region, own = record.scope.region, functions.variables(record)
    bins = environment.python.rpartition("/")[0]
    path = f"{LIBRARY}:{own['PYTHONPATH']}" if own.get("PYTHONPATH") else LIBRARY
    return {
        **settings.passed,
        "TZ": ":UTC",
        "PATH": f"{bins}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        **bundle_variables(settings.ca_bundle()),
        "AWS_ENDPOINT_URL": settings.endpoint,
        **own,
        "PYTHONPATH": path,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{record.document['config']['Runtime']}",
        "AWS_LAMBDA_FUNCTION_NAME": functions.plain_name(record),
        "AWS_LAMBDA_FUNCTION_VERSION": functions.version(record),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(functions.memory(record)),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": functions.log_group(record),
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "LAMBDA_TASK_ROOT": TASK,
        "_HANDLER": record.document["config"]["Handler"],
    }


def principal(record: Record) -> str:
    """Whom the function's credentials speak for: a session of its role, named like it."""
    role = parse_role(record.document["config"]["Role"])
    assert role is not None  # checked when the function was made
    return assumed_arn(record.scope.account, role[2], functions.plain_name(record))


def unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
