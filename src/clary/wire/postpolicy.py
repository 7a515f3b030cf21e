"""S3's browser uploads: the signed policy of a POST form, in its SigV4 and SigV2 forms.

Owns: who signed the policy, and whether a form and an upload keep to its conditions. Does not know: multipart bodies,
where keys are kept, what is done with the file. Rules: "Browser-Based Uploads Using POST", S3 API Reference.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from clary.wire.autherrors import auth_error
from clary.wire.errors import AuthError
from clary.wire.sigv2 import matches
from clary.wire.sigv4 import ALGORITHM, ClaimedIdentity

_FREE = frozenset({"x-amz-signature", "signature", "file", "policy", "awsaccesskeyid"})


def inspect(fields: Mapping[str, str]) -> ClaimedIdentity | None:
    """The claim of a form (field names in lower case); None when it carries no policy."""
    if "policy" not in fields:
        return None
    token = fields.get("x-amz-security-token")
    if "x-amz-signature" in fields:
        if fields.get("x-amz-algorithm") != ALGORITHM:
            raise auth_error("malformed query", "s3", detail=f"X-Amz-Algorithm only supports {ALGORITHM!r}")
        parts = fields.get("x-amz-credential", "").split("/")
        if len(parts) != 5 or parts[3:] != ["s3", "aws4_request"]:
            raise auth_error("malformed query", "s3", detail="The X-Amz-Credential field is malformed")
        key_id, date, region, service, _ = parts
        stamp = fields.get("x-amz-date", "")
        return ClaimedIdentity(
            4, key_id, date, region, service, stamp, "", fields["x-amz-signature"], token, None, None
        )
    if "awsaccesskeyid" in fields and "signature" in fields:
        return ClaimedIdentity(
            2, fields["awsaccesskeyid"], "", "", "s3", "", "", fields["signature"], token, None, None
        )
    raise auth_error("missing", "s3")


def check_signature(fields: Mapping[str, str], claim: ClaimedIdentity, key: bytes | str) -> None:
    """Raise AuthError unless the policy was signed: with the derived key (bytes) for SigV4, the secret (str) for SigV2."""
    if isinstance(key, bytes):
        wanted = hmac.digest(key, fields["policy"].encode(), "sha256").hex()
        right = claim.version == 4 and hmac.compare_digest(
            wanted.encode(), claim.signature.lower().encode("utf-8", "replace")
        )
    else:
        right = claim.version == 2 and matches(key, fields["policy"], claim.signature)
    if not right:
        raise auth_error("mismatch", "s3")


def check_conditions(fields: Mapping[str, str], bucket: str, now: float) -> tuple[int, int | None]:
    """Raise AuthError unless the form keeps to its policy at ``now`` (epoch seconds).

    ``fields`` are all fields but the file, names in lower case, ``${filename}`` in the key already replaced. Returns
    the smallest and largest number of bytes that the policy lets the file have (largest None: no limit).
    """
    policy = _decode(fields["policy"])
    expires = policy.get("expiration")
    try:
        end = datetime.fromisoformat(str(expires))
    except ValueError as error:
        raise _invalid("the expiration is not an ISO 8601 time") from error
    if now > (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp():
        raise AuthError("AccessDenied", "Invalid according to Policy: Policy expired.")
    values = {**fields, "bucket": bucket}
    smallest, largest = 0, None
    named = set(_FREE)
    conditions = policy.get("conditions")
    if not isinstance(conditions, list):
        raise _invalid("it has no conditions")
    for condition in conditions:
        match condition:
            case dict():
                for name, value in condition.items():
                    named.add(_require("eq", f"${name}", value, values))
            case ["content-length-range", int(low), int(high)]:
                smallest, largest = max(smallest, low), high if largest is None else min(largest, high)
            case [str(kind), str(name), str(value)] if kind.lower() in ("eq", "starts-with"):
                named.add(_require(kind.lower(), name, value, values))
            case _:
                raise _invalid(f"a condition is not understood: {condition!s:.200}")
    extra = sorted(name for name in fields if name not in named and not name.startswith("x-ignore-"))
    if extra:
        raise AuthError("AccessDenied", f"Invalid according to Policy: Extra input fields: {', '.join(extra)}")
    return smallest, largest


def _decode(text: str) -> dict[str, Any]:
    try:
        policy = orjson.loads(b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise _invalid("it is not base64 of JSON") from error
    if not isinstance(policy, dict):
        raise _invalid("it is not a JSON object")
    return policy


def _require(kind: str, name: str, value: Any, values: Mapping[str, str]) -> str:
    field = name.removeprefix("$").lower()
    given = values.get(field, "")
    if kind == "eq":
        fits = given == str(value)
    elif field == "content-type":
        fits = all(part.strip().startswith(value) for part in given.split(","))
    else:
        fits = given.startswith(value)
    if not fits:
        shown = f'["{kind}", "{name}", "{value}"]'
        raise AuthError("AccessDenied", f"Invalid according to Policy: Policy Condition failed: {shown:.300}")
    return field


def _invalid(why: str) -> AuthError:
    return AuthError("InvalidPolicyDocument", f"Invalid Policy: {why}.", 400)
