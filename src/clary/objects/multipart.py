"""Multipart uploads: begin, parts (sent or copied), lists, complete, abort.

Owns: the rules of S3 about part numbers, sizes, ETags and checksums of parts. Does not know: where a part lies (assembly).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Sequence
from typing import Any

from clary.domain.attempts import WITHIN, attempt_of
from clary.domain.objects.items import Item, Part, Upload, UploadMissing
from clary.objects import body, conditions, crc, metadata
from clary.objects.assembly import SMALLEST_PART, Assembly, main_file
from clary.objects.context import Context, bucket_of, own
from clary.objects.errors import S3Error
from clary.objects.files import write_all
from clary.objects.listing import coder, quoted
from clary.objects.request import Call, Reply, check_key, strip_quotes, xml_reply
from clary.objects.writes import copy_source, early_condition
from clary.objects.xml import Malformed, document, first, parse
from clary.wire.checksums import checksum

MOST_PARTS = 10_000
COPY_PIECE = 4 << 20
_MD5 = re.compile(r"[0-9a-f]{32}")


class Multipart:
    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly

    # -- begin, abort ----------------------------------------------------------------------------------------------------------

    async def create(self, ctx: Context, call: Call) -> Reply:
        check_key(call.key)
        metadata.check_write_headers(call.headers)
        bucket = await bucket_of(ctx, call)
        algorithm = call.header("x-amz-checksum-algorithm").upper()
        kind = call.header("x-amz-checksum-type").upper()
        if algorithm and algorithm not in metadata.ALGORITHMS:
            raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
                          f"[{', '.join(metadata.ALGORITHMS)}]")  # fmt: skip
        kind = kind or ("" if not algorithm else "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
        if (kind == "FULL_OBJECT" and not crc.combines(algorithm)) or (
            kind == "COMPOSITE" and algorithm == "CRC64NVME"
        ):
            raise S3Error(
                "InvalidRequest",
                f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm.",
            )
        kept = metadata.kept_headers(call.headers)
        tags = metadata.parse_tagging(call.header("x-amz-tagging"))
        upload = Upload(secrets.token_hex(24), bucket.id, call.key, call.now, kept, tags, algorithm, kind)
        ctx.blobs.check_space()
        await ctx.index.begin(upload)
        headers = metadata.encryption_of(kept)
        if algorithm:
            headers += [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)]
        content = {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id}
        return xml_reply(document("InitiateMultipartUploadResult", content), headers)

    async def abort(self, ctx: Context, call: Call) -> Reply:
        upload, parts = await self._upload(ctx, call)
        async with self._assembly.lock(upload.id, parts):
            if not await ctx.index.abort(upload.id):
                raise _no_upload(upload.id)
            self._assembly.forget(upload.id, parts)
        return Reply(204)

    async def _upload(self, ctx: Context, call: Call) -> tuple[Upload, list[Part]]:
        id = call.args.get("uploadId", "")
        bucket = await bucket_of(ctx, call)
        upload = await ctx.index.upload(bucket.id, call.key, id)
        if upload is None:
            raise _no_upload(id)
        return upload, await ctx.index.parts(id)

    # -- parts -----------------------------------------------------------------------------------------------------------------

    async def upload_part(self, ctx: Context, call: Call) -> Reply:
        number = _part_number(call)
        upload, parts = await self._upload(ctx, call)
        length = body.declared_length(call)
        ctx.blobs.check_space(length)
        file, offset, path, descriptor = self._assembly.reserve(upload.id, parts, number, length)
        kept = False
        try:
            received = await body.write_to(call, length, path, descriptor, offset, upload.algorithm)
            part = Part(number, length, received.etag, call.now, file, offset, received.checksum)
            await self._keep(ctx, upload, part)
            kept = True
        finally:
            self._assembly.written(upload.id, file, number, kept)
        headers = [("etag", f'"{part.etag}"'), *metadata.encryption_of(upload.headers)]
        if part.checksum:
            algorithm, value = part.checksum.split(":")
            headers.append((f"x-amz-checksum-{algorithm.lower()}", value))
        return Reply(200, headers)

    async def _keep(self, ctx: Context, upload: Upload, part: Part) -> None:
        try:
            before = await ctx.index.add_part(upload.id, part)
        except UploadMissing as error:
            raise _no_upload(upload.id) from error
        if before is not None and before.file not in (part.file, main_file(upload.id)):
            ctx.blobs.drop_parts([before.file])

    async def upload_part_copy(self, ctx: Context, call: Call) -> Reply:
        number = _part_number(call)
        upload, parts = await self._upload(ctx, call)
        source_bucket, source = await copy_source(ctx, call)
        ranged = call.header("x-amz-copy-source-range")
        start, end = conditions.copy_range(ranged, source.size) if ranged else (0, source.size)
        ctx.blobs.check_space(end - start)
        file, offset, _, descriptor = self._assembly.reserve(upload.id, parts, number, end - start)
        kept = False
        try:
            path = ctx.blobs.path(source.blob)
            etag, found = await asyncio.get_running_loop().run_in_executor(
                None, _copy, path, descriptor, start, offset, end - start, upload.algorithm
            )
            part = Part(number, end - start, etag, call.now, file, offset, found)
            await self._keep(ctx, upload, part)
            kept = True
        finally:
            self._assembly.written(upload.id, file, number, kept)
        content: dict[str, Any] = {"LastModified": conditions.iso_date(call.now), "ETag": f'"{etag}"'}
        if found:
            algorithm, value = found.split(":")
            content[f"Checksum{algorithm}"] = value
        headers = metadata.encryption_of(upload.headers)
        if source_bucket.versioning:
            headers.append(("x-amz-copy-source-version-id", source.version))
        return xml_reply(document("CopyPartResult", content), headers)

    # -- complete --------------------------------------------------------------------------------------------------------------

    async def complete(self, ctx: Context, call: Call) -> Reply:
        try:
            upload, parts = await self._upload(ctx, call)
        except S3Error as error:
            return await self._completed(ctx, call, error)
        async with self._assembly.lock(upload.id, parts):
            upload, parts = await self._upload(ctx, call)  # it may have ended while this one waited
            asked = _asked(await body.read_document(call))
            bucket, current = await ctx.index.find(call.bucket, call.key)
            bucket = own(ctx, call, bucket)
            condition = conditions.write_condition(call)
            if condition:
                early_condition(condition, current, call.key)
            chosen = _chosen(asked, parts, upload)
            found = _whole_checksum(call, chosen, upload)
            ctx.blobs.check_space()
            blob = await self._assembly.join(upload.id, chosen)
            sizes = tuple(part.size for part in chosen)
            item = Item(
                call.key,
                "",
                sum(sizes),
                _etag([part.etag for part in chosen]),
                call.now,
                blob,
                upload.headers,
                found,
                upload.tags,
                sizes,
            )
            done = False
            try:
                written = await ctx.index.complete(upload, item, condition)
                done = True
            finally:
                if not done:
                    ctx.blobs.free([blob])
            ctx.blobs.free(written.freed)
            self._assembly.forget(upload.id, parts)
        headers = metadata.encryption_of(upload.headers)
        if bucket.versioning:
            headers.append(("x-amz-version-id", written.version))
        return _complete_reply(call, item, headers)

    async def _completed(self, ctx: Context, call: Call, missing: S3Error) -> Reply:
        """The answer to a client that asks again to complete what it has completed: the upload is gone, and the object is made of the
        parts that it names. Raises `missing` otherwise."""
        if missing.code != "NoSuchUpload" or attempt_of(call.header("amz-sdk-request")) < 2:
            raise missing
        asked = _asked(await body.read_document(call))
        bucket, current = await ctx.index.find(call.bucket, call.key)
        own(ctx, call, bucket)
        tags = [strip_quotes(first(part, "ETag")) for part in asked]
        whole = all(_MD5.fullmatch(tag) for tag in tags) and _etag(tags)
        if current is None or current.etag != whole or abs(call.now - current.modified) > WITHIN:
            raise missing
        headers = metadata.encryption_of(current.headers)
        if current.version != "null":
            headers.append(("x-amz-version-id", current.version))
        return _complete_reply(call, current, headers)

    # -- lists -----------------------------------------------------------------------------------------------------------------

    async def list_parts(self, ctx: Context, call: Call) -> Reply:
        upload, parts = await self._upload(ctx, call)
        limit = call.number("max-parts", 1000, 0, 1000)
        marker = call.number("part-number-marker", 0, 0, MOST_PARTS)
        behind = [part for part in parts if part.number > marker]
        page = behind[:limit]
        bucket = await bucket_of(ctx, call)
        owner = {"ID": bucket.account, "DisplayName": bucket.account}
        content = {
            "Bucket": call.bucket, "Key": call.key, "UploadId": upload.id, "PartNumberMarker": marker,
            "NextPartNumberMarker": page[-1].number if page else 0, "MaxParts": limit, "IsTruncated": len(behind) > limit,
            "Part": [_part_element(part) for part in page], "Initiator": owner, "Owner": owner,
            "StorageClass": upload.headers.get("x-amz-storage-class", "STANDARD"),
            "ChecksumAlgorithm": upload.algorithm or None, "ChecksumType": upload.checksum_type or None,
        }  # fmt: skip
        return xml_reply(document("ListPartsResult", content))

    async def list_uploads(self, ctx: Context, call: Call) -> Reply:
        bucket = await bucket_of(ctx, call)
        args = call.args
        prefix, delimiter = args.get("prefix", ""), args.get("delimiter", "")
        marker, id_marker = (
            args.get("key-marker", ""),
            args.get("upload-id-marker", "") if args.get("key-marker") else "",
        )
        limit = call.number("max-uploads", 1000, 1, 1000)
        code = coder(call)
        found = await ctx.index.uploads(bucket.id, prefix, (marker, id_marker), limit + 1)
        page, more = found[:limit], len(found) > limit
        owner = {"ID": bucket.account, "DisplayName": bucket.account}
        uploads, prefixes = [], dict[str, None]()
        for one in page:
            cut = one.key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                prefixes[one.key[: cut + len(delimiter)]] = None
                continue
            uploads.append({
                "Key": code(one.key), "UploadId": one.id, "Initiator": owner, "Owner": owner,
                "StorageClass": one.headers.get("x-amz-storage-class", "STANDARD"),
                "Initiated": conditions.iso_date(one.initiated),
                "ChecksumAlgorithm": one.algorithm or None, "ChecksumType": one.checksum_type or None,
            })  # fmt: skip
        content = {
            "Bucket": call.bucket, "KeyMarker": code(marker), "UploadIdMarker": id_marker,
            "NextKeyMarker": code(page[-1].key) if more else None, "NextUploadIdMarker": page[-1].id if more else None,
            "Prefix": code(prefix), "Delimiter": code(delimiter) if delimiter else None, "MaxUploads": limit, "IsTruncated": more,
            "EncodingType": args.get("encoding-type"), "Upload": uploads,
            "CommonPrefixes": [{"Prefix": code(one)} for one in prefixes],
        }  # fmt: skip
        return xml_reply(document("ListMultipartUploadsResult", content))


def _etag(parts: Sequence[str]) -> str:
    """Of an object made of parts with these."""
    digest = hashlib.md5(b"".join(bytes.fromhex(part) for part in parts), usedforsecurity=False).hexdigest()
    return f"{digest}-{len(parts)}"


def _complete_reply(call: Call, item: Item, headers: list[tuple[str, str]]) -> Reply:
    content = {
        "Location": f"http://{call.header('host')}/{call.bucket}/{quoted(call.key)}",
        "Bucket": call.bucket,
        "Key": call.key,
        "ETag": f'"{item.etag}"',
        **metadata.checksum_elements(item.checksum),
    }
    return xml_reply(document("CompleteMultipartUploadResult", content), headers)


def _no_upload(id: str) -> S3Error:
    return S3Error("NoSuchUpload", UploadId=id[:200])


def _part_number(call: Call) -> int:
    text = call.args.get("partNumber", "")
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= MOST_PARTS:
        raise S3Error(
            "InvalidArgument", f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive",
            ArgumentName="partNumber", ArgumentValue=text[:100],
        )  # fmt: skip
    return int(text)


def _part_element(part: Part) -> dict[str, Any]:
    element: dict[str, Any] = {
        "PartNumber": part.number,
        "LastModified": conditions.iso_date(part.modified),
        "ETag": f'"{part.etag}"',
        "Size": part.size,
    }
    if part.checksum:
        algorithm, value = part.checksum.split(":")
        element[f"Checksum{algorithm}"] = value
    return element


def _asked(sent: bytes) -> list[dict[str, Any]]:
    try:
        root, content = parse(sent)
    except Malformed as error:
        raise S3Error("MalformedXML") from error
    parts: list[dict[str, Any]] = content.get("Part", [])
    if root != "CompleteMultipartUpload" or not 1 <= len(parts) <= MOST_PARTS:
        raise S3Error("MalformedXML")
    if not all(
        isinstance(part, dict) and first(part, "PartNumber").isdecimal() and first(part, "ETag") for part in parts
    ):
        raise S3Error("MalformedXML")
    return parts


def _chosen(asked: Sequence[dict[str, Any]], parts: Sequence[Part], upload: Upload) -> list[Part]:
    """The parts that the request lists, checked against what was stored."""
    known = {part.number: part for part in parts}
    numbers = [int(first(one, "PartNumber")) for one in asked]
    if any(a >= b for a, b in itertools.pairwise(numbers)):
        raise S3Error("InvalidPartOrder", UploadId=upload.id)
    chosen: list[Part] = []
    for number, one in zip(numbers, asked, strict=True):
        part = known.get(number)
        etag = strip_quotes(first(one, "ETag"))
        if part is None or etag != part.etag:
            raise S3Error("InvalidPart", UploadId=upload.id, PartNumber=str(number), ETag=etag[:100])
        algorithm, _, value = part.checksum.partition(":")
        if algorithm and first(one, f"Checksum{algorithm}", value) != value:
            raise S3Error("InvalidPart", UploadId=upload.id, PartNumber=str(number), ETag=etag[:100])
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < SMALLEST_PART:
            raise S3Error(
                "EntityTooSmall", ProposedSize=str(part.size), MinSizeAllowed=str(SMALLEST_PART),
                PartNumber=str(part.number), ETag=part.etag,
            )  # fmt: skip
    return chosen


def _whole_checksum(call: Call, parts: Sequence[Part], upload: Upload) -> str:
    """ "ALGORITHM:base64:TYPE" of the object; S3Error when the request promises another."""
    algorithm = upload.algorithm
    pieces = [
        base64.b64decode(part.checksum.partition(":")[2]) for part in parts if part.checksum.startswith(algorithm + ":")
    ]
    if not algorithm or len(pieces) != len(parts):
        return ""
    if upload.checksum_type == "FULL_OBJECT":
        whole = pieces[0]
        for piece, part in zip(pieces[1:], parts[1:], strict=True):
            whole = crc.combine(algorithm, whole, piece, part.size)
        value = base64.b64encode(whole).decode()
    else:
        sums = checksum(algorithm)
        sums.update(b"".join(pieces))
        value = f"{base64.b64encode(sums.digest()).decode()}-{len(parts)}"
    promised = call.header(f"x-amz-checksum-{algorithm.lower()}")
    if promised and promised.partition("-")[0] != value.partition("-")[0]:
        raise S3Error("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
    return f"{algorithm}:{value}:{upload.checksum_type}"


def _copy(path: str, descriptor: int, start: int, at: int, length: int, algorithm: str) -> tuple[str, str]:
    """Copy a range of a blob into an open part file, synced; (MD5, "ALGORITHM:base64")."""
    md5 = hashlib.md5(usedforsecurity=False)
    sums = checksum(algorithm) if algorithm else None
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.lseek(descriptor, at, os.SEEK_SET)
        while length:
            data = os.pread(source, min(length, COPY_PIECE), start)
            if not data:
                raise S3Error("InternalError", "The content of the source is shorter than it should be.")
            md5.update(data)
            if sums is not None:
                sums.update(data)
            write_all(descriptor, data)
            start, length = start + len(data), length - len(data)
        os.fdatasync(descriptor)
    finally:
        os.close(source)
        os.close(descriptor)
    return md5.hexdigest(), f"{algorithm}:{base64.b64encode(sums.digest()).decode()}" if sums is not None else ""
