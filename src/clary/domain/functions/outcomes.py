"""How an invocation ended, in the words that Lambda answers. Pure. Source: developer guide, "Understanding retry behavior", runtimes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from clary.domain.functions.record import LARGEST_PAYLOAD

UNHANDLED = "Unhandled"


@dataclass(frozen=True, slots=True)
class Invoked:
    """`payload` is the answer's JSON, or the error's when `error` is not "". `log` is the last 4 KB that the function wrote."""

    payload: bytes
    error: str = ""
    log: bytes = b""


def failed(kind: str, message: str, id_: str = "") -> bytes:
    """An error's payload."""
    text = f"RequestId: {id_} Error: {message}" if id_ else message
    return json.dumps({"errorType": kind, "errorMessage": text}).encode()


def timed_out(id_: str, seconds: float) -> bytes:
    return failed("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds", id_)


def exited(id_: str, code: int | None, oom: bool) -> bytes:
    """The process ended before it answered."""
    if oom:
        return failed("Runtime.OutOfMemory", "Runtime exited with error: signal: killed", id_)
    if code is not None and code > 128:
        return failed("Runtime.ExitError", f"Runtime exited with error: signal: {code - 128}", id_)
    return failed(
        "Runtime.ExitError", f"Runtime exited with error: exit status {'unknown' if code is None else code}", id_
    )


def too_large(size: int) -> bytes:
    return failed(
        "Function.ResponseSizeTooLarge",
        f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({LARGEST_PAYLOAD} bytes).",
    )


def message(payload: bytes) -> str:
    """What an error's payload says, for a log."""
    try:
        found = json.loads(payload)
        return str(found["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return payload.decode("utf-8", "replace")
