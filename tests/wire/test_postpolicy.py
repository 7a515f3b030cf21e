"""Browser uploads: policies signed by botocore, and forms that keep to them or do not."""

import base64
import json
import time
from typing import Any

import pytest
from botocore.auth import HmacV1PostAuth, S3SigV4PostAuth
from botocore.awsrequest import AWSRequest
from tests.wire.signing import KEY_ID, SECRET, credentials

from clary.wire.errors import AuthError
from clary.wire.postpolicy import check_conditions, check_signature, inspect
from clary.wire.sigv4 import signing_key

NOW = 1_800_000_000.0


def form(signer: Any, conditions: list[Any], fields: dict[str, str] | None = None) -> dict[str, str]:
    request = AWSRequest(method="POST", url="http://localhost:4600/bucket")
    request.context["s3-presign-post-fields"] = dict(fields or {})
    request.context["s3-presign-post-policy"] = {"expiration": "2028-01-01T00:00:00Z", "conditions": conditions}
    signer.add_auth(request)
    return {name.lower(): value for name, value in request.context["s3-presign-post-fields"].items()}


def policy(conditions: Any, fields: dict[str, str], expiration: str = "2028-01-01T00:00:00Z") -> dict[str, str]:
    text = json.dumps({"expiration": expiration, "conditions": conditions})
    return {**fields, "policy": base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("version", [4, 2])
def test_accepts_what_botocore_signs(version: int, token: str | None) -> None:
    kind = (
        S3SigV4PostAuth(credentials(token), "s3", "eu-central-1")
        if version == 4
        else HmacV1PostAuth(credentials(token))
    )
    fields = form(kind, [{"bucket": "bucket"}, ["starts-with", "$key", "up/"]], {"key": "up/x"})
    claim = inspect(fields)
    assert claim is not None
    assert (claim.version, claim.key_id, claim.token) == (version, KEY_ID, token)
    key: bytes | str = signing_key(SECRET, claim.date, claim.region, "s3") if version == 4 else SECRET
    check_signature(fields, claim, key)
    assert check_conditions(fields, "bucket", time.time()) == (0, None)
    wrong: bytes | str = b"wrong" if version == 4 else "wrong"
    name = "x-amz-signature" if version == 4 else "signature"
    for tampered, used in (
        (fields, wrong),
        ({**fields, "policy": fields["policy"][:-4] + "AAA="}, key),
        ({**fields, name: "Ω" + fields[name][1:]}, key),
    ):
        with pytest.raises(AuthError) as caught:
            check_signature(tampered, inspect(tampered) or claim, used)
        assert caught.value.code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("conditions", "fields", "bucket", "fits"),
    [
        ([{"key": "a"}], {"key": "a"}, "b", True),
        ([{"key": "a"}], {"key": "c"}, "b", False),
        ([["eq", "$Key", "a"]], {"key": "a"}, "b", True),
        ([["starts-with", "$key", "a/"]], {"key": "a/b"}, "b", True),
        ([["starts-with", "$key", "a/"]], {"key": "b/a/"}, "b", False),
        ([["starts-with", "$key", ""]], {"key": "anything"}, "b", True),
        ([{"bucket": "b"}], {}, "b", True),
        ([{"bucket": "b"}], {}, "other", False),
        ([], {"key": "unnamed"}, "b", False),
        ([], {"x-ignore-me": "1"}, "b", True),
        (
            [{"key": "a"}, ["starts-with", "$content-type", "image/"]],
            {"key": "a", "content-type": "image/png"},
            "b",
            True,
        ),
        (
            [{"key": "a"}, ["starts-with", "$content-type", "image/"]],
            {"key": "a", "content-type": "text/html"},
            "b",
            False,
        ),
        (["nonsense"], {}, "b", False),
        ({"not": "a list"}, {}, "b", False),
    ],
)
def test_conditions(conditions: Any, fields: dict[str, str], bucket: str, fits: bool) -> None:
    signed = policy(conditions, fields)
    if fits:
        check_conditions(signed, bucket, NOW)
    else:
        with pytest.raises(AuthError):
            check_conditions(signed, bucket, NOW)


def test_the_size_may_be_bounded() -> None:
    signed = policy([["content-length-range", 5, 100], ["content-length-range", 1, 50]], {})
    assert check_conditions(signed, "b", NOW) == (5, 50)


@pytest.mark.parametrize("expiration", ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z", "never", ""])
def test_a_policy_ends(expiration: str) -> None:
    with pytest.raises(AuthError):
        check_conditions(policy([], {}, expiration), "b", NOW)


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(b"[]").decode(), base64.b64encode(b"{").decode()])
def test_a_policy_is_base64_of_json(text: str) -> None:
    with pytest.raises(AuthError) as caught:
        check_conditions({"policy": text}, "b", NOW)
    assert caught.value.code == "InvalidPolicyDocument"


def test_forms_without_a_claim() -> None:
    assert inspect({"key": "a"}) is None
    with pytest.raises(AuthError):
        inspect({"policy": "x"})
    with pytest.raises(AuthError):
        inspect(
            {"policy": "x", "x-amz-signature": "s", "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": "a/b"}
        )
