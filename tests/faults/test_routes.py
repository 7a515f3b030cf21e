"""Every route with every verb, and with every way to sign badly (faults.md 20). The doors are read from the tables that requests are sent
by: what is added to those is knocked at without a line here."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.faults.raw import Answer, Wire
from tests.faults.scene import BUCKET, Scene

from clary.api import handlers, registry
from clary.objects.routes import BUCKET as BUCKETS
from clary.objects.routes import OBJECT as OBJECTS
from clary.serving.edge import EdgeSettings
from clary.stores.keys import FileKeys
from clary.wire import cbor_body
from clary.wire.route import RPC_V2, protocols_of, signing_name

pytestmark = [pytest.mark.live, pytest.mark.slow]

VERBS = ("GET", "HEAD", "OPTIONS", "PATCH", "DELETE", "PUT", "POST", "PROPFIND", "BREW", "TRACE")
JSON, QUERY, S3, CBOR, PAGE = "json", "query", "s3", "cbor", "page"
SECRET = b"only for who may read it"


@dataclass(frozen=True, eq=False)
class Door:
    """One operation, as its clients ask for it. `service` is the signing name; `verbs` are those that it is opened by."""

    name: str
    protocol: str
    service: str
    verbs: frozenset[str]
    target: str = "/"
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def verb(self) -> str:
        return "POST" if "POST" in self.verbs else min(self.verbs)


def operations() -> Iterator[Door]:
    """What the control plane and the fronts answer, in every protocol that AWS's model of the service lists."""
    handlers.load()
    done = {(operation.service, operation.name) for operation in registry.registered().values()}
    done |= {("sagemaker-runtime", name) for name in registry.model("sagemaker-runtime").operation_names}
    for service, name in sorted(done):
        model = registry.model(service)
        door = Door(f"{service} {name}", JSON, signing_name(model), frozenset({"POST"}))
        prefix = model.metadata.get("targetPrefix")
        for protocol in protocols_of(model):
            if protocol == "json":
                version = model.metadata.get("jsonVersion", "1.1")
                asked = {"X-Amz-Target": f"{prefix}.{name}", "Content-Type": f"application/x-amz-json-{version}"}
                yield replace(door, fields=asked, body=b"{}")
            elif protocol == RPC_V2:
                asked = {"Smithy-Protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
                target = f"/service/{prefix}/operation/{name}"
                yield replace(door, protocol=CBOR, target=target, fields=asked, body=b"\xa0")
            elif protocol == "query":
                form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
                text = f"Action={name}&Version={model.api_version}"
                yield replace(door, protocol=QUERY, verbs=frozenset({"POST", "GET"}), fields=form, body=text.encode())
            else:
                http = model.operation_model(name).http
                path = "/".join("routes" if part.startswith("{") else part for part in http["requestUri"].split("/"))
                yield replace(door, verbs=frozenset({http["method"]}), target=path)


def objects() -> Iterator[Door]:
    """Every sub-resource of S3, on a bucket and an object that are there."""
    paths = {"service": "/", "bucket": f"/{BUCKET}", "object": f"/{BUCKET}/routes"}
    for (method, level), rows in itertools.chain(BUCKETS.items(), OBJECTS.items()):
        for mark, name in rows:
            target = paths[level] + (f"?{mark}=" if mark else "")
            yield Door(f"s3 {name}", S3, "s3", frozenset({method}), target)


def pages() -> Iterator[Door]:
    """Pages that are read with a key. What is listed and has no page is an unknown operation."""
    for path in EdgeSettings.__dataclass_fields__["control_paths"].default:
        yield Door(path, PAGE, "", frozenset({"GET"}), path)


DOORS = [*operations(), *objects(), *pages()]


class Knocker:
    """Asks over one connection for as long as it is kept open."""

    def __init__(self, scene: Scene) -> None:
        self.port = scene.server.settings.port
        self.endpoint = scene.server.settings.endpoint
        self._wire: Wire | None = None

    def ask(self, verb: str, target: str, fields: dict[str, str], body: bytes = b"") -> Answer:
        given = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(body)), **fields}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        request = f"{verb} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
        began = time.monotonic()
        for _ in range(2):
            fresh = self._wire is None
            wire = self._wire = self._wire or Wire(self.port, 20)
            answer = wire.answer(head=verb == "HEAD") if wire.send(request) else None
            if answer is None or answer.fields.get("connection") == "close":
                wire.socket.close()
                self._wire = None
            if answer is not None or fresh:
                break
        assert answer is not None, f"{verb} {target}: closed without an answer"
        assert time.monotonic() - began < 10, f"{verb} {target} took long"
        return answer

    def signed(self, door: Door, verb: str, who: Credentials, **how: Any) -> dict[str, str]:
        """The door's fields with a signature: `when` from now, of another `service`, with fields `changed` after it was made."""
        request = AWSRequest(verb, self.endpoint + door.target, headers=dict(door.fields), data=door.body)
        service = how.get("service", door.service)
        auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(who, service, "us-east-1")
        stamp = datetime.now(UTC) + how.get("when", timedelta())
        request.context["timestamp"] = stamp.strftime("%Y%m%dT%H%M%SZ")
        auth._modify_request_before_signing(request)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        auth._inject_signature_to_request(request, auth.signature(text, request))
        return {**dict(request.headers.items()), **how.get("changed", {})}


