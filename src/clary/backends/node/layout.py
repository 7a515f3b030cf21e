"""Lays out the files of workloads by value in a run's own folder, and answers where its mounts and its log lie.

ROOT/files/NAME/   the workload's files of that name      ROOT/log   its output, where it names no stream

Everything is made from its beginning each time, so a layout that was cut off is simply done again. It must not be done beside a run
that has started: what is there is that run's.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from clary import untrusted
from clary.backends.node import stamps
from clary.backends.node.channels import Selections
from clary.domain.errors import Invalid, Unavailable
from clary.domain.machine.workload import (
    ENVIRONMENT,
    SMALL_BYTES,
    SMALL_COUNT,
    Files,
    Laid,
    Mount,
    MountMode,
    SmallFile,
    Workload,
)
from clary.ports import Artifacts, Environments, Logs

_LOG = "log"
_TAIL = 1 << 16  # bytes of its own log that are looked at from its end


@dataclass(frozen=True, slots=True)
class NodePorts:
    """What a node reaches: the object store, and the logs; and what it has: environments."""

    artifacts: Artifacts
    logs: Logs
    environments: Environments | None = None


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A layout that is done: the path of its log's file, and what became of selected objects, by files' name."""

    log: str
    laid: Mapping[str, Laid] = field(default_factory=dict)


RootOf = Callable[[str], str]  # the folder of the run of a key, whether it is there or not


def placed(workload: Workload, root: str, models: Path, root_of: RootOf) -> Workload:
    """The workload with its folders as mounts; `models` is where the node's models are. Nothing needs to be there yet. Invalid for names
    that cannot be folders."""
    for files in workload.files:
        if not files.name or "/" in files.name or files.name.startswith("."):
            raise Invalid(f"{files.name!r} cannot be the name of a workload's files")
    mounts = {each.name: _mount(each, root, models, root_of) for each in workload.files}
    log = None if workload.logs else str(Path(root) / _LOG)
    beside = workload.container
    if beside is not None:
        beside = replace(beside, mounts=(*beside.mounts, *(mounts[name] for name in beside.files)))
    every = (*workload.mounts, *mounts.values())
    return replace(workload, root=root, mounts=every, log_path=log, container=beside)


def model_folder(models: Path, name: str) -> str:
    """Where the folder `DIGEST/NAME` of a model lies, and what is below it. Pure. Invalid for a name that leads elsewhere."""
    digest, _, below = name.partition("/")
    if not digest or not below or {"", ".", ".."} & set(name.split("/")):
        raise Invalid(f"{name!r} does not name a folder of a model")
    return str(models / digest / "out" / below)


def _mount(files: Files, root: str, models: Path, root_of: RootOf) -> Mount:
    if files.model:
        if files.mode is MountMode.READ_WRITE:
            raise Invalid(f"{files.name!r} is of a model, which no run may write")
        return Mount(model_folder(models, files.model), files.target, files.mode)
    return Mount(source_of(files, root, root_of), files.target, files.mode)


def with_packages(workload: Workload, ports: NodePorts | None) -> Workload:
    """The workload with its environment as mounts. Nothing needs to be built yet. Unavailable where this node has no such environment."""
    if workload.packages is None:
        return workload
    where = _environments(ports).place(workload.packages)
    mode = MountMode.OVERLAY if workload.installs else MountMode.READ_ONLY
    mounts = (*(Mount(path, path) for path in where.mounts), Mount(where.path, ENVIRONMENT, mode))
    return replace(workload, mounts=(*mounts, *workload.mounts))


async def lay_out(
    workload: Workload,
    secrets: Mapping[str, str],
    root: str,
    root_of: RootOf,
    ports: NodePorts | None,
    tell: Callable[[str], None],
) -> LaidOut:
    """Make all files of the workload, and its environment where that is not there yet. `tell` hears what is being done. Invalid,
    NotFound or Denied where an object or the user's packages cannot be had; Unavailable where the store or the disk is at fault."""
    if workload.packages is not None:
        tell(f"building the runtime {workload.packages.runtime}")
        await _environments(ports).have(workload.packages)
    for files in workload.files:
        if files.model:  # whoever asks for the run has seen to it
            continue
        tell(f"laying out {files.name}")
        if files.left is not None:
            source = source_of(files, root, root_of)
            await _thread(_take_over, root_of(files.left.run), source, files)
            continue
        await _thread(_make, Path(files_of(root, files.name)), files, secrets)
        for objects in files.objects:
            if objects.keys:
                below = _inside(files_of(root, files.name), objects.below)
                await _artifacts(ports).of(objects.account).place(objects.bucket, objects.keys, below)
    laid = await _select(workload, root, ports, tell)
    if workload.logs is None:
        return LaidOut(str(Path(root) / _LOG), laid)
    if ports is None:
        raise Unavailable("this backend was given no logs")
    where = workload.logs
    return LaidOut(await asyncio.to_thread(ports.logs.open, where.scope, where.group, where.stream, time.time()), laid)


