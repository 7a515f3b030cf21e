"""Values that would be lines: whatever stands in a header, of a client, of a model or of an object, no second one comes of it
(faults.md 9)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError
from tests.faults.raw import Answer, Wire
from tests.faults.scene import BUCKET, Scene
from tests.faults.test_doors import presigned

pytestmark = [pytest.mark.live, pytest.mark.slow]

# echoes its attributes, or answers with whatever headers the body says
ECHO = """
import json
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    return body, json.loads(body).get("type", "application/json")
"""
INJECTED = {
    "line break": "a\r\nX-Evil: 1",
    "bare LF": "a\nX-Evil: 1",
    "bare CR": "a\rX-Evil: 1",
    "folded": "a\r\n X-Evil: 1",
    "NUL": "a\0X-Evil: 1",
    "vertical tab": "a\x0bX-Evil: 1",
    "8 bit": "a\xe9\x85X-Evil: 1",  # NEL: a line's end where Latin-1 is read as Unicode
}


@pytest.fixture(scope="module")
def echo(scene: Scene) -> Iterator[str]:
    scene.deploy("headers", script=ECHO)
    yield "headers"
    scene.delete("headers")


def raw(scene: Scene, path: str, fields: dict[str, str], body: bytes, method: str, service: str) -> Answer | None:
    """A signed request whose further fields are written as they are: no client would."""
    signed = scene.sign(method, path, body, service)
    lines = {"Host": f"127.0.0.1:{scene.server.settings.port}", **signed, **fields, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with Wire(scene.server.settings.port) as wire:
        wire.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        return wire.answer()


@pytest.mark.parametrize("case", INJECTED)
def test_what_a_client_writes_into_custom_attributes(scene: Scene, echo: str, case: str) -> None:
    """Refused, or passed to the model as the one value that it is; never a header of the answer."""
    fields = {"X-Amzn-SageMaker-Custom-Attributes": INJECTED[case], "Content-Type": "application/json"}
    path = f"/endpoints/{echo}/invocations"
    answer = raw(scene, path, fields, b"{}", "POST", "sagemaker")
    assert answer is not None
    assert answer.status in (200, 400)
    assert "x-evil" not in answer.fields
    if case in ("NUL", "8 bit", "vertical tab", "bare CR"):
        assert answer.status == 400
    assert scene.runtime.invoke_endpoint(EndpointName=echo, Body=b"{}")["Body"].read() == b"{}"


@pytest.mark.parametrize("case", INJECTED)
def test_what_a_model_writes_into_its_content_type(scene: Scene, echo: str, case: str) -> None:
    kind = INJECTED[case]
    try:
        answer = scene.runtime.invoke_endpoint(EndpointName=echo, Body=json.dumps({"type": kind}))
    except ClientError as error:
        answer = error.response
        assert answer["Error"]["Code"] == "ModelError"
    fields = answer["ResponseMetadata"]["HTTPHeaders"]
    assert "x-evil" not in fields
    assert "X-Evil" not in fields.get("content-type", "")


@pytest.mark.parametrize("case", INJECTED)
@pytest.mark.parametrize("field", ["x-amz-meta-mine", "x-amz-website-redirect-location", "Cache-Control"])
def test_what_is_kept_with_an_object(scene: Scene, field: str, case: str) -> None:
    """Refused, or given back as one field."""
    key = f"headers/{field}/{case}".replace(" ", "-")
    answer = raw(scene, f"/{BUCKET}/{key}", {field: INJECTED[case]}, b"x", "PUT", "s3")
    assert answer is not None
    assert answer.status in (200, 400)
    if answer.status == 400:
        return
    with Wire(scene.server.settings.port) as wire:
        url = presigned(scene, "GET", f"/{BUCKET}/{key}", 60)
        wire.send(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1:{scene.server.settings.port}\r\n\r\n".encode())
        kept = wire.answer()
    assert kept is not None
    assert kept.status == 200
    assert "x-evil" not in kept.fields
    assert kept.body == b"x"


OVERRIDES = (
    "response-content-type",
    "response-content-disposition",
    "response-content-language",
    "response-content-encoding",
    "response-cache-control",
    "response-expires",
)


@pytest.mark.parametrize("case", INJECTED)
@pytest.mark.parametrize("name", OVERRIDES)
def test_what_a_presigned_url_has_the_answer_say(scene: Scene, name: str, case: str) -> None:
    """The owner signs it; a page that builds such URLs out of its users' input must not give them headers."""
    scene.put("headers/plain", b"x")
    url = presigned(scene, "GET", f"/{BUCKET}/headers/plain?{name}={quote(INJECTED[case], safe='')}", 60)
    with Wire(scene.server.settings.port) as wire:
        wire.send(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1:{scene.server.settings.port}\r\n\r\n".encode())
        answer: Any = wire.answer()
    assert answer is not None
    assert answer.status in (200, 400)
    assert "x-evil" not in answer.fields


def test_user_metadata_of_boto3_comes_back_as_it_went(scene: Scene) -> None:
    """What may stand in a header does."""
    metadata = {"a": "b c", "quote": '"x"', "percent": "%0d%0aX-Evil: 1", "utf": "=?UTF-8?Q?=0D=0AX-Evil?="}
    scene.s3.put_object(Bucket=BUCKET, Key="headers/meta", Body=b"x", Metadata=metadata)
    found = scene.s3.head_object(Bucket=BUCKET, Key="headers/meta")
    assert found["Metadata"] == metadata
    assert not [name for name in found["ResponseMetadata"]["HTTPHeaders"] if "evil" in name]
