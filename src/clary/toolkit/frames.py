"""The worker protocol: what a front and the processes of a replica say to each other over a socket.

Owns the bytes: framing, the two hot messages (PREDICT, RESULT), the JSON of all others, a blocking channel for workers and an
incremental parser for the front. Does not know models, HTTP and asyncio. Standard library only, Python 3.9 or newer: it is
mounted into every runtime.

**A frame** is an 8 byte header `<IBBH` (little endian: payload length, kind, flags, count) and the payload. Flags are 0. `count` is
the number of entries of PREDICT, STREAM and RESULT, else 0. All payloads but theirs and those of BEGUN and CHUNK are a JSON object
(UTF-8) or empty.

**Versions.** 2 added STREAM, BEGUN and CHUNK. HELLO says what a process speaks, and a front sends STREAM to nobody who speaks 1: such
a worker gets PREDICT, and its whole answer is one piece. Everything else is as it was, so workers outlive an upgrade.

**Who dials.** Every process of a replica dials each front whose address is in its spec: `SCHEME:PLACE`, as `unix:/run/clary/front-0.sock`
(`connect`). One connection per process:
 - the *zygote* (role "zygote") speaks for the replica: it loads the model, forks, kills and reaps;
 - each *worker* (role "worker") predicts, one PREDICT frame at a time.
The first frame is HELLO; until WELCOME came nothing else may be sent, except READY or FAILED which follow it. On REFUSED, EOF or
a refused connection: close, wait (0.05 s, doubling to 1 s, with jitter), dial again; for ever, since a front may restart at any time.

**Frames** (who to whom; payload; meaning):

HELLO (both -> front) `{"version": 2, "role": "zygote" | "worker", "replica": id, "token": secret, "pid": n}`. The pid is as the
  zygote sees it, inside the sandbox's pid namespace: KILL names it.
WELCOME (front -> both) `{"version": 2, "workers": n, "threads": n}`. For the zygote: how many workers to keep alive (0: what its
  spec says). Threads that a worker's libraries may use (0: as in the spec).
REFUSED (front -> both) `{"reason": text}`. The front closes; dial again with back-off.
READY (zygote -> front) `{"seconds": load time, "mode": "fork" | "per-worker", "batch": most requests that one predict call takes,
  1 without batching}`. Sent once the model is loaded and a probe answered, and again after each new dial.
FAILED (zygote -> front) `{"message": the user's traceback, "kind": "load" | "probe" | "workers"}`. The model cannot be served. The
  zygote then exits with status 1, once the front has closed, or after 1 s.
PREDICT (front -> worker) `count` requests, see below. The next one may come before this one is answered: begin it only then.
RESULT (worker -> front) `count` results. Several RESULT frames may answer one PREDICT, in any order; the worker is free again when
  all its ids were answered.
STREAM (front -> worker) one request, as an entry of PREDICT, whose answer is wanted piece by piece. It goes to an idle worker and
  nothing is sent after it. A model that does not answer in pieces, or fails before the first, answers by RESULT.
BEGUN (worker -> front) `<I` id, then meta as of a RESULT: the answer of a STREAM begins (status 200). CHUNKs follow at once.
CHUNK (worker -> front) `<IB` id, how, then at most MAX_CHUNK bytes. How: 0 more follows; 1 this was the last (it may be empty); 2 the
  model failed (the bytes are its message and traceback); 3 cancelled. All but 0 make the worker free.
CANCEL (front -> worker) `{"ids": [..]}`. Nobody waits for these any more. A worker looks for it between two pieces, closes the
  model's generator and sends the CHUNK that ends. One that is not heard of for some seconds gets KILL.
PING, PONG (any) empty. Answer PING by PONG; a worker does so between batches only.
SPAWN (front -> zygote) `{"workers": n}`. Keep n workers alive from now on; 0 is a number too. More: fork. Fewer: no respawn of those
  that leave (the front drains the surplus itself, after this).
KILL (front -> zygote) `{"pid": n, "why": text for the log, if it is not a deadline}`. SIGKILL that worker at once, reap it, fork
  another if fewer than wanted are left. Unknown pids are ignored.
RESIZE (front -> both) `{"threads": n}`. A worker sets its libraries' threads before its next batch; the zygote remembers it for
  later forks.
DRAIN (front -> both) empty. Worker: answer what you have, then exit 0 (not respawned). Zygote: respawn nothing any more, exit 0
  when no worker is left.
REDIAL (front -> both) empty. The front leaves in good order and nothing is in flight here: close, dial again.
EXITED (zygote -> front) `{"pid": n, "status": exit code, or minus the signal}`. A worker ended without DRAIN (crash, out of memory,
  KILL).

**Multi-model replicas.** The zygote is READY without a model and has no workers; each copy of a model is a process of its own, which
greets as a worker and says in HELLO besides `{"model": name, "batch": n, "held": bytes of memory, "seconds": load time}`. A model
is loaded when that HELLO comes. EXITED is sent for every process that ended.
LOAD (front -> zygote) `{"model": name, "digest": folder of its archive, "size": bytes of it, "copies": n}`. See that n processes of
  the model run or are on their way; said twice it is done once.
UNLOAD (front -> zygote) `{"pid": n}`. That process answers what it has and exits.
NOT_LOADED (zygote -> front) `{"model": name, "status": 500 | 504 | 507, "message": text, "over": bytes}`. 507 with `over`: unload that
  much and ask again.
FULL (zygote -> front) `{"over": bytes}`. What is loaded has grown: unload that much.

**A front that dies** (EOF without REDIAL): a prediction must not go on at the model while the client's retry runs again. So when the
*zygote's* connection ends without REDIAL it first SIGKILLs and reaps every worker that is busy (each worker marks a byte of
shared memory while it predicts), then dials again; idle workers see EOF themselves and dial again, unharmed.

**PREDICT entry**: `<IIH` id, body length, meta length; then meta, then body. Meta is `content_type NUL accept (NUL name NUL value)*`
in Latin-1 with header names lower-case; ids are unique per connection while unanswered. **RESULT entry**: `<IIHH` id, body length,
meta length, status; then meta, then body; meta is `content_type (NUL name NUL value)*`. Metas repeat, so both sides decode each
distinct one once (a bounded cache): treat the header mappings as read-only. Status is the container's HTTP status (200, 204, 400,
415, 500 ...).

**Large answers.** A RESULT may be as long as MAX_FRAME; a front never holds one. One that is longer than MAX_RESULT it reads entry by
entry as the bytes come (`Parser`): OPENED and PART, which are never on the wire, stand for an entry of more than MAX_WHOLE bytes. WELCOME
tells a worker `"most"`, the bytes that an answer may have, and `"setting"`, which bounds it: of a longer one a result of status 413 tells.

**Speed**: a worker writes one RESULT per PREDICT in one send; the front gathers what waits into one PREDICT in one write.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Union

VERSION = 2

HELLO = 1
WELCOME = 2
REFUSED = 3
READY = 4
FAILED = 5
PREDICT = 6
RESULT = 7
CHUNK = 8
CANCEL = 9
PING = 10
PONG = 11
SPAWN = 12
KILL = 13
RESIZE = 14
DRAIN = 15
REDIAL = 16
EXITED = 17
STREAM = 18
BEGUN = 19
LOAD = 20
UNLOAD = 21
NOT_LOADED = 22
FULL = 23
OPENED = 254  # of a parser only: an answer begins whose body comes in PARTs
PART = 255  # of a parser only: a piece of that body; `count` is 1 for its last one

NAMES = {
    HELLO: "HELLO",
    WELCOME: "WELCOME",
    REFUSED: "REFUSED",
    READY: "READY",
    FAILED: "FAILED",
    PREDICT: "PREDICT",
    RESULT: "RESULT",
    CHUNK: "CHUNK",
    CANCEL: "CANCEL",
    PING: "PING",
    PONG: "PONG",
    SPAWN: "SPAWN",
    KILL: "KILL",
    RESIZE: "RESIZE",
    DRAIN: "DRAIN",
    REDIAL: "REDIAL",
    EXITED: "EXITED",
    STREAM: "STREAM",
    BEGUN: "BEGUN",
    LOAD: "LOAD",
    UNLOAD: "UNLOAD",
    NOT_LOADED: "NOT_LOADED",
    FULL: "FULL",
}

HEADER = struct.Struct("<IBBH")
REQUEST = struct.Struct("<IIH")
ANSWER = struct.Struct("<IIHH")
NUMBER = struct.Struct("<I")
PIECE = struct.Struct("<IB")
MORE, LAST, BROKEN, CANCELLED = range(4)  # how a CHUNK goes on

MAX_COUNT = 0xFFFF
MAX_FRAME = 1 << 30  # bytes of one payload: a batch of bodies stays far below
MAX_META = 0xFFFF
MAX_WHOLE = 1 << 20  # bytes of an answer's body that a front takes in one piece
MAX_ANSWER = MAX_FRAME - MAX_META - ANSWER.size  # bytes of the longest body that a RESULT can carry
MAX_RESULT = (
    MAX_WHOLE + MAX_META + ANSWER.size
)  # bytes of a RESULT that a front takes in one piece, and of any other frame
MAX_ERROR = 1 << 16  # bytes of an answer that tells of an error: nobody reads on
LARGE = 1 << 16  # bytes of a body that is copied, to be sent together with others
CUT = 1 << 18  # bytes of a CHUNK as it is sent: what a front does with one takes it a fraction of a millisecond
MAX_CHUNK = 1 << 20  # bytes of one CHUNK: longer pieces are cut, so that a slow reader keeps little in memory
_CACHE = 1024

Frame = Tuple[int, int, bytes]  # kind, count, payload
Answer = Tuple[int, int, bytes, bytes]  # id, status, meta, body


class FrameError(Exception):
    """The other side does not speak this protocol: close the connection."""


class AddressError(ValueError):
    """An address that cannot be dialled, whatever listens there: it has no scheme, or one that is not supported."""


class Closed(Exception):
    """The other side is gone (EOF, reset, broken pipe)."""


class Request(NamedTuple):
    """One prediction asked for. `headers` has lower-case names and is shared between requests: read only."""

    id: int
    body: bytes
    content_type: str
    accept: str
    headers: Mapping[str, str]


class Result(NamedTuple):
    """One answer of the model."""

    id: int
    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str]


def control(kind: int, message: Optional[Mapping[str, Any]] = None) -> bytes:
    """A whole frame of any kind but PREDICT and RESULT."""
    payload = json.dumps(message).encode() if message else b""
    return HEADER.pack(len(payload), kind, 0, 0) + payload


def message(payload: bytes) -> Dict[str, Any]:
    """The JSON object of a control frame; FrameError for anything else."""
    if not payload:
        return {}
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise FrameError("control frame is not JSON") from error
    if not isinstance(value, dict):
        raise FrameError("control frame is not a JSON object")
    return value


def request_meta(content_type: str, accept: str, headers: Iterable[Tuple[str, str]] = ()) -> bytes:
    """Encode what goes with a request. FrameError when it is too long or holds NUL or non Latin-1 characters."""
    return _meta([content_type, accept], headers)


def result_meta(content_type: str, headers: Iterable[Tuple[str, str]] = ()) -> bytes:
    """Encode what goes with a result."""
    return _meta([content_type], headers)


def _meta(fixed: List[str], headers: Iterable[Tuple[str, str]]) -> bytes:
    for name, value in headers:
        fixed.append(name)
        fixed.append(value)
    text = "\0".join(fixed)
    if text.count("\0") != len(fixed) - 1:
        raise FrameError("NUL in a header")
    try:
        encoded = text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise FrameError("header is not Latin-1") from error
    if len(encoded) > MAX_META:
        raise FrameError("headers are too long")
    return encoded


def predict(entries: Iterable[Tuple[int, bytes, bytes]], kind: int = PREDICT) -> List[bytes]:
    """A PREDICT (or STREAM) frame for `(id, meta, body)` entries, as pieces to be written one after the other."""
    pieces: List[bytes] = [b""]
    add = pieces.append
    pack = REQUEST.pack
    count = size = 0
    for number, meta, body in entries:
        add(pack(number, len(body), len(meta)))
        add(meta)
        add(body)
        size += 10 + len(meta) + len(body)
        count += 1
    if count > MAX_COUNT or size > MAX_FRAME:
        raise FrameError("batch is too large")
    pieces[0] = HEADER.pack(size, kind, 0, count)
    return pieces


def requests(payload: bytes, count: int) -> List[Request]:
    """Decode a PREDICT payload (worker side)."""
    out: List[Request] = []
    add = out.append
    unpack = REQUEST.unpack_from
    known = _REQUEST_METAS
    make = tuple.__new__
    place = 0
    try:
        for _ in range(count):
            number, size, length = unpack(payload, place)
            start = place + 10
            middle = start + length
            place = middle + size
            meta = payload[start:middle]
            decoded = known.get(meta)
            if decoded is None:
                decoded = decode_request_meta(meta)
            add(make(Request, (number, payload[middle:place], decoded[0], decoded[1], decoded[2])))
    except (struct.error, IndexError, ValueError) as error:
        raise FrameError("PREDICT is malformed") from error
    if place != len(payload):
        raise FrameError("PREDICT is malformed")
    return out


def results(answers: Iterable[Answer]) -> bytes:
    """A RESULT frame for `(id, status, meta, body)` answers, whole."""
    return b"".join(result_pieces(answers))


def result_pieces(answers: Iterable[Answer]) -> List[bytes]:
    """The same as pieces to be written one after the other: a large body is not copied."""
    pieces: List[bytes] = [b""]
    add = pieces.append
    pack = ANSWER.pack
    count = size = 0
    for number, status, meta, body in answers:
        add(pack(number, len(body), len(meta), status))
        add(meta)
        add(body)
        size += 12 + len(meta) + len(body)
        count += 1
    if count > MAX_COUNT or size > MAX_FRAME:
        raise FrameError("batch is too large")
    pieces[0] = HEADER.pack(size, RESULT, 0, count)
    return pieces


def too_large(size: str, most: int, setting: str) -> str:
    """What is said of an answer that may not be sent. `size` is its bytes, as far as they are known."""
    bound = "{} (setting {})".format(most, setting) if setting else str(most)
    return (
        "The model's answer has {} bytes; the limit is {}. InvokeEndpointWithResponseStream has no limit of bytes, and InvokeEndpointAsync "
        "takes answers of up to 1 GB.".format(size, bound)
    )


def answers(payload: bytes, count: int) -> List[Answer]:
    """Decode a RESULT payload (front side): `(id, status, meta, body)`; the meta stays encoded, `decode_result_meta` reads it."""
    out: List[Answer] = []
    add = out.append
    unpack = ANSWER.unpack_from
    place = 0
    try:
        for _ in range(count):
            number, size, length, status = unpack(payload, place)
            start = place + 12
            middle = start + length
            place = middle + size
            add((number, status, payload[start:middle], payload[middle:place]))
    except struct.error as error:
        raise FrameError("RESULT is malformed") from error
    if place != len(payload):
        raise FrameError("RESULT is malformed")
    return out


def opened(payload: bytes) -> Tuple[int, int, int, bytes]:
    """Decode an OPENED: `(id, status, bytes of the body, meta)`."""
    number, size, _, status = ANSWER.unpack_from(payload)
    return number, status, size, payload[ANSWER.size :]


def begun(number: int, meta: bytes) -> bytes:
    """A BEGUN frame, whole."""
    return HEADER.pack(4 + len(meta), BEGUN, 0, 0) + NUMBER.pack(number) + meta


def chunk(number: int, how: int, data: bytes = b"") -> bytes:
    """A CHUNK frame, whole."""
    return HEADER.pack(5 + len(data), CHUNK, 0, 0) + PIECE.pack(number, how) + data


def opening(payload: bytes) -> Tuple[int, bytes]:
    """Decode a BEGUN payload: `(id, meta)`."""
    if len(payload) < 4:
        raise FrameError("BEGUN is malformed")
    return NUMBER.unpack_from(payload)[0], payload[4:]


def piece(payload: bytes) -> Tuple[int, int, bytes]:
    """Decode a CHUNK payload: `(id, how, bytes)`."""
    if not 5 <= len(payload) <= 5 + MAX_CHUNK or payload[4] > CANCELLED:
        raise FrameError("CHUNK is malformed")
    number, how = PIECE.unpack_from(payload)
    return number, how, payload[5:]


_RequestMeta = Tuple[str, str, Dict[str, str]]
_REQUEST_METAS: Dict[bytes, _RequestMeta] = {}


def decode_request_meta(meta: bytes) -> _RequestMeta:
    """Content type, Accept and headers of a request (uncached: `requests` looks for them first)."""
    parts = meta.decode("latin-1").split("\0")
    if len(parts) < 2 or len(parts) % 2:
        raise FrameError("request meta is malformed")
    decoded = (parts[0], parts[1], dict(zip(parts[2::2], parts[3::2])))
    if len(_REQUEST_METAS) >= _CACHE:
        _REQUEST_METAS.clear()
    _REQUEST_METAS[meta] = decoded
    return decoded


def decode_result_meta(meta: bytes) -> Tuple[str, Dict[str, str]]:
    """Content type and headers of a result (uncached: the front keeps its own cache of rendered heads)."""
    parts = meta.decode("latin-1").split("\0")
    if not len(parts) % 2:
        raise FrameError("result meta is malformed")
    return parts[0], dict(zip(parts[1::2], parts[2::2]))


class Parser:
    """Frames out of pieces of bytes, without I/O: the front's side. `limit` bounds a payload (raise it after HELLO), but for a RESULT
    that has at most `most` bytes: that is not gathered but comes entry by entry, each as a RESULT of its own, or, with a body of more
    than `whole` bytes, as OPENED and PARTs."""

    __slots__ = ("_body", "_count", "_entry", "_have", "_left", "_need", "_parts", "limit", "most", "whole")

    def __init__(self, limit: int = MAX_FRAME, most: int = 0, whole: int = MAX_WHOLE) -> None:
        self.limit = limit
        self.most = most
        self.whole = whole
        self._parts: List[bytes] = []
        self._have = 0
        self._need = 0  # bytes without which nothing can be told; not 0: within a frame
        self._left = 0  # of a RESULT that comes entry by entry: bytes, and entries, that are still to come
        self._count = 0
        self._body = 0  # bytes of the body that comes in PARTs
        self._entry = b""  # the beginning of an entry

    def feed(self, data: bytes) -> List[Frame]:
        """The frames that are complete now, in order. FrameError for a payload over the limit or an unknown kind."""
        if self._need:
            if self._left:
                return self._entries(data)
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._parts)
        frames: List[Frame] = []
        place = 0
        end = len(data)
        need = 8
        while end - place >= 8:
            length, kind, _flags, count = HEADER.unpack_from(data, place)
            if length > self.limit or kind not in NAMES:
                if kind != RESULT or length > self.most:
                    raise FrameError("unknown or oversize frame")
                self._parts = []
                self._left, self._count, self._need = length, count, 1
                return frames + self._entries(data[place + 8 :])
            stop = place + 8 + length
            if stop > end:
                need = 8 + length
                break
            frames.append((kind, count, data[place + 8 : stop]))
            place = stop
        if place < end:
            rest = data[place:] if place else data
            self._parts = [rest]
            self._have = len(rest)
            self._need = need
        elif self._need:
            self._parts = []
            self._have = self._need = 0
        return frames

    def _entries(self, data: bytes) -> List[Frame]:
        """What is complete of a RESULT that comes entry by entry, and of the frames behind it."""
        if self._entry:
            data, self._entry = self._entry + data, b""
        frames: List[Frame] = []
        place, end = 0, min(len(data), self._left)
        while place < end:
            if self._body:
                stop = min(end, place + self._body)
                self._body -= stop - place
                frames.append((PART, int(not self._body), data[place:stop]))
                place = stop
                continue
            if end - place < ANSWER.size:
                break
            _, size, length, _ = ANSWER.unpack_from(data, place)
            whole = ANSWER.size + length + size
            if whole > self._left - place or not self._count:
                raise FrameError("RESULT is malformed")
            stop = place + (whole if size <= self.whole else ANSWER.size + length)
            if stop > end:
                break
            self._count -= 1
            if size <= self.whole:
                frames.append((RESULT, 1, data[place:stop]))
            else:
                frames.append((OPENED, 0, data[place:stop]))
                self._body = size
            place = stop
        self._left -= place
        if self._left:
            self._entry = data[place:]
            if len(self._entry) >= self._left:
                raise FrameError("RESULT is malformed")
            return frames
        if self._count or self._body:
            raise FrameError("RESULT is malformed")
        self._have = self._need = 0
        return frames + self.feed(data[place:]) if place < len(data) else frames


def parse_address(address: str) -> Tuple[str, str]:
    """(scheme, place) of an address that can be dialled; AddressError for every other."""
    scheme, colon, place = address.partition(":")
    if not colon or scheme not in _CONNECT:
        known = ", ".join(f"{name}:" for name in _CONNECT)
        raise AddressError(f"the address {address!r} of a front cannot be dialled: it must begin with one of {known}")
    if not place:
        raise AddressError(f"the address {address!r} of a front says nothing behind its scheme")
    return scheme, place


def connect(address: str, timeout: float) -> socket.socket:
    """A connected stream to what listens at the address. OSError when nobody does."""
    scheme, place = parse_address(address)
    return _CONNECT[scheme](place, timeout)


def _unix(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
        sock.settimeout(None)
    except OSError:
        sock.close()
        raise
    return sock


_CONNECT = {"unix": _unix}  # scheme -> how such a place is dialled


class Channel:
    """A blocking connection for the processes of a replica. Not for several threads at once, except that one may send while
    another reads."""

    def __init__(self, sock: socket.socket, limit: int = MAX_FRAME) -> None:
        self.sock = sock
        self._parser = Parser(limit)
        self._frames: List[Frame] = []

    @classmethod
    def dial(cls, address: str, timeout: float = 5.0) -> Channel:
        """Connect to a front. OSError when nobody listens there; AddressError when nobody could."""
        return cls(connect(address, timeout))

    def fileno(self) -> int:
        return self.sock.fileno()

    def send_pieces(self, pieces: Iterable[bytes]) -> None:
        """Write a frame that is in pieces, without copying it; Closed when the front is gone."""
        for piece in pieces:
            self.send(piece)

    def send(self, frame: Union[bytes, bytearray, memoryview]) -> None:
        """Write a whole frame; Closed when the front is gone."""
        try:
            self.sock.sendall(frame)
        except OSError as error:
            raise Closed(str(error)) from error

    def read(self) -> Frame:
        """The next frame; waits for it. Closed at the end; FrameError on nonsense."""
        while not self._frames:
            try:
                data = self.sock.recv(262144)
            except OSError as error:
                raise Closed(str(error)) from error
            if not data:
                raise Closed("end of stream")
            self._frames = self._parser.feed(data)
            self._frames.reverse()
        return self._frames.pop()

    def arrived(self, kind: int) -> List[bytes]:
        """Payloads of the frames of this kind that are here already, taken out; all others stay in order for `read`, and so does the
        end of the stream. Never waits."""
        try:
            while True:
                data = self.sock.recv(65536, socket.MSG_DONTWAIT)
                if not data:
                    break
                self._frames[:0] = reversed(self._parser.feed(data))
        except BlockingIOError:
            pass
        except OSError as error:
            raise Closed(str(error)) from error
        found = [payload for each, _, payload in reversed(self._frames) if each == kind]
        if found:
            self._frames = [frame for frame in self._frames if frame[0] != kind]
        return found

    def pending(self) -> bool:
        """Whether `read` would answer without touching the socket."""
        return bool(self._frames)

    def greet(
        self,
        role: str,
        replica: str,
        token: str,
        pid: int,
        timeout: float = 30.0,
        more: Optional[Mapping[str, Any]] = None,
    ) -> Dict[str, Any]:
        """Send HELLO, wait for WELCOME and answer its message. Closed when refused or silent for `timeout` seconds."""
        hello = {"version": VERSION, "role": role, "replica": replica, "token": token, "pid": pid, **(more or {})}
        self.sock.settimeout(timeout)
        self.send(control(HELLO, hello))
        kind, _, payload = self.read()
        self.sock.settimeout(None)
        if kind == WELCOME:
            return message(payload)
        raise Closed(str(message(payload).get("reason", "refused")) if kind == REFUSED else "no welcome")

    def close(self) -> None:
        self.sock.close()