@pytest.fixture(scope="module")
def knocker(scene: Scene) -> Iterator[Knocker]:
    """Asks at a Clary that has something to lose; what it has is the same at the end."""
    scene.put("routes", SECRET)
    before = belongings(scene)
    yield Knocker(scene)
    assert belongings(scene) == before, "something was done"
    scene.s3.delete_object(Bucket=BUCKET, Key="routes")


def belongings(scene: Scene) -> dict[str, Any]:
    """What requests could have made, changed or deleted."""
    sagemaker, iam, s3 = scene.sagemaker, scene.server.client("iam"), scene.s3
    found: dict[str, Any] = {
        "buckets": [row["Name"] for row in s3.list_buckets()["Buckets"]],
        "objects": [(row["Key"], row["ETag"]) for row in s3.list_objects_v2(Bucket=BUCKET)["Contents"]],
        "uploads": s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []),
        "users": [row["UserName"] for row in iam.list_users()["Users"]],
        "keys": [row["AccessKeyId"] for row in iam.list_access_keys()["AccessKeyMetadata"]],
        "groups": [row["logGroupName"] for row in scene.logs.describe_log_groups()["logGroups"]],
        "models": [row["ModelName"] for row in sagemaker.list_models()["Models"]],
        "jobs": [row["TrainingJobName"] for row in sagemaker.list_training_jobs()["TrainingJobSummaries"]],
    }
    for kind in ("versioning", "tagging", "cors", "policy", "lifecycle_configuration", "encryption"):
        try:
            answer = getattr(s3, f"get_bucket_{kind}")(Bucket=BUCKET)
            found[kind] = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
        except s3.exceptions.ClientError as error:
            found[kind] = error.response["Error"]["Code"]
    return found


def told(answer: Answer, protocol: str) -> str:
    """The error's code, read as a client of that protocol does; AssertionError where it cannot be read so."""
    kind = answer.fields.get("content-type", "")
    if protocol == S3:
        assert kind == "application/xml", answer
        assert b"<Error><Code>" in answer.body, answer
        return answer.code
    if protocol == QUERY:
        assert kind == "text/xml", answer
        assert b"<ErrorResponse" in answer.body, answer
        return answer.code
    if protocol == CBOR:
        assert kind == "application/cbor", answer
        return str(cbor_body.load(answer.body)["__type"])
    if protocol == PAGE and kind.startswith("text/plain"):
        return ""
    assert kind.startswith(("application/json", "application/x-amz-json-")), answer
    return str(json.loads(answer.body).get("__type") or answer.code)


def refused(answer: Answer, protocol: str, verb: str, statuses: set[int]) -> str:
    """The code of an answer that refuses in the protocol of its request; '' where HEAD leaves no place for one."""
    assert answer.status in statuses, answer
    assert SECRET not in answer.body
    assert b"<html" not in answer.body.lower(), answer
    if verb == "HEAD":
        assert answer.body == b"", answer
        return ""
    return told(answer, protocol)


UNKNOWN = "AKIAIOSFODNN7EXAMPLE"
BROKEN = f"AWS4-HMAC-SHA256 Credential={UNKNOWN}/20260101/us-east-1/%s/aws4_request, SignedHeaders=host"
MISSING = ("MissingAuthenticationTokenException", "MissingAuthenticationToken", "AccessDenied")
STRANGE = ("IncompleteSignatureException", "IncompleteSignature", "InvalidArgument")
MALFORMED = ("IncompleteSignatureException", "IncompleteSignature", "AuthorizationHeaderMalformed")
WRONG = ("InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch")
SKEWED = ("InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed")
NOBODY = ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId")

