"""Signatures that botocore makes are accepted; the same, tampered with, are refused with the service's own code."""

import time
from dataclasses import replace
from typing import Any

import pytest
from botocore.auth import (
    S3SigV4Auth,
    S3SigV4QueryAuth,
    SigV4Auth,
    SigV4QueryAuth,
)
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.signing import KEY_ID, SECRET, credentials, sent

from clary.wire.errors import AuthError
from clary.wire.http import Headers, Request
from clary.wire.sigv4 import ClaimedIdentity, check, inspect, named, signing_key

REGION = "eu-central-1"
TARGET = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}


def verify(request: Request, *, secret: str = SECRET, now: float | None = None) -> ClaimedIdentity:
    claim = inspect(request)
    assert claim is not None
    key = signing_key(secret, claim.date, claim.region, claim.service)
    check(request, claim, key, time.time() if now is None else now)
    return claim


def refused(request: Request, **kwargs: Any) -> AuthError:
    with pytest.raises(AuthError) as caught:
        verify(request, **kwargs)
    return caught.value


def header_signed(
    service: str = "sagemaker", path: str = "/", body: bytes = b"{}", token: str | None = None
) -> Request:
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials(token), service, REGION)
    headers = dict(TARGET) if service == "sagemaker" and path == "/" else {}
    return sent(signer, "POST", f"http://localhost:4600{path}", headers, body)


def presigned(
    service: str = "s3", path: str = "/bucket/a%20key", expires: int = 300, token: str | None = None
) -> Request:
    kind = S3SigV4QueryAuth if service == "s3" else SigV4QueryAuth
    return sent(kind(credentials(token), service, REGION, expires), "GET", f"http://localhost:4600{path}")


def with_header(request: Request, name: str, value: str) -> Request:
    pairs = [(key, text) for key, text in request.headers.pairs() if key != name]
    return replace(request, headers=Headers([*pairs, (name, value)]))


@pytest.mark.parametrize("service", ["sagemaker", "sts", "logs", "monitoring", "s3"])
@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize(
    "path", ["/", "/endpoints/my%20endpoint/invocations", "/a//b/../c/", "/x?b=2&a=1&a=0&c", "/%E2%82%AC~"]
)
def test_accepts_signed_headers(service: str, token: str | None, path: str) -> None:
    claim = verify(header_signed(service, path, b'{"a": 1}', token))
    assert (claim.key_id, claim.region, claim.service, claim.token) == (KEY_ID, REGION, service, token)
    assert not claim.presigned


@pytest.mark.parametrize("service", ["s3", "sts", "sagemaker"])
@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize(
    "path", ["/", "/bucket/a%20key", "/bucket/a//b?versionId=1&response-content-type=text%2Fplain"]
)
def test_accepts_presigned_urls(service: str, token: str | None, path: str) -> None:
    claim = verify(presigned(service, path, token=token))
    assert claim.presigned
    assert claim.expires == 300
    assert claim.token == token


def test_accepts_repeated_and_padded_headers() -> None:
    signer = SigV4Auth(credentials(), "sagemaker", REGION)
    verify(sent(signer, "POST", "http://localhost/", {"X-Amz-Meta-A": "  many   spaces\there "}, b"x"))


def test_accepts_a_date_header_in_place_of_amazons() -> None:
    signer = SigV4Auth(credentials(), "sagemaker", REGION)
    request = sent(signer, "POST", "http://localhost/", {"Date": "to be set"}, b"{}")
    assert "x-amz-date" not in request.headers
    verify(request)


def test_a_request_without_credentials_has_no_claim() -> None:
    assert inspect(Request("GET", "/")) is None
    assert inspect(Request("GET", "/", "", Headers({"Authorization": "AWS key:signature"}))) is None


@pytest.mark.parametrize(
    ("service", "path", "code", "status"),
    [
        ("sagemaker", "/", "InvalidSignatureException", 400),
        ("sagemaker", "/endpoints/e/invocations", "InvalidSignatureException", 403),
        ("sts", "/", "SignatureDoesNotMatch", 403),
        ("s3", "/bucket/key", "SignatureDoesNotMatch", 403),
    ],
)
def test_a_wrong_secret_is_refused_in_the_words_of_the_service(service: str, path: str, code: str, status: int) -> None:
    error = refused(header_signed(service, path), secret="wrong")
    assert (error.code, error.status) == (code, status)


