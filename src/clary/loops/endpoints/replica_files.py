"""The files of a replica on the host, which its processes find in the sandbox (see replica_places). Blocking: called from a thread."""

from __future__ import annotations

import os
from pathlib import Path


def make(folder: Path, spec: str, multi_model: bool) -> None:
    """What its processes read when they start; of a multi-model replica also the folders of archives and of models."""
    (folder / "spec").mkdir(parents=True, exist_ok=True)
    (folder / "spec").chmod(0o755)
    (folder / "spec" / "memory").unlink(missing_ok=True)
    _write(folder / "spec" / "replica.json", spec)
    if multi_model:
        make_folders(folder)


def make_folders(folder: Path) -> None:
    for name in ("archives", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(0o755)


def credentials(folder: Path, config: str, keys: str) -> None:
    """What its AWS clients read, now and again when their keys end. Nothing where the replica is gone meanwhile."""
    if (folder / "spec").is_dir():
        _write(folder / "spec" / "aws-credentials.json", keys)
        _write(folder / "spec" / "aws-config", config)


def resized(folder: Path, memory: int) -> None:
    """Its memory has changed: a multi-model replica looks here how much its models may have."""
    if (folder / "models").is_dir():
        _write(folder / "spec" / "memory", str(memory))


def _write(path: Path, text: str) -> None:
    """Readable by the sandbox's user, whose mount it is; nobody else gets as far as the folder."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    part.chmod(0o644)
    part.rename(path)
