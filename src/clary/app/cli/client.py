"""A small signed client of Clary's public API: AWS JSON 1.1 over the standard library. (botocore takes 0.8 s to import.)

Source of the signature: "Create a signed AWS API request" (Signature Version 4) of the IAM user guide.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from clary.app.cli.output import FAILED, NOT_FOUND, NOT_RUNNING, CommandRefused
from clary.domain.access.scrape_tokens import token_of
from clary.ports import Credential

TARGETS = {
    "sagemaker": "SageMaker",
    "logs": "Logs_20140328",
    "monitoring": "GraniteServiceVersion20100801",
    "application-autoscaling": "AnyScaleFrontendService",
}
TIMEOUT = 60.0  # a search through a large log takes its time
SOON = 5.0  # for what is answered from records
Answer = dict[str, Any]


class ApiFailure(CommandRefused):
    """The server's error: AWS's code and message."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        # What is no name is also the name of nothing.
        no_name = operation.startswith("Describe") and ("ValidationException" in code or "InvalidParameter" in code)
        missing = no_name or "NotFound" in code or message.startswith("Could not find") or "not found" in message
        super().__init__(f"{operation}: {message or code}", NOT_FOUND if missing else FAILED)
        self.aws_code = code


class Client:
    """One key pair at one endpoint. `certificate`: the PEM file that a TLS endpoint must show (it may be self-signed)."""

    def __init__(
        self, endpoint: str, credential: Credential, region: str, certificate: str = "", timeout: float = TIMEOUT
    ) -> None:
        self._url = urlsplit(endpoint)
        self._credential = credential
        self._region = region
        self._certificate = certificate
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def call(self, service: str, operation: str, params: Mapping[str, Any] | None = None) -> Answer:
        """The operation's answer. ApiFailure carries the server's error; Refused when nobody answers."""
        body = json.dumps(params or {}).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"{TARGETS[service]}.{operation}",
        }
        status, answer = self._send(
            sign(self._credential, self._region, service, self._url.netloc, headers, body), body
        )
        try:
            document = json.loads(answer or b"{}")
        except ValueError:
            document = {}
        if status < 300:
            return dict(document)
        code = str(document.get("__type", f"HTTP {status}")).rpartition("#")[2]
        raise ApiFailure(operation, code, str(document.get("message") or document.get("Message") or ""))

    def pages(
        self, service: str, operation: str, key: str, params: Mapping[str, Any] | None = None
    ) -> Iterator[Answer]:
        """Every item of a list, page after page."""
        token = "nextToken" if service == "logs" else "NextToken"
        asked = dict(params or {})
        while True:
            answer = self.call(service, operation, asked)
            yield from answer.get(key, [])
            if not answer.get(token):
                return
            asked[token] = answer[token]

    def stream(self, group: str, stream: str, start_ms: int = 0) -> Iterator[Answer]:
        """Every event of a log stream, oldest first; none where there is no such group or stream."""
        asked: Answer = {
            "logGroupName": group,
            "logStreamName": stream,
            "startFromHead": True,
            **({"startTime": start_ms} if start_ms else {}),
        }
        while True:
            try:
                page = self.call("logs", "GetLogEvents", asked)
            except ApiFailure as error:
                if error.aws_code == "ResourceNotFoundException":
                    return
                raise
            yield from page["events"]
            if page["nextForwardToken"] == asked.get("nextToken"):  # AWS's sign of the end: the token that was sent
                return
            asked["nextToken"] = page["nextForwardToken"]

    def page(self, path: str) -> Answer:
        """A page of JSON that is read with a key (see `app/keyed_page.py`)."""
        return self._page(path, "GET")

    def act(self, path: str) -> Answer:
        """Have something done by such a page: the page after it. Refused, in the server's words, where it cannot be."""
        return self._page(path, "POST")

    def _page(self, path: str, method: str) -> Answer:
        token = token_of(self._credential.access_key_id, self._credential.secret)
        status, answer = self._send({"Authorization": f"Bearer {token}"}, b"", method, path)
        if status != 200:
            code = NOT_FOUND if status == 404 else FAILED
            raise CommandRefused(f"{path}: {answer.decode(errors='replace').strip() or f'HTTP {status}'}", code)
        return dict(json.loads(answer))

    def _send(self, headers: Mapping[str, str], body: bytes, method: str = "POST", path: str = "") -> tuple[int, bytes]:
        # The server may have closed an idle connection: then once more on a fresh one. Only requests that nobody read are repeated.
        for fresh in (self._connection is None, True):
            connection = self._connect()
            try:
                connection.request(method, path or self._url.path or "/", body, dict(headers))
                response = connection.getresponse()
                return response.status, response.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                self.close()
                if fresh:
                    raise CommandRefused(
                        f"{self._url.geturl()} closed the connection: {_why(error)}", NOT_RUNNING
                    ) from error
            except (OSError, http.client.HTTPException) as error:
                self.close()
                late = " (`clary doctor` looks for the reason)" if isinstance(error, TimeoutError) else ""
                raise CommandRefused(
                    f"{self._url.geturl()} does not answer: {_why(error)}{late}", NOT_RUNNING
                ) from error
        raise AssertionError("unreachable")

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._url.hostname or "", self._url.port
            if self._url.scheme == "https":
                context = ssl.create_default_context(cafile=self._certificate or None)
                context.check_hostname = not self._certificate  # it is this very certificate, whatever it is called
                self._connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=context)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _why(error: Exception) -> str:
    """In words: without the number of an error of the system."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def sign(
    credential: Credential,
    region: str,
    service: str,
    host: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float | None = None,
) -> dict[str, str]:
    """The headers of a `POST /` of these headers and this body, signed for a service (Signature Version 4)."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() if now is None else now))
    signed = {**headers, "Host": host, "X-Amz-Date": stamp}
    if credential.session_token:
        signed["X-Amz-Security-Token"] = credential.session_token
    lower = sorted((name.lower(), value.strip()) for name, value in signed.items())
    names = ";".join(name for name, _ in lower)
    canonical = "\n".join(
        ["POST", "/", "", *(f"{name}:{value}" for name, value in lower), "", names, hashlib.sha256(body).hexdigest()]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credential.secret}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={credential.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return {**signed, "Authorization": authorization}
