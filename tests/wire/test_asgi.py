"""The request path: real clients over it, and every kind of request that must not get through."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.signing import KEY_ID, SECRET, credentials, sent

from clary.wire.asgi import Application, Invocation, Limits
from clary.wire.autherrors import auth_error
from clary.wire.errors import AuthError, ServiceError
from clary.wire.http import Request
from clary.wire.sigv4 import ClaimedIdentity, check, signing_key

RPC_PATH = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
SERVICES = ["sagemaker", "sagemaker-runtime", "application-autoscaling", "cloudwatch", "logs", "sts", "iam"]
Handler = Callable[[Invocation], Mapping[str, Any] | None]


async def authenticate(request: Request, claim: ClaimedIdentity) -> str:
    if claim.key_id != KEY_ID:
        raise auth_error("unknown key", claim.service, target="x-amz-target" in request.headers)
    key = signing_key(SECRET, claim.date, claim.region, claim.service)
    check(request, claim, key, time.time())
    return "the owner"


def application(handler: Handler, **kwargs: Any) -> Application:
    async def dispatch(invocation: Invocation) -> Mapping[str, Any] | None:
        return handler(invocation)

    return Application(SERVICES, authenticate=authenticate, dispatch=dispatch, **kwargs)


class _Raw(BytesIO):
    def stream(self, **kwargs: Any) -> Any:
        yield self.getvalue()


async def exchange(
    app: Application, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"", pieces: int = 1
) -> tuple[int, dict[str, str], bytes]:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }
    size = max(1, -(-len(body) // pieces))
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    out: list[Any] = []

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        out.append(message)

    await app(scope, receive, send)
    assert [message["type"] for message in out] == ["http.response.start", "http.response.body"]
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in out[0]["headers"]}
    return out[0]["status"], found, out[1]["body"]


def client(app: Application, service: str, secret: str = SECRET, key_id: str = KEY_ID, **kwargs: Any) -> Any:
    """An unmodified boto3 client whose requests end in the application instead of a socket."""
    made = boto3.client(
        service,
        endpoint_url="http://localhost:4600",
        region_name="eu-central-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
        **kwargs,
    )

    def deliver(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        parts = urlsplit(request.url)
        headers = [(k, v.decode() if isinstance(v, bytes) else str(v)) for k, v in request.headers.items()]
        headers.append(("Host", parts.netloc))
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        status, answered, content = asyncio.run(exchange(app, request.method, target, headers, body, pieces=3))
        return AWSResponse(request.url, status, answered, _Raw(content))

    made.meta.events.register("before-send", deliver)
    return made


def refusal(call: Callable[[], Any]) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["Error"]["Message"], error["ResponseMetadata"]["HTTPStatusCode"]


def echo(invocation: Invocation) -> Mapping[str, Any]:
    return {}


def test_a_call_reaches_its_handler_with_everything_it_needs() -> None:
    seen: list[Invocation] = []

    def handler(invocation: Invocation) -> Mapping[str, Any]:
        seen.append(invocation)
        return {"EndpointArn": "arn:aws:sagemaker:eu-central-1:000000000000:endpoint/e"}

    answer = client(application(handler), "sagemaker").create_endpoint(EndpointName="e", EndpointConfigName="c")
    assert answer["EndpointArn"].endswith("endpoint/e")
    (call,) = seen
    assert (call.service, call.operation, call.region, call.principal) == (
        "sagemaker",
        "CreateEndpoint",
        "eu-central-1",
        "the owner",
    )
    assert call.params == {"EndpointName": "e", "EndpointConfigName": "c"}
    assert "Boto3" in call.user_agent
    assert answer["ResponseMetadata"]["RequestId"] == call.request_id


@pytest.mark.parametrize(
    ("service", "operation", "params", "result"),
    [
        ("sts", "get_caller_identity", {}, {"Account": "000000000000", "Arn": "arn", "UserId": "u"}),
        ("iam", "get_role", {"RoleName": "r"}, {"Role": {"Path": "/", "RoleName": "r"}}),
        ("logs", "describe_log_groups", {}, {"logGroups": [{"logGroupName": "g", "storedBytes": 1}]}),
        ("cloudwatch", "list_metrics", {}, {"Metrics": [{"Namespace": "n", "MetricName": "m"}]}),
        (
            "application-autoscaling",
            "describe_scaling_policies",
            {"ServiceNamespace": "sagemaker"},
            {"ScalingPolicies": []},
        ),
    ],
)
def test_every_protocol_is_answered_in_itself(service: str, operation: str, params: Any, result: Any) -> None:
    answer = getattr(client(application(lambda _: result), service), operation)(**params)
    assert {name: answer[name] for name in result} == result


def test_runtime_shares_the_scope_and_streams_its_body() -> None:
    app = application(lambda call: {"Body": call.params["Body"][::-1], "ContentType": "text/plain"})
    answer = client(app, "sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=b"abc")
    assert (answer["Body"].read(), answer["ContentType"]) == (b"cba", "text/plain")


@pytest.mark.parametrize(
    ("service", "operation", "kwargs", "expected"),
    [
        ("sagemaker", "list_endpoints", {"secret": "x"}, ("InvalidSignatureException", 400)),
        ("sagemaker", "list_endpoints", {"key_id": "AKIANOBODY"}, ("UnrecognizedClientException", 400)),
        ("sts", "get_caller_identity", {"secret": "x"}, ("SignatureDoesNotMatch", 403)),
        ("sts", "get_caller_identity", {"key_id": "AKIANOBODY"}, ("InvalidClientTokenId", 403)),
        ("logs", "describe_log_groups", {"key_id": "AKIANOBODY"}, ("UnrecognizedClientException", 400)),
    ],
)
def test_refuses_strangers_in_the_words_of_the_service(
    service: str, operation: str, kwargs: Any, expected: Any
) -> None:
    code, _, status = refusal(getattr(client(application(echo), service, **kwargs), operation))
    assert (code, status) == expected


def test_constraints_are_checked_before_the_handler() -> None:
    def never(invocation: Invocation) -> Mapping[str, Any]:
        raise AssertionError("not reached")

    code, message, status = refusal(lambda: client(application(never), "sagemaker").describe_endpoint(EndpointName="_"))
    assert (code, status) == ("ValidationException", 400)
    assert message.startswith("1 validation error detected: Value '_' at 'endpointName'")


def test_errors_of_handlers_are_answered() -> None:
    def handler(invocation: Invocation) -> Mapping[str, Any]:
        raise ServiceError("ModelError", "it failed", members={"OriginalStatusCode": 500, "LogStreamArn": "arn"})

    with pytest.raises(ClientError) as caught:
        client(application(handler), "sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=b"")
    response = caught.value.response
    assert response["Error"] == {"Code": "ModelError", "Message": "it failed"}
    assert (response["OriginalStatusCode"], response["ResponseMetadata"]["HTTPStatusCode"]) == (500, 424)


def test_foreign_errors_are_translated() -> None:
    def handler(invocation: Invocation) -> Mapping[str, Any]:
        raise LookupError("role")

    def translate(error: Exception, invocation: Invocation) -> ServiceError | None:
        return ServiceError("NoSuchEntity", f"no {error.args[0]} in {invocation.operation}")

    app = application(handler, translate=translate)
    assert refusal(lambda: client(app, "iam").get_role(RoleName="r")) == ("NoSuchEntity", "no role in GetRole", 404)


def test_what_nobody_foresaw_is_logged_and_told_to_no_one(caplog: pytest.LogCaptureFixture) -> None:
    def handler(invocation: Invocation) -> Mapping[str, Any]:
        raise RuntimeError("the secret path /srv/keys")

    with caplog.at_level(logging.ERROR, "clary.wire"):
        code, message, status = refusal(client(application(handler), "sagemaker").list_models)
    assert (code, status) == ("InternalFailure", 500)
    assert "secret" not in message
    assert "the secret path" in caplog.text


def test_the_access_log_is_one_json_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "clary.access"):
        client(application(lambda _: {"Models": []}), "sagemaker").list_models()
    entry = json.loads(caplog.records[-1].getMessage())
    assert (entry["service"], entry["operation"], entry["status"], entry["key"]) == (
        "sagemaker",
        "ListModels",
        200,
        KEY_ID,
    )


def signed(
    target: str = "SageMaker.ListModels", body: bytes = b"{}", path: str = "/"
) -> tuple[list[tuple[str, str]], bytes]:
    headers = {"Content-Type": "application/x-amz-json-1.1"} | ({"X-Amz-Target": target} if target else {})
    request = sent(
        SigV4Auth(credentials(), "sagemaker", "eu-central-1"), "POST", f"http://localhost:4600{path}", headers, body
    )
    return request.headers.pairs(), request.body


@pytest.mark.parametrize("service", ["sts", "iam"])
async def test_a_query_without_its_action_is_told_so_in_xml(service: str) -> None:
    """Clients of these services read nothing else."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    request = sent(
        SigV4Auth(credentials(), service, "eu-central-1"), "POST", "http://localhost:4600/", form, b"Version=1"
    )
    status, headers, content = await exchange(application(echo), "POST", "/", request.headers.pairs(), request.body)
    assert (status, headers["content-type"]) == (400, "text/xml")
    assert b"<Code>UnknownOperationException</Code>" in content