async def _select(
    workload: Workload, root: str, ports: NodePorts | None, tell: Callable[[str], None]
) -> Mapping[str, Laid]:
    asked = {each.name: (files_of(root, each.name), each.selected) for each in workload.files if each.selected}
    if not asked:
        return {}
    try:
        laid = await Selections(_artifacts(ports)).lay_out(asked, tell)
        copies = {name: each for name, each in asked.items() if each[1].copies}
        if copies:
            await asyncio.to_thread(stamps.mark, root, copies)
        return laid
    except OSError as error:  # a full disk
        raise Unavailable(f"the files of the run cannot be written: {error}") from error


def _artifacts(ports: NodePorts | None) -> Artifacts:
    if ports is None:
        raise Unavailable("this backend was given no object store")
    return ports.artifacts


def _environments(ports: NodePorts | None) -> Environments:
    if ports is None or ports.environments is None:
        raise Unavailable("this backend was given no environments")
    return ports.environments


def text_of(root: str, files: str, path: str, limit: int) -> str:
    """See `ports.Backend.read`."""
    if files:
        return content_of(root, files, path, limit).decode("utf-8", "replace")
    return "\n".join(line.partition("\t")[2] for line in _tail(Path(root) / _LOG, min(limit, _TAIL)).splitlines())


def content_of(root: str, files: str, path: str, limit: int) -> bytes:
    """See `ports.Backend.content`."""
    return untrusted.read_bytes(kept_folder(root, files), path, limit)


def names_of(root: str, files: str, path: str) -> tuple[str, ...]:
    """See `ports.Backend.names`."""
    return tuple(sorted(name for name, _ in untrusted.walk_below(kept_folder(root, files), path)))


def small_of(root: str, files: str, path: str) -> tuple[SmallFile, ...] | None:
    """See `ports.Backend.small`."""
    found = untrusted.plain_files(kept_folder(root, files), path, SMALL_COUNT, SMALL_BYTES)
    if found is None:
        return None
    made = (SmallFile(name, data, int(of.st_mtime), bool(of.st_mode & 0o100)) for name, of, data in found)
    return tuple(sorted(made, key=lambda each: each.path))


def kept_folder(root: str, name: str) -> str:
    """Where a run has its files of that name. One that an older Clary started, in a folder of the caller's, has them beside its own."""
    older = Path(root) / name
    return str(older) if older.is_dir() and not (Path(root) / "files").is_dir() else files_of(root, name)


def files_of(root: str, name: str) -> str:
    """Where the files of that name of a run lie."""
    return str(Path(root) / "files" / name)


def source_of(files: Files, root: str, root_of: RootOf) -> str:
    """Where these files of a run lie: its own, or another run's."""
    if files.left is None:
        return files_of(root, files.name)
    return os.path.normpath(_inside(kept_folder(root_of(files.left.run), files.left.files), files.left.path))


def _inside(folder: str, path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise Invalid(f"{path!r} does not lie below the folder that it is for")
    return os.path.join(folder, path)


def _make(folder: Path, files: Files, secrets: Mapping[str, str]) -> None:
    """A fresh folder with its texts, readable by the sandbox's user whatever the umask is; nobody else gets as far."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    for objects in files.objects:
        _open(folder, objects.below)
    for name in files.folders:
        _open(folder, name)
    for name, text in {**files.texts, **{path: secrets[secret] for path, secret in files.secrets.items()}}.items():
        _open(folder, os.path.dirname(name))
        write(str(folder), name, text)


def write(folder: str, path: str, text: str) -> None:
    """One text below a folder of a run's files: whole, and readable by the sandbox's user. Invalid for a path that leaves the folder."""
    target = _inside(folder, path)
    part = target + ".part"
    with open(
        os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "w", encoding="utf-8"
    ) as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    os.rename(part, target)


def _take_over(run: str, source: str, files: Files) -> None:
    """What another run left, perhaps nothing. Under an overlay scripts may write beside their files, whichever user they run as."""
    if not os.path.isdir(run):
        raise Unavailable(f"the run that left {files.name} is not there any more")
    if not os.path.lexists(source):
        os.makedirs(source)
        os.chmod(source, 0o755)
    if os.path.islink(source) or not os.path.isdir(source):
        raise Unavailable(f"what was left for {files.name} is no folder")
    if files.mode is MountMode.OVERLAY:
        open_up(source)


def open_up(folder: str) -> None:
    """Under an overlay everybody may then add files to it, and to what is below it."""
    for _, _, _, descriptor in os.fwalk(folder, follow_symlinks=False):
        os.fchmod(descriptor, 0o777)


def _open(top: Path, below: str) -> None:
    """A folder below `top`, and those on the way to it."""
    here = Path(_inside(str(top), below))
    here.mkdir(parents=True, exist_ok=True)
    while here != top:
        here.chmod(0o755)
        here = here.parent


def _tail(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            data = file.read(limit)
    except OSError:
        return ""
    whole = data if size <= limit else data.partition(b"\n")[2]
    return whole.decode("utf-8", "replace")


async def _thread(work: Callable[..., None], *given: object) -> None:
    try:
        await asyncio.to_thread(work, *given)
    except OSError as error:  # a full disk
        raise Unavailable(f"the files of the run cannot be written: {error}") from error
