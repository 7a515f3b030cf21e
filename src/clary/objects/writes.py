"""Writing objects: PUT, copy, DELETE, many deletes at once.

Owns: what a write stores and in which order (content durable, then row, then answer). Does not know: how a body is read, how
versions move.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from clary.domain.objects.items import Bucket, Condition, Item
from clary.objects import body, conditions, metadata
from clary.objects.body import Body
from clary.objects.context import Context, bucket_of, own, version_headers
from clary.objects.errors import S3Error
from clary.objects.request import Call, Reply, check_key, strip_quotes, xml_reply
from clary.objects.xml import Malformed, document, first, parse

MOST_KEYS = 1000


async def put_object(ctx: Context, call: Call) -> Reply:
    check_key(call.key)
    metadata.check_write_headers(call.headers)
    bucket, current = await ctx.index.find(call.bucket, call.key)
    bucket = own(ctx, call, bucket)
    condition = conditions.write_condition(call)
    if condition:
        early_condition(condition, current, call.key)
    kept = metadata.kept_headers(call.headers)
    tags = metadata.parse_tagging(call.header("x-amz-tagging"))
    received = await body.receive(call, ctx.blobs)
    return await store(ctx, call, bucket, received, kept, tags, condition)


async def store(
    ctx: Context,
    call: Call,
    bucket: Bucket,
    received: Body,
    kept: Mapping[str, str],
    tags: Mapping[str, str],
    condition: Condition,
) -> Reply:
    """Make an object of a received body."""
    checksum = f"{received.checksum}:FULL_OBJECT" if received.checksum else ""
    content: bytes | None = None
    if received.data is not None:
        blob, content = ctx.blobs.add(received.data)
    else:
        blob = ctx.blobs.take(received.file)
    item = Item(call.key, "", received.size, received.etag, call.now, blob, kept, checksum, tags)
    headers = await commit(ctx, bucket, item, condition, content)
    headers += metadata.checksum_headers(checksum)
    return Reply(200, headers)


async def commit(
    ctx: Context, bucket: Bucket, item: Item, condition: Condition, content: bytes | None = None
) -> list[tuple[str, str]]:
    """The row, durable; the blob goes when the row can't be. Answers the headers of every write."""
    done = False
    try:
        written = await ctx.index.put(bucket.id, item, condition, content)
        done = True
    finally:
        if not done:
            ctx.blobs.free([item.blob])
    ctx.blobs.free(written.freed)
    headers = [("etag", f'"{item.etag}"'), *metadata.encryption_of(item.headers)]
    if bucket.versioning:
        headers.append(("x-amz-version-id", written.version))
    return headers


def early_condition(condition: Condition, current: Item | None, key: str) -> None:
    """Say no before a body is read; the transaction asks again."""
    if condition.absent and current is not None:
        raise S3Error("PreconditionFailed", Condition="If-None-Match")
    if condition.match and current is None:
        raise S3Error("NoSuchKey", Key=key)
    if condition.match and current is not None and condition.match not in ("*", current.etag):
        raise S3Error("PreconditionFailed", Condition="If-Match")


# -- copies --------------------------------------------------------------------------------------------------------------------


async def copy_source(ctx: Context, call: Call) -> tuple[Bucket, Item]:
    """The object that x-amz-copy-source names, under its conditions. The caller must own its bucket too."""
    text = call.header("x-amz-copy-source")
    path, _, query = text.partition("?")
    name, slash, key = unquote(path.removeprefix("/")).partition("/")
    if not slash or not name or not key or (query and not query.startswith("versionId=")):
        raise S3Error(
            "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ArgumentName="x-amz-copy-source", ArgumentValue=text[:300],
        )  # fmt: skip
    version = unquote(query.removeprefix("versionId="))
    bucket, item = await ctx.index.find(name, key, version)
    bucket = own(ctx, call, bucket, name, "x-amz-source-expected-bucket-owner")
    if item is None:
        raise S3Error("NoSuchVersion", Key=key, VersionId=version) if version else S3Error("NoSuchKey", Key=key)
    if item.marker:
        raise S3Error(
            "InvalidRequest",
            "The source of a copy request may not specifically refer to a delete marker by version id.",
        )
    conditions.check_read(call, item, (), prefix="x-amz-copy-source-")
    return bucket, item


