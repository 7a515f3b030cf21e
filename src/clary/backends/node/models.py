"""The models that a node has, each once for all replicas that mount it read-only; and the code of jobs, which have it under an overlay.

models/DIGEST/  in/  archives, spec.json       out/NAME/   its folders: `model`, `code`, `data-N`
                run/ of the sandbox that opens archives    done.json   what is in it: from then on it is whole

An archive is opened in a sandbox only, by a program that counts and checks what comes out (`toolkit/archive.py`); plain files are placed as
they are. Every step can be done again from its beginning. Refuses to know endpoints.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clary import untrusted
from clary.backends.node.layout import NodePorts, open_up
from clary.backends.sandbox import LIBRARY
from clary.domain.errors import Invalid, Unavailable
from clary.domain.jobs import requirements
from clary.domain.machine.workload import Environment, ModelFiles, Mount, MountMode, Workload
from clary.domain.models.contents import CODE, INSIDE, code_folder, contents
from clary.ports import Backend
from clary.short_runs import end, how, run_to_end

KEEP_SECONDS = 600.0  # a model that was asked for this recently is not removed
_END_SECONDS = 30.0
_MEMORY = 1 << 30
_IN, _OUT = "/opt/clary/in", "/opt/clary/out"
_ERROR = "prepare-error"


class NodeModels:
    """Those in `folder`. `backend` runs the sandboxes that open archives."""

    def __init__(self, folder: Path, backend: Backend[Any], ports: NodePorts | None) -> None:
        self._folder = folder
        self._backend = backend
        self._ports = ports
        self._locks: dict[str, asyncio.Lock] = {}

    def found(self, digest: str) -> dict[str, Any] | None:
        """What is in it; None where it is not there whole. It was asked for just now: not to be removed. Blocking."""
        folder = self._folder / digest
        try:
            said: dict[str, Any] = json.loads((folder / "done.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        if not (folder / "out" / "model").is_dir():
            return None
        os.utime(folder)
        return said

    async def make(self, model: ModelFiles, opener: Environment | None, seconds: float) -> Mapping[str, Any]:
        """See `ports.Backend.make_model`."""
        async with self._locks.setdefault(model.digest, asyncio.Lock()):
            found = await asyncio.to_thread(self.found, model.digest)
            return found if found is not None else await self._make(model, opener, seconds)

    def sweep(self, kept: Collection[str], now: float) -> None:
        """See `ports.Backend.keep_models`. Blocking."""
        if not self._folder.is_dir():
            return
        for folder in self._folder.iterdir():
            lock = self._locks.get(folder.name)
            busy = lock is not None and lock.locked()
            young = now - folder.stat().st_mtime < KEEP_SECONDS
            if not busy and not young and folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    async def _make(self, model: ModelFiles, opener: Environment | None, seconds: float) -> dict[str, Any]:
        if self._ports is None:
            raise Unavailable("this backend was given no object store")
        folder, artifacts = self._folder / model.digest, self._ports.artifacts.of(model.account)
        # What a predecessor began in these folders must be over before they are made again.
        await end(self._backend, _key(model.digest), _END_SECONDS)
        try:
            await asyncio.to_thread(_fresh, folder)
            for name, objects in model.folders.items():
                await artifacts.place(objects.bucket, objects.keys, str(folder / "out" / name))
            for name, where in model.archives.items():
                await artifacts.place(where.bucket, {where.key: f"{name}.tar.gz"}, str(folder / "in"))
            if model.archives:
                if opener is None:
                    raise Unavailable(f"the model {model.digest} has archives, and nothing was given to open them with")
                await self._open(model, folder, opener, seconds)
            return await asyncio.to_thread(_finish, folder)
        except OSError as error:  # a full disk
            raise Unavailable(f"the model {model.digest} cannot be laid out: {error}") from error

    async def _open(self, model: ModelFiles, folder: Path, opener: Environment, seconds: float) -> None:
        if self._ports is not None and self._ports.environments is not None:
            await self._ports.environments.have(opener)
        await asyncio.to_thread(_write, folder / "in" / "spec.json", _spec(model))
        run = await run_to_end(self._backend, _workload(folder, opener, seconds))
        if run.exit_code != 0:
            why = await asyncio.to_thread(untrusted.read_text, str(folder / "out"), _ERROR, 1024)
            if why:
                raise Invalid(why)
            if run.timed_out:
                raise Invalid(f"The model data could not be unpacked within {seconds:g} s.")
            raise Unavailable(f"Unpacking the model {how(run)}")
        for name in model.archives:
            if not (folder / "out" / name).is_dir():
                raise Unavailable(f"Unpacking {name}.tar.gz left nothing.")


def _key(digest: str) -> str:
    """Of the run that opens its archives."""
    return f"model-{digest}"


def _workload(folder: Path, opener: Environment, seconds: float) -> Workload:
    """Extract what lies in `in` into `out`."""
    return Workload(
        key=_key(folder.name),
        root=str(folder / "run"),
        command=(opener.python, "-S", "-m", "clary.toolkit.prepare", f"{_IN}/spec.json"),
        environment={"PYTHONPATH": LIBRARY, "PYTHONUNBUFFERED": "1"},
        packages=opener,
        mounts=(Mount(str(folder / "in"), _IN), Mount(str(folder / "out"), _OUT, MountMode.READ_WRITE)),
        memory=_MEMORY,
        network=False,
        stop_grace=0.0,
        max_runtime=seconds,
    )


def _spec(model: ModelFiles) -> str:
    """What the opener reads. Archives are called by their URIs to the user."""
    jobs = [
        {"archive": f"{_IN}/{name}.tar.gz", "target": f"{_OUT}/{name}", "error": f"{_OUT}/{_ERROR}", "name": str(where)}
        for name, where in model.archives.items()
    ]
    return json.dumps(jobs)


def _fresh(folder: Path) -> None:
    """Empty folders. What was begun before goes by another name first: a maker that does not know yet that it is over may still write."""
    gone = folder.with_name(f"{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(FileNotFoundError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
    for name in ("in", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(0o755)  # whatever the umask is: the sandbox's user must read it


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def _finish(folder: Path) -> dict[str, Any]:
    """Look at what came out and write it down: from now on the model is whole."""
    out = folder / "out"
    (out / "model").mkdir(exist_ok=True)
    (out / "model").chmod(0o755)
    folders = [name for name in (CODE, INSIDE) if (out / name).is_dir()]
    if CODE in folders:
        open_up(str(out / CODE))
    where = code_folder(folders)
    files = [path.name for path in (out / where).iterdir() if path.is_file()] if where else []
    said = contents(folders, files, untrusted.texts(str(out), requirements.LIMIT))
    shutil.rmtree(folder / "in", ignore_errors=True)
    part = folder / "done.json.part"
    with part.open("w") as file:
        json.dump(said, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / "done.json")
    return said