BY_QUERY = ("iam", "sns", "sqs", "sts", "monitoring")  # whose words are those of query services, in every protocol
Fields = Callable[[Knocker, Door, Credentials], dict[str, str]]
BAD: dict[
    str, tuple[Fields, tuple[str, str, str]]
] = {  # how it is signed -> codes of services with JSON, of query services, of S3
    "not at all": (lambda k, d, c: {}, MISSING),
    "with nothing": (lambda k, d, c: {"Authorization": ""}, MISSING),
    "with a bearer token": (lambda k, d, c: {"Authorization": "Bearer token"}, STRANGE),
    "with a password": (lambda k, d, c: {"Authorization": "Basic cm9vdDpyb290"}, STRANGE),
    "with the algorithm alone": (lambda k, d, c: {"Authorization": "AWS4-HMAC-SHA256"}, MALFORMED),
    "half": (lambda k, d, c: {"Authorization": BROKEN % d.service}, MALFORMED),
    "by nobody": (lambda k, d, c: k.signed(d, d.verb, Credentials(UNKNOWN, "x" * 40)), NOBODY),
    "with a wrong secret": (lambda k, d, c: k.signed(d, d.verb, Credentials(c.access_key, "x" * 40)), WRONG),
    "an hour ago": (lambda k, d, c: k.signed(d, d.verb, c, when=timedelta(hours=-1)), SKEWED),
    "in an hour": (lambda k, d, c: k.signed(d, d.verb, c, when=timedelta(hours=1)), SKEWED),
    "for another region": (lambda k, d, c: moved(k.signed(d, d.verb, c)), WRONG),
}


def moved(fields: dict[str, str]) -> dict[str, str]:
    """A signature whose scope was changed after it was made."""
    return {**fields, "Authorization": fields["Authorization"].replace("/us-east-1/", "/eu-west-1/")}


def key(scene: Scene) -> Credentials:
    return Credentials(scene.server.key.access_key_id, scene.server.key.secret)


def judged(answer: Answer, protocol: str, verb: str, statuses: set[int], codes: set[str]) -> str:
    """What is wrong about an answer that has to refuse; '' when nothing is. An answer to HEAD has no place for a code."""
    try:
        code = refused(answer, protocol, verb, statuses)
    except AssertionError as error:
        return str(error)
    return "" if verb == "HEAD" or protocol == PAGE or code in codes else f"{code} is not in {codes}: {answer}"


@pytest.mark.parametrize("how", BAD)
def test_who_signs_badly_is_told_so_at_every_door(scene: Scene, knocker: Knocker, how: str) -> None:
    make, (json_code, query_code, s3_code) = BAD[how]
    wrong = {}
    for door in DOORS:
        fields = {**door.fields, **make(knocker, door, key(scene))} if door.protocol != PAGE else {}
        answer = knocker.ask(door.verb, door.target, fields, door.body)
        code = s3_code if door.service == "s3" else query_code if door.service in BY_QUERY else json_code
        wrong[door] = judged(answer, door.protocol, door.verb, {400, 401, 403}, {code})
    assert {door.protocol for door in wrong} == {JSON, QUERY, S3, CBOR, PAGE}
    assert {door.name: what for door, what in wrong.items() if what} == {}


def test_a_signature_for_another_service_opens_no_operation(scene: Scene, knocker: Knocker) -> None:
    wrong = {}
    for door in DOORS:
        if door.protocol in (S3, PAGE):
            continue
        for service in sorted({"s3", "iam", "sagemaker", "ec2"} - {door.service}):
            given = knocker.signed(door, door.verb, key(scene), service=service)
            answer = knocker.ask(door.verb, door.target, given, door.body)
            if (
                service == "s3" and "X-Amz-Target" not in door.fields
            ):  # who signs for S3 may name any path, and form, as an object
                protocol, codes = S3, {"MethodNotAllowed", "NotImplemented", "NoSuchBucket", "InvalidBucketName"}
            else:
                protocol, codes = door.protocol, {WRONG[door.service in BY_QUERY]}
            wrong[door.name, service] = judged(answer, protocol, door.verb, {400, 403, 404, 405, 501}, codes)
    assert {which: what for which, what in wrong.items() if what} == {}


