"""`clary objects rebuild`, on the disk: the object store's folder while no Clary runs on it."""

from __future__ import annotations

from pathlib import Path

from clary.app.objects import JOURNAL, index_url
from clary.objects.blobs import Blobs
from clary.stores.index_rebuild import Rebuilt, rebuild
from clary.stores.journal import Journal


def remake(root: Path, database: str, *, damaged: bool) -> Rebuilt:
    """The index of a state folder made again from its journal; blobs that are in quarantine come back. IndexUnusable."""
    folder = root / "objects"
    blobs = Blobs(folder)

    def size(blob: str) -> int:
        found = blobs.size(blob)
        return blobs.size(blob) if found < 0 and blobs.bring_back([blob]) else found

    try:
        return rebuild(index_url(root, database), Journal(folder / JOURNAL), size, damaged)
    finally:
        blobs.close()
