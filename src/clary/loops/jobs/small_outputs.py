"""Results that are few small files: stored without a sandbox that packs them, which costs a tenth of a second.

What is a link, or more than a megabyte, or cannot be read, is left to that sandbox (`places.pack`): its rules for links are not repeated
here. The two make the same objects.
"""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clary.domain.errors import Unavailable
from clary.domain.jobs.spec import Output
from clary.domain.machine.workload import SmallFile
from clary.domain.s3 import Location
from clary.ports import Artifacts, Backend

_LEVEL = 1  # models are mostly incompressible
_PACKED = "application/x-tar"


async def found(
    backend: Backend[Any], handles: Sequence[str], outputs: Sequence[Output]
) -> list[tuple[Output, list[SmallFile]]] | None:
    """What the hosts of a job left of each output, by path; of two hosts' files of one name the first one's. None: more than is small."""
    gathered = []
    for output in outputs:
        files: dict[str, SmallFile] = {}
        for handle in handles:
            left = await backend.small(handle, "ml", output.path.removeprefix("/opt/ml/"))
            if left is None:
                return None
            for each in left:
                files.setdefault(each.path, each)
        gathered.append((output, [files[path] for path in sorted(files)]))
    return gathered


async def store(gathered: Sequence[tuple[Output, Sequence[SmallFile]]], artifacts: Artifacts, staged: Path) -> int:
    """Store them; answers the bytes of all objects. `staged`: a file to write them to. It may be repeated."""
    size = 0
    for output, files in gathered:
        for location, content, type_ in objects(output, files):
            try:
                await asyncio.to_thread(_write, staged, content)
            except OSError as error:
                raise Unavailable(f"{output.name} could not be copied: {error}") from error
            await artifacts.store_file(str(staged), location.bucket, location.key, type_, move=True)
            size += len(content)
    return size


def objects(output: Output, files: Sequence[SmallFile]) -> list[tuple[Location, bytes, str]]:
    """Where each object of an output lies, its content and its Content-Type. Pure."""
    to = output.location
    if not output.packed:
        return [(Location(to.bucket, to.key + each.path), each.content, "") for each in files]
    return [(to, tarred(files), _PACKED)] if files or output.always else []


def tarred(files: Sequence[SmallFile]) -> bytes:
    """A gzipped tar as `toolkit/pack.py` makes it: owners are left out, times and the executable bit kept."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=_LEVEL, format=tarfile.PAX_FORMAT) as archive:
        for each in files:
            entry = tarfile.TarInfo(each.path)
            entry.size, entry.mtime, entry.mode = len(each.content), each.modified, 0o755 if each.executable else 0o644
            archive.addfile(entry, io.BytesIO(each.content))
    return out.getvalue()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