def test_an_operation_is_opened_by_its_own_verbs_only(scene: Scene, knocker: Knocker) -> None:
    """Rightly signed, so that nothing but the verb is in the way."""
    wrong = {}
    for door in DOORS:
        if door.protocol == PAGE:
            continue
        whose = (
            door.service,
            door.target,
        )  # a path of a REST service is one operation's by one verb, another's by another
        own = (
            {verb for other in DOORS for verb in other.verbs if other.service == "s3"}
            if door.protocol == S3
            else {verb for other in DOORS for verb in other.verbs if (other.service, other.target) == whose}
        )
        for verb in sorted(set(VERBS) - own):
            answer = knocker.ask(verb, door.target, knocker.signed(door, verb, key(scene)), door.body)
            codes = {"MethodNotAllowed", "AccessForbidden"} if door.protocol == S3 else {"UnknownOperationException"}
            edge = (
                verb == "TRACE" and door.service == "monitoring"
            )  # which speaks three protocols, and the edge one of them
            protocol = JSON if edge else door.protocol
            wrong[verb, door.name, door.protocol] = judged(answer, protocol, verb, {400, 403, 404, 405}, codes)
    assert {which: what for which, what in wrong.items() if what} == {}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "POST"])
def test_what_would_change_something_does_so_by_post_alone(scene: Scene, knocker: Knocker, verb: str) -> None:
    """Good requests but for the verb, of an operation that writes: the fixture sees that nothing was written."""
    logs = {"X-Amz-Target": "Logs_20140328.CreateLogGroup", "Content-Type": "application/x-amz-json-1.1"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    user = b"Action=CreateUser&UserName=by-verb&Version=2010-05-08"
    doors = [Door("logs", JSON, "logs", frozenset({"POST"}), "/", logs, b'{"logGroupName": "by-verb"}')]
    if verb != "GET":  # AWS's query services take GET
        doors.append(Door("iam", QUERY, "iam", frozenset({"POST"}), "/", form, user))
        doors.append(Door("iam args", QUERY, "iam", frozenset({"POST"}), f"/?{user.decode()}"))
    for door in doors:
        answer = knocker.ask(verb, door.target, knocker.signed(door, verb, key(scene)), door.body)
        assert judged(answer, door.protocol, verb, {400, 405}, {"UnknownOperationException"}) == ""


def test_no_page_is_read_with_anything_but_get(scene: Scene, knocker: Knocker) -> None:
    for door in DOORS:
        for verb in set(VERBS) - door.verbs if door.protocol == PAGE else ():
            refused(knocker.ask(verb, door.target, {}), PAGE, verb, {400, 401, 403, 405})


def test_nobody_is_carried_on_to_another_machine(knocker: Knocker) -> None:
    """CONNECT, as a client of a proxy sends it, and a whole URL of somewhere else."""
    for verb, target in (("CONNECT", "169.254.169.254:80"), ("CONNECT", "/"), ("GET", "http://169.254.169.254/latest")):
        answer = knocker.ask(verb, target, {})
        assert judged(
            answer, JSON, verb, {400, 405, 421}, {"ValidationException", "UnknownOperationException"}
        ) == "" or (judged(answer, S3, verb, {400, 403, 421}, {"AccessDenied", "InvalidRequest"}) == ""), answer


def test_the_key_of_another_account_opens_no_object_and_no_bucket(scene: Scene, knocker: Knocker) -> None:
    other = FileKeys(scene.server.settings.root / "keys").create("222222222222", "routes")
    who = Credentials(other.access_key_id, other.secret)
    wrong = {}
    for door in DOORS:
        if door.protocol != S3 or f"/{BUCKET}" not in door.target:
            continue
        answer = knocker.ask(door.verb, door.target, knocker.signed(door, door.verb, who), door.body)
        wrong[door.name] = judged(answer, S3, door.verb, {400, 403, 409, 501}, FOREIGN)
    assert {name: what for name, what in wrong.items() if what} == {}


FOREIGN = {
    "AccessDenied",
    "NotImplemented",
    "MalformedXML",
    "InvalidArgument",
    "BucketAlreadyExists",
    "MissingRequestBodyError",
}
