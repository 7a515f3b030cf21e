"""One S3 request: what was asked for (bucket, key, arguments), who asks, and the answer's shape.

Owns: addressing (path style, virtual hosts, the hosts that old notebooks use), decoding of path and query, key and bucket name
rules. Does not know: signatures, operations, where anything is kept.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import AsyncIterator
from functools import cached_property, lru_cache
from typing import Any, Protocol
from urllib.parse import quote, unquote

from clary.objects.errors import S3Error
from clary.wire.http import Headers

LONGEST_KEY = 1024
_PATH = "/-_.~"
_PLAIN = re.compile(r"[A-Za-z0-9/_.~-]*")
_AWS = re.compile(r"(?:(?P<bucket>.+)\.)?s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_ids = itertools.count(1)
_SEED = secrets.token_hex(4).upper()


class Proto(Protocol):
    """granian's RSGI protocol, as far as we use it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    def response_file_range(
        self, status: int, headers: list[tuple[str, str]], file: str, start: int, end: int
    ) -> None: ...


class Call:
    """One request. `args` are the decoded query; `account` is who asks (set once the signature is checked), `decoder` decodes an
    aws-chunked body (None: plain), `body_sha256` is what the signed payload hash promises ("": nothing)."""

    __slots__ = (
        "__dict__", "account", "body_sha256", "bucket", "decoded_path", "decoder", "headers", "hosted", "id", "key", "method", "now",
        "proto", "query", "unread",
    )  # fmt: skip
    body = b""  # for the signature's check; the real one is streamed

    def __init__(self, scope: Any, proto: Proto, hosts: tuple[str, ...], now: float) -> None:
        self.proto = proto
        self.now = now
        self.unread = True  # the body has not been asked for
        self.method: str = scope.method
        self.decoded_path: str = scope.path
        self.query: str = scope.query_string
        self.headers = Headers(scope.headers.items())
        self.id = f"{_SEED}{next(_ids):08X}"
        self.account = ""
        self.body_sha256 = ""
        self.decoder: Any = None
        bucket = bucket_of_host(self.headers.get("host", ""), hosts)
        self.hosted = bool(bucket)
        if bucket:
            self.bucket, self.key = bucket, self.decoded_path[1:]
        else:
            self.bucket, _, self.key = self.decoded_path[1:].partition("/")

    @cached_property
    def args(self) -> dict[str, str]:
        return parse_query(self.query)

    @cached_property
    def path(self) -> str:
        """The path as AWS canonicalises it. The server gives it decoded; encoded again by AWS's rules it is what was signed."""
        path = self.decoded_path
        return path if _PLAIN.fullmatch(path) else quote(path, safe=_PATH)

    @property
    def resource(self) -> str:
        return f"/{self.bucket}/{self.key}" if self.key else f"/{self.bucket}"

    def header(self, name: str, default: str = "") -> str:
        value: str = self.headers.get(name, default)
        return value

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """An integer argument; above `high` it counts as `high`, as S3 does with max-keys."""
        text = self.args.get(name, "")
        if not text:
            return default
        if not text.isdecimal() or len(text) > 12 or int(text) < low or int(text) > 2147483647:
            raise S3Error(
                "InvalidArgument",
                f"Provided {name} not an integer or within integer range",
                ArgumentName=name,
                ArgumentValue=text,
            )
        return min(int(text), high)


class Reply:
    """An answer: a body, or a range of a file (end exclusive)."""

    __slots__ = ("body", "end", "file", "headers", "start", "status")

    def __init__(self, status: int = 200, headers: list[tuple[str, str]] | None = None, body: bytes = b"") -> None:
        self.status, self.body = status, body
        self.headers = headers if headers is not None else []
        self.file = ""
        self.start = self.end = 0


def xml_reply(body: bytes, headers: list[tuple[str, str]] | None = None) -> Reply:
    return Reply(200, [("content-type", "application/xml"), *(headers or [])], body)


def parse_query(query: str) -> dict[str, str]:
    """Decoded arguments, without those of a SigV4 signature."""
    args: dict[str, str] = {}
    for part in query.split("&") if query else ():
        if part.startswith("X-Amz-"):
            continue
        name, _, value = part.partition("=")
        if "%" in value or "+" in value:
            value = unquote(value.replace("+", " "))
        args[unquote(name) if "%" in name else name] = value
    return args


@lru_cache(maxsize=1024)
def bucket_of_host(host: str, hosts: tuple[str, ...]) -> str:
    """The bucket that a Host names ("" for path style): AWS's own hosts in all their spellings, and BUCKET.HOST or BUCKET.s3.HOST
    for each name that Clary answers to."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.lower().rstrip(".")
    found = _AWS.fullmatch(name)
    if found:
        return found["bucket"] or ""
    for base in ("localhost", *hosts):
        if name.endswith("." + base) and not _ADDRESS.fullmatch(base):
            front = name[: -len(base) - 1]
            front = "" if front == "s3" else front.removesuffix(".s3")
            # s3.REGION.HOST is path style; a bucket may have dots, but none is called s3.something
            return "" if re.fullmatch(r"s3[.-][a-z0-9-]+", front) else re.sub(r"\.s3[.-][a-z0-9-]+$", "", front)
    return ""


def check_bucket_name(name: str) -> None:
    """S3's naming rules (S3 User Guide, "General purpose bucket naming rules")."""
    if (
        not _BUCKET.fullmatch(name)
        or ".." in name
        or ".-" in name
        or "-." in name
        or _ADDRESS.fullmatch(name)
        or name.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
        or name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3"))
    ):
        raise S3Error("InvalidBucketName", BucketName=name)


def check_key(key: str) -> None:
    """Any UTF-8 of 1 to 1024 bytes is a key."""
    if len(key) * 4 > LONGEST_KEY and len(key.encode()) > LONGEST_KEY:
        raise S3Error("KeyTooLongError", Size=str(len(key.encode())), MaxSizeAllowed=str(LONGEST_KEY))


def strip_quotes(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text
