"""The copy of clary.toolkit that sandboxes see: compiled, and named by its content, so that an upgrade of Clary leaves running
sandboxes the toolkit they started with."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path


def publish(source: Path, folder: Path) -> Path:
    """`source`, the package's folder, as `folder/<hash>`: modules and their bytecode for this interpreter, readable by all."""
    modules = sorted(path for path in source.rglob("*.py") if "__pycache__" not in path.parts)
    digest = hashlib.sha256()
    for path in modules:
        digest.update(f"{path.relative_to(source)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    final = folder / digest.hexdigest()[:40]
    if not final.is_dir():
        _make(source, modules, folder, final)
    return final


def _make(source: Path, modules: list[Path], folder: Path, final: Path) -> None:
    staging = folder / f".{final.name}.{os.getpid()}"
    for path in modules:
        copy = staging / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    _compile(staging)
    for path in (staging, *staging.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        os.rename(staging, final)
    except OSError:
        shutil.rmtree(staging)
        if not final.is_dir():
            raise


def _compile(folder: Path) -> None:
    import compileall  # only at the first start after an upgrade
    import py_compile

    # Unchecked: the copy never changes, and its files' times mean nothing.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, invalidation_mode=mode, stripdir=str(folder), prependdir="clary/toolkit")
