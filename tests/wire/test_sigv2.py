"""S3's older signature, made by botocore; and the same, tampered with."""

import time
from dataclasses import replace

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth
from tests.wire.signing import KEY_ID, SECRET, credentials, sent

from clary.wire.errors import AuthError
from clary.wire.http import Headers, Request
from clary.wire.sigv2 import check, inspect

URL = "http://localhost:4600/bucket/a%20key"


def verify(request: Request, secret: str = SECRET, now: float | None = None) -> None:
    claim = inspect(request)
    assert claim is not None
    assert (claim.version, claim.key_id) == (2, KEY_ID)
    check(request, claim, secret, time.time() if now is None else now)


def refused(request: Request, secret: str = SECRET, now: float | None = None) -> str:
    with pytest.raises(AuthError) as caught:
        verify(request, secret, now)
    return caught.value.code


QUERIES = ["", "?versionId=1&other=2", "?uploads", "?response-content-type=text%2Fplain&partNumber=1&uploadId=x"]


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "text/plain", "Content-MD5": "abc=", "x-amz-meta-b": "2", "x-amz-acl": "private"}]
)
def test_accepts_what_botocore_signs(token: str | None, query: str, headers: dict[str, str]) -> None:
    verify(sent(HmacV1Auth(credentials(token)), "PUT", URL + query, dict(headers), b"data"))
    url = sent(HmacV1QueryAuth(credentials(token), 300), "GET", URL + query)
    verify(url)
    assert refused(replace(url, method="PUT")) == "SignatureDoesNotMatch"


def test_a_presigned_put_carries_its_content_type() -> None:
    verify(sent(HmacV1QueryAuth(credentials(), 300), "PUT", URL, {"Content-Type": "text/plain"}))


def test_every_signed_part_matters() -> None:
    good = sent(HmacV1Auth(credentials()), "PUT", URL + "?versionId=1", {"x-amz-acl": "private"})
    verify(good)
    for spoilt in (
        replace(good, method="DELETE"),
        replace(good, path="/bucket/other"),
        replace(good, query="versionId=2"),
        replace(good, headers=Headers([*good.headers.pairs(), ("x-amz-meta-a", "1")])),
    ):
        assert refused(spoilt) == "SignatureDoesNotMatch"
    assert refused(good, secret="wrong") == "SignatureDoesNotMatch"


def test_times() -> None:
    header = sent(HmacV1Auth(credentials()), "GET", URL)
    assert refused(header, now=time.time() + 1000) == "RequestTimeTooSkewed"
    url = sent(HmacV1QueryAuth(credentials(), 60), "GET", URL)
    verify(url, now=time.time() + 58)
    assert refused(url, now=time.time() + 62) == "AccessDenied"


def test_a_bucket_in_the_host_is_part_of_the_resource() -> None:
    request = sent(HmacV1Auth(credentials()), "GET", URL)
    claim = inspect(request)
    assert claim is not None
    check(replace(request, path="/a%20key"), claim, SECRET, time.time(), resource="/bucket/a%20key")


def test_what_makes_no_sense_is_refused() -> None:
    assert inspect(Request("GET", "/")) is None
    with pytest.raises(AuthError):
        inspect(Request("GET", "/", "", Headers({"Authorization": "AWS nonsense"})))
    with pytest.raises(AuthError):
        inspect(Request("GET", "/", "AWSAccessKeyId=a&Expires=soon&Signature=x"))
