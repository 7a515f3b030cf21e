"""HTTP answers of the data plane in AWS's shapes, as bytes.

Owns the texts and headers of InvokeEndpoint's answers and errors (AWS's own words where they are known: service model of
sagemaker-runtime, and messages seen in public). Does not know sockets and queues. Pure.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from clary.domain.ids import arn as make_arn
from clary.domain.names import log_group
from clary.toolkit import frames

HEADER_LIMIT = 1024  # characters of CustomAttributes (service model)
PASSED_BACK = {  # headers of the model's answer that reach the client
    "x-amzn-sagemaker-custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    "x-amzn-sagemaker-new-session-id": "X-Amzn-SageMaker-New-Session-Id",
    "x-amzn-sagemaker-closed-session-id": "X-Amzn-SageMaker-Closed-Session-Id",
}
TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container {container}. Review the latency metrics for each "
    "container in Amazon CloudWatch, resolve the issue, and try again."
)
NO_ANSWER = (
    "Amazon SageMaker could not get a response from the {endpoint} endpoint. This can occur when CPU or memory utilization is "
    "high. To check your utilization, see Amazon CloudWatch. To fix this problem, use an instance type with more CPU capacity or "
    "memory."
)
NO_COPIES = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if configured) or try "
    "to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
)
NO_SESSION = (
    "Session {session} of endpoint {endpoint} not found: it was closed or has expired, or the worker that held it is gone. Begin "
    "another one with SessionId NEW_SESSION."
)


def error(status: int, code: str, message: str, request_id: bytes, extra: dict[str, object] | None = None) -> bytes:
    """A whole error answer in REST-JSON: the code in `x-amzn-ErrorType`, `Message` and the shape's further members in the body."""
    body = json.dumps({"Message": message, **(extra or {})}).encode()
    reason = HTTPStatus(status).phrase if status != 530 else "Dependency Failure"
    return (
        b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nx-amzn-ErrorType: %b\r\nx-amzn-RequestId: %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (status, reason.encode(), code.encode(), request_id, len(body), body)
    )


def not_found(endpoint: str, account: str, request_id: bytes) -> bytes:
    """AWS's words for an endpoint that does not exist (in this account and region)."""
    return error(400, "ValidationError", f"Endpoint {endpoint} of account {account} not found.", request_id)


def success_head(variant: str, meta: bytes) -> bytes:
    """The answer's head up to and with `x-amzn-RequestId: `, for a result's meta; the caller goes on with id, length and body.

    Header values come from the user's model: what could not be one printable header line is left out."""
    return _head(["HTTP/1.1 200 OK"], "Content-Type", variant, meta)


def stream_head(variant: str, meta: bytes) -> bytes:
    """The same for an answer that follows in chunks, as an event stream. nginx takes X-Accel-Buffering for itself: pass on at once."""
    lines = [
        "HTTP/1.1 200 OK",
        "Content-Type: application/vnd.amazon.eventstream",
        "Transfer-Encoding: chunked",
        "X-Accel-Buffering: no",
    ]
    return _head(lines, "X-Amzn-SageMaker-Content-Type", variant, meta)


def _head(lines: list[str], typed: str, variant: str, meta: bytes) -> bytes:
    content_type, headers = frames.decode_result_meta(meta)
    if content_type and _printable(content_type):
        lines.append(f"{typed}: {content_type}")
    lines.append(f"x-Amzn-Invoked-Production-Variant: {variant}")
    for name, sent in PASSED_BACK.items():
        value = headers.get(name, "")
        if value and len(value) <= HEADER_LIMIT and _printable(value):
            lines.append(f"{sent}: {value}")
    lines.append("x-amzn-RequestId: ")
    return "\r\n".join(lines).encode("latin-1")


def _printable(value: str) -> bool:
    return value.isascii() and value.isprintable()


class ModelErrors:
    """ModelError answers of one variant of one endpoint (HTTP 424)."""

    __slots__ = ("_container", "_endpoint", "_tail", "_where")

    def __init__(self, account: str, region: str, endpoint: str, container: str) -> None:
        group = log_group(endpoint)
        self._endpoint = endpoint
        self._container = container
        self._where = make_arn("logs", region, account, f"log-group:{group}")
        console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        self._tail = f"See {console}#logEventViewer:group={group} in account {account} for more information."

    def answered(self, status: int, body: bytes, request_id: bytes) -> bytes:
        """The model's container answered a 4xx or 5xx `status` with `body`."""
        text = body[: frames.MAX_ERROR].decode("utf-8", "replace")
        whose = "client" if 400 <= status < 500 else "server"
        message = f'Received {whose} error ({status}) from {self._container} with message "{text}". {self._tail}'
        return self._error(status, message, text, request_id)

    def timed_out(self, request_id: bytes) -> bytes:
        """The deadline passed while the model, or the queue before it, held the request."""
        text = TIMED_OUT.format(container=self._container)
        return self._error(
            0, f'Received server error (0) from {self._container} with message "{text}". {self._tail}', text, request_id
        )

    def no_answer(self, request_id: bytes) -> bytes:
        """The worker that had the request died."""
        text = NO_ANSWER.format(endpoint=self._endpoint)
        if self._container != "primary":  # of several
            text = f"Container {self._container}: {text}"
        return self._error(500, text, text, request_id)

    def overloaded(self, reason: str, request_id: bytes) -> bytes:
        """There is no hope of an answer in time: refused now, and not by a time-out."""
        return error(503, "ServiceUnavailable", f"Endpoint {self._endpoint} {reason}. Try again.", request_id)

    def no_session(self, session: str, request_id: bytes) -> bytes:
        """The session that the request names is over, or never was."""
        text = NO_SESSION.format(session=session, endpoint=self._endpoint)
        return error(400, "ValidationError", text, request_id)

    def too_large(self, size: int, limit: int, request_id: bytes) -> bytes:
        """The container's answer may not go on to the next one."""
        text = f"The answer of container {self._container} has {size} bytes; the limit between containers is {limit} (setting max_payload)."
        message = f'Received client error (413) from {self._container} with message "{text}". {self._tail}'
        return self._error(413, message, text, request_id)

    def _error(self, status: int, message: str, original: str, request_id: bytes) -> bytes:
        members: dict[str, object] = {
            "OriginalStatusCode": status,
            "OriginalMessage": original,
            "LogStreamArn": self._where,
        }
        return error(424, "ModelError", message, request_id, members)
