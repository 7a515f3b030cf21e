"""Data capture: which requests and answers of an endpoint are stored in S3, under which key and in which format. Pure."""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clary.domain.endpoints import redaction
from clary.domain.errors import Invalid
from clary.domain.s3 import Location, parse_uri

DRIFT = "clary:drift"  # the tag of an endpoint config with the rule of `domain/monitoring/drift.py`
LABELS = "clary:labels"  # the one with the rule of `domain/monitoring/quality.py`
OWN = "Clary"  # the member of a DataCaptureConfig, as an endpoint keeps it, that Clary adds
INPUT, OUTPUT = "INPUT", "OUTPUT"
_MARK = "\0"  # stands for a body in a record: nothing else in one is, or has, a NUL
_STEP = 3 << 14  # bytes of a body that are encoded at a time: Base64 of each ends without padding
_PATHS = {"Input": (INPUT,), "Output": (OUTPUT,), "InputAndOutput": (INPUT, OUTPUT)}


@dataclass(frozen=True, slots=True)
class Side:
    """A request or an answer as it was."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was chosen, and its answer. `at` is when it came, `attributes` are the caller's and the model's own."""

    id: str
    at: float
    request: Side
    answer: Side
    inference: str = ""
    attributes: tuple[str, ...] = ()


def check_config(config: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]) -> None:
    """Invalid for a DataCaptureConfig that could not be carried out."""
    if not parse_uri(config["DestinationS3Uri"]).bucket:
        raise Invalid(f"DataCaptureConfig.DestinationS3Uri '{config['DestinationS3Uri']}' names no bucket.")
    if not all(variant.get("ModelName") for variant in variants):
        raise Invalid(
            "DataCaptureConfig needs variants with a ModelName: answers of inference components are not captured."
        )


def kept(config: Mapping[str, Any], name: str, tags: Sequence[Mapping[str, str]]) -> Mapping[str, Any]:
    """The DataCaptureConfig as an endpoint keeps it: with its endpoint config's name and the tags that say how it is watched. {}
    without one."""
    if not config:
        return {}
    given = {tag["Key"]: tag["Value"] for tag in tags}
    rules = {"drift": given.get(DRIFT, ""), "labels": given.get(LABELS, "")}
    return {**config, OWN: {"config": name, **rules, "redact": given.get(redaction.TAG, "")}}


def retained(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The same for another endpoint config, which retains it: what is captured then is watched as that one's."""
    return {**config, OWN: {**config[OWN], "config": name}} if OWN in config else config


def told(config: Mapping[str, Any]) -> Mapping[str, str]:
    """What the watch for drift is told beside the records: `config`, `drift` and `labels`."""
    return {name: value for name, value in config.get(OWN, {}).items() if name != "redact"}


def in_force(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of the config that a front applies: all of it, or nothing while capture is off."""
    return config if config and config.get("EnableCapture", True) and config["InitialSamplingPercentage"] else {}


def summary(config: Mapping[str, Any], serves: bool) -> dict[str, Any]:
    """DescribeEndpoint's DataCaptureConfig. `serves`: the endpoint answers requests."""
    enabled = bool(config.get("EnableCapture", True))
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled and serves else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


def modes(config: Mapping[str, Any]) -> frozenset[str]:
    """Which sides are kept."""
    return frozenset(mode for option in config["CaptureOptions"] for mode in _PATHS[option["CaptureMode"]])


def place(config: Mapping[str, Any], endpoint: str, variant: str, at: float, id_: str) -> Location:
    """Where a file goes whose first record is of `at`: AWS's layout, by the hour."""
    when = datetime.fromtimestamp(at, UTC)
    name = f"{when:%M-%S}-{when.microsecond // 1000:03d}-{id_}.jsonl"
    return parse_uri(config["DestinationS3Uri"]).below(endpoint, variant, f"{when:%Y/%m/%d/%H}", name)


def line(config: Mapping[str, Any], exchange: Exchange) -> str:
    """One record, as AWS writes it."""
    return "".join(pieces(config, exchange))


def pieces(config: Mapping[str, Any], exchange: Exchange) -> Iterator[str]:
    """The same piece by piece: each piece of a large body takes only a moment, and the writer lets other threads run between them."""
    kept, header = modes(config), config.get("CaptureContentTypeHeader") or {}
    csv, jsonish = header.get("CsvContentTypes") or (), header.get("JsonContentTypes") or ()
    data: dict[str, Any] = {}
    bodies: list[Iterator[str]] = []
    columns = config.get(OWN, {}).get("redact", "").split()
    request, answer = exchange.request, exchange.answer
    if columns:
        request = Side(
            request.content_type, redaction.redacted(request.body, request.content_type, columns, redaction.INPUT)
        )
        answer = Side(
            answer.content_type, redaction.redacted(answer.body, answer.content_type, columns, redaction.OUTPUT)
        )
    sides = (("endpointInput", INPUT, request), ("endpointOutput", OUTPUT, answer))
    for name, mode, side in sides:
        if mode in kept:
            encoding = _encoding(side, csv, jsonish)
            data[name] = {"observedContentType": side.content_type, "mode": mode, "data": _MARK, "encoding": encoding}
            bodies.append(_base64(side.body) if encoding == "BASE64" else _text(side.body))
    metadata: dict[str, Any] = {"eventId": exchange.id}
    if exchange.inference:
        metadata["inferenceId"] = exchange.inference
    if exchange.attributes:
        metadata["customAttributes"] = list(exchange.attributes)
    metadata["inferenceTime"] = f"{datetime.fromtimestamp(exchange.at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    record = json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"})
    before, *after = record.split(json.dumps(_MARK))
    yield before
    for body, rest in zip(bodies, after, strict=True):
        yield '"'
        yield from body
        yield '"' + rest


def _encoding(side: Side, csv: Collection[str], jsonish: Collection[str]) -> str:
    """Text where its content type is one that the config calls CSV or JSON, and it is text; else Base64."""
    kind = side.content_type.partition(";")[0].strip().lower()
    encoding = "CSV" if kind in map(str.lower, csv) else "JSON" if kind in map(str.lower, jsonish) else "BASE64"
    if encoding != "BASE64":
        try:
            for _ in _text(side.body):
                pass
        except UnicodeDecodeError:
            return "BASE64"
    return encoding


def _text(body: bytes) -> Iterator[str]:
    """The body as the inside of a JSON string."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for place in range(0, len(body), _STEP):
        text = decoder.decode(body[place : place + _STEP], final=place + _STEP >= len(body))
        yield json.dumps(text)[1:-1]


def _base64(body: bytes) -> Iterator[str]:
    for place in range(0, len(body), _STEP):
        yield base64.b64encode(body[place : place + _STEP]).decode()