async def copy_object(ctx: Context, call: Call) -> Reply:
    check_key(call.key)
    metadata.check_write_headers(call.headers)
    bucket = own(ctx, call, (await ctx.index.find(call.bucket, call.key))[0])
    source_bucket, source = await copy_source(ctx, call)
    replace = _directive(call, "x-amz-metadata-directive")
    replace_tags = _directive(call, "x-amz-tagging-directive")
    changed = {"x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-website-redirect-location"}
    same = (source_bucket.id, source.key) == (bucket.id, call.key) and "versionId" not in call.header(
        "x-amz-copy-source"
    )
    if same and not (replace or replace_tags or changed & set(call.headers)):
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, "
            "storage class, website redirect location or encryption attributes.",
        )
    kept = metadata.kept_headers(call.headers) if replace else {
        **source.headers, **{name: value for name, value in metadata.kept_headers(call.headers).items() if name in changed}
    }  # fmt: skip
    tags = metadata.parse_tagging(call.header("x-amz-tagging")) if replace_tags else source.tags
    ctx.blobs.check_space()
    blob = await asyncio.get_running_loop().run_in_executor(None, ctx.blobs.again, source.blob)
    # The content is the source's, so its MD5 and its checksum are; its ETag is kept as well, parts and all.
    item = Item(call.key, "", source.size, source.etag, call.now, blob, kept, source.checksum, tags, source.parts)
    headers = await commit(ctx, bucket, item, conditions.write_condition(call))
    if source_bucket.versioning:
        headers.append(("x-amz-copy-source-version-id", source.version))
    content = {
        "ETag": f'"{item.etag}"',
        "LastModified": conditions.iso_date(item.modified),
        **metadata.checksum_elements(item.checksum),
    }
    return xml_reply(document("CopyObjectResult", content), [one for one in headers if one[0] != "etag"])


def _directive(call: Call, name: str) -> bool:
    value = call.header(name, "COPY").upper()
    if value not in ("COPY", "REPLACE"):
        raise S3Error(
            "InvalidArgument", f"Unknown {name.removeprefix('x-amz-')}.", ArgumentName=name, ArgumentValue=value[:100]
        )
    return value == "REPLACE"


# -- deletes -------------------------------------------------------------------------------------------------------------------


async def delete_object(ctx: Context, call: Call) -> Reply:
    bucket, current = await ctx.index.find(call.bucket, call.key)
    bucket = own(ctx, call, bucket)
    version = call.args.get("versionId", "")
    condition = Condition(match=strip_quotes(call.header("if-match")))
    if condition and current is None:
        raise S3Error("NoSuchKey", Key=call.key)
    [written] = await ctx.index.remove(bucket.id, [(call.key, version)], call.now, condition)
    ctx.blobs.free(written.freed)
    headers: list[tuple[str, str]] = []
    if written.version and bucket.versioning:
        headers.append(("x-amz-version-id", written.version))
    if written.marker:
        headers.append(("x-amz-delete-marker", "true"))
    return Reply(204, headers)


async def delete_objects(ctx: Context, call: Call) -> Reply:
    bucket = await bucket_of(ctx, call)
    try:
        root, content = parse(await body.read_document(call))
    except Malformed as error:
        raise S3Error("MalformedXML") from error
    asked = content.get("Object", [])
    if root != "Delete" or not 1 <= len(asked) <= MOST_KEYS or not all(isinstance(one, dict) for one in asked):
        raise S3Error("MalformedXML")
    quiet = first(content, "Quiet").lower() == "true"
    keys = [(first(one, "Key"), first(one, "VersionId")) for one in asked]
    deleted: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    plain = [
        pair
        for pair, one in zip(keys, asked, strict=True)
        if not any(name in one for name in ("ETag", "Size", "LastModifiedTime"))
    ]
    removed = await ctx.index.remove(bucket.id, plain, call.now)
    for (key, version), written in zip(plain, removed, strict=True):
        ctx.blobs.free(written.freed)
        made = {"DeleteMarker": True, "DeleteMarkerVersionId": written.version} if written.marker else {}
        deleted.append({"Key": key, "VersionId": version or None, **made})
    for (key, version), one in zip(keys, asked, strict=True):
        if (key, version) not in plain:
            errors += await _delete_if(ctx, call, bucket, key, version, one, deleted)
    return xml_reply(document("DeleteResult", {"Deleted": [] if quiet else deleted, "Error": errors}))


async def _delete_if(
    ctx: Context,
    call: Call,
    bucket: Bucket,
    key: str,
    version: str,
    one: Mapping[str, Any],
    deleted: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """A conditional delete inside a batch: by ETag."""
    etag = strip_quotes(first(one, "ETag"))
    if not etag:
        message = "Size and LastModifiedTime conditions are not implemented by Clary's object store."
        return [{"Key": key, "VersionId": version or None, "Code": "NotImplemented", "Message": message}]
    _, current = await ctx.index.find(bucket.name, key)
    if current is None or etag not in ("*", current.etag):
        message = "At least one of the pre-conditions you specified did not hold"
        return [{"Key": key, "VersionId": version or None, "Code": "PreconditionFailed", "Message": message}]
    [written] = await ctx.index.remove(bucket.id, [(key, version)], call.now, Condition(match=etag))
    ctx.blobs.free(written.freed)
    deleted.append({"Key": key, "VersionId": version or None})
    return []


__all__ = [
    "commit",
    "copy_object",
    "copy_source",
    "delete_object",
    "delete_objects",
    "put_object",
    "store",
    "version_headers",
]
