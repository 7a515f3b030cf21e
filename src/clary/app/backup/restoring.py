"""Restoring a backup: everything into a folder beside the one that is wanted, checked by its hashes, and then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clary.app.backup.alone import alone
from clary.app.backup.manifest import KeptFile, Manifest, data_path
from clary.app.backup.taking import load, snapshots
from clary.app.backup.vaults import Vault
from clary.app.bindings import FILE
from clary.domain.errors import NotFound, Unavailable
from clary.objects.files import sync_file, sync_folder


def restore(vault: Vault, target: Path, name: str = "") -> Manifest:
    """Make the state folder `target`, which must not be there or be empty, as it was at a backup (the newest one where `name` is "").
    Killed at any moment it leaves no `target`. NotFound, Unavailable; Unavailable also for content that is not what was put."""
    manifest = load(vault, name or _newest(vault))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Unavailable(
            f"{target} is in use, and a backup is restored into a new folder only: move it away, or name another with --dir"
        )
    with _beside(target) as staged:
        for path, kept in _files(manifest):
            _fetch(vault, kept, staged / path)
        for folder in ("objects/blobs", "objects/staging"):
            (staged / folder).mkdir(parents=True, exist_ok=True)
        # Records and index are files of the folder now, whatever they were: the next start binds the folder to what it is told.
        (staged / FILE).unlink(missing_ok=True)
        for folder, _, _ in os.walk(staged, topdown=False):
            Path(folder).chmod(0o700)
            sync_folder(folder)
        if target.exists():
            target.rmdir()
        os.rename(staged, target)
        sync_folder(str(target.parent))
    return manifest


def _newest(vault: Vault) -> str:
    names = snapshots(vault)
    if not names:
        raise NotFound(f"{vault.where} holds no backup")
    return names[-1]


def _files(manifest: Manifest) -> Iterator[tuple[str, KeptFile]]:
    yield from manifest.files.items()
    for blob, kept in manifest.blobs.items():
        yield f"objects/blobs/{blob[:6]}/{blob[6:]}", kept
    for part, kept in manifest.parts.items():
        yield f"objects/staging/{part}", kept


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """An empty folder beside the target; what a killed restore left there goes first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staged, lock = Path(f"{target}.restoring"), Path(f"{target}.restoring.lock")
    with alone(lock, f"{target} is being restored by another process"):
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(0o700)
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        lock.unlink()


def _fetch(vault: Vault, kept: KeptFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path = data_path(kept.sha256)
    vault.get_file(path, target)
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != kept.sha256:
        raise Unavailable(
            f"{vault.where}/{path} is damaged: its content is not what was put. Restore another backup (--at)"
        )
    target.chmod(kept.mode)
    sync_file(str(target))
