"""Reading objects: GET, HEAD, attributes.

Owns: the headers of an answer, ranges, part numbers. A small range is read here; a large one is left to the server, which sends the
file. Does not know: signatures, how blobs came to be.
"""

from __future__ import annotations

from typing import Any

from clary.domain.objects.items import Item
from clary.objects import conditions, metadata
from clary.objects.context import Context, find_item, version_headers
from clary.objects.errors import S3Error
from clary.objects.request import Call, Reply, xml_reply
from clary.objects.xml import document

INLINE = 64 << 10  # a range up to here costs less read at once than sent as a file


async def get_object(ctx: Context, call: Call) -> Reply:
    reply, item = await _describe(ctx, call)
    length = reply.end - reply.start
    if length <= INLINE:
        reply.body = ctx.blobs.read(item.blob, reply.start, length) if length else b""
    else:
        reply.file = ctx.blobs.path(item.blob)
    return reply


async def head_object(ctx: Context, call: Call) -> Reply:
    reply, _ = await _describe(ctx, call)
    return reply


async def _describe(ctx: Context, call: Call) -> tuple[Reply, Item]:
    bucket, item = await find_item(ctx, call)
    headers = [
        ("etag", f'"{item.etag}"'),
        ("last-modified", conditions.http_date(int(item.modified))),
        ("accept-ranges", "bytes"),
        *version_headers(bucket, item),
    ]
    conditions.check_read(call, item, tuple(headers))
    start, end, status = 0, item.size, 200
    ranged = call.headers.get("range")
    if "partNumber" in call.query:
        start, end = _part(call, item)
        status = 206
        headers.append(("x-amz-mp-parts-count", str(len(item.parts)))) if item.parts else None
    elif ranged:
        found = conditions.byte_range(ranged, item.size)
        if found is not None:
            start, end = found
            status = 206
    if status == 206 and item.size:
        headers.append(("content-range", f"bytes {start}-{end - 1}/{item.size}"))
    headers.append(("content-length", str(end - start)))
    kept = {**item.headers, **metadata.response_overrides(call)} if call.query else item.headers
    headers += kept.items()
    if item.tags:
        headers.append(("x-amz-tagging-count", str(len(item.tags))))
    if item.checksum and call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and end - start == item.size:
        headers += metadata.checksum_headers(item.checksum)
    reply = Reply(status, headers)
    reply.start, reply.end = start, end
    return reply, item


def _part(call: Call, item: Item) -> tuple[int, int]:
    number = call.number("partNumber", 1, 1, 10000)
    sizes = item.parts or (item.size,)
    if number > len(sizes):
        raise S3Error("InvalidRange", "The requested partnumber is not satisfiable", ActualPartCount=str(len(sizes)))
    start = sum(sizes[: number - 1])
    return start, start + sizes[number - 1]


async def get_object_attributes(ctx: Context, call: Call) -> Reply:
    bucket, item = await find_item(ctx, call)
    wanted = {name.strip() for name in call.header("x-amz-object-attributes").split(",") if name.strip()}
    if not wanted:
        raise S3Error(
            "InvalidArgument", "x-amz-object-attributes must be given", ArgumentName="x-amz-object-attributes"
        )
    content: dict[str, Any] = {}
    if "ETag" in wanted:
        content["ETag"] = item.etag
    if "Checksum" in wanted and item.checksum:
        content["Checksum"] = metadata.checksum_elements(item.checksum)
    if "ObjectParts" in wanted and item.parts:
        content["ObjectParts"] = {"PartsCount": len(item.parts)}
    if "StorageClass" in wanted:
        content["StorageClass"] = item.headers.get("x-amz-storage-class", "STANDARD")
    if "ObjectSize" in wanted:
        content["ObjectSize"] = item.size
    headers = [("last-modified", conditions.http_date(int(item.modified))), *version_headers(bucket, item)]
    return xml_reply(document("GetObjectAttributesResponse", content), headers)