def test_every_signed_part_matters() -> None:
    good = header_signed()
    verify(good)
    for spoilt in (
        replace(good, method="PUT"),
        replace(good, path="/other"),
        replace(good, query="a=b"),
        replace(good, body=b"[]"),
        with_header(good, "host", "evil.example"),
        with_header(good, "x-amz-target", "SageMaker.DeleteModel"),
        with_header(good, "x-amz-security-token", "smuggled"),
    ):
        assert refused(spoilt).code == "InvalidSignatureException"


def test_every_part_of_a_presigned_url_matters() -> None:
    good = presigned()
    verify(good)
    for spoilt in (
        replace(good, method="HEAD"),
        replace(good, path="/bucket/another"),
        replace(good, path="/bucket/a%20key/"),
        replace(good, path="/bucket%2Fa%20key"),
        replace(good, query=good.query + "&versionId=1"),
        replace(good, query=good.query.replace("X-Amz-Expires=300", "X-Amz-Expires=301")),
    ):
        assert refused(spoilt).code == "SignatureDoesNotMatch"


def test_a_path_spelled_otherwise_is_the_same_path_to_s3() -> None:
    signed = presigned(path="/bucket/%28a%29~")
    verify(replace(signed, path="/bucket/(a)%7E"))


@pytest.mark.parametrize(
    ("service", "late", "code"),
    [
        ("sagemaker", 301, "InvalidSignatureException"),
        ("sagemaker", -301, "InvalidSignatureException"),
        ("iam", 301, "SignatureDoesNotMatch"),
        ("s3", 901, "RequestTimeTooSkewed"),
        ("s3", -901, "RequestTimeTooSkewed"),
    ],
)
def test_clocks_may_differ_by_so_much(service: str, late: int, code: str) -> None:
    request = header_signed(service, "/x")
    verify(request, now=time.time() + (late - 3 if late > 0 else late + 3))
    assert refused(request, now=time.time() + late + (1 if late > 0 else -1)).code == code


def test_a_presigned_url_ends() -> None:
    request = presigned(expires=60)
    verify(request, now=time.time() + 58)
    error = refused(request, now=time.time() + 62)
    assert (error.code, error.message) == ("AccessDenied", "Request has expired")
    assert refused(request, now=time.time() - 1000).message == "Request is not valid yet"


@pytest.mark.parametrize("expires", ["604801", "-1", "soon", "99999999999999999999"])
def test_expiry_has_bounds(expires: str) -> None:
    request = presigned()
    with pytest.raises(AuthError) as caught:
        inspect(replace(request, query=request.query.replace("X-Amz-Expires=300", f"X-Amz-Expires={expires}")))
    assert caught.value.code == "AuthorizationQueryParametersError"


def test_an_s3_header_that_was_not_signed_is_refused() -> None:
    error = refused(with_header(header_signed("s3", "/b/k"), "x-amz-acl", "public-read"))
    assert error.code == "AccessDenied"
    assert error.members["HeadersNotSigned"] == "x-amz-acl"