async def test_a_query_that_is_no_text_is_refused() -> None:
    status, _, body = await exchange(application(lambda _: {}), "POST", "/?%ED%A0%80=b", [("Host", "localhost")])
    assert (status, json.loads(body)["__type"]) == (400, "SerializationException")


async def test_an_unknown_operation_is_named() -> None:
    for target in ("SageMaker.MakeCoffee", "Nowhere.Whatever"):
        headers, body = signed(target)
        status, _, content = await exchange(application(echo), "POST", "/", headers, body)
        assert status == 400
        assert json.loads(content)["__type"] == "UnknownOperationException"
        message = json.loads(content)["message"]
        assert target.rpartition(".")[2] in message
        assert "docs/operations.md" in message


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/endpoints/e/invocations", "/nothing", "/?Action=GetCallerIdentity"])
async def test_nothing_is_told_without_a_signature(method: str, path: str) -> None:
    status, headers, content = await exchange(application(echo), method, path, [("Host", "localhost")])
    assert status in (400, 403)
    assert b"MissingAuthenticationToken" in content or "MissingAuthenticationToken" in headers["x-amzn-errortype"]
    assert headers["x-amzn-requestid"]


@pytest.mark.parametrize("headers", [[], [("Host", "a"), ("Host", "a")], [("Host", "")]])
async def test_there_is_exactly_one_host(headers: list[tuple[str, str]]) -> None:
    status, found, _ = await exchange(application(echo), "POST", "/", headers)
    assert (status, found["connection"]) == (400, "close")


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:4600", 400), ("[::1]:4600", 400), ("evil.example", 421), ("localhost.evil.example", 421)],
)
async def test_the_host_is_one_that_is_allowed(host: str, status: int) -> None:
    app = application(echo, hosts=["localhost", "[::1]"])
    found, _, _ = await exchange(app, "POST", "/", [("Host", host), ("X-Amz-Target", "SageMaker.ListModels")])
    assert found == status


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "2"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "2"), ("Content-Length", "3")],
        [("Content-Length", "two")],
        [("Content-Length", "-1")],
    ],
)
async def test_the_length_is_not_ambiguous(headers: list[tuple[str, str]]) -> None:
    status, found, _ = await exchange(application(echo), "POST", "/", [("Host", "h"), *headers], b"{}")
    assert (status, found["connection"]) == (400, "close")


