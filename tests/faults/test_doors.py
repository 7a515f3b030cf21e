"""Every door from outside, knocked at by those who may not in: no signature, a wrong one, somebody else's; and by those who do not speak
HTTP as it is meant (faults.md 10-13, 15-18, 20-22, 28, 33)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from tests.faults.raw import Answer, Wire, call
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Scene, until
from tests.live import ROLE

from clary.api import handlers, registry
from clary.stores.keys import FileKeys

pytestmark = [pytest.mark.live, pytest.mark.slow]

VERBS = ("GET", "HEAD", "OPTIONS", "PATCH", "DELETE", "PUT", "POST", "PROPFIND", "BREW", "TRACE", "CONNECT")
PATHS = (
    "/",
    "/faults",
    "/faults/secret",
    "/faults?uploads",
    "/faults/secret?uploadId=x&partNumber=1",
    "/faults?policy",
    "/endpoints/doors/invocations",
    "/endpoints/doors/async-invocations",
    "/console",
    "/console/login",
    "/metrics",
    "/capacity",
    "/costs",
    "/service/GraniteServiceVersion20100801/operation/ListMetrics",
    "/-/control",
    "/-/objects",
    "/@control_503",
    "/.clary/objects",
    "/_internal",
)
REFUSED = {400, 401, 403, 404, 405}


@pytest.fixture(scope="module")
def port(scene: Scene) -> int:
    return int(scene.server.settings.port)


@pytest.fixture(scope="module")
def served(scene: Scene) -> Iterator[str]:
    scene.deploy("doors")
    scene.put("secret", b"only for who may")
    yield "doors"
    scene.delete("doors")


@pytest.fixture(scope="module")
def stranger(scene: Scene) -> Any:
    """A key of another account."""
    return FileKeys(scene.server.settings.root / "keys").create("111111111111", "stranger")


def alive(scene: Scene, served: str) -> None:
    """The next good requests are answered at once: a second on a quiet machine."""
    began = time.monotonic()
    assert scene.invoke(served, text="x")["echo"] == "x"
    assert scene.s3.get_object(Bucket=BUCKET, Key="secret")["Body"].read() == b"only for who may"
    assert scene.sagemaker.describe_endpoint(EndpointName=served)["EndpointStatus"] == "InService"
    assert time.monotonic() - began < 10


# -- who may not --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_told_or_done_without_a_signature(scene: Scene, served: str, port: int, path: str) -> None:
    for verb in VERBS:
        answer = call(port, verb, path)
        assert answer.status in REFUSED, (verb, path, answer)
        assert b"only for who may" not in answer.body
        assert b"<html" not in answer.body.lower(), (verb, path, answer)  # an AWS client can read why
        assert "server" not in answer.fields or answer.fields["server"] == "nginx"
    alive(scene, served)


def targets() -> list[tuple[str, str, dict[str, str], bytes]]:
    """A request for every operation that is implemented, and for some that are only modelled: (service, operation, fields, body)."""
    handlers.load()
    found = []
    for operation in registry.registered().values():
        model = registry.model(operation.service)
        protocol = model.metadata["protocol"]
        if protocol in ("json", "smithy-rpc-v2-cbor") and "targetPrefix" in model.metadata:
            fields = {
                "X-Amz-Target": f"{model.metadata['targetPrefix']}.{operation.name}",
                "Content-Type": f"application/x-amz-json-{model.metadata.get('jsonVersion', '1.1')}",
            }
            found.append((operation.service, operation.name, fields, b"{}"))
        elif protocol == "query":
            body = f"Action={operation.name}&Version={model.api_version}".encode()
            form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
            found.append((operation.service, operation.name, form, body))
    return found


def test_every_operation_refuses_who_does_not_sign_or_signs_wrong(scene: Scene, port: int) -> None:
    seen = set()
    for service, name, fields, body in targets():
        signing = {"application-autoscaling": "application-autoscaling", "cloudwatch": "monitoring"}.get(
            service, service
        )
        for kind, credentials in (
            ("none", None),
            ("unknown key", Credentials("AKIAIOSFODNN7EXAMPLE", "x" * 40)),
            ("wrong secret", Credentials(scene.server.key.access_key_id, "x" * 40)),
        ):
            given = dict(fields)
            if credentials is not None:
                request = AWSRequest("POST", scene.server.settings.endpoint + "/", headers=given, data=body)
                SigV4Auth(credentials, signing, "us-east-1").add_auth(request)
                given = dict(request.headers.items())
            answer = call(port, "POST", "/", given, body)
            assert answer.status in (400, 403), (service, name, kind, answer)
            assert any(word in answer.code for word in ("Token", "Client", "Signature")), (service, name, kind, answer)
            seen.add((service, kind))
    assert len(seen) >= 12  # sagemaker, logs, sts, iam, each three ways


def test_another_account_finds_nothing(scene: Scene, served: str, stranger: Any) -> None:
    """The same answer for what is not theirs as for what does not exist."""
    theirs = {"aws_access_key_id": stranger.access_key_id, "aws_secret_access_key": stranger.secret}

    def client(service: str) -> Any:
        return boto3.client(service, region_name="us-east-1", endpoint_url=scene.server.settings.endpoint, **theirs)

    def refusal(call: Any) -> tuple[str, str]:
        with pytest.raises(ClientError) as caught:
            call()
        return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]

    sagemaker, runtime, s3 = client("sagemaker"), client("sagemaker-runtime"), client("s3")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    for asked in (
        lambda name: sagemaker.describe_endpoint(EndpointName=name),
        lambda name: sagemaker.delete_endpoint(EndpointName=name),
        lambda name: sagemaker.describe_model(ModelName=name),
        lambda name: runtime.invoke_endpoint(EndpointName=name, Body=b"{}"),
        lambda name: sagemaker.list_tags(ResourceArn=f"arn:aws:sagemaker:us-east-1:111111111111:endpoint/{name}"),
    ):
        code, message = refusal(lambda asked=asked: asked(served))
        assert (code, message.replace(served, "absent")) == refusal(lambda asked=asked: asked("absent"))
    arn = scene.sagemaker.describe_endpoint(EndpointName=served)["EndpointArn"]
    refusal(lambda: sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}]))
    tags = scene.sagemaker.list_tags(ResourceArn=arn)["Tags"]
    assert [tag["Key"] for tag in tags if not tag["Key"].startswith("aws:")] == []
    for key in ("secret", "absent"):
        assert refusal(lambda key=key: s3.get_object(Bucket=BUCKET, Key=key))[0] == "AccessDenied"
        assert refusal(lambda key=key: s3.delete_object(Bucket=BUCKET, Key=key))[0] == "AccessDenied"
        assert refusal(lambda key=key: s3.put_object(Bucket=BUCKET, Key=key, Body=b"x"))[0] == "AccessDenied"
        assert refusal(lambda key=key: s3.create_multipart_upload(Bucket=BUCKET, Key=key))[0] == "AccessDenied"
    s3.create_bucket(Bucket="strangers")
    copy = {"Bucket": BUCKET, "Key": "secret"}
    assert refusal(lambda: s3.copy_object(Bucket="strangers", Key="mine", CopySource=copy))[0] == "AccessDenied"
    alive(scene, served)


def test_another_accounts_job_cannot_read_this_accounts_data(scene: Scene, served: str, stranger: Any) -> None:
    """The confused deputy: a model and a job of one account that name data of another."""
    sagemaker = boto3.client(
        "sagemaker",
        region_name="us-east-1",
        endpoint_url=scene.server.settings.endpoint,
        aws_access_key_id=stranger.access_key_id,
        aws_secret_access_key=stranger.secret,
    )
    role = ROLE.replace("000000000000", "111111111111")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/secret", "S3DataDistributionType": "FullyReplicated"}
    with pytest.raises(ClientError) as caught:
        sagemaker.create_training_job(
            TrainingJobName="thief",
            RoleArn=role,
            AlgorithmSpecification={"TrainingImage": PYTHON_IMAGE, "TrainingInputMode": "File"},
            InputDataConfig=[{"ChannelName": "x", "DataSource": {"S3DataSource": source}}],
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/thief"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert "No S3 objects found" in caught.value.response["Error"]["Message"]
    uri = f"s3://{BUCKET}/models/{served}.tar.gz"
    model = {"ModelName": "thief", "ExecutionRoleArn": role}
    with pytest.raises(ClientError) as caught:
        sagemaker.create_model(**model, PrimaryContainer={"Image": PYTHON_IMAGE, "ModelDataUrl": uri})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.response["Error"]["Message"].startswith(f"Could not access model data at {uri}.")
    further = {
        "S3Uri": uri,
        "S3DataType": "S3Object",
        "CompressionType": "Gzip",
    }  # nobody looks at it before an endpoint does
    sources = [{"ChannelName": "x", "S3DataSource": further}]
    sagemaker.create_model(**model, PrimaryContainer={"Image": PYTHON_IMAGE, "AdditionalModelDataSources": sources})
    variant = {"VariantName": "a", "ModelName": "thief", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="thief", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="thief", EndpointConfigName="thief")
    endpoint = until(
        lambda: (found := sagemaker.describe_endpoint(EndpointName="thief"))["EndpointStatus"] != "Creating" and found,
        60,
    )
    assert endpoint["EndpointStatus"] == "Failed"
    assert "Access Denied" in endpoint["FailureReason"]


# -- signatures ---------------------------------------------------------------------------------------------------------------------


def signed_invoke(scene: Scene, served: str, when: timedelta, **changed: Any) -> Answer:
    port, path, body = scene.server.settings.port, f"/endpoints/{served}/invocations", b'{"text": "x"}'
    request = AWSRequest("POST", f"{scene.server.settings.endpoint}{path}", data=body)
    request.headers["Content-Type"] = "application/json"
    key = Credentials(scene.server.key.access_key_id, scene.server.key.secret)
    auth = SigV4Auth(key, changed.get("service", "sagemaker"), changed.get("region", "us-east-1"))
    stamp = datetime.now(UTC) + when
    request.context["timestamp"] = stamp.strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    if "payload" in changed:
        request.headers["X-Amz-Content-SHA256"] = changed["payload"]
    request.headers["Host"] = f"127.0.0.1:{port}"
    canonical = auth.canonical_request(request)
    text = auth.string_to_sign(request, canonical)
    auth._inject_signature_to_request(request, auth.signature(text, request))
    fields = {**dict(request.headers.items()), **changed.get("fields", {})}
    return call(port, changed.get("verb", "POST"), path, fields, changed.get("body", body))


def test_a_good_signature_opens(scene: Scene, served: str) -> None:
    assert signed_invoke(scene, served, timedelta()).status == 200
    assert signed_invoke(scene, served, timedelta(minutes=4)).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"when": timedelta(minutes=16)},
        {"when": timedelta(minutes=-16)},
        {"service": "s3"},
        {"service": "iam"},
        {"body": b'{"text": "y"}'},
        {"payload": "UNSIGNED-PAYLOAD"},
        {"fields": {"X-Amz-Date": "20200101T000000Z"}},
        {"fields": {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}},
        {"fields": {"Authorization": "Bearer token"}},
        {"fields": {"Authorization": "AWS4-HMAC-SHA256 " + "Credential=/,=" * 500}},
        {"fields": {"Content-Type": "text/csv"}, "signed": True},
    ],
    ids=str,
)
def test_a_signature_that_is_not_quite_right_opens_nothing(scene: Scene, served: str, changed: dict[str, Any]) -> None:
    given = dict(changed)
    answer = signed_invoke(scene, served, given.pop("when", timedelta()), **given)
    assert answer.status in (400, 403), answer
    assert b"echo" not in answer.body


def test_a_signature_of_another_region_is_of_another_endpoint(scene: Scene, served: str) -> None:
    answer = signed_invoke(scene, served, timedelta(), region="eu-west-1")
    assert (answer.status, answer.code) == (400, "ValidationError")


def presigned(scene: Scene, verb: str, path: str, expires: int, when: timedelta = timedelta()) -> str:
    request = AWSRequest(verb, scene.server.settings.endpoint + path)
    key = Credentials(scene.server.key.access_key_id, scene.server.key.secret)

    class Auth(SigV4QueryAuth):
        def payload(self, request: Any) -> str:
            return "UNSIGNED-PAYLOAD"

        def _normalize_url_path(self, path: str) -> str:
            return path

    auth = Auth(key, "s3", "us-east-1", expires=expires)
    stamp = (datetime.now(UTC) + when).strftime("%Y%m%dT%H%M%SZ")
    request.context["timestamp"] = stamp
    auth._modify_request_before_signing(request)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return str(request.url).partition(str(scene.server.settings.port))[2] + f"&X-Amz-Signature={signature}"


def test_presigned_urls_open_what_they_were_made_for(scene: Scene, served: str, port: int) -> None:
    good = presigned(scene, "GET", f"/{BUCKET}/secret", 60)
    assert call(port, "GET", good).body == b"only for who may"
    for verb, url, status in (
        ("HEAD", good, 403),
        ("PUT", good, 403),
        ("DELETE", good, 403),
        ("GET", good + "&versionId=null", 403),
        ("GET", good + "&response-content-type=text/html", 403),
        ("GET", good.replace("/secret", "/other"), 403),
        ("GET", good.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"), 403),
        ("GET", presigned(scene, "GET", f"/{BUCKET}/secret", 604_801), 400),
        ("GET", presigned(scene, "GET", f"/{BUCKET}/secret", 60, timedelta(minutes=-5)), 403),
        ("GET", presigned(scene, "GET", f"/{BUCKET}/secret", 60, timedelta(hours=1)), 403),
    ):
        answer = call(port, verb, url)
        assert answer.status == status, (verb, url, answer)
        assert b"only for who may" not in answer.body


def test_a_forged_chunk_leaves_no_object(scene: Scene, served: str, port: int) -> None:
    key = Credentials(scene.server.key.access_key_id, scene.server.key.secret)
    request = AWSRequest("PUT", f"{scene.server.settings.endpoint}/{BUCKET}/forged", data=b"")
    request.headers["X-Amz-Decoded-Content-Length"] = "5"
    request.headers["Content-Encoding"] = "aws-chunked"

    class Auth(S3SigV4Auth):
        def payload(self, request: Any) -> str:
            return "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

    Auth(key, "s3", "us-east-1").add_auth(request)
    fields = {**dict(request.headers.items()), "X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    chunk = b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"
    answer = call(port, "PUT", f"/{BUCKET}/forged", fields, chunk)
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    assert "Contents" not in scene.s3.list_objects_v2(Bucket=BUCKET, Prefix="forged")


# -- names --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "%2e%2e",
        "%252e",
        "a/../b",
        "../../../etc/passwd",
        "n\u0430me",
        "a" * 64,
        "trailing-",
        "-x",
        "a.b",
        "a\0b",
        "",
    ],
)
def test_names_that_would_be_paths_are_refused_as_names(scene: Scene, served: str, port: int, name: str) -> None:
    for target, member in (
        ("CreateModel", "ModelName"),
        ("CreateTrainingJob", "TrainingJobName"),
        ("DescribeEndpoint", "EndpointName"),
        ("CreateEndpointConfig", "EndpointConfigName"),
    ):
        if name in ("..", "") and target == "DescribeEndpoint":
            continue
        body = json.dumps({member: name}).encode()
        fields = {"X-Amz-Target": f"SageMaker.{target}", "Content-Type": "application/x-amz-json-1.1"}
        answer = call(port, "POST", "/", {**fields, **scene.sign("POST", "/", body, **fields)}, body)
        assert (answer.status, answer.code) == (400, "ValidationException"), (target, answer)
    if name and name.isprintable() and name.isascii():
        path = f"/endpoints/{quote(name)}/invocations"
        answer = call(port, "POST", path, scene.sign("POST", path, b"{}"), b"{}")
        assert answer.status in (400, 403, 404), answer
    alive(scene, served)


KEYS = (
    "../outside",
    "a//b",
    "a/./b",
    "/lead",
    "x" * 1024,
    "nul\0",
    "\U0001f600",
    "e\u0301",
    "\u00e9",
    "a",
    "a/b",
    "..",
    ".",
    "%2e%2e/x",
    "tab\tnew\nline",
)


def test_s3_keys_are_kept_as_they_are_and_escape_nowhere(scene: Scene) -> None:
    refused = set()
    for number, key in enumerate(KEYS):
        try:
            scene.s3.put_object(Bucket=BUCKET, Key=f"odd/{key}", Body=str(number).encode())
        except ClientError as error:
            refused.add((key, error.response["ResponseMetadata"]["HTTPStatusCode"]))
    listed = scene.s3.list_objects_v2(Bucket=BUCKET, Prefix="odd/", EncodingType="url")
    assert refused <= {("nul\0", 400), ("x" * 1024, 400)}  # "odd/" before it makes 1,028 bytes
    names = {row["Key"] for row in listed["Contents"]}
    assert len(names) == len(KEYS) - len(refused)
    for number, key in enumerate(KEYS):
        if (key, 400) not in refused:
            got = scene.s3.get_object(Bucket=BUCKET, Key=f"odd/{key}")["Body"].read()
            assert got == str(number).encode(), key
    assert not list(scene.server.settings.root.rglob("outside*"))


# -- how HTTP is not meant ------------------------------------------------------------------------------------------------------------


def good_head(scene: Scene, served: str, extra: str = "", body: bytes = b'{"text": "x"}') -> bytes:
    path = f"/endpoints/{served}/invocations"
    signed = scene.sign("POST", path, body, **{"Content-Type": "application/json"})
    fields = {"Host": f"127.0.0.1:{scene.server.settings.port}", "Content-Type": "application/json", **signed}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}{extra}\r\n".encode()


BODY = b'{"text": "x"}'
SMUGGLED = b"GET /console HTTP/1.1\r\nHost: localhost\r\n\r\n"
AMBIGUOUS = {
    "CL and TE": ("Content-Length: 13\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "two CL": (f"Content-Length: 13\r\nContent-Length: {13 + len(SMUGGLED)}\r\n", BODY + SMUGGLED),
    "CL list": ("Content-Length: 13, 20\r\n", BODY + SMUGGLED),
    "negative CL": ("Content-Length: -1\r\n", BODY),
    "CL with sign": ("Content-Length: +13\r\n", BODY),
    "huge CL": ("Content-Length: 99999999999999999999999\r\n", BODY),
    "TE xchunked": ("Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "TE twice": ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n" + SMUGGLED),
    "space before colon": ("Transfer-Encoding : chunked\r\nContent-Length: 13\r\n", BODY + SMUGGLED),
    "folded": ("X-Fold: a\r\n b\r\nContent-Length: 13\r\n", BODY + SMUGGLED),
    "chunk size overflow": ("Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n" + SMUGGLED),
    "chunk without size": ("Transfer-Encoding: chunked\r\n", b"\r\n" + SMUGGLED),
    "NUL in a value": ("X-Nul: a\0b\r\nContent-Length: 13\r\n", BODY + SMUGGLED),
    "two Hosts": ("Host: localhost\r\nContent-Length: 13\r\n", BODY + SMUGGLED),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_an_ambiguous_request_is_refused_and_nothing_behind_it_is_a_request(
    scene: Scene, served: str, port: int, case: str
) -> None:
    extra, body = AMBIGUOUS[case]
    with Wire(port) as wire:
        wire.send(good_head(scene, served, extra) + body)
        answers = wire.rest()
    assert len(answers) <= 1, (case, answers)
    assert all(answer.status in (400, 403, 408, 411, 413, 501) for answer in answers), (case, answers)
    alive(scene, served)


def test_pipelined_requests_are_all_answered(scene: Scene, served: str, port: int) -> None:
    one = good_head(scene, served, "Content-Length: 13\r\n") + BODY
    with Wire(port) as wire:
        wire.send(one * 5)
        answers = [wire.answer() for _ in range(5)]
    assert [answer.status for answer in answers if answer] == [200] * 5


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {414}),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", {400, 431}),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
            {400, 431},
        ),
        (
            b"GET /?" + b"&".join(b"a%d" % n for n in range(10_000)) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            {400, 414},
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100 + b"\r\n\r\n", {400}),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", {400, 505}),
        (b"\r\n" * 1000, {400}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 505}),
    ],
    ids=["long URL", "long header", "many headers", "many arguments", "TLS hello", "version", "empty lines", "HTTP/2"],
)
def test_what_is_too_much_or_nothing_like_http_is_refused_at_once(
    scene: Scene, served: str, port: int, head: bytes, statuses: set[int]
) -> None:
    began = time.monotonic()
    with Wire(port) as wire:
        wire.send(head)
        answers = wire.rest()
    assert time.monotonic() - began < 10
    assert not answers or answers[0].status in statuses, answers[0]
    alive(scene, served)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", None, "a b", "169.254.169.254"]
)
def test_a_host_that_is_not_ours_is_turned_away(scene: Scene, served: str, port: int, host: str | None) -> None:
    """A page whose name was bound to 127.0.0.1 after it was loaded (DNS rebinding)."""
    field = "" if host is None else f"Host: {host}\r\n"
    for path in ("/", f"/endpoints/{served}/invocations", "/console", "/metrics", "/capacity"):
        with Wire(port) as wire:
            wire.send(f"POST {path} HTTP/1.1\r\n{field}Content-Length: 0\r\n\r\n".encode())
            answer = wire.answer()
        assert answer is not None
        assert answer.status in (400, 421), (host, path, answer)


def test_bodies_over_the_limit_are_refused_with_size_limit_and_setting(scene: Scene, served: str, port: int) -> None:
    limit = scene.server.settings.max_payload
    with pytest.raises(ClientError) as caught:
        scene.runtime.invoke_endpoint(EndpointName=served, Body=b"x" * (limit + 1))
    error = caught.value.response
    assert error["Error"]["Code"] == "ValidationError"
    for part in (str(limit + 1), str(limit), "max_payload"):
        assert part in error["Error"]["Message"]
    path = f"/endpoints/{served}/invocations"
    for extra in (f"Content-Length: {20 * limit}\r\n", f"Content-Length: {20 * limit}\r\nExpect: 100-continue\r\n"):
        with Wire(port) as wire:  # said, not sent: the answer comes at once
            began = time.monotonic()
            wire.send(good_head(scene, served, extra))
            answer = wire.answer()
        assert answer is not None
        assert (answer.status, answer.code) == (400, "ValidationError"), answer
        assert time.monotonic() - began < 10
    with Wire(port) as wire:  # not said, but sent
        wire.send(good_head(scene, served, "Transfer-Encoding: chunked\r\n"))
        chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        sent = 0
        while sent < 40 and wire.send(chunk):
            sent += 1
        answer = wire.answer()
        assert answer is not None
        assert (answer.status, answer.code) == (400, "ValidationError"), answer
        assert wire.closed(12) is not None, "reading goes on and on"
    target = {"X-Amz-Target": "SageMaker.CreateModel", "Content-Type": "application/x-amz-json-1.1"}
    answer = call(port, "POST", "/", {**target, "Content-Length": str(9 << 20)})
    assert (answer.status, answer.code) == (413, "RequestEntityTooLargeException")
    assert path
    alive(scene, served)


def test_ranges_are_single_and_cheap(scene: Scene, served: str) -> None:
    scene.put("ten", b"0123456789")

    def get(header: str) -> tuple[int, bytes, str]:
        try:
            found = scene.s3.get_object(Bucket=BUCKET, Key="ten", Range=header)
            return found["ResponseMetadata"]["HTTPStatusCode"], found["Body"].read(), ""
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"], b"", error.response["Error"]["Code"]

    assert get("bytes=2-4")[:2] == (206, b"234")
    assert get("bytes=9-1")[:2] == (200, b"0123456789")
    assert get("bytes=-0") == (416, b"", "InvalidRange")
    assert get("bytes=10-") == (416, b"", "InvalidRange")
    assert get("bytes=" + ",".join("0-9" for _ in range(2000)))[0] in (200, 206, 400, 416)
    assert get("bytes=" + "9" * 5000 + "-")[0] in (200, 206, 400, 416)


# -- slow and many --------------------------------------------------------------------------------------------------------------------


def test_slow_clients_leave_the_others_alone(scene: Scene, served: str, port: int) -> None:
    """Under a load of good ones: 300 connections that begin a request and do not go on, 100 that dribble a body, and 100 that ask for 1 GB
    and read nothing. The store holds none of it for them."""
    gigabyte(scene, "large")
    store = scene.pid("objects")
    forget_peak(store)
    held = peak(store)
    with scene.load(served, connections=8) as load:
        load.more(400)
        before = percentile([took for _, took in load.seconds[-400:]], 0.99)
        wires = [Wire(port) for _ in range(300)]
        for wire in wires:
            wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        dribbling = [Wire(port) for _ in range(100)]
        head = good_head(scene, served, "Content-Length: 100000\r\n", bytes(100000))
        for wire in dribbling:
            wire.send(head + b"x")
        reading = [Wire(port) for _ in range(100)]
        url = presigned(scene, "GET", f"/{BUCKET}/large", 60)
        for wire in reading:
            wire.send(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        load.more(800)  # meanwhile the kernel takes some MB for each that does not read: that is copying, and over soon
        during = []
        while len(during) < 3 and not (
            during and during[-1] < 3 * before + 0.05
        ):  # what else the machine does comes and goes
            mark = time.monotonic()
            load.more(800)
            during.append(percentile([took for when, took in load.seconds if when > mark], 0.99))
        for wire in dribbling:
            wire.send(b"x")
        load.more(200)
    assert load.failed == {}
    assert load.dropped == 0
    assert during[-1] < 3 * before + 0.05, (before, during)
    for wire in [*wires, *dribbling, *reading]:
        wire.socket.close()
    assert peak(store) - held < 300, "MiB, of a hundred gigabytes"
    scene.s3.delete_object(Bucket=BUCKET, Key="large")
    alive(scene, served)


@pytest.mark.waits
def test_heads_that_never_end_lose_their_connections(port: int) -> None:
    """Whether they stand still or dribble on: the edge gives a head 20 s in all."""
    began = time.monotonic()
    still, dribbling = [[Wire(port) for _ in range(50)] for _ in range(2)]
    for wire in [*still, *dribbling]:
        wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    while time.monotonic() - began < 15 and dribbling[0].closed(0.5) is None:
        for wire in dribbling:
            wire.send(b"x")
    for wire in [*still, *dribbling]:
        assert wire.closed(max(0.1, began + 30 - time.monotonic())) is not None, "its connection is kept"
        wire.socket.close()


def gigabyte(scene: Scene, key: str) -> None:
    """An object of 1 GiB, made of copies of one part."""
    scene.put(f"{key}.part", bytes(64 << 20))
    upload = scene.s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    whose = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
    parts = []
    for number in range(1, 17):
        made = scene.s3.upload_part_copy(**whose, PartNumber=number, CopySource=f"{BUCKET}/{key}.part")
        parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
    scene.s3.complete_multipart_upload(**whose, MultipartUpload={"Parts": parts})
    scene.s3.delete_object(Bucket=BUCKET, Key=f"{key}.part")
    assert scene.s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == 1 << 30


def forget_peak(pid: int) -> None:
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")


def peak(pid: int) -> int:
    """The largest resident size since `forget_peak`, in MiB."""
    with open(f"/proc/{pid}/status") as file:
        [line] = [line for line in file if line.startswith("VmHWM")]
    return int(line.split()[1]) >> 10


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


def test_a_thousand_idle_connections_take_no_ones_place(scene: Scene, served: str, port: int) -> None:
    wires = [Wire(port) for _ in range(1000)]
    threads = [threading.Thread(target=alive, args=(scene, served)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    for wire in wires:
        wire.socket.close()


def test_millions_of_tiny_chunks_are_a_body_like_another(scene: Scene, served: str, port: int) -> None:
    """1-byte chunks (Triton's stack, CVE-2025-23310): read within bounds, others served meanwhile."""
    body = b'{"text": "' + b"x" * 200_000 + b'"}'
    head = good_head(scene, served, "Transfer-Encoding: chunked\r\n", body)
    pieces = b"".join(b"1\r\n" + body[n : n + 1] + b"\r\n" for n in range(len(body))) + b"0\r\n\r\n"
    with Wire(port, 30) as wire:
        wire.send(head + pieces)
        answer = wire.answer()
    assert answer is not None
    assert answer.status == 200
    alive(scene, served)
