"""The event-stream encoding: framed messages with typed headers and two CRCs.

Owns: frames both ways, and which frame an event, an initial response or an exception of a model is. Does not know:
transport; a streaming caller calls ``encode_event`` per event and sends the bytes.

Frame: total length, headers length, CRC32 of those eight bytes, headers, payload, CRC32 of all before (Smithy's
"Amazon Event Stream" specification). Lengths are big-endian.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import cbor2

from clary.wire import cbor_body, json_body, xml_body
from clary.wire.errors import SerializationError
from clary.wire.http import Response
from clary.wire.scalars import as_bytes, aware, epoch, from_epoch
from clary.wire.shapes import Member, members, message_member

if TYPE_CHECKING:
    from botocore.model import OperationModel

MAX_FRAME = 24 * 1024 * 1024
MAX_HEADERS = 128 * 1024
CONTENT_TYPE = "application/vnd.amazon.eventstream"

_PRELUDE = struct.Struct(">III")
_FIXED = {2: ">b", 3: ">h", 4: ">i", 5: ">q"}
_OVERHEAD = 16


class Frame(NamedTuple):
    """One message: its headers by name and its payload."""

    headers: dict[str, Any]
    payload: bytes


# -- frames -----------------------------------------------------------------------------------------------------------


def encode_frame(headers: Mapping[str, Any], payload: bytes) -> bytes:
    """The bytes of one message; header values are bool, int, bytes, str, datetime or UUID."""
    return encode_payload(encode_headers(headers), payload)


def encode_headers(headers: Mapping[str, Any]) -> bytes:
    """The headers of a message as they travel: for a sender of many messages with the same ones."""
    return b"".join(_encode_header(name, value) for name, value in headers.items())


def encode_payload(head: bytes, payload: bytes) -> bytes:
    """The bytes of one message whose headers are encoded already."""
    total = _OVERHEAD + len(head) + len(payload)
    if len(head) > MAX_HEADERS or total > MAX_FRAME:
        raise SerializationError(f"An event of {total} bytes exceeds {MAX_FRAME}")
    sizes = struct.pack(">II", total, len(head))
    start = b"".join((sizes, struct.pack(">I", zlib.crc32(sizes)), head, payload))
    return start + struct.pack(">I", zlib.crc32(start))


def _encode_header(name: str, value: Any) -> bytes:
    key = name.encode()
    start = struct.pack(">B", len(key)) + key
    if isinstance(value, bool):
        return start + (b"\0" if value else b"\1")
    if isinstance(value, int):
        return start + (struct.pack(">Bi", 4, value) if -(1 << 31) <= value < 1 << 31 else struct.pack(">Bq", 5, value))
    if isinstance(value, (bytes, str)):
        data = value.encode() if isinstance(value, str) else value
        return start + struct.pack(">BH", 7 if isinstance(value, str) else 6, len(data)) + data
    if isinstance(value, uuid.UUID):
        return start + b"\x09" + value.bytes
    return start + struct.pack(">Bq", 8, round(epoch(value) * 1000))


class FrameReader:
    """Takes bytes in any pieces, gives the whole frames in them."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now; raises SerializationError on a wrong CRC or length."""
        self._held += data
        frames: list[Frame] = []
        while len(self._held) >= _PRELUDE.size:
            total, head, crc = _PRELUDE.unpack_from(self._held)
            if zlib.crc32(self._held[:8]) != crc:
                raise SerializationError("The prelude of an event has a wrong checksum")
            if not _OVERHEAD + head <= total <= MAX_FRAME or head > MAX_HEADERS:
                raise SerializationError("An event has impossible lengths")
            if len(self._held) < total:
                break
            frames.append(_decode_frame(bytes(self._held[:total]), head))
            del self._held[:total]
        return frames

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete."""
        return len(self._held)


def decode_frames(data: bytes) -> Iterator[Frame]:
    """Every frame of a whole stream; bytes left over are refused."""
    reader = FrameReader()
    yield from reader.feed(data)
    if reader.pending:
        raise SerializationError("An event stream ends inside an event")


def _decode_frame(data: bytes, head: int) -> Frame:
    (crc,) = struct.unpack_from(">I", data, len(data) - 4)
    if zlib.crc32(data[:-4]) != crc:
        raise SerializationError("An event has a wrong checksum")
    end = _PRELUDE.size + head
    try:
        return Frame(dict(_decode_headers(data[_PRELUDE.size : end])), data[end:-4])
    except (struct.error, IndexError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise SerializationError("The headers of an event are malformed") from error


def _decode_headers(data: bytes) -> Iterator[tuple[str, Any]]:
    at = 0
    while at < len(data):
        size = data[at]
        name = data[at + 1 : at + 1 + size].decode()
        at += 1 + size
        kind = data[at]
        at += 1
        if kind in (0, 1):
            yield name, kind == 0
        elif kind in _FIXED:
            yield name, struct.unpack_from(_FIXED[kind], data, at)[0]
            at += struct.calcsize(_FIXED[kind])
        elif kind in (6, 7):
            (length,) = struct.unpack_from(">H", data, at)
            raw = data[at + 2 : at + 2 + length]
            if len(raw) != length:
                raise ValueError("short header")
            yield name, raw.decode() if kind == 7 else raw
            at += 2 + length
        elif kind == 8:
            yield name, from_epoch(struct.unpack_from(">q", data, at)[0] / 1000)
            at += 8
        elif kind == 9:
            yield name, uuid.UUID(bytes=data[at : at + 16])
            at += 16
        else:
            raise KeyError(kind)


# -- the model's events -----------------------------------------------------------------------------------------------


def encode_event(operation: OperationModel, event: Mapping[str, Any]) -> bytes:
    """The frame of one output event, given as ``{event name: members}``."""
    stream = operation.get_event_stream_output()
    ((name, value),) = event.items()
    shape = stream.members[name]
    if shape.metadata.get("exception"):
        return encode_exception(operation, name, value.get("message", value.get("Message", "")), value)
    headers: dict[str, Any] = {":event-type": name, ":message-type": "event"}
    payload, kind = _event_payload(_protocol(operation), shape, value, headers)
    if kind:
        headers[":content-type"] = kind
    return encode_frame(headers, payload)


def encode_exception(
    operation: OperationModel, name: str, message: str, extra: Mapping[str, Any] | None = None
) -> bytes:
    """The frame of a modelled exception in the stream, or of an unmodelled error."""
    stream = operation.get_event_stream_output()
    shape = stream.members.get(name)
    if shape is None:
        return encode_frame({":message-type": "error", ":error-code": name, ":error-message": message}, b"")
    headers: dict[str, Any] = {":exception-type": name, ":message-type": "exception"}
    value = {**(extra or {}), message_member(shape): message}
    payload, kind = _structure(_protocol(operation), shape, value)
    headers[":content-type"] = kind
    return encode_frame(headers, payload)


def encode_initial_response(operation: OperationModel, result: Mapping[str, Any]) -> bytes:
    """The frame that opens a stream of the RPC protocols: the members of the output besides the stream."""
    shape = operation.output_shape
    wanted = tuple(member for member in members(shape) if member.name != shape.event_stream_name)
    payload, kind = _structure(_protocol(operation), shape, result, wanted)
    return encode_frame({":event-type": "initial-response", ":message-type": "event", ":content-type": kind}, payload)


def respond(operation: OperationModel, result: Mapping[str, Any], headers: Iterable[tuple[str, str]] = ()) -> Response:
    """A whole streamed answer at once, its events given as an iterable; servers that stream encode event by event."""
    out: list[bytes] = []
    if not _protocol(operation).startswith("rest-"):
        out.append(encode_initial_response(operation, result))
    events = result.get(operation.output_shape.event_stream_name) or ()
    out.extend(encode_event(operation, event) for event in events)
    return Response(200, [*headers, ("Content-Type", CONTENT_TYPE)], b"".join(out))


def _protocol(operation: OperationModel) -> str:
    return str(operation.service_model.resolved_protocol)


def _event_payload(protocol: str, shape: Any, value: Mapping[str, Any], headers: dict[str, Any]) -> tuple[bytes, str]:
    rest: list[Member] = []
    payload: Member | None = None
    for member in members(shape):
        item = value.get(member.name)
        if member.shape.serialization.get("eventheader"):
            if item is not None:
                headers[member.name] = aware(item) if member.shape.type_name == "timestamp" else item
        elif member.shape.serialization.get("eventpayload"):
            payload = member
        else:
            rest.append(member)
    if payload is None:
        return _structure(protocol, shape, value, tuple(rest)) if rest else (b"", "")
    item = value.get(payload.name)
    if payload.shape.type_name in ("blob", "string"):
        return as_bytes(item or b""), "application/octet-stream" if payload.shape.type_name == "blob" else "text/plain"
    return _structure(protocol, payload.shape, item or {})


def _structure(
    protocol: str, shape: Any, value: Mapping[str, Any], wanted: tuple[Member, ...] | None = None
) -> tuple[bytes, str]:
    if protocol == "rest-xml":
        out = [f"<{shape.name}>"]
        xml_body.write_members(out, shape, value, wanted)
        out.append(f"</{shape.name}>")
        return "".join(out).encode(), "application/xml"
    if protocol == "smithy-rpc-v2-cbor":
        table = {member.name: member for member in (members(shape) if wanted is None else wanted)}
        content = {
            name: cbor_body.write(table[name].shape, item)
            for name, item in value.items()
            if item is not None and name in table
        }
        return cbor2.dumps(content), "application/cbor"
    return json_body.dump(json_body.serialize_members(shape, value, wanted)), "application/json"
