"""`python -m clary.toolkit.function SPEC`: runs a Lambda function inside its sandbox, one invocation after the other.

SPEC is a JSON file: `{"archive", "target", "limits", "socket", "handler", "name", "arn", "memory", "group", "stream"}`. It dials `socket`,
unpacks the archive into `target`, imports the handler, and answers frames until the other side hangs up: then nobody wants it any more.

A frame is two 32-bit lengths (big-endian), a JSON header and a body. To here: `{"id", "arn", "deadline"}` (epoch seconds) and the event.
From here: `{"ready": true}`, then for each event `{"id", "error"}` ("" or "Unhandled") and the answer's JSON. What the function prints
goes to standard output, which is its log; START, END and REPORT lines are Lambda's.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import socket
import struct
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Tuple

from clary.toolkit.archive import ArchiveError, ArchiveLimits, extract

LENGTHS = struct.Struct("!II")
LARGEST = 6_291_556  # bytes of an answer
UNHANDLED = "Unhandled"

Handler = Callable[[Any, Any], Any]


class LambdaContext:
    """What a handler is given as its second argument."""

    identity = None

    def __init__(self, spec: Dict[str, Any], header: Dict[str, Any]) -> None:
        self.function_name = spec["name"]
        self.function_version = spec["version"]
        self.invoked_function_arn = header["arn"]
        self.memory_limit_in_mb = str(spec["memory"])
        self.aws_request_id = header["id"]
        self.log_group_name = spec["group"]
        self.log_stream_name = spec["stream"]
        self.client_context = header.get("client_context")
        self._deadline = float(header["deadline"])

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.time()) * 1000))


class RequestId(logging.Filter):
    """Each line of the log tells its request."""

    current = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.current
        return True


def main(argv: List[str]) -> int:
    with open(argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(spec["socket"])
    request_id = _logging()
    began = time.monotonic()
    handler, broken = _load(spec)
    _send(connection, {"ready": True}, b"")
    init = time.monotonic() - began
    while True:
        frame = _receive(connection)
        if frame is None:
            return 0
        header, body = frame
        request_id.current = header["id"]
        print("START RequestId: {} Version: {}".format(header["id"], spec["version"]), flush=True)
        began = time.monotonic()
        error, answer = (UNHANDLED, broken) if handler is None else _call(handler, spec, header, body)
        taken = time.monotonic() - began
        _report(spec, header["id"], taken, init)
        init = 0.0
        _send(connection, {"id": header["id"], "error": error}, answer)
        if handler is None:
            return 1


def _logging() -> RequestId:
    """The root logger writes as it does on Lambda; the function sets its level."""
    request_id = RequestId()
    stream = logging.StreamHandler(sys.stdout)
    form = logging.Formatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    form.converter = time.gmtime
    stream.setFormatter(form)
    stream.addFilter(request_id)
    logging.getLogger().addHandler(stream)
    return request_id


def _load(spec: Dict[str, Any]) -> Tuple[Optional[Handler], bytes]:
    """The handler; or None, and the error that every invocation is told."""
    try:
        extract(spec["archive"], spec["target"], ArchiveLimits.from_json(spec.get("limits")), zips=True)
    except (ArchiveError, OSError) as error:
        return None, _failed("Runtime.InvalidCode", "Cannot extract the function's code: {}".format(error))
    sys.path.insert(0, spec["target"])
    os.chdir(spec["target"])
    file, _, name = spec["handler"].rpartition(".")
    try:
        module = importlib.import_module(file.replace("/", "."))
    except ImportError as error:
        return None, _failed("Runtime.ImportModuleError", "Unable to import module '{}': {}".format(file, error))
    except SyntaxError as error:
        words = "Syntax error in module '{}': {}".format(file, error)
        return None, _failed("Runtime.UserCodeSyntaxError", words, traceback.format_exc(limit=0).splitlines())
    except Exception as error:
        return None, _raised(error)
    found = getattr(module, name, None)
    if not callable(found):
        return None, _failed("Runtime.HandlerNotFound", "Handler '{}' missing on module '{}'".format(name, file))
    return found, b""


def _call(handler: Handler, spec: Dict[str, Any], header: Dict[str, Any], body: bytes) -> Tuple[str, bytes]:
    try:
        answer = handler(json.loads(body or b"{}"), LambdaContext(spec, header))
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        return UNHANDLED, _raised(error, header["id"])
    try:
        text = json.dumps(answer, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return UNHANDLED, _failed("Runtime.MarshalError", "Unable to marshal response: {}".format(error))
    if len(text) > LARGEST:
        words = "Response payload size ({} bytes) exceeded maximum allowed payload size ({} bytes).".format(
            len(text), LARGEST
        )
        return UNHANDLED, _failed("Function.ResponseSizeTooLarge", words)
    return "", text


def _raised(error: Exception, id_: str = "") -> bytes:
    """An exception of the function's own, without the frames of this file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    trace = traceback.format_list(own)
    return _failed(type(error).__name__, str(error), trace, id_)


def _failed(kind: str, message: str, trace: Optional[List[str]] = None, id_: str = "") -> bytes:
    told = {"errorMessage": message[:65536], "errorType": kind, "requestId": id_, "stackTrace": (trace or [])[-50:]}
    return json.dumps(told).encode()


def _report(spec: Dict[str, Any], id_: str, taken: float, init: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    milliseconds = taken * 1000
    line = "REPORT RequestId: {}\tDuration: {:.2f} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB".format(
        id_, milliseconds, int(milliseconds) + 1, spec["memory"], used
    )
    if init:
        line += "\tInit Duration: {:.2f} ms".format(init * 1000)
    sys.stdout.flush()
    sys.stderr.flush()
    print("END RequestId: {}\n{}".format(id_, line), flush=True)


def _send(connection: socket.socket, header: Dict[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    connection.sendall(LENGTHS.pack(len(text), len(body)) + text + body)


def _receive(connection: socket.socket) -> Optional[Tuple[Dict[str, Any], bytes]]:
    """A frame, or None when the other side hung up."""
    lengths = _exactly(connection, LENGTHS.size)
    if lengths is None:
        return None
    of_header, of_body = LENGTHS.unpack(lengths)
    header, body = _exactly(connection, of_header), _exactly(connection, of_body)
    if header is None or body is None:
        return None
    return json.loads(header), body


def _exactly(connection: socket.socket, size: int) -> Optional[bytes]:
    parts = []
    while size:
        try:
            data = connection.recv(min(size, 1 << 20))
        except ConnectionError:
            return None
        if not data:
            return None
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
