"""Which objects a transform job reads, and the keys of its outputs. Pure: given listings and manifests it answers names.

Sources: the developer guide's "Batch transform", and S3DataSource's page for manifests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from clary.domain.errors import Invalid
from clary.domain.s3 import Location, parse_uri

MANIFEST_LIMIT = 64 << 20


def relative_names(prefix: str, sizes: Mapping[str, int]) -> dict[str, str]:
    """Key -> relative name of the objects that a listing of `prefix` found (key -> bytes), in the order of keys.

    Below a folder the folder's name goes; where the prefix ends inside a segment (or names one object) the name starts at that segment.
    Folder marks (keys that end in '/') and empty objects are passed over."""
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    start = prefix.rfind("/") + 1
    return {
        key: key[len(folder) :] if key.startswith(folder) else key[start:]
        for key in sorted(sizes)
        if sizes[key] and not key.endswith("/")
    }


def manifest_names(text: bytes, uri: str) -> tuple[str, dict[str, str]]:
    """(bucket, key -> relative name) of a ManifestFile `[{"prefix": "s3://b/p/"}, "rel", ...]`, in the order of keys."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f'The manifest "{uri}" is not JSON: {error}.') from None
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict) or "prefix" not in entries[0]:
        raise Invalid(f'The manifest "{uri}" must be a JSON list that starts with {{"prefix": "s3://..."}}.')
    bad = next((entry for entry in entries[1:] if not isinstance(entry, str) or not entry), None)
    if bad is not None:
        raise Invalid(f'The manifest "{uri}" lists {json.dumps(bad)[:80]}: after the prefix every entry is a text.')
    prefix, own = parse_uri(str(entries[0]["prefix"])), parse_uri(uri)
    found = {prefix.key + entry: entry.lstrip("/") for entry in entries[1:]}
    if prefix.bucket == own.bucket and own.key in found:
        raise Invalid(f'The manifest "{uri}" lists itself. List the objects that are to be transformed.')
    return prefix.bucket, {key: found[key] for key in sorted(found)}


def output_key(place: Location, name: str) -> str:
    """Where the output of the object of this relative name goes."""
    path = place.key.rstrip("/")
    return f"{path}/{name}.out" if path else f"{name}.out"


def nothing_found(uri: str) -> str:
    return (
        f'No S3 objects found under S3 URL "{uri}" given in TransformInput. Please ensure that the bucket exists, and that objects with '
        "content exist under that S3 prefix."
    )


def capture_manifests(bucket: str, keys: Sequence[str], place: Location, names: Sequence[str]) -> tuple[bytes, bytes]:
    """The captured input and output of a job: two manifests that name the objects; nothing is copied."""
    given = json.dumps([{"prefix": f"s3://{bucket}/"}, *keys])
    folder = place.key.rstrip("/")
    made = json.dumps(
        [
            {"prefix": f"s3://{place.bucket}/{folder}/" if folder else f"s3://{place.bucket}/"},
            *(f"{n}.out" for n in names),
        ]
    )
    return given.encode(), made.encode()
