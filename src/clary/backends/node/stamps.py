"""What is known to be stored of synced files, in the folder of the run that has them.

ROOT/synced.json   URI of the object -> files' name -> [ns of the file's last change, bytes]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from clary import untrusted
from clary.domain.machine.workload import Selected
from clary.domain.s3 import Location

_FILE = "synced.json"

Stamps = dict[str, dict[str, list[int]]]


def mark(root: str, copies: Mapping[str, tuple[str, Selected]]) -> None:
    """Write down that copies are as they are stored: files' name -> the folder that has them, and what was selected. Blocking."""
    stamps: Stamps = {}
    for name, (folder, selected) in copies.items():
        for path, found in untrusted.walk(f"{folder}/data"):
            stamps.setdefault(str(stored_as(selected.location, path)), {})[name] = [found.st_mtime_ns, found.st_size]
    save(root, stamps)


def stored_as(below: Location, name: str) -> Location:
    """The object that a file becomes; `below` ends in '/' (or is the whole bucket)."""
    return Location(below.bucket, below.key + name)


def load(root: str) -> Stamps:
    try:
        found: Stamps = json.loads((Path(root) / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def save(root: str, stamps: Stamps) -> None:
    """Whole, or as it was."""
    part = Path(root) / f"{_FILE}.part"
    part.write_text(json.dumps(stamps), encoding="utf-8")
    part.rename(Path(root) / _FILE)
