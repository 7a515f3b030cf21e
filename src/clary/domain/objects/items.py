"""What the object store keeps: buckets, objects (items) in versions, multipart uploads and their parts.

Values only. Nothing here knows SQL, HTTP, S3's XML or where a blob lies on the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

from clary.domain.errors import AlreadyExists, ClaryError, InUse, NotFound

NULL_VERSION = "null"
NOTHING: Mapping[str, str] = MappingProxyType({})
Fate = Literal["named", "freed"]  # what the journal says of a blob last


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket: global by name, owned by one account. `documents` holds its sub-resources as given (name -> text)."""

    id: int
    name: str
    account: str
    region: str
    created: float  # epoch seconds
    versioning: str = ""  # "" (never asked for) | Enabled | Suspended
    documents: Mapping[str, str] = field(default_factory=dict)


class Item(NamedTuple):
    """One version of an object, or a delete marker. `headers` are the response headers that a GET gives back (content-type,
    cache-control, x-amz-meta-*, x-amz-server-side-encryption ...); `checksum` is "ALGORITHM:base64:TYPE" or ""; `parts` the sizes
    of its parts when it came by multipart upload. A tuple, because a listing makes a thousand of them a page."""

    key: str
    version: str  # "null" outside versioning
    size: int
    etag: str  # without quotes
    modified: float  # epoch seconds
    blob: str  # "" for a delete marker
    headers: Mapping[str, str] = NOTHING
    checksum: str = ""
    tags: Mapping[str, str] = NOTHING
    parts: tuple[int, ...] = ()
    marker: bool = False
    latest: bool = True
    sequence: int = 0  # orders the versions of a key; given by the index


@dataclass(frozen=True, slots=True)
class Upload:
    """An open multipart upload. `unit` is the size that lets a part be written at its place (0: not known yet)."""

    id: str
    bucket: int
    key: str
    initiated: float  # epoch seconds
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    algorithm: str = ""  # CRC32 | CRC32C | CRC64NVME | SHA1 | SHA256
    checksum_type: str = ""  # COMPOSITE | FULL_OBJECT


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was answered. `file` is the staging file that holds it; `offset` where in it."""

    number: int
    size: int
    etag: str
    modified: float
    file: str
    offset: int
    checksum: str = ""  # "ALGORITHM:base64"


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be true of the current object for a write to happen (If-Match, If-None-Match; ETags without quotes)."""

    match: str = ""
    absent: bool = False  # If-None-Match: *

    def __bool__(self) -> bool:
        return bool(self.match or self.absent)


ALWAYS = Condition()


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a listing: items and common prefixes in byte order together, and where the next one goes on ("" at the end)."""

    items: list[Item]
    prefixes: list[str]
    next: str = ""
    next_version: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write or delete did: the version it made or removed, whether that is a delete marker, and the blobs that no row
    names any more."""

    version: str = ""
    marker: bool = False
    freed: tuple[str, ...] = ()


class ConditionFailed(ClaryError):
    """The current object is not what the condition says. `exists` tells If-Match on a missing key (404) from a changed one."""

    def __init__(self, exists: bool) -> None:
        super().__init__("the object is not what the condition says")
        self.exists = exists


class BucketMissing(NotFound):
    """The bucket went away while the request ran."""


class BucketTaken(AlreadyExists):
    """The name is in use; `account` owns it."""

    def __init__(self, account: str) -> None:
        super().__init__("the bucket name is taken")
        self.account = account


class BucketNotEmpty(InUse):
    """It still holds objects or versions."""


class UploadMissing(NotFound):
    """No such multipart upload (aborted, completed, or never begun)."""


class KeyMissing(NotFound):
    """No such object, or no such version of it."""


def successor(prefix: bytes) -> bytes | None:
    """The smallest byte string above every string that begins with `prefix`; None when there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,)) if trimmed else None
