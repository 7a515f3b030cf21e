"""Gives a sandbox's user its files, when Clary runs as root: who may write a folder must own what is in it.

Blobs of the object store appear in these folders as hard links; they stay as they are (a file with more than one name is not ours
to give away). Links are never followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from clary.domain.machine.workload import MountMode, Workload


def give(workload: Workload, uid: int) -> None:
    """READ_WRITE mounts whole; of OVERLAY mounts inside the workload's own folder the folders, so that files may be added there."""
    for mount in workload.mounts:
        if mount.mode is MountMode.READ_WRITE:
            _own(mount.source, uid, files=True)
        elif mount.mode is MountMode.OVERLAY and _inside(mount.source, workload.root):
            _own(mount.source, uid, files=False)


def _inside(path: str, root: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(root) + os.sep)


def _own(top: str, uid: int, files: bool) -> None:
    for path, status in _tree(top):
        folder = stat.S_ISDIR(status.st_mode)
        linked = stat.S_ISREG(status.st_mode) and status.st_nlink > 1
        if status.st_uid != uid and (folder or (files and not linked)):
            os.chown(path, uid, uid, follow_symlinks=False)


def _tree(top: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        status = os.stat(top, follow_symlinks=False)
    except FileNotFoundError:
        return  # the sandbox will name it
    yield top, status
    pending = [top] if stat.S_ISDIR(status.st_mode) else []
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                yield entry.path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
