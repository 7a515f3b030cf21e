"""Rows of the object index as the domain's values. Does not know: statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from clary.domain.objects.items import NOTHING, Item, Listed, Upload


def as_item(row: Sequence[Any], latest: bool = True) -> Item:
    key, seq, version, size, etag, modified, blob, headers, checksum, tags, parts, marker = row
    return Item(
        bytes(key).decode(), version, size, etag, modified, blob, orjson.loads(headers), checksum,
        orjson.loads(tags) if tags != "{}" else NOTHING, tuple(orjson.loads(parts)) if parts else (), bool(marker), latest, seq,
    )  # fmt: skip


def as_listed(row: Sequence[Any]) -> Item:
    key, size, etag, modified, checksum, headers = row
    # Of the headers a listing shows only a storage class, and few objects have one.
    shown = orjson.loads(headers) if "x-amz-storage-class" in headers else NOTHING
    return Item(bytes(key).decode(), "", size, etag, modified, "", shown, checksum)


def as_upload(row: Sequence[Any]) -> Upload:
    id, bucket, key, initiated, headers, tags, algorithm, checksum_type = row
    return Upload(
        id, bucket, bytes(key).decode(), initiated, orjson.loads(headers), orjson.loads(tags), algorithm, checksum_type
    )


def cut_off(items: list[Item], prefixes: list[str]) -> Listed:
    """A page that ends: the marker is whichever of its last item and last prefix stands later."""
    if prefixes and (not items or prefixes[-1].encode() > items[-1].key.encode()):
        return Listed(items, prefixes, prefixes[-1])
    return Listed(items, prefixes, items[-1].key, items[-1].version)
