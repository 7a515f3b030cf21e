"""The CLI's own signed client, with botocore's signer as the oracle and a loopback server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from clary.app.cli.client import ApiFailure, Client, sign
from clary.app.cli.output import FAILED, NOT_FOUND, NOT_RUNNING, CommandRefused
from clary.ports import Credential

KEY = Credential("AKIAX", "secret", "000000000000", "arn")


@pytest.mark.parametrize("token", ["", "a-token"])
def test_the_signature_is_botocore_s(token: str) -> None:
    body = b'{"a": "\xc3\xa9"}'
    given = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.GetLogEvents"}
    credential = Credential("AKIAX", "secret", "000000000000", "arn", token)
    ours = sign(credential, "eu-west-1", "logs", "127.0.0.1:4600", given, body)
    request = AWSRequest("POST", "http://127.0.0.1:4600/", headers={**given, "Host": "127.0.0.1:4600"}, data=body)
    request.context["timestamp"] = ours["X-Amz-Date"]
    request.headers["X-Amz-Date"] = ours["X-Amz-Date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    signer = SigV4Auth(Credentials("AKIAX", "secret", token or None), "logs", "eu-west-1")
    theirs = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert ours["Authorization"].endswith(f"Signature={theirs}")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: list[tuple[int, Any]]
    seen: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.headers["X-Amz-Target"], json.loads(body)))
        status, answer = self.answers.pop(0)
        if status == 0:
            self.close_connection = True
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    class Mine(Handler):
        answers: list[tuple[int, Any]] = []  # noqa: RUF012
        seen: list[tuple[str, Any]] = []  # noqa: RUF012

    http = HTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", Mine
    http.shutdown()
    http.server_close()


def test_lists_are_followed_to_their_end(server: tuple[str, type[Handler]]) -> None:
    endpoint, handler = server
    handler.answers += [(200, {"Endpoints": [1, 2], "NextToken": "t"}), (200, {"Endpoints": [3]})]
    client = Client(endpoint, KEY, "us-east-1")
    assert list(client.pages("sagemaker", "ListEndpoints", "Endpoints", {"MaxResults": 2})) == [1, 2, 3]
    assert handler.seen == [
        ("SageMaker.ListEndpoints", {"MaxResults": 2}),
        ("SageMaker.ListEndpoints", {"MaxResults": 2, "NextToken": "t"}),
    ]
    client.close()


@pytest.mark.parametrize(
    ("status", "answer", "message", "code"),
    [
        (400, {"__type": "ValidationException", "message": "bad"}, "Op: bad", FAILED),
        (400, {"__type": "x#ResourceNotFoundException", "message": "gone"}, "Op: gone", NOT_FOUND),
        (400, {"__type": "ValidationException", "message": 'Could not find endpoint "a".'}, None, NOT_FOUND),
        (503, b"<html>", "Op: HTTP 503", FAILED),
    ],
)
def test_errors_are_told(
    server: tuple[str, type[Handler]], status: int, answer: Any, message: str | None, code: int
) -> None:
    endpoint, handler = server
    handler.answers.append((status, answer))
    client = Client(endpoint, KEY, "us-east-1")
    with pytest.raises(ApiFailure) as caught:
        client.call("sagemaker", "Op")
    assert caught.value.code == code
    assert message is None or caught.value.message == message
    client.close()


def test_a_connection_that_was_closed_meanwhile_is_made_again(server: tuple[str, type[Handler]]) -> None:
    endpoint, handler = server
    handler.answers += [(200, {}), (0, None), (200, {"a": 1}), (0, None)]
    client = Client(endpoint, KEY, "us-east-1")
    assert client.call("logs", "Op") == {}
    assert client.call("logs", "Op") == {"a": 1}
    client.close()
    with pytest.raises(CommandRefused) as caught:
        client.call("logs", "Op")
    assert caught.value.code == NOT_RUNNING


def test_nobody_there() -> None:
    with pytest.raises(CommandRefused) as caught:
        Client("http://127.0.0.1:1", KEY, "us-east-1").call("logs", "Op")
    assert caught.value.code == NOT_RUNNING
    assert caught.value.message == "http://127.0.0.1:1 does not answer: Connection refused"


def test_a_signature_has_the_present_time() -> None:
    before = time.strftime("%Y%m%dT%H%M", time.gmtime())
    stamp = sign(KEY, "us-east-1", "logs", "h", {}, b"")["X-Amz-Date"]
    assert stamp[:13] >= before
