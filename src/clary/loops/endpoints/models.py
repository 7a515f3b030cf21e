"""Models of containers: of which objects each is made, as a value that the backend makes files of, and how what is in it is served.

What it answers names folders of models by digest, never a path of a host. Refuses to know endpoints, and how archives are opened. Every
step can be done again from its beginning.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from clary.domain.errors import Invalid, NotFound, Unavailable
from clary.domain.jobs import requirements
from clary.domain.jobs.channels import names_under
from clary.domain.machine.workload import ModelFiles, Objects
from clary.domain.models import formats, own_servers
from clary.domain.models.containers import DEFAULT_PROGRAM, SUBMIT_IN_MODEL, Container
from clary.domain.objects import public_buckets
from clary.domain.s3 import Location, parse_uri
from clary.loops.endpoints import replica_places
from clary.loops.endpoints.replica_places import CODE
from clary.loops.endpoints.replica_runtimes import ReplicaRuntimes
from clary.ports import Artifacts, Backend, Runtime, Runtimes, StoredObject

log = logging.getLogger(__name__)
EVERY = 600.0  # seconds between two looks for models that nobody has any more


class Models:
    """One per process, on the event loop."""

    def __init__(self, backend: Backend[Any], artifacts: Artifacts, runtimes: Runtimes) -> None:
        self._backend = backend
        self._artifacts = artifacts
        self.runtimes = ReplicaRuntimes(runtimes)
        self._locks: dict[str, asyncio.Lock] = {}
        self.mounted: dict[str, set[str]] = {}  # ARN of an endpoint or component -> folders that its replicas mount

    def runtime(self, container: Container, program: str) -> Runtime:
        """The runtime behind the image, for a container with this program."""
        return self.runtimes.runtime(container.image, program)

    async def prepare(
        self, container: Container, account: str, seconds: float, log: Callable[[str], None]
    ) -> dict[str, Any]:
        """Where the model is, for `StartReplica.prepared`: model, code (folders of models), code_dir (in the sandbox), program, server (the
        command of the user's own), requirements. Invalid in AWS's words when the data is not there, not the account's, or cannot be
        opened."""
        files = await self._files(container, account)
        async with self._locks.setdefault(files.digest, asyncio.Lock()):
            found = await self._backend.model(files.digest)
            if found is None:
                opener = None
                if files.archives:
                    opener = await self.runtimes.opener(container.image, container.program, log)
                found = await self._backend.make_model(files, opener, seconds)
        return self._used(_located(files.digest, found), container)

    def _used(self, found: Mapping[str, Any], container: Container) -> dict[str, Any]:
        if image := self.runtime(
            container, ""
        ).image:  # what is inside is its own business: nothing of ours reads the code
            return {
                "model": found["model"],
                "code": found["code"],
                "code_dir": "",
                "program": "",
                "requirements": "",
                "image": image,
            }
        if found.get("pinned") and self.runtime(container, "").framework == "mlflow":
            found = {**found, "requirements": f"{found['requirements']}\n{formats.requirements(found['pinned'])}"}
        return _used(found, container)

    async def run(self) -> None:
        """Sweep now and then, for as long as the process lives: jobs leave code behind. Cancel it to end it."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.sweep()
            except (OSError, Unavailable) as error:
                log.warning("models that nobody has any more are not removed: %s", error)

    async def sweep(self) -> None:
        """Remove models that no replica mounts, and no run has."""
        used = set().union(*self.mounted.values())
        await self._backend.keep_models({replica_places.digest_of(path) for path in used})

    async def _files(self, container: Container, account: str) -> ModelFiles:
        """Which objects. Folders are "model", "code" and "data-N" for the N-th additional source (a channel's name never becomes a path
        here)."""
        artifacts = self._artifacts.of(account)
        archives: dict[str, tuple[Location, StoredObject]] = {}
        folders: dict[str, Objects] = {}
        marks: list[str] = []
        model = (container.artifact, container.compression, container.prefix)
        wanted = [("model", *model)] if container.artifact and not container.multi_model else []
        if container.multi_model:  # each model is placed when it is asked for: loops/endpoints/target_models.py
            await _reachable(artifacts, container.artifact, container.label)
        wanted += [(f"data-{n}", s.uri, s.compression, s.prefix) for n, s in enumerate(container.additional)]
        for name, uri, compression, prefix in wanted:
            if compression == "None":
                location = parse_uri(uri)
                found = await _all(artifacts, uri, location, container.label, prefix)
                keys = names_under(location.key, {o.key: o.size for o in found})
                folders[name] = Objects(account, location.bucket, keys)
                marks += [f"{name} {location.bucket} {location.key}", *(f"{o.key} {o.etag}" for o in found)]
            elif prefix:
                raise Invalid("A compressed model (CompressionType Gzip) must be one object: S3DataType S3Object.")
            else:
                archives[name] = await _one(artifacts, uri, container.label)
        if container.submit:
            archives["code"] = await _one(artifacts, container.submit, container.label)
        marks += [f"{name} {location} {o.etag} {o.size}" for name, (location, o) in sorted(archives.items())]
        digest = hashlib.sha256("\n".join(marks).encode()).hexdigest()[:32]
        return ModelFiles(digest, account, folders, {name: location for name, (location, _) in archives.items()})


def _used(found: Mapping[str, Any], container: Container) -> dict[str, Any]:
    """What a container makes of a prepared folder: which code, which program."""
    code_dir = ""
    if found["code"]:
        code_dir = CODE
    elif found["inside"]:
        code_dir = SUBMIT_IN_MODEL
    program = container.program
    server = own_servers.command(container.environment, found.get("programs", ()), code_dir)
    if server and not program:
        program = own_servers.PROGRAMS[0]
    if not program and DEFAULT_PROGRAM in found["scripts"]:
        program = DEFAULT_PROGRAM
    if container.multi_model:
        if server:
            raise Invalid("A server of the model's own cannot serve Mode MultiModel; the toolkit's functions can.")
    elif program and not code_dir and own_servers.COMMAND not in container.environment:
        raise Invalid(
            f"SAGEMAKER_PROGRAM is {program}, but there is no code: neither sourcedir.tar.gz nor a code folder in the model."
        )
    return {
        "model": found["model"],
        "code": found["code"],
        "code_dir": code_dir,
        "program": program,
        "server": server,
        "requirements": requirements.checked(found["requirements"]),
        "additional": {
            source.channel: str(PurePosixPath(found["model"]).with_name(f"data-{n}"))
            for n, source in enumerate(container.additional)
        },
    }


def _located(digest: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found in a prepared folder, with where it lies. `code` says whether there is any (an older Clary wrote down where)."""
    return {**found, "model": f"{digest}/out/model", "code": f"{digest}/out/code" if found["code"] else ""}


async def _one(artifacts: Artifacts, uri: str, container: str) -> tuple[Location, StoredObject]:
    location = parse_uri(uri)
    found = await _all(artifacts, uri, location, container, False)
    return location, found[0]


async def _all(artifacts: Artifacts, uri: str, location: Location, container: str, prefix: bool) -> list[StoredObject]:
    why = ""
    try:
        found = await artifacts.find(location.bucket, location.key)
    except NotFound:
        found, why = [], public_buckets.missing(location.bucket)
    if not prefix:
        found = [o for o in found if o.key == location.key]
    if not found:
        raise _missing(uri, container, why)
    return found


async def _reachable(artifacts: Artifacts, prefix: str, container: str) -> None:
    """That models may be found below the prefix of a multi-model container, now or later."""
    bucket = parse_uri(prefix).bucket
    if not await artifacts.exists(bucket):
        raise _missing(prefix, container, public_buckets.missing(bucket))


def _missing(uri: str, container: str, why: str) -> Invalid:
    return Invalid(
        f'Failed to download model data for container "{container}" from URL: "{uri}". Please ensure that there is an object '
        "located at the URL and that the role passed to CreateModel has permissions to download the model." + why
    )
