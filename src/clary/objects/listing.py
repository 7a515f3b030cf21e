"""Lists of objects and versions.

Owns: their arguments, page marks and XML. A page of a thousand keys is written by hand, in one pass: it is what clients wait for.
Does not know: how the index finds its rows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from clary.domain.objects.items import Item, Listed
from clary.objects import conditions
from clary.objects.context import Context, bucket_of
from clary.objects.errors import S3Error
from clary.objects.request import Call, Reply, xml_reply
from clary.objects.xml import HEAD, NAMESPACE, document, escape

MOST = 1000
_SIMPLE = re.compile(r"[A-Za-z0-9/_.~*-]*")


async def list_objects_v2(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    args = call.args
    prefix, delimiter, start = args.get("prefix", ""), args.get("delimiter", ""), args.get("start-after", "")
    token = args.get("continuation-token")
    after = _open_token(token) if token is not None else start
    limit = call.number("max-keys", MOST, 0, MOST)
    listed = await ctx.index.page(bucket.id, prefix, after, limit, delimiter)
    code = _coder(call)
    owner = bucket.account if args.get("fetch-owner", "").lower() == "true" else ""
    head: dict[str, Any] = {"Name": bucket.name, "Prefix": code(prefix)}
    if token is not None:
        head["ContinuationToken"] = token
    if listed.next:
        head["NextContinuationToken"] = _seal_token(listed.next)
    head["StartAfter"] = code(start) if start else None
    head["KeyCount"] = len(listed.items) + len(listed.prefixes)
    return _listing(call, head, listed, limit, delimiter, owner)


async def list_objects(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    args = call.args
    prefix, delimiter, marker = args.get("prefix", ""), args.get("delimiter", ""), args.get("marker", "")
    limit = call.number("max-keys", MOST, 0, MOST)
    listed = await ctx.index.page(bucket.id, prefix, marker, limit, delimiter)
    code = _coder(call)
    head = {"Name": bucket.name, "Prefix": code(prefix), "Marker": code(marker)}
    if listed.next:
        head["NextMarker"] = code(listed.next)
    return _listing(call, head, listed, limit, delimiter, bucket.account)


def _listing(call: Call, head: dict[str, Any], listed: Listed, limit: int, delimiter: str, owner: str) -> Reply:
    code = _coder(call)
    head |= {
        "MaxKeys": limit,
        "Delimiter": code(delimiter) if delimiter else None,
        "IsTruncated": bool(listed.next),
        "EncodingType": "url" if code is quoted else None,
    }
    by = f"<Owner><ID>{owner}</ID><DisplayName>{owner}</DisplayName></Owner>" if owner else ""
    text = document("ListBucketResult", head).decode()
    opened = text[: text.rindex("</ListBucketResult>")]
    parts = [opened]
    parts += [_contents(item, code(item.key), by) for item in listed.items]
    parts += [f"<CommonPrefixes><Prefix>{escape(code(one))}</Prefix></CommonPrefixes>" for one in listed.prefixes]
    parts.append("</ListBucketResult>")
    return xml_reply("".join(parts).encode("utf-8", "surrogatepass"))


def _contents(item: Item, key: str, owner: str) -> str:
    checksum = ""
    if item.checksum:
        algorithm, _, kind = item.checksum.split(":")
        checksum = f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm><ChecksumType>{kind}</ChecksumType>"
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{conditions.iso_date(item.modified)}</LastModified>"
        f'<ETag>"{item.etag}"</ETag>{checksum}<Size>{item.size}</Size>{owner}'
        f"<StorageClass>{item.headers.get('x-amz-storage-class', 'STANDARD')}</StorageClass></Contents>"
    )


async def list_object_versions(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    args = call.args
    prefix, delimiter = args.get("prefix", ""), args.get("delimiter", "")
    marker, version = args.get("key-marker", ""), args.get("version-id-marker", "")
    if version and not marker:
        raise S3Error("InvalidArgument", "A version-id marker cannot be specified without a key marker.")
    limit = call.number("max-keys", MOST, 0, MOST)
    listed = await ctx.index.versions(bucket.id, prefix, (marker, version), limit, delimiter)
    code = _coder(call)
    head = {
        "Name": bucket.name, "Prefix": code(prefix), "KeyMarker": code(marker), "VersionIdMarker": version,
        "NextKeyMarker": code(listed.next) if listed.next else None, "NextVersionIdMarker": listed.next_version or None,
        "MaxKeys": limit, "Delimiter": code(delimiter) if delimiter else None, "IsTruncated": bool(listed.next),
        "EncodingType": "url" if code is quoted else None,
    }  # fmt: skip
    owner = {"ID": bucket.account, "DisplayName": bucket.account}
    text = document("ListVersionsResult", head).decode()
    parts = [text[: text.rindex("</ListVersionsResult>")]]
    for item in listed.items:
        content: dict[str, Any] = {
            "Key": code(item.key), "VersionId": item.version, "IsLatest": item.latest,
            "LastModified": conditions.iso_date(item.modified),
        }  # fmt: skip
        if not item.marker:
            storage = item.headers.get("x-amz-storage-class", "STANDARD")
            content |= {"ETag": f'"{item.etag}"', "Size": item.size, "StorageClass": storage}
        inner = document("DeleteMarker" if item.marker else "Version", content | {"Owner": owner}, namespace="")
        parts.append(inner.decode().removeprefix(HEAD))
    parts += [f"<CommonPrefixes><Prefix>{escape(code(one))}</Prefix></CommonPrefixes>" for one in listed.prefixes]
    parts.append("</ListVersionsResult>")
    return xml_reply("".join(parts).encode("utf-8", "surrogatepass"))


def quoted(text: str) -> str:
    """encoding-type=url."""
    return text if _SIMPLE.fullmatch(text) else quote(text, safe="/-_.~*")


def _plain(text: str) -> str:
    return text


def _coder(call: Call) -> Callable[[str], str]:
    kind = call.args.get("encoding-type", "")
    if kind not in ("", "url"):
        raise S3Error(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=kind[:100],
        )
    return quoted if kind else _plain


coder = _coder


def _seal_token(key: str) -> str:
    return base64.urlsafe_b64encode(b"1" + key.encode()).decode()


def _open_token(token: str) -> str:
    try:
        raw = base64.urlsafe_b64decode(token.encode())
        if raw[:1] != b"1":
            raise ValueError(token)
        return raw[1:].decode()
    except (binascii.Error, ValueError) as error:
        raise S3Error(
            "InvalidArgument", "The continuation token provided is incorrect",
            ArgumentName="continuation-token", ArgumentValue=token[:100],
        ) from error  # fmt: skip


__all__ = ["NAMESPACE", "coder", "list_object_versions", "list_objects", "list_objects_v2", "quoted"]
