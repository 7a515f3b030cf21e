"""Requests as real clients make them: every good request of the handlers' tests in every protocol of its service, by botocore's own
serializers, and what boto3 sends to S3. Nothing is sent here, and nothing is signed yet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, prepare_request_dict
from botocore.config import Config
from botocore.serialize import create_serializer
from tests.api.bases import BASES
from tests.api.requests import DOCUMENT, POLICY, ROLE, TRUST

from clary.wire.models import load, speaking

ENDPOINT, BUCKET = "fuzzed", "fuzz"
HOST = "https://127.0.0.1:4600"  # https: boto3 then sends checksums as trailers, which is what S3 clients mostly do
NOWHERE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/nothing:1"  # what runs a job or a model is walked elsewhere: here it is refused
PROTOCOLS = {"cloudwatch": ("query", "json", "smithy-rpc-v2-cbor")}
_SIGNATURE = ("authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request", "user-agent")
_FRAMING = ("content-length", "transfer-encoding", "expect")  # of a connection, not of the request

MORE: list[tuple[str, str, dict[str, Any]]] = [
    (
        "sagemaker-runtime",
        "InvokeEndpoint",
        {"EndpointName": ENDPOINT, "Body": b'{"text": "x"}', "ContentType": "application/json"},
    ),
    (
        "sagemaker-runtime",
        "InvokeEndpoint",
        {
            "EndpointName": ENDPOINT,
            "Body": b'{"text": "x"}',
            "ContentType": "application/json",
            "Accept": "application/json",
            "CustomAttributes": "a=b",
            "TargetVariant": "AllTraffic",
            "InferenceId": "i",
            "SessionId": "NEW_SESSION",
        },
    ),
    (
        "sagemaker-runtime",
        "InvokeEndpointWithResponseStream",
        {"EndpointName": ENDPOINT, "Body": b'{"text": "x"}', "ContentType": "application/json"},
    ),
    ("sagemaker-metrics", "BatchPutMetrics", {"TrialComponentName": "t", "MetricData": []}),
    ("ecr", "DescribeRepositories", {}),
    ("sagemaker", "DescribeEndpoint", {"EndpointName": ENDPOINT}),
    ("sagemaker", "ListEndpoints", {"MaxResults": 10}),
    ("sagemaker", "ListModels", {"SortBy": "Name"}),
    ("sagemaker", "Search", {"Resource": "TrainingJob"}),
    ("logs", "DescribeLogGroups", {"limit": 5}),
    ("iam", "ListRoles", {"MaxItems": 5}),
    ("iam", "ListUsers", {}),
    ("iam", "GetRole", {"RoleName": "R"}),
    (
        "iam",
        "SimulatePrincipalPolicy",
        {"PolicySourceArn": ROLE, "ActionNames": ["s3:GetObject"], "ResourceArns": ["*"]},
    ),
    ("iam", "PutRolePolicy", {"RoleName": "R", "PolicyName": "p", "PolicyDocument": DOCUMENT}),
    ("iam", "AttachRolePolicy", {"RoleName": "R", "PolicyArn": POLICY}),
    ("sts", "GetCallerIdentity", {}),
    ("sts", "GetSessionToken", {"DurationSeconds": 900}),
    ("cloudwatch", "DescribeAlarms", {"AlarmNames": ["a"]}),
    ("cloudwatch", "ListDashboards", {}),
]
_DELETES = ("Delete", "Stop", "Deregister", "Unsubscribe")  # of what the run itself rests on


@dataclass(frozen=True)
class Sample:
    """One request, not signed: `service` is what it is signed for."""

    name: str
    service: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


def samples() -> list[Sample]:
    """All of them, in the same order each time."""
    found = []
    for service, operation, params in [*BASES, *MORE]:
        if operation.startswith(_DELETES):
            continue
        model = load(service)
        for protocol in PROTOCOLS.get(service, (model.resolved_protocol,)):
            found.append(_serialized(service, protocol, operation, _harmless(params)))
    return [*found, *_s3()]


def _harmless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: NOWHERE if key in ("Image", "TrainingImage") else _harmless(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_harmless(each) for each in value]
    return (
        {
            "{trust}": TRUST,
            "{subscription}": "arn:aws:sns:us-east-1:000000000000:t:00000000-0000-0000-0000-000000000000",
        }.get(value, value)
        if isinstance(value, str)
        else value
    )


def _serialized(service: str, protocol: str, operation: str, params: dict[str, Any]) -> Sample:
    model = speaking(load(service), protocol)
    made = create_serializer(protocol, include_validation=False).serialize_to_request(
        params, model.operation_model(operation)
    )
    prepare_request_dict(made, HOST)
    request = AWSRequest(method=made["method"], url=made["url"], headers=made["headers"], data=made["body"])
    return _sample(
        f"{service}.{operation}/{protocol}",
        str(model.metadata.get("signingName", model.endpoint_prefix)),
        request.prepare(),
    )


def _sample(name: str, service: str, request: AWSPreparedRequest) -> Sample:
    parts = urlsplit(request.url)
    body = request.body or b""
    data = (
        body.encode() if isinstance(body, str) else bytes(body) if isinstance(body, bytes | bytearray) else body.read()
    )
    headers = [
        (key, value.decode() if isinstance(value, bytes) else str(value)) for key, value in request.headers.items()
    ]
    kept = tuple((key, value) for key, value in headers if key.lower() not in (*_SIGNATURE, *_FRAMING))
    return Sample(name, service, request.method, parts.path + (f"?{parts.query}" if parts.query else ""), kept, data)


class _Stop(Exception):
    """The request is made; nobody sends it."""


def _s3() -> Iterator[Sample]:
    """What boto3 would send to S3."""
    made: list[AWSPreparedRequest] = []

    def keep(request: AWSPreparedRequest, **_: Any) -> None:
        made.append(request)
        raise _Stop

    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=HOST,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    client.meta.events.register("before-send.s3", keep)
    where, key = {"Bucket": BUCKET}, {"Bucket": BUCKET, "Key": "a/b c.txt"}
    tags = {"TagSet": [{"Key": "k", "Value": "v"}]}
    part = {"Parts": [{"ETag": '"d41d8cd98f00b204e9800998ecf8427e"', "PartNumber": 1}]}
    rule = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
    life = {"Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 3}}]}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("list_buckets", {}),
        ("list_objects_v2", {**where, "Prefix": "a/", "Delimiter": "/", "MaxKeys": 5}),
        ("list_objects", where),
        ("list_object_versions", where),
        ("list_multipart_uploads", where),
        ("get_bucket_location", where),
        ("put_bucket_versioning", {**where, "VersioningConfiguration": {"Status": "Suspended"}}),
        ("put_bucket_tagging", {**where, "Tagging": tags}),
        ("put_bucket_cors", {**where, "CORSConfiguration": rule}),
        ("put_bucket_lifecycle_configuration", {**where, "LifecycleConfiguration": life}),
        ("put_object", {**key, "Body": b"hello" * 100, "Metadata": {"a": "b"}, "ContentType": "text/plain"}),
        ("put_object", {**key, "Body": b"hello", "ChecksumAlgorithm": "SHA256", "IfNoneMatch": "*"}),
        ("get_object", {**key, "Range": "bytes=0-3", "IfMatch": '"x"'}),
        ("head_object", key),
        ("copy_object", {**where, "Key": "copy", "CopySource": f"{BUCKET}/a/b c.txt"}),
        ("put_object_tagging", {**key, "Tagging": tags}),
        ("get_object_attributes", {**key, "ObjectAttributes": ["ETag", "ObjectSize"]}),
        ("create_multipart_upload", key),
        ("upload_part", {**key, "UploadId": "x", "PartNumber": 1, "Body": b"part" * 50}),
        ("complete_multipart_upload", {**key, "UploadId": "x", "MultipartUpload": part}),
        ("abort_multipart_upload", {**key, "UploadId": "x"}),
        ("list_parts", {**key, "UploadId": "x"}),
        ("delete_objects", {**where, "Delete": {"Objects": [{"Key": "gone"}], "Quiet": True}}),
        ("delete_object", {**where, "Key": "gone"}),
        ("create_bucket", {"Bucket": "another-bucket"}),
    ]
    for name, params in calls:
        with contextlib.suppress(_Stop):
            getattr(client, name)(**params)
        yield _sample(f"s3.{name}", "s3", made[-1])
