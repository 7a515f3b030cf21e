"""Requests signed by botocore's own signers, for the tests of signatures."""

from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from clary.wire.http import Request

KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def credentials(token: str | None = None) -> Credentials:
    return Credentials(KEY_ID, SECRET, token)


def sent(signer: Any, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Request:
    """What arrives when botocore signs and sends this request."""
    request = AWSRequest(method=method, url=url, headers=headers or {}, data=body)
    request.context.update({"payload_signing_enabled": True})
    signer.add_auth(request)
    return arrived(request)


def arrived(request: AWSRequest) -> Request:
    from clary.wire.http import Headers

    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    pairs = [(name, value.decode() if isinstance(value, bytes) else value) for name, value in prepared.headers.items()]
    if "host" not in {name.lower() for name, _ in pairs}:
        pairs.append(("Host", parts.netloc))
    data = prepared.body or b""
    content = data.encode() if isinstance(data, str) else bytes(data)
    return Request(prepared.method, parts.path or "/", parts.query, Headers(pairs), content)
