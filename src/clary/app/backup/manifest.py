"""What a backup says of itself: one JSON document, written last, so that a backup is there or is not.

snapshots/2026-12-02T10-00-00Z.json   a manifest
data/ab/ab12...                       the content of files, by its SHA-256, once for all backups
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from clary.domain.errors import Unavailable

FORMAT = 1
SNAPSHOTS = "snapshots/"
DATA = "data/"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of the state folder: the SHA-256 of its content, its bytes and permissions, and its time of change in nanoseconds (0: it is
    read each time)."""

    sha256: str
    size: int
    mode: int = 0o600
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """`files` by path below the state folder, `blobs` by id, `parts` of uploads under way by name. `index` identifies the object index:
    ids of blobs mean the same in two backups of one index. `database` and `objects` tell where records and objects were, if elsewhere."""

    name: str
    clary: str
    account: str
    index: str = ""
    database: str = ""
    objects: str = ""
    files: Mapping[str, KeptFile] = field(default_factory=dict)
    blobs: Mapping[str, KeptFile] = field(default_factory=dict)
    parts: Mapping[str, KeptFile] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"{SNAPSHOTS}{self.name}.json"

    def contents(self) -> dict[str, int]:
        """Bytes by SHA-256 of all that it needs."""
        return {kept.sha256: kept.size for group in (self.files, self.blobs, self.parts) for kept in group.values()}

    def dump(self) -> bytes:
        return json.dumps({"format": FORMAT, **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes, where: str) -> Manifest:
        """Unavailable when it cannot be read, or a newer Clary wrote it."""
        try:
            said: dict[str, Any] = json.loads(data)
            version = said.pop("format")
            if version != FORMAT:
                raise Unavailable(
                    f"{where} has format {version}, and this Clary reads {FORMAT}: use the Clary that made it"
                )
            for group in ("files", "blobs", "parts"):
                said[group] = {name: KeptFile(**kept) for name, kept in said[group].items()}
            return cls(**said)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"{where} is damaged: {error}. `--list` shows other backups") from error


def name_at(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")


def data_path(sha256: str) -> str:
    return f"{DATA}{sha256[:2]}/{sha256}"