def test_control_requests_sign_their_body() -> None:
    signer = SigV4Auth(credentials(), "sagemaker", REGION)
    request = sent(signer, "POST", "http://localhost/", {**TARGET, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, b"{}")
    assert refused(request).code == "InvalidSignatureException"


def test_s3_takes_the_payload_hash_at_its_word_and_reports_it() -> None:
    signer = S3SigV4Auth(credentials(), "s3", REGION)
    request = sent(signer, "PUT", "https://localhost/b/k", {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, b"data")
    claim = verify(request)
    assert claim.payload_hash is not None
    assert not claim.chunked


def test_a_known_body_hash_saves_hashing() -> None:
    import hashlib

    request = header_signed()
    claim = inspect(request)
    assert claim is not None
    key = signing_key(SECRET, claim.date, claim.region, claim.service)
    check(request, claim, key, time.time(), body_hash=hashlib.sha256(request.body).hexdigest())
    with pytest.raises(AuthError):
        check(request, claim, key, time.time(), body_hash="0" * 64)


def test_the_date_of_the_scope_is_that_of_the_request() -> None:
    request = header_signed()
    claim = inspect(request)
    assert claim is not None
    other = claim._replace(date="20200101")
    with pytest.raises(AuthError):
        check(request, other, signing_key(SECRET, "20200101", REGION, "sagemaker"), time.time())


@pytest.mark.parametrize(
    "text",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=x",
        "AWS4-HMAC-SHA256 Credential=/20260101/r/s/aws4_request, SignedHeaders=host, Signature=x",
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/s/aws4_request, Signature=x",
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/s/aws4_request, SignedHeaders=host, Signature=x",
        "Bearer token",
        "AWS3 x",
    ],
)
def test_headers_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(AuthError):
        inspect(Request("GET", "/", "", Headers({"Authorization": text})))


@given(
    st.text(st.characters(codec="latin-1")),
    st.text(st.characters(codec="ascii")),
    st.text(st.characters(codec="latin-1")),
)
def test_nothing_but_auth_errors_comes_of_noise(authorization: str, query: str, date: str) -> None:
    headers = Headers(
        {"Authorization": f"AWS4-HMAC-SHA256 Credential={authorization}", "X-Amz-Date": date, "Host": "h"}
    )
    for request in (
        Request("GET", "/", "", headers),
        Request(
            "GET", "/" + query, f"X-Amz-Signature={query}&X-Amz-Credential={query}&X-Amz-Expires={query}", Headers({})
        ),
        Request(
            "GET",
            "/",
            query,
            Headers(
                {
                    "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/r/s/aws4_request, "
                    f"SignedHeaders={authorization}, Signature={authorization}",
                    "X-Amz-Date": date,
                }
            ),
        ),
    ):
        try:
            claim = inspect(request)
            if claim is not None:
                check(request, claim, b"key", 0.0)
        except AuthError:
            pass


def test_a_header_that_lacks_a_part_names_it() -> None:
    text = f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20261127/us-east-1/logs/aws4_request, Signature=0"
    with pytest.raises(AuthError, match="malformed: it requires the parameter 'SignedHeaders'"):
        inspect(Request("POST", "/", "", Headers({"Authorization": text, "X-Amz-Date": "20261127T000000Z"})))


@pytest.mark.parametrize(
    ("text", "service", "code"),
    [
        ("Bearer x", None, "IncompleteSignatureException"),
        ("Bearer x", "s3", "InvalidArgument"),
        ("Bearer x", "iam", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256", "s3", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential=a/20261127/us-east-1/iam/aws4_request", None, "IncompleteSignature"),
        (
            "AWS4-HMAC-SHA256 Credential=a/20261127/us-east-1/s3/aws4_request",
            "sagemaker",
            "AuthorizationHeaderMalformed",
        ),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused_in_the_words_of_its_service(
    text: str, service: str | None, code: str
) -> None:
    with pytest.raises(AuthError) as caught:
        inspect(Request("GET", "/", "", Headers({"Authorization": text})), service)
    assert caught.value.code == code


def test_an_empty_authorization_is_none() -> None:
    assert inspect(Request("GET", "/", "", Headers({"Authorization": ""}))) is None


@pytest.mark.parametrize(
    ("query", "header", "service"),
    [
        ("", "AWS4-HMAC-SHA256 Credential=a/20261127/us-east-1/iam/aws4_request, Nothing=more", "iam"),
        ("X-Amz-Credential=a%2F20261127%2Fus-east-1%2Fs3%2Faws4_request", "", "s3"),
        ("X-Amz-Credential=a%2f20261127%2fus-east-1%2fsts%2faws4_request&x=y", "", "sts"),
        ("x=Credential", "", None),
        ("", "Bearer x", None),
    ],
)
def test_the_service_that_a_broken_claim_names(query: str, header: str, service: str | None) -> None:
    assert named(Request("GET", "/", query, Headers({"Authorization": header} if header else {}))) == service
