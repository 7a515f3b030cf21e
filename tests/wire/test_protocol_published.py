"""botocore's published protocol cases, run over our side of the wire.

They come with botocore's source archive (tests/unit/protocols), not with its wheel, so a copy of that folder is named by
CLARY_PROTOCOL_CASES; without it these tests are skipped. The folder's own list of cases that botocore itself does not
meet is honoured. What is left out besides is what no server can tell: values that never reach the wire.
"""

import base64
import copy
import datetime
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import HeadersDict
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from tests.wire.test_protocol_oracle import received, sent

from clary.wire.protocol import parse_request, serialize_error, serialize_response

FOLDER = os.environ.get("CLARY_PROTOCOL_CASES", "")
UNTOLD = {
    # Empty containers, absent tokens that a client fills in, a type that HTTP itself demands.
    "QueryEmptyQueryMaps",
    "RestJsonHttpPrefixHeadersAreNotPresent",
    "HttpPrefixHeadersAreNotPresent",
    "RestJsonOmitsEmptyListQueryValues",
}


def cases(direction: str) -> list[Any]:
    if not FOLDER:
        return []
    skipped = json.loads((Path(FOLDER) / "protocol-tests-ignore-list.json").read_text())
    suites = set(skipped["general"].get(direction, {}).get("suites", []))
    found = []
    for path in sorted((Path(FOLDER) / direction).glob("*.json")):
        ignored = set(skipped["protocols"].get(path.stem, {}).get(direction, {}).get("cases", []))
        for suite in json.loads(path.read_text()):
            for case in suite["cases"]:
                if path.stem != "ec2" and suite["description"] not in suites and case.get("id") not in ignored | UNTOLD:
                    found.append(pytest.param(suite, case, id=f"{path.stem}-{case.get('id')}"))
    return found


def model_of(suite: dict[str, Any], case: dict[str, Any]) -> tuple[ServiceModel, Any]:
    description = copy.deepcopy(suite)
    name = case["given"].get("name", "OperationName")
    description["operations"] = {name: {"name": name, **case["given"]}}
    description["metadata"].setdefault("endpointPrefix", "cases")
    model = ServiceModel(description)
    return model, model.operation_model(name)


def plain(item: Any) -> Any:
    """As the cases write values: bytes as text, times as seconds, special floats by name, without nulls."""
    if isinstance(item, dict):
        return {name: plain(inner) for name, inner in item.items() if inner is not None}
    if isinstance(item, list):
        return [plain(inner) for inner in item]
    if isinstance(item, bytes):
        return item.decode()
    if isinstance(item, datetime.datetime):
        return item.timestamp()
    if isinstance(item, float) and not math.isfinite(item):
        return "NaN" if math.isnan(item) else "Infinity" if item > 0 else "-Infinity"
    return item


def special(item: Any) -> Any:
    names = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    if isinstance(item, dict):
        return {name: special(inner) for name, inner in item.items()}
    return names.get(item, item) if isinstance(item, str) else item


@pytest.mark.parametrize(("suite", "case"), cases("input"))
def test_input(suite: dict[str, Any], case: dict[str, Any]) -> None:
    model, operation = model_of(suite, case)
    found, params = parse_request(model, sent(model.metadata["protocol"], operation, special(case["params"])))
    assert found.name == operation.name
    assert plain(params) == plain(case["params"])


@pytest.mark.parametrize(("suite", "case"), cases("output"))
def test_output(suite: dict[str, Any], case: dict[str, Any]) -> None:
    model, operation = model_of(suite, case)
    protocol = model.metadata["protocol"]
    if "error" in case:
        message, status = case.get("errorMessage", ""), case["response"]["status_code"]
        response = serialize_error(model, operation, case["errorCode"], message, case["error"], status)
        answer = received(protocol, operation, response, operation.output_shape)
        shape = model.shape_for_error_code(answer["Error"]["Code"])
        members = received(protocol, operation, response, shape) if shape is not None else {}
        assert answer["Error"]["Code"] == case["errorCode"]
        assert (answer["Error"]["Message"] or "") == message
        assert plain(case["error"]).items() <= plain(members).items()
        return
    response = serialize_response(model, operation, special(case["result"]))
    assert response.status == case["response"]["status_code"]
    shape = operation.output_shape
    if protocol == "query" and shape is not None:
        shape.serialization.setdefault("resultWrapper", f"{operation.name}Result")
    answer = {
        "status_code": response.status,
        "headers": HeadersDict(dict(response.headers)),
        "body": response.body,
        "context": {"operation_name": operation.name},
    }
    parsed = create_parser(protocol).parse(answer, shape)
    parsed.pop("ResponseMetadata", None)
    assert plain(parsed) == plain(case["result"])
    if protocol.endswith("cbor") and case["response"].get("body"):
        assert base64.b64decode(case["response"]["body"])
