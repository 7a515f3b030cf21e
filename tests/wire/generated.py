"""Values made from a model's shapes by hypothesis, and the comparison that knows what a protocol cannot carry."""

import datetime
import math
from collections.abc import Callable
from typing import Any

from botocore.model import OperationModel, ServiceModel
from hypothesis import strategies as st

from clary.wire.models import load, speaking

# One row per protocol that clients of these services speak.
SPOKEN = [
    ("sagemaker", "json"),
    ("sagemaker-runtime", "rest-json"),
    ("application-autoscaling", "json"),
    ("cloudwatch", "json"),
    ("cloudwatch", "query"),
    ("cloudwatch", "smithy-rpc-v2-cbor"),
    ("logs", "json"),
    ("sts", "query"),
    ("iam", "query"),
    ("sns", "query"),
    ("s3", "rest-xml"),
]
# S3's deprecated operations lie on the paths of their successors, and this one differs from ListBuckets by host only.
_AMBIGUOUS = ("ListDirectoryBuckets",)
OPERATIONS = [
    (service, protocol, name)
    for service, protocol in SPOKEN
    for name in load(service).operation_names
    if not (service == "s3" and (name in _AMBIGUOUS or load(service).operation_model(name).deprecated))
]

_PLAIN = "abcXYZ019"
_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Co")), max_size=6)
_HEADER_TEXT = st.text(_PLAIN + "-_./=;", min_size=1, max_size=6)
_LABEL = st.text(_PLAIN + " -_~%+é€", min_size=1, max_size=6).filter(lambda text: text.strip("."))
_SECONDS = st.integers(0, 4_000_000_000)
_MICROS = st.sampled_from([0, 0, 1, 500_000, 123_456])
_FLOATS = [0.0, 1.5, -2.25, math.inf, -math.inf]

Draw = Callable[[st.SearchStrategy[Any]], Any]


def model_of(service: str, protocol: str, name: str) -> tuple[ServiceModel, OperationModel]:
    model = load(service)
    return model, speaking(model, protocol).operation_model(name)


@st.composite
def structures(draw: Draw, shape: Any) -> dict[str, Any]:
    return _structure(draw, shape, 0)


def _structure(draw: Draw, shape: Any, depth: int) -> dict[str, Any]:
    names = list(shape.members)
    if shape.metadata.get("union"):
        names = [draw(st.sampled_from(names))]
        required = set(names)
    else:
        required = set(shape.required_members)
    found: dict[str, Any] = {}
    some = draw(st.integers(0, 2**32 - 1))
    for at, name in enumerate(names):
        member = shape.members[name]
        deep = depth > 2 and member.type_name in ("structure", "list", "map")
        if name in required or (not deep and some >> (at % 32) & 1):
            if depth > 6:
                continue
            found[name] = value(draw, member, depth + 1)
    payload = shape.serialization.get("payload")
    if isinstance(found.get(payload), str):
        found[payload] += "not empty"  # an empty body is no body
    return found


def value(draw: Draw, shape: Any, depth: int) -> Any:
    kind = shape.type_name
    location = shape.serialization.get("location")
    if kind == "structure":
        return {"any": ["document", 1, None]} if shape.metadata.get("document") else _structure(draw, shape, depth)
    if kind == "list":
        if shape.serialization.get("eventstream"):
            return []
        count = draw(st.integers(1, 2))
        if location == "header":
            return [
                draw(st.text(_PLAIN, min_size=1, max_size=4))
                if not shape.member.metadata.get("enum")
                else value(draw, shape.member, depth)
                for _ in range(count)
            ]
        return [value(draw, shape.member, depth + 1) for _ in range(count)]
    if kind == "map":
        keys = ["x-a", "b"][: draw(st.integers(1, 2))] if location else [draw(_HEADER_TEXT)]
        return {key: draw(_HEADER_TEXT) if location else value(draw, shape.value, depth + 1) for key in keys}
    if kind == "string":
        if shape.serialization.get("hostLabel"):
            return draw(st.text(_PLAIN, min_size=1, max_size=6))
        if shape.metadata.get("enum"):
            return draw(st.sampled_from(shape.metadata["enum"]))
        return draw(_LABEL if location == "uri" else _HEADER_TEXT if location in ("header", "querystring") else _TEXT)
    if kind == "timestamp":
        moment = datetime.datetime.fromtimestamp(draw(_SECONDS), datetime.UTC)
        whole = location == "header" or shape.serialization.get("timestampFormat") == "rfc822"
        return moment if whole else moment.replace(microsecond=draw(_MICROS))
    if kind in ("float", "double"):
        return draw(st.sampled_from(_FLOATS))
    if kind == "boolean":
        return draw(st.booleans())
    if kind == "blob":
        return draw(st.binary(max_size=6))
    limit = 2**31 - 1 if kind == "integer" else 2**63 - 1
    return draw(st.integers(200, 299) if location == "statusCode" else st.integers(-limit - 1, limit))


def pruned(item: Any) -> Any:
    """Without what forms and XML cannot tell from absence: empty structures, lists, blobs."""
    if isinstance(item, dict):
        kept = {name: pruned(inner) for name, inner in item.items()}
        return {name: inner for name, inner in kept.items() if inner not in ({}, [], b"")}
    if isinstance(item, list):
        return [inner for inner in map(pruned, item) if inner != {}]
    return item
