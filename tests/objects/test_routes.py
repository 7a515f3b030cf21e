"""Every operation of S3's model is done or refused by name, and nothing is done without a signature."""

from __future__ import annotations

import http.client
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel, Shape

from clary.objects.assembly import Assembly
from clary.objects.multipart import Multipart
from clary.objects.routes import BUCKET, OBJECT, operations

MODEL = boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b").meta.service_model
# Directory buckets and Object Lambda have hosts of their own: they never come here.
ELSEWHERE = {"CreateSession", "ListDirectoryBuckets", "WriteGetObjectResponse"}
# Old names of operations that have a new one; the same request.
OLD = {"GetBucketLifecycle", "GetBucketNotification", "PutBucketLifecycle", "PutBucketNotification"}
DONE = operations(Multipart(Assembly(None)))  # type: ignore[arg-type]


def test_the_table_knows_every_operation_of_the_model() -> None:
    known = {
        name for table in (BUCKET, OBJECT) for rows in table.values() for _, both in rows for name in both.split("|")
    }
    known |= {"CopyObject", "UploadPartCopy", "ListDirectoryBuckets"} | OLD
    assert set(MODEL.operation_names) <= known
    assert known - set(MODEL.operation_names) <= {"PostObject", "CreateSession"}
    assert set(DONE) <= known


def _value(shape: Shape, name: str, depth: int = 0) -> Any:
    """The least that botocore accepts."""
    match shape.type_name:
        case "structure":
            wanted = shape.required_members or (list(shape.members)[:1] if shape.metadata.get("union") else [])
            return {} if depth > 6 else {key: _value(shape.members[key], key, depth + 1) for key in wanted}
        case "list":
            return [_value(shape.member, name, depth + 1)]
        case "map":
            return {"k": "v"}
        case "string":
            return (
                shape.enum[0] if shape.enum else "t-routes" if name == "Bucket" else "x" * shape.metadata.get("min", 1)
            )
        case "integer" | "long" | "float" | "double":
            return 1
        case "boolean":
            return False
        case "timestamp":
            return "2026-01-01T00:00:00Z"
        case "blob":
            return b"x"
    raise AssertionError(shape.type_name)


def _params(operation: OperationModel) -> dict[str, Any]:
    params = _value(operation.input_shape, "") if operation.input_shape is not None else {}
    if "CopySource" in params:
        params["CopySource"] = "t-routes/x"
    return params


@pytest.mark.parametrize("name", sorted(set(MODEL.operation_names) - set(DONE) - ELSEWHERE - OLD))
def test_what_is_not_done_is_refused_by_name(live: Any, s3: Any, name: str) -> None:
    operation = MODEL.operation_model(name)
    with pytest.raises(ClientError) as raised:
        s3._make_api_call(name, _params(operation))
    error = raised.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == ("NotImplemented", 501)
    assert name in error["Error"]["Message"]


@pytest.mark.parametrize("name", sorted(set(MODEL.operation_names) & set(DONE)))
def test_what_is_done_answers_and_is_what_it_says(s3: Any, name: str) -> None:
    """Never 501 nor 500, however little it is given: a result, or an error of S3's."""
    try:
        answer = s3._make_api_call(name, _params(MODEL.operation_model(name)))
    except ClientError as error:
        answer = error.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] < 500
    code = answer.get("Error", {}).get("Code")
    assert code not in ("NotImplemented", "MethodNotAllowed", "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND"]
)
def test_every_route_is_closed_to_strangers(live: Any, method: str) -> None:
    marks = {mark for table in (BUCKET, OBJECT) for rows in table.values() for mark, _ in rows}
    paths = ["/", "/t-routes", "/t-routes/key", "/-clary/find", "/-clary/place", "/-clary/../t-routes"]
    paths += [f"{base}?{mark}=1" for base in ("/t-routes", "/t-routes/key") for mark in marks if mark]
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=20)
    try:
        for path in paths if method != "CONNECT" else []:
            connection.request(method, path, headers={"Content-Length": "0"} if method in ("PUT", "POST") else {})
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (400, 403, 405), (method, path, answer.status)
    finally:
        connection.close()
