"""Models on this machine: from objects to a folder that replicas mount read-only, once per content.

Owns `models/KEY` (see replica_places); what it answers names folders below `models`, never a path of the host: a state folder may be
moved. An archive is opened in a sandbox only; a prefix of plain files is placed as it is. Refuses to
know endpoints. Every step can be done again from its beginning.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from clary import untrusted
from clary.domain.errors import Invalid, NotFound, Unavailable
from clary.domain.jobs import requirements
from clary.domain.jobs.channels import names_under
from clary.domain.models import formats, own_servers
from clary.domain.models.containers import DEFAULT_PROGRAM, SUBMIT_IN_MODEL, Container
from clary.domain.objects import public_buckets
from clary.domain.s3 import Location, parse_uri
from clary.loops.core.short_runs import end, how, run_to_end
from clary.loops.endpoints import replica_places
from clary.loops.endpoints.replica_places import CODE
from clary.loops.endpoints.replica_runtimes import ReplicaRuntimes
from clary.ports import Artifacts, Backend, Runtime, Runtimes, StoredObject

_END_SECONDS = 30.0
KEEP_SECONDS = 600.0  # a model that was requested this recently is not removed


@dataclass(frozen=True, slots=True)
class _Sources:
    """What a container is made of: file or folder name in `in` or `out` -> objects. Names are "model", "code" and "data-N" for the
    N-th additional source (a channel's name never becomes a path here)."""

    artifacts: Artifacts  # as the account sees them
    archives: Mapping[str, tuple[Location, StoredObject]]  # one .tar.gz each
    folders: Mapping[str, tuple[str, Mapping[str, str]]]  # bucket, and key -> relative path, of what is not compressed
    digest: str


class Models:
    """One per process, on the event loop."""

    def __init__(self, folder: str, backend: Backend[Any], artifacts: Artifacts, runtimes: Runtimes) -> None:
        self._folder = Path(folder)
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
        """Where the model is, for `StartReplica.prepared`: model, code (folders below `models`), code_dir (in the sandbox), program,
        server (the command of the user's own), requirements. Invalid in AWS's words when the data is not there, not the account's,
        or cannot be opened."""
        sources = await self._sources(container, self._artifacts.of(account))
        async with self._locks.setdefault(sources.digest, asyncio.Lock()):
            found = await asyncio.to_thread(self._done, sources.digest)
            if found is None:
                found = await self._make(container, sources, seconds, log)
        return self._used(found, container)

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

    def sweep(self, used: Collection[str]) -> None:
        """Remove models that nothing uses; `used` are the folders that replicas mount."""
        if not self._folder.is_dir():
            return
        kept = {replica_places.below_models(path).partition("/")[0] for path in used}
        for folder in self._folder.iterdir():
            lock = self._locks.get(folder.name)
            busy = lock is not None and lock.locked()
            young = time.time() - folder.stat().st_mtime < KEEP_SECONDS
            if not busy and not young and folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    # -- which objects ------------------------------------------------------------------------------------------------------------

    async def _sources(self, container: Container, artifacts: Artifacts) -> _Sources:
        archives: dict[str, tuple[Location, StoredObject]] = {}
        folders: dict[str, tuple[str, Mapping[str, str]]] = {}
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
                folders[name] = location.bucket, names_under(location.key, {o.key: o.size for o in found})
                marks += [f"{name} {location.bucket} {location.key}", *(f"{o.key} {o.etag}" for o in found)]
            elif prefix:
                raise Invalid("A compressed model (CompressionType Gzip) must be one object: S3DataType S3Object.")
            else:
                archives[name] = await _one(artifacts, uri, container.label)
        if container.submit:
            archives["code"] = await _one(artifacts, container.submit, container.label)
        marks += [f"{name} {location} {o.etag} {o.size}" for name, (location, o) in sorted(archives.items())]
        digest = hashlib.sha256("\n".join(marks).encode()).hexdigest()[:32]
        return _Sources(artifacts, archives, folders, digest)

    # -- making it ----------------------------------------------------------------------------------------------------------------

    def _done(self, digest: str) -> dict[str, Any] | None:
        folder = self._folder / digest
        try:
            found: dict[str, Any] = json.loads((folder / "done.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        os.utime(folder)  # asked for just now: not to be swept
        return _located(digest, found)

    async def _make(
        self, container: Container, sources: _Sources, seconds: float, log: Callable[[str], None]
    ) -> dict[str, Any]:
        folder = self._folder / sources.digest
        # What a predecessor began in these folders must be over before they are made again.
        await end(self._backend, replica_places.prepare_key(sources.digest), _END_SECONDS)
        await asyncio.to_thread(_fresh, folder)
        for name, (bucket, files) in sources.folders.items():
            await sources.artifacts.place(bucket, files, str(folder / "out" / name))
        if sources.archives:
            await self._extract(container, sources, folder, seconds, log)
        return _located(sources.digest, await asyncio.to_thread(_finish, folder))

    async def _extract(
        self, container: Container, sources: _Sources, folder: Path, seconds: float, log: Callable[[str], None]
    ) -> None:
        for name, (location, _) in sources.archives.items():
            await sources.artifacts.place(location.bucket, {location.key: f"{name}.tar.gz"}, str(folder / "in"))
        spec = replica_places.prepare_spec({name: str(location) for name, (location, _) in sources.archives.items()})
        await asyncio.to_thread(_write, folder / "in" / "spec.json", spec)
        environment = await self.runtimes.opener(container.image, container.program, log)
        run = await run_to_end(
            self._backend, replica_places.prepare_workload(PurePosixPath(folder), environment, seconds)
        )
        if run.exit_code != 0:
            why = await asyncio.to_thread(untrusted.read_text, str(folder / "out"), "prepare-error", 1024)
            if why:
                raise Invalid(why)
            if run.timed_out:
                raise Invalid(f"The model data could not be unpacked within {seconds:g} s.")
            raise Unavailable(f"Unpacking the model {how(run)}")
        for name in sources.archives:
            if not (folder / "out" / name).is_dir():
                raise Unavailable(f"Unpacking {name}.tar.gz left nothing.")


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


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("in", "out", "out/model"):
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o755)  # whatever the umask is: the sandbox's user must read it
    (folder / "out" / "model").rmdir()  # the extractor makes it, whole or not at all


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def _finish(folder: Path) -> dict[str, Any]:
    """Look at what came out and write it down: from now on the folder is whole."""
    out = folder / "out"
    model, code = out / "model", out / "code"
    model.mkdir(exist_ok=True)
    model.chmod(0o755)
    inside = "model/code" if (model / "code").is_dir() else ""
    where = "code" if code.is_dir() else inside
    files = sorted(p.name for p in (out / where).iterdir() if p.is_file()) if where else []
    read = untrusted.texts(str(out / where), requirements.LIMIT)
    found = {
        "code": code.is_dir(),
        "inside": bool(inside),
        "scripts": [name for name in files if name.endswith(".py")],
        "programs": [name for name in own_servers.PROGRAMS if name in files],
        "requirements": requirements.whole(read("requirements.txt"), read) if where else "",
        "pinned": _pinned(out) if (model / "MLmodel").is_file() else "",
    }
    shutil.rmtree(folder / "in", ignore_errors=True)
    part = folder / "done.json.part"
    with part.open("w") as file:
        json.dump(found, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / "done.json")
    return found


def _pinned(out: Path) -> str:
    return untrusted.read_text(str(out), "model/requirements.txt", requirements.LIMIT)


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