async def test_limits_are_kept() -> None:
    app = application(echo, limits=Limits(body=1000))
    host = ("Host", "h")
    for expected, target, headers, body in (
        (413, "/", [("Content-Length", "1001")], b""),
        (413, "/", [], b"x" * 1001),
        (431, "/", [(f"x-{n}", "v") for n in range(300)], b""),
        (431, "/", [("x", "v" * 70_000)], b""),
        (414, "/" + "a" * 20_000, [], b""),
        (400, "/?" + "a&" * 2000, [], b""),
    ):
        before = time.process_time()
        status, _, _ = await exchange(app, "POST", target, [host, *headers], body)
        assert status == expected
        assert time.process_time() - before < 0.2


async def test_a_body_that_never_ends_is_given_up() -> None:
    app = application(echo, limits=Limits(body_seconds=0.01))
    out: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("not reached")

    async def send(message: Any) -> None:
        out.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"host", b"h")]}
    await app(scope, receive, send)
    assert out[0]["status"] == 408


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"nonsense",
        b"\xff\xfe",
        b'{"MaxResults": NaN}',
        b'{"MaxResults": 1e400}',
        b'{"MaxResults": ' + b"9" * 100_000 + b"}",
        b'{"MaxResults": "1"}',
        b'{"NameContains": "a", "NameContains": "b"}',
        b'{"NameContains": "\\ud800"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"x":' * 200 + b"1" + b"}" * 200,
    ],
)
async def test_malformed_json_is_a_serialization_error(body: bytes) -> None:
    headers, body = signed("SageMaker.ListEndpoints", body)
    before = time.process_time()
    status, _, content = await exchange(application(echo), "POST", "/", headers, body)
    assert (status, json.loads(content)["__type"]) == (400, "SerializationException")
    assert time.process_time() - before < 0.5


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.binary(max_size=200),
    st.sampled_from(["SageMaker.CreateModel", "GraniteServiceVersion20100801.PutMetricData", "x", ""]),
    st.sampled_from(
        [
            "/",
            "/endpoints/%ff/invocations",
            "/endpoints//invocations",
            RPC_PATH,
        ]
    ),
    st.sampled_from(["application/json", "application/cbor", "application/x-www-form-urlencoded"]),
)
def test_noise_is_answered_with_a_refusal(method: str, body: bytes, target: str, path: str, kind: str) -> None:
    async def let_in(request: Request, claim: ClaimedIdentity) -> None:
        return None

    async def dispatch(invocation: Invocation) -> Mapping[str, Any]:
        return {}

    app = Application(SERVICES, authenticate=let_in, dispatch=dispatch)
    scope = "monitoring" if "Granite" in path or "Granite" in target else "sagemaker"
    headers = [
        ("Host", "h"),
        ("Content-Type", kind),
        ("X-Amz-Date", "20260101T000000Z"),
        (
            "Authorization",
            f"AWS4-HMAC-SHA256 Credential=a/20260101/r/{scope}/aws4_request, SignedHeaders=host, Signature=0",
        ),
        *([("X-Amz-Target", target)] if target else [("smithy-protocol", "rpc-v2-cbor")] if "service" in path else []),
    ]
    status, _, _ = asyncio.run(exchange(app, method, path, headers, body))
    assert status < 500


def test_auth_errors_are_service_errors() -> None:
    assert issubclass(AuthError, ServiceError)
