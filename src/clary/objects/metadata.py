"""What a write says about an object besides its content: the headers kept with it, its tags, its checksum's name.

Owns: which request headers are kept and given back, which are refused. Does not know: bodies, rows.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from clary.objects.errors import S3Error
from clary.objects.request import Call

_KEPT = (
    "content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires",
    "x-amz-website-redirect-location", "x-amz-storage-class", "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-bucket-key-enabled",
)  # fmt: skip
ENCRYPTION = tuple(name for name in _KEPT if name.startswith("x-amz-server-side"))
_OVERRIDES = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")
_PRIVATE_ACLS = ("", "private", "bucket-owner-full-control", "bucket-owner-read")
_STORAGE = frozenset(
    ("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR",
     "EXPRESS_ONEZONE", "OUTPOSTS", "SNOW")
)  # fmt: skip
DEFAULT_TYPE = "binary/octet-stream"
ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
LENGTHS = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}
LARGEST_METADATA = 2048


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The response headers that this write gives to later reads. MetadataTooLarge over 2 KB of user metadata."""
    kept: dict[str, str] = {}
    total = 0
    for name, value in headers.items():
        if name.startswith("x-amz-meta-"):
            total += len(name) - len("x-amz-meta-") + len(value)
            kept[name] = value
        elif name in _KEPT and value:
            kept[name] = value
    if total > LARGEST_METADATA:
        raise S3Error("MetadataTooLarge", Size=str(total), MaxSizeAllowed=str(LARGEST_METADATA))
    if "aws-chunked" in kept.get("content-encoding", ""):  # it names the transfer, not the object
        rest = [one.strip() for one in kept["content-encoding"].split(",") if one.strip() != "aws-chunked"]
        kept["content-encoding"] = ",".join(rest)
        if not rest:
            del kept["content-encoding"]
    kept.setdefault("content-type", DEFAULT_TYPE)
    if kept.get("x-amz-storage-class") == "STANDARD":
        del kept["x-amz-storage-class"]
    return kept


def check_write_headers(headers: Mapping[str, str]) -> None:
    """Refuse what would have to act and does not: customer keys, object lock, public ACLs."""
    for name in headers:
        if not name.startswith("x-amz-"):
            continue
        if name.startswith("x-amz-server-side-encryption-customer") or name.startswith("x-amz-object-lock"):
            raise S3Error("NotImplemented", f"{name} is not implemented by Clary's object store.", Header=name)
        if name == "x-amz-acl" and headers[name] not in _PRIVATE_ACLS:
            raise S3Error("AccessControlListNotSupported")
        if name.startswith("x-amz-grant-"):
            raise S3Error("AccessControlListNotSupported")
        if name == "x-amz-storage-class" and headers[name] not in _STORAGE:
            raise S3Error("InvalidArgument", "The storage class you specified is not valid", ArgumentName=name)
        if name == "x-amz-server-side-encryption" and headers[name] not in ("AES256", "aws:kms", "aws:kms:dsse"):
            raise S3Error("InvalidArgument", "The encryption method specified is not supported", ArgumentName=name)


def response_overrides(call: Call) -> dict[str, str]:
    """response-content-type and its kin, of a GET."""
    if "response-" not in call.query:
        return {}
    return {name: call.args[f"response-{name}"] for name in _OVERRIDES if f"response-{name}" in call.args}


def encryption_of(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, headers[name]) for name in ENCRYPTION if name in headers]


def parse_tagging(text: str) -> dict[str, str]:
    """The x-amz-tagging header: k=v&k=v."""
    if not text:
        return {}
    return checked_tags(parse_qsl(text, keep_blank_values=True), 10)


def checked_tags(pairs: Sequence[tuple[str, str]], most: int) -> dict[str, str]:
    if len(pairs) > most:
        raise S3Error("InvalidTag", f"Object tags cannot be greater than {most}")
    tags = dict(pairs)
    if len(tags) != len(pairs):
        raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or key.startswith("aws:"):
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key[:200])
        if len(value) > 256:
            raise S3Error("InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=value[:300])
    return tags


def declared_checksum(headers: Mapping[str, str]) -> tuple[str, str]:
    """(algorithm, base64) that a write's header promises; ("", "") when none. A trailer's value comes with the body."""
    found = [
        (name, headers["x-amz-checksum-" + name.lower()])
        for name in ALGORITHMS
        if "x-amz-checksum-" + name.lower() in headers
    ]
    if len(found) > 1:
        raise S3Error(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    if not found:
        return "", ""
    algorithm, value = found[0]
    if not valid_checksum(algorithm, value):
        raise S3Error("InvalidRequest", f"Value for x-amz-checksum-{algorithm.lower()} header is invalid.")
    return algorithm, value


def valid_checksum(algorithm: str, value: str) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == LENGTHS[algorithm]
    except (binascii.Error, ValueError):
        return False


def checksum_headers(checksum: str) -> list[tuple[str, str]]:
    """Of "ALGORITHM:base64:TYPE"."""
    if not checksum:
        return []
    algorithm, value, kind = checksum.split(":")
    return [(f"x-amz-checksum-{algorithm.lower()}", value), ("x-amz-checksum-type", kind)]


def checksum_elements(checksum: str) -> dict[str, str]:
    """The same as XML elements."""
    if not checksum:
        return {}
    algorithm, value, kind = checksum.split(":")
    return {f"Checksum{algorithm}": value, "ChecksumType": kind}
