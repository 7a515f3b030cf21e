"""AWS Signature Version 4, verified: the ``Authorization`` header and presigned queries.

Owns: reading a claim out of a request (``inspect``), the canonical request, the comparison (``check``). Does not know:
where keys are kept and who they belong to. A front checks tens of thousands of requests a second with keys that were
derived once, so ``check`` takes the derived key, touches each header once, and does the rare things (other canonical
spellings) only when a signature has failed.

The rules are those of "Create a signed AWS API request" (IAM User Guide) and "Authenticating Requests" (S3 API
Reference). S3 differs: paths are not encoded twice, the payload's hash is what ``x-amz-content-sha256`` says.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from calendar import timegm
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote, unquote_to_bytes

from clary.wire.autherrors import auth_error

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
SKEW = 300.0
S3_SKEW = 900.0
LONGEST_URL = 604800

_STREAMS = frozenset(
    {
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    }
)
_NAMED = re.compile(
    r"Credential=[^/,%&=]*(?:(?:/|%2F)[^/,%&=]*){2}(?:/|%2F)([a-z0-9-]+)(?:/|%2F)aws4_request", re.IGNORECASE
)
_HEX = frozenset("0123456789abcdef")


class Signed(Protocol):
    """What is signed: any request whose header names are lower-case and whose repeated fields are joined by commas."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class ClaimedIdentity(NamedTuple):
    """Who a request says it is from, and how that is signed. Nothing in it is verified."""

    version: int
    key_id: str
    date: str
    region: str
    service: str
    timestamp: str
    signed_headers: str
    signature: str
    token: str | None
    payload_hash: str | None
    expires: int | None

    @property
    def presigned(self) -> bool:
        """Whether the claim is in the query."""
        return self.expires is not None

    @property
    def scope(self) -> tuple[str, str, str, str]:
        """What a derived key depends on: key id, date, region, service."""
        return self.key_id, self.date, self.region, self.service

    @property
    def chunked(self) -> bool:
        """Whether the body comes in ``aws-chunked`` form."""
        return self.payload_hash in _STREAMS


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key derived from a secret for one day, region and service; it signs requests, but does not give the secret."""
    digest = hmac.digest
    key = digest(b"AWS4" + secret.encode(), date.encode(), "sha256")
    for part in (region, service, "aws4_request"):
        key = digest(key, part.encode(), "sha256")
    return key


# -- reading ----------------------------------------------------------------------------------------------------------


def inspect(request: Signed, service: str | None = None) -> ClaimedIdentity | None:
    """The SigV4 claim of a request; None when it has none. Raises AuthError when there is one that makes no sense: in the words of the
    service that it names, or else of ``service``."""
    text = request.headers.get("authorization")
    if text:
        if text.startswith(ALGORITHM):
            return _from_header(request.headers, text, service)
        if text.startswith("AWS "):
            return None
        raise auth_error("old signature", service, target="x-amz-target" in request.headers)
    if "X-Amz-Signature=" in request.query or "X-Amz-Credential=" in request.query:
        return _from_query(request)
    return None


def named(request: Signed) -> str | None:
    """The service that a request says it is signed for, however broken the rest of its claim is; None when it names none."""
    text = request.headers.get("authorization") or request.query
    found = _NAMED.search(text) if text else None
    return found[1] if found is not None else None


def _from_header(headers: Mapping[str, str], text: str, otherwise: str | None) -> ClaimedIdentity:
    fields = {}
    for part in text[len(ALGORITHM) :].split(","):
        name, _, value = part.strip().partition("=")
        fields[name] = value
    try:
        credential, names, signature = fields["Credential"], fields["SignedHeaders"], fields["Signature"]
        key_id, date, region, service = _scope(credential)
    except (KeyError, ValueError) as error:
        scope = found[1] if (found := _NAMED.search(text)) is not None else otherwise
        detail = f"it requires the parameter {error}" if isinstance(error, KeyError) else str(error)
        raise auth_error("malformed", scope, target="x-amz-target" in headers, detail=detail) from error
    timestamp = headers.get("x-amz-date")
    if timestamp is None:
        timestamp = _from_http_date(headers.get("date"), service, headers)
    return ClaimedIdentity(
        4,
        key_id,
        date,
        region,
        service,
        timestamp,
        names,
        signature,
        headers.get("x-amz-security-token"),
        headers.get("x-amz-content-sha256"),
        None,
    )


def _scope(credential: str) -> tuple[str, str, str, str]:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request" or not parts[0]:
        raise ValueError("the Credential must be <key id>/YYYYMMDD/REGION/SERVICE/aws4_request")
    return parts[0], parts[1], parts[2], parts[3]


def _from_http_date(text: str | None, service: str, headers: Mapping[str, str]) -> str:
    from email.utils import parsedate_to_datetime

    try:
        if text is None:
            raise ValueError("a request must have an X-Amz-Date or Date header")
        if text[:8].isdecimal():
            return text
        return parsedate_to_datetime(text).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise auth_error("malformed", service, target="x-amz-target" in headers, detail=str(error)) from error


def _from_query(request: Signed) -> ClaimedIdentity:
    fields: dict[str, str] = {}
    for part in request.query.split("&"):
        name, _, value = part.partition("=")
        if name.startswith("X-Amz-"):
            fields[name] = unquote(value) if "%" in value else value
    target = "x-amz-target" in request.headers
    service = None
    try:
        key_id, date, region, service = _scope(fields["X-Amz-Credential"])
        if fields["X-Amz-Algorithm"] != ALGORITHM:
            raise ValueError(f"X-Amz-Algorithm only supports {ALGORITHM!r}")
        claim = ClaimedIdentity(
            4,
            key_id,
            date,
            region,
            service,
            fields["X-Amz-Date"],
            fields["X-Amz-SignedHeaders"],
            fields["X-Amz-Signature"],
            fields.get("X-Amz-Security-Token"),
            fields.get("X-Amz-Content-Sha256") or request.headers.get("x-amz-content-sha256"),
            _expiry(fields["X-Amz-Expires"]) if service == "s3" or "X-Amz-Expires" in fields else 900,
        )
    except KeyError as error:
        detail = f"Query-string authentication version 4 requires the parameter {error.args[0]}"
        raise auth_error("malformed query", service or "s3", target=target, detail=detail) from error
    except ValueError as error:
        raise auth_error("malformed query", service or "s3", target=target, detail=str(error)) from error
    return claim


def _expiry(text: str) -> int:
    if not text.removeprefix("-").isdecimal() or len(text) > 12:
        raise ValueError("X-Amz-Expires should be a number")
    expires = int(text)
    if expires < 0:
        raise ValueError("X-Amz-Expires must be non-negative")
    if expires > LONGEST_URL:
        raise ValueError(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            f"{LONGEST_URL} seconds"
        )
    return expires


# -- checking ---------------------------------------------------------------------------------------------------------


def check(request: Signed, claim: ClaimedIdentity, key: bytes, now: float, *, body_hash: str | None = None) -> None:
    """Raise AuthError unless ``key``, derived for the claim's scope, signed this request and the time is right.

    ``now`` is epoch seconds. Clocks may differ by 5 minutes (S3: 15). For S3 the payload's hash is taken from
    ``x-amz-content-sha256`` and the reader of the body must compare them (or decode its chunks); for all others it is
    the body's, which ``body_hash`` (hex) saves from being computed again.
    """
    service = claim.service
    headers = request.headers
    if claim.timestamp[:8] != claim.date:
        raise auth_error(
            "mismatch" if service == "s3" else "scope",
            service,
            target="x-amz-target" in headers,
            detail=f"a valid date: {claim.date!r} does not match {claim.timestamp[:8]!r}",
        )
    _check_time(request, claim, now)
    if service == "s3":
        payload = claim.payload_hash
        if payload is None:
            if claim.expires is None:
                raise auth_error("unsigned body", service)
            payload = UNSIGNED
        path = request.path
    else:
        payload = body_hash if body_hash is not None else hashlib.sha256(request.body).hexdigest()
        stated = claim.payload_hash
        if stated is not None and stated != payload:
            kind = "mismatch" if len(stated) == 64 else "unsigned body"
            raise auth_error(kind, service, target="x-amz-target" in headers, detail=stated[:60])
        path = "/" if request.path == "/" else _encoded_twice(request.path)
    query = _canonical_query(request.query) if request.query else ""
    lines = _signed_lines(request, claim)
    prefix = f"{ALGORITHM}\n{claim.timestamp}\n{claim.date}/{claim.region}/{service}/aws4_request\n"
    tail = f"{lines}\n{claim.signed_headers}\n{payload}"
    if _matches(key, prefix, f"{request.method}\n{path}\n{query}\n{tail}", claim.signature):
        return
    # AWS decodes and encodes path and query by its own rules; a client may spell them differently on the wire.
    if service == "s3":
        path = "/".join(quote(unquote_to_bytes(part), safe="-_.~") for part in request.path.split("/"))
    other = f"{request.method}\n{path}\n{_respelled_query(request.query)}\n{tail}"
    if not _matches(key, prefix, other, claim.signature):
        raise auth_error("mismatch", service, target="x-amz-target" in headers)


def _matches(key: bytes, prefix: str, canonical: str, signature: str) -> bool:
    try:
        raw = canonical.encode("latin-1")  # servers give header bytes as latin-1, and bytes are what was signed
    except UnicodeEncodeError:
        raw = canonical.encode("utf-8", "replace")
    digest = hashlib.sha256(raw).hexdigest()
    wanted = hmac.digest(key, f"{prefix}{digest}".encode(), "sha256").hex()
    return hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace"))


def _signed_lines(request: Signed, claim: ClaimedIdentity) -> str:
    """The canonical headers; refuses a request that leaves out what must be signed, or signs what is not there."""
    headers = request.headers
    names = claim.signed_headers.split(";")
    lines = []
    for name in names:
        value = headers.get(name)
        if value is None:
            raise auth_error("mismatch", claim.service, target="x-amz-target" in headers)
        if "  " in value or "\t" in value:
            value = " ".join(value.split())
        lines.append(f"{name}:{value}\n")
    if "host" not in names:
        raise auth_error("unsigned header", claim.service, target="x-amz-target" in headers, detail="Host")
    for name in headers:
        if name.startswith("x-amz-") and name not in names and not _may_be_unsigned(name, claim):
            raise auth_error(
                "unsigned header",
                claim.service,
                target="x-amz-target" in headers,
                detail=name,
                **({"HeadersNotSigned": name} if claim.service == "s3" else {}),
            )
    return "".join(lines)


def _may_be_unsigned(name: str, claim: ClaimedIdentity) -> bool:
    # A presigned URL was made before anyone knew of a payload's hash; it states it in the query or not at all.
    return claim.expires is not None and name == "x-amz-content-sha256"


def _check_time(request: Signed, claim: ClaimedIdentity, now: float) -> None:
    signed = _seconds(claim.timestamp)
    limit = S3_SKEW if claim.service == "s3" else SKEW
    if signed is not None and claim.expires is None and -limit <= now - signed <= limit:
        return
    target = "x-amz-target" in request.headers
    if signed is None:
        raise auth_error("malformed", claim.service, target=target, detail="X-Amz-Date must be YYYYMMDDTHHMMSSZ")
    if claim.expires is not None:
        if now > signed + claim.expires:
            detail = f"{claim.timestamp} is now earlier than {stamp(now - claim.expires)}"
            raise auth_error("expired url", claim.service, target=target, detail=detail)
        if now < signed - limit:
            detail = f"{claim.timestamp} is still later than {stamp(now + limit)}"
            raise auth_error("early url", claim.service, target=target, detail=detail)
        return
    minutes = int(limit // 60)
    if now > signed:
        edge, sign, words = now - limit, "-", "Signature expired: {} is now earlier than {} ({} {} {} min.)"
    else:
        edge, sign, words = now + limit, "+", "Signature not yet current: {} is still later than {} ({} {} {} min.)"
    detail = words.format(claim.timestamp, stamp(edge), stamp(now), sign, minutes)
    raise auth_error("skewed", claim.service, target=target, detail=detail, **_skew_members(claim, now))


def _skew_members(claim: ClaimedIdentity, now: float) -> dict[str, Any]:
    if claim.service != "s3":
        return {}
    return {"RequestTime": claim.timestamp, "ServerTime": stamp(now), "MaxAllowedSkewMilliseconds": int(S3_SKEW * 1000)}


def stamp(seconds: float) -> str:
    """``YYYYMMDDTHHMMSSZ`` of epoch seconds."""
    from time import gmtime, strftime

    return strftime("%Y%m%dT%H%M%SZ", gmtime(seconds))


@lru_cache(maxsize=2048)
def _seconds(text: str) -> int | None:
    if len(text) != 16 or text[8] != "T" or text[15] != "Z" or not (text[:8] + text[9:15]).isdecimal():
        return None
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second = int(text[9:11]), int(text[11:13]), int(text[13:15])
    if not (year >= 1970 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    return timegm((year, month, day, hour, minute, second))


# -- canonical forms --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _encoded_twice(path: str) -> str:
    """Any service's path but S3's: dot segments and doubled slashes removed, then encoded once more."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part and part != ".":
            kept.append(part)
    clean = "/" + "/".join(kept)
    if kept and path.endswith("/"):
        clean += "/"
    return quote(clean, safe="/~")


def _canonical_query(query: str) -> str:
    """The pairs as sent, sorted, without the signature."""
    pairs = []
    for part in query.split("&"):
        if part and not part.startswith("X-Amz-Signature="):
            name, _, value = part.partition("=")
            pairs.append((name, value))
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def _respelled_query(query: str) -> str:
    """The same with every name and value decoded, and encoded as AWS does."""
    pairs = []
    for part in query.split("&"):
        if part and not part.startswith("X-Amz-Signature="):
            name, _, value = part.partition("=")
            pairs.append((_respelled(name), _respelled(value)))
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def _respelled(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe="-_.~")
