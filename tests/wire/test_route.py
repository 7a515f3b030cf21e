"""Services and operations found from what requests look like."""

import pytest

from clary.wire.errors import UnknownOperation
from clary.wire.http import Headers, Request
from clary.wire.models import load
from clary.wire.protocol import parse_request
from clary.wire.route import Router, match_path

SERVICES = [
    "sagemaker",
    "sagemaker-runtime",
    "sagemaker-featurestore-runtime",
    "sagemaker-metrics",
    "cloudwatch",
    "logs",
    "sts",
    "iam",
    "application-autoscaling",
]
ROUTER = Router({name: load(name) for name in SERVICES})
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


def request(method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Request:
    path, _, query = target.partition("?")
    return Request(method, path, query, Headers(headers or {}), body)


@pytest.mark.parametrize(
    ("scope", "made", "service"),
    [
        ("sagemaker", request("POST", "/", {"X-Amz-Target": "SageMaker.ListModels"}), "sagemaker"),
        ("sagemaker", request("POST", "/endpoints/e/invocations"), "sagemaker-runtime"),
        (
            "sagemaker",
            request("GET", "/FeatureGroup/f?RecordIdentifierValueAsString=1"),
            "sagemaker-featurestore-runtime",
        ),
        ("sagemaker", request("PUT", "/BatchPutMetrics"), "sagemaker-metrics"),
        (
            "monitoring",
            request("POST", "/", {"X-Amz-Target": "GraniteServiceVersion20100801.ListMetrics"}),
            "cloudwatch",
        ),
        ("monitoring", request("POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics"), "cloudwatch"),
        ("monitoring", request("POST", "/", FORM, b"Action=ListMetrics&Version=2010-08-01"), "cloudwatch"),
        ("sts", request("POST", "/", FORM, b"Version=2011-06-15&Action=GetCallerIdentity"), "sts"),
        ("sts", request("GET", "/?Action=GetCallerIdentity&Version=2011-06-15"), "sts"),
        (None, request("POST", "/", FORM, b"Action=GetCallerIdentity&Version=2011-06-15"), "sts"),
        (None, request("POST", "/endpoints/e/invocations"), "sagemaker-runtime"),
    ],
)
def test_finds_the_service(scope: str | None, made: Request, service: str) -> None:
    assert ROUTER.service_of(made, scope) == service


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (request("POST", "/", {"X-Amz-Target": "Unknown.Thing"}), "Thing"),
        (request("POST", "/nowhere"), "POST /nowhere"),
    ],
)
def test_an_unknown_operation_carries_its_name(made: Request, name: str) -> None:
    with pytest.raises(UnknownOperation) as caught:
        ROUTER.service_of(made, "sagemaker")
    assert caught.value.name == name


def test_an_unknown_action_is_left_to_its_service() -> None:
    made = request("POST", "/", FORM, b"Action=Dance")
    assert ROUTER.service_of(made, "iam") == "iam"
    with pytest.raises(UnknownOperation) as caught:
        parse_request(load("iam"), made)
    assert (caught.value.name, caught.value.status) == ("Dance", 400)


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation"),
    [
        ("GET", "/", {}, "ListBuckets"),
        ("GET", "/b", {}, "ListObjects"),
        ("GET", "/b/", {}, "ListObjects"),
        ("GET", "/b?list-type=2&prefix=x", {}, "ListObjectsV2"),
        ("GET", "/b?location", {}, "GetBucketLocation"),
        ("GET", "/b?location=", {}, "GetBucketLocation"),
        ("GET", "/b?uploads", {}, "ListMultipartUploads"),
        ("GET", "/b?lifecycle", {}, "GetBucketLifecycleConfiguration"),
        ("HEAD", "/b", {}, "HeadBucket"),
        ("POST", "/b?delete", {}, "DeleteObjects"),
        ("GET", "/b/k", {}, "GetObject"),
        ("GET", "/b/k?partNumber=1", {}, "GetObject"),
        ("GET", "/b/k?uploadId=u", {}, "ListParts"),
        ("GET", "/b/k?attributes", {"x-amz-object-attributes": "ETag"}, "GetObjectAttributes"),
        ("GET", "/b/k?tagging", {}, "GetObjectTagging"),
        ("PUT", "/b/k", {}, "PutObject"),
        ("PUT", "/b/k", {"x-amz-copy-source": "/b/o"}, "CopyObject"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", {}, "UploadPart"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", {"x-amz-copy-source": "/b/o"}, "UploadPartCopy"),
        ("POST", "/b/k?uploads", {}, "CreateMultipartUpload"),
        ("POST", "/b/k?uploadId=u", {}, "CompleteMultipartUpload"),
        ("DELETE", "/b/k?uploadId=u", {}, "AbortMultipartUpload"),
        ("DELETE", "/b/k", {}, "DeleteObject"),
    ],
)
def test_s3_by_path_query_and_headers(method: str, target: str, headers: dict[str, str], operation: str) -> None:
    assert match_path(load("s3"), request(method, target, headers)).operation == operation


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/b/k", "k"),
        ("/b/a/b/c", "a/b/c"),
        ("/b//a", "/a"),
        ("/b/a//", "a//"),
        ("/b/../x", "../x"),
        ("/b/%2e%2e/x", "../x"),
        ("/b/%252e", "%2e"),
        ("/b/a+b%20c%2Fd", "a+b c/d"),
        ("/b/%E2%82%AC", "€"),
    ],
)
def test_keys_are_decoded_once_and_otherwise_left_alone(path: str, key: str) -> None:
    _, params = parse_request(load("s3"), request("GET", path))
    assert params == {"Bucket": "b", "Key": key}


@pytest.mark.parametrize("verb", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_who_names_its_operation_does_so_by_the_verbs_of_its_protocol(verb: str) -> None:
    """What is named in a field or a form was done by any verb, HEAD and DELETE too."""
    named = request(verb, "/", {"X-Amz-Target": "SageMaker.CreateModel"}, b"{}")
    with pytest.raises(UnknownOperation, match=f"{verb} SageMaker.CreateModel"):
        parse_request(load("sagemaker"), named)
    with pytest.raises(UnknownOperation, match=f"{verb} /service/"):
        parse_request(
            load("cloudwatch"),
            request(verb, "/service/GraniteServiceVersion20100801/operation/ListMetrics", body=b"\xa0"),
        )
    asked = request(verb, "/?Action=ListUsers&Version=2010-05-08")
    if verb == "GET":
        assert parse_request(load("iam"), asked)[0].name == "ListUsers"
    else:
        with pytest.raises(UnknownOperation, match=f"{verb} /"):
            parse_request(load("iam"), asked)


@pytest.mark.parametrize("scope", ["sagemaker", "monitoring", "ec2"])
def test_what_is_signed_for_another_service_is_found_to_be_told_so(scope: str) -> None:
    assert ROUTER.service_of(request("POST", "/", FORM, b"Action=ListUsers&Version=2010-05-08"), scope) == "iam"
    if scope != "sagemaker":
        assert ROUTER.service_of(request("POST", "/endpoints/e/invocations"), scope) == "sagemaker-runtime"
    if scope == "monitoring":
        assert (
            ROUTER.service_of(request("POST", "/", FORM, b"Action=Nothing&Version=2010-08-01"), scope) == "cloudwatch"
        )
