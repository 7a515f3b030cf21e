"""The edge's own error answers, in the protocol of the request: JSON, query XML, S3 XML.

Owns the bodies nginx sends when nothing behind it can answer (a process restarts, a body is too large, a client too slow). Refuses to
know anything but nginx's syntax. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Error:
    """An error of the edge: the status sent, its code for JSON and query services, its code for S3, words for all."""

    status: int
    code: str
    s3_code: str
    message: str
    s3_status: int = 0
    front_code: str = ""
    front_status: int = 0


_ERRORS = {
    400: _Error(400, "ValidationException", "InvalidRequest", "The request is not well-formed HTTP, or its head is too large."),
    405: _Error(405, "UnknownOperationException", "MethodNotAllowed", "The specified method is not allowed here."),
    408: _Error(408, "RequestTimeoutException", "RequestTimeout", "The request was not received in time.", s3_status=400),
    413: _Error(
        413,
        "RequestEntityTooLargeException",
        "EntityTooLarge",
        "The request body has $clary_size, and the limit is {limit} bytes.",
        s3_status=400,
        front_code="ValidationError",
        front_status=400,
    ),
    414: _Error(414, "ValidationException", "InvalidURI", "The request URI is too long.", s3_status=400),
    421: _Error(421, "ValidationException", "InvalidRequest", "This Host name is not allowed here: see the setting allowed_hosts."),
    497: _Error(400, "ValidationException", "InvalidRequest", "This port speaks https: AWS_ENDPOINT_URL has to begin with https://."),
    500: _Error(500, "InternalFailure", "InternalError", "The request failed because of an internal error."),
    501: _Error(501, "ValidationException", "NotImplemented", "The Transfer-Encoding is not known here: only chunked is."),
    503: _Error(503, "ServiceUnavailable", "ServiceUnavailable", "A part of Clary is restarting. Try again."),
    505: _Error(505, "ValidationException", "InvalidRequest", "This version of HTTP is not supported: HTTP/1.0 and HTTP/1.1 are."),
}  # fmt: skip


def sizes() -> str:
    """What is told of a body's size: a chunked one does not say it beforehand."""
    return """\
    map $http_content_length $clary_size {
        default "$http_content_length bytes";
        "" "no end after $request_length bytes";
    }
"""


def locations(limits: Mapping[str, int], prefix: str = "@", statuses: Collection[int] = ()) -> str:
    """The locations `<prefix><where>_<status>` that `error_page` points at, for each place and its body limit in bytes (and these
    statuses; none: all).

    A request whose first line cannot be read has no URI, and nginx takes no such request to a named location: for those the prefix
    is `= /-/`."""
    blocks = []
    for where, limit in limits.items():
        for status, error in _ERRORS.items():
            if statuses and status not in statuses:
                continue
            message = error.message.format(limit=limit)
            if where == "front" and status == 413:
                message = f"Request $request_id has oversize body: $clary_size, and the limit is {limit} (setting max_payload)."
            blocks.append(_location(f"{prefix}{where}_{status}", where, error, message))
    return "\n".join(blocks)


def _location(name: str, where: str, error: _Error, message: str) -> str:
    status, code = error.status, error.code
    kind = "application/json"
    extra = ""
    if where == "objects":
        status, code = error.s3_status or status, error.s3_code
        kind = "application/xml"
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\\n'
            f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>$request_id</RequestId></Error>"
        )
        extra = "\n            add_header x-amz-request-id $request_id always;"
    elif where == "query":
        kind = "text/xml"
        whose = "Receiver" if status >= 500 else "Sender"
        body = (
            f"<ErrorResponse><Error><Type>{whose}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            "<RequestId>$request_id</RequestId></ErrorResponse>"
        )
    else:
        if where == "front":
            status, code = error.front_status or status, error.front_code or code
        body = f'{{"__type":"{code}","message":"{message}"}}'
        extra = f"\n            add_header x-amzn-ErrorType {code} always;"
    retry = "\n            add_header Retry-After 1 always;" if status == 503 else ""
    return f"""\
        location {name} {{
            internal;
            default_type {kind};
            add_header x-amzn-RequestId $request_id always;{extra}{retry}
            return {status} '{body}';
        }}"""
