"""Shared libraries that a model brings along in `shared_libs/`, where the SageMaker SDK's ModelBuilder puts them.

The script that it generates copies that folder over /lib with `shutil.copytree`, also when it is empty. A container's /lib can be
written, a sandbox's cannot: there the copy goes to a folder of its own, and its libraries are loaded at once, so that whatever needs them
by name finds them. Every other copy is made as ever.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from typing import Any, Callable, List

FOLDER = "shared_libs"
_SYSTEM = ("/lib", "/usr/lib")


def provide(model_dir: str) -> None:
    """For a model that has such a folder: let the copy over /lib succeed."""
    if os.path.isdir(os.path.join(model_dir, FOLDER)) and not isinstance(shutil.copytree, Copy):
        shutil.copytree = Copy(shutil.copytree)  # type: ignore[assignment]


def _writable(folder: str) -> bool:
    return os.access(folder, os.W_OK)


class Copy:
    """`shutil.copytree`, but for copies over the system's libraries."""

    def __init__(self, ordinary: Callable[..., Any], writable: Callable[[str], bool] = _writable) -> None:
        self._ordinary = ordinary
        self._writable = writable

    def __call__(self, src: Any, dst: Any, *arguments: Any, **options: Any) -> Any:
        if os.path.normpath(os.fspath(dst)) not in _SYSTEM or self._writable(dst):
            return self._ordinary(src, dst, *arguments, **options)
        folder = tempfile.mkdtemp(prefix="shared-libs-")
        self._ordinary(src, os.path.join(folder, "lib"), *arguments, **options)
        load(os.path.join(folder, "lib"))
        return dst


def load(folder: str) -> None:
    """Load every library below the folder, those that others need first. OSError tells what one of them lacks."""
    waiting = [
        os.path.join(place, name)
        for place, _, names in sorted(os.walk(folder))
        for name in sorted(names)
        if name.endswith(".so") or ".so." in name
    ]
    while waiting:
        failed: List[str] = []
        error = OSError()
        for path in waiting:
            try:
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
            except OSError as why:
                failed.append(path)
                error = why
        if len(failed) == len(waiting):
            raise OSError("A library in {} cannot be loaded: {}".format(FOLDER, error)) from error
        waiting = failed
