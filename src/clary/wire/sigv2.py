"""AWS Signature Version 2 for S3, which boto3 and ``aws s3 presign`` still make: presigned queries and the header.

Owns: its claim and its check (HMAC-SHA1 with the secret itself: this version has no derived keys). Does not know:
other services, and where secrets are kept. Rules: "Signing and authenticating REST requests (AWS signature version 2)",
S3 User Guide.
"""

from __future__ import annotations

import base64
import hmac
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

from clary.wire.autherrors import auth_error
from clary.wire.sigv4 import S3_SKEW, ClaimedIdentity, Signed

# Query parameters that are part of the resource.
_SIGNED_PARAMETERS = frozenset(
    [
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "intelligent-tiering",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "partNumber",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "storageClass",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
        "encryption",
        "legal-hold",
        "retention",
    ]
)
_IN_QUERY = ("content-md5", "content-type")


def inspect(request: Signed) -> ClaimedIdentity | None:
    """The SigV2 claim of a request; None when it has none."""
    text = request.headers.get("authorization")
    if text is not None:
        if not text.startswith("AWS "):
            return None
        key_id, colon, signature = text[4:].strip().partition(":")
        if not colon or not key_id:
            raise auth_error("malformed", "s3", detail="it must be AWS <key id>:<signature>")
        date = request.headers.get("x-amz-date") or request.headers.get("date") or ""
        return _claim(key_id, signature, date, request.headers.get("x-amz-security-token"), None)
    if "AWSAccessKeyId=" not in request.query:
        return None
    fields = dict(_pairs(request.query))
    expires = fields.get("Expires", "")
    if "Signature" not in fields or not expires.isdecimal() or len(expires) > 12:
        detail = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        raise auth_error("missing", "s3", detail=detail)
    return _claim(
        fields["AWSAccessKeyId"], fields["Signature"], expires, fields.get("x-amz-security-token"), int(expires)
    )


def _claim(key_id: str, signature: str, date: str, token: str | None, expires: int | None) -> ClaimedIdentity:
    return ClaimedIdentity(2, key_id, "", "", "s3", date, "", signature, token, None, expires)


def check(request: Signed, claim: ClaimedIdentity, secret: str, now: float, *, resource: str | None = None) -> None:
    """Raise AuthError unless ``secret`` signed this request and the time is right.

    ``resource`` is the path with the bucket in front, for requests that name the bucket in ``Host``.
    """
    if claim.expires is not None:
        if now > claim.expires:
            raise auth_error("expired url", "s3")
        date = claim.timestamp
    else:
        date = request.headers.get("date", "") if "x-amz-date" not in request.headers else ""
        _check_skew(claim.timestamp, now)
    headers = request.headers
    lines = [request.method]
    extra = dict(_pairs(request.query)) if claim.expires is not None else {}
    # A presigned URL carries Content-MD5 and Content-Type in its query where they were signed.
    lines += [headers.get(name) or extra.get(name, "") for name in _IN_QUERY]
    lines.append(date)
    amazon = {name: value for name, value in headers.items() if name.startswith("x-amz-")}
    amazon.update({name: value for name, value in extra.items() if name.startswith("x-amz-")})
    lines += [f"{name}:{' '.join(amazon[name].split())}" for name in sorted(amazon)]
    text = "\n".join(lines)
    place = (resource if resource is not None else request.path) + _signed_query(request.query)
    if not matches(secret, f"{text}\n{place}", claim.signature):
        raise auth_error("mismatch", "s3")


def matches(secret: str, text: str, signature: str) -> bool:
    """Whether base64 of HMAC-SHA1 is what the signature says, in constant time."""
    wanted = base64.b64encode(hmac.digest(secret.encode(), text.encode("utf-8", "surrogateescape"), "sha1"))
    return hmac.compare_digest(wanted, signature.encode("utf-8", "replace"))


def _check_skew(text: str, now: float) -> None:
    try:
        signed = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise auth_error("missing", "s3") from error
    if abs(now - signed) > S3_SKEW:
        raise auth_error("skewed", "s3")


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            pairs.append((unquote(name), unquote(value)))
    return pairs


def _signed_query(query: str) -> str:
    kept = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if name in _SIGNED_PARAMETERS:
            kept.append((name, f"{name}={unquote(value)}" if equals and value else name))
    return "?" + "&".join(text for _, text in sorted(kept)) if kept else ""
