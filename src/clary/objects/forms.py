"""Browser uploads: a POST of multipart/form-data with a signed policy.

Owns: reading the form piece by piece (the file may be large) and the answer that the form asks for. Does not know: the policy's
rules (wire), how an object is stored (writes).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from clary.domain.objects.items import ALWAYS
from clary.objects import body, metadata
from clary.objects.buckets import parse_document, read_tags
from clary.objects.context import Context, bucket_of
from clary.objects.errors import S3Error
from clary.objects.files import unlink
from clary.objects.request import Call, Reply, check_key, xml_reply
from clary.objects.writes import store
from clary.objects.xml import document
from clary.wire.http import Headers

LARGEST_FIELDS = 20 << 10  # of all fields before the file, as S3 says
_NAME = re.compile(r'name="((?:[^"\\]|\\.)*)"', re.I)
_FILE = re.compile(r'filename="((?:[^"\\]|\\.)*)"', re.I)


async def post_object(ctx: Context, call: Call) -> Reply:
    form = Form(call)
    fields = await form.read_fields()
    if "key" not in fields:
        raise S3Error(
            "InvalidArgument",
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
        )
    fields["key"] = fields["key"].replace("${filename}", form.file_name)
    smallest, largest = ctx.authenticator.check_form(call, fields)
    bucket = await bucket_of(ctx, call)
    call.key = fields["key"]
    check_key(call.key)
    # The fields say what headers say in a PUT; the file comes behind them as the body.
    call.headers = Headers(
        {**{name: value for name, value in fields.items() if name != "content-length"}, "host": call.header("host")}
    )
    metadata.check_write_headers(call.headers)
    kept = metadata.kept_headers(call.headers)
    tags = _tags(fields.get("tagging", ""))
    received = await _receive(ctx, call, form, smallest, largest)
    reply = await store(ctx, call, bucket, received, kept, tags, ALWAYS)
    return _answer(call, fields, reply)


def _tags(text: str) -> dict[str, str]:
    return read_tags(parse_document(text.encode())[1], 10) if text else {}


async def _receive(ctx: Context, call: Call, form: Form, smallest: int, largest: int | None) -> body.Body:
    path, descriptor = ctx.blobs.stage()
    limit = min(largest if largest is not None else body.LARGEST, body.LARGEST)
    kept = False
    try:
        received = await body.write_pieces(call, form.file(), path, descriptor, limit)
        if received.size < smallest:
            raise S3Error("EntityTooSmall", ProposedSize=str(received.size), MinSizeAllowed=str(smallest))
        kept = True
        return received
    finally:
        if not kept:
            unlink(path)


def _answer(call: Call, fields: dict[str, str], reply: Reply) -> Reply:
    etag = dict(reply.headers)["etag"]
    location = f"http://{call.header('host')}/{call.bucket}/{quote(call.key)}"
    headers = [*reply.headers, ("location", location)]
    target = fields.get("success_action_redirect") or fields.get("redirect", "")
    if target.startswith(("http://", "https://")) and not re.search(r"[\x00-\x20\x7f-\U0010ffff]", target):
        joint = "&" if "?" in target else "?"
        target += f"{joint}bucket={quote(call.bucket)}&key={quote(call.key, safe='')}&etag={quote(etag, safe='')}"
        return Reply(303, [*reply.headers, ("location", target)])
    status = fields.get("success_action_status", "204")
    if status == "201":
        content = {"Location": location, "Bucket": call.bucket, "Key": call.key, "ETag": etag}
        answer = xml_reply(document("PostResponse", content, namespace=""), headers)
        answer.status = 201
        return answer
    return Reply(200 if status == "200" else 204, headers)


class Form:
    """A multipart/form-data body: its fields, then its file, in the order sent."""

    def __init__(self, call: Call) -> None:
        kind, _, rest = call.header("content-type").partition(";")
        found = re.search(r'boundary="?([^";,]{1,70})"?', rest)
        if kind.strip().lower() != "multipart/form-data" or not found:
            raise S3Error("MalformedPOSTRequest")
        self._edge = b"\r\n--" + found[1].encode("latin-1", "replace")
        call.unread = False
        self._pieces: Any = call.proto.__aiter__()
        self._held = b"\r\n"  # so that the first boundary looks like all others
        self.file_name = ""

    async def _more(self) -> bool:
        try:
            self._held += await self._pieces.__anext__()
        except StopAsyncIteration:
            return False
        return True

    async def _until(self, mark: bytes, limit: int) -> bytes:
        while (at := self._held.find(mark)) < 0:
            if len(self._held) > limit or not await self._more():
                raise S3Error("MalformedPOSTRequest")
        found, self._held = self._held[:at], self._held[at + len(mark) :]
        return found

    async def read_fields(self) -> dict[str, str]:
        """Every field before the file, names in lower case."""
        fields: dict[str, str] = {}
        total = 0
        await self._until(self._edge, LARGEST_FIELDS)
        while True:
            while len(self._held) < 2 and await self._more():
                pass
            if self._held[:2] != b"\r\n":
                raise S3Error(
                    "InvalidArgument",
                    "POST requires exactly one file upload per request.",
                    ArgumentName="file",
                    ArgumentValue="0",
                )
            self._held = self._held[2:]
            head = (await self._until(b"\r\n\r\n", LARGEST_FIELDS)).decode("utf-8", "replace")
            name = _NAME.search(re.sub(r'filename="', 'file="', head))
            if name is None:
                raise S3Error("MalformedPOSTRequest")
            if name[1].lower() == "file":
                found = _FILE.search(head)
                self.file_name = re.split(r"[/\\]", found[1])[-1] if found else ""
                return fields
            value = await self._until(self._edge, LARGEST_FIELDS)
            total += len(head) + len(value)
            if total > LARGEST_FIELDS or len(fields) > 100:
                raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=str(LARGEST_FIELDS))
            fields[name[1].lower()] = value.decode("utf-8", "replace")

    async def file(self) -> AsyncIterator[bytes]:
        """The file's bytes, up to the boundary behind them."""
        keep = len(self._edge)
        while (at := self._held.find(self._edge)) < 0:
            if len(self._held) > keep:
                out, self._held = self._held[:-keep], self._held[-keep:]
                yield out
            if not await self._more():
                raise S3Error("IncompleteBody")
        if at:
            yield self._held[:at]
        self._held = b""
        while await self._more():  # fields behind the file are ignored
            self._held = b""
