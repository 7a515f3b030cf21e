"""Data capture: which requests and answers of an endpoint are kept in S3, under which key and in which words. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clary.domain.channels import Location, parse_uri
from clary.domain.errors import Invalid

INPUT, OUTPUT = "INPUT", "OUTPUT"
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
            "DataCaptureConfig needs variants with a ModelName: what inference components answer is not captured."
        )


def in_force(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of the config a front shall do: all of it, or nothing while it is switched off."""
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
    kept, header = modes(config), config.get("CaptureContentTypeHeader") or {}
    csv, jsonish = header.get("CsvContentTypes") or (), header.get("JsonContentTypes") or ()
    data: dict[str, Any] = {}
    if INPUT in kept:
        data["endpointInput"] = _side(exchange.request, INPUT, csv, jsonish)
    if OUTPUT in kept:
        data["endpointOutput"] = _side(exchange.answer, OUTPUT, csv, jsonish)
    metadata: dict[str, Any] = {"eventId": exchange.id}
    if exchange.inference:
        metadata["inferenceId"] = exchange.inference
    if exchange.attributes:
        metadata["customAttributes"] = list(exchange.attributes)
    metadata["inferenceTime"] = f"{datetime.fromtimestamp(exchange.at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"})


def _side(side: Side, mode: str, csv: Collection[str], jsonish: Collection[str]) -> dict[str, str]:
    """Text where its content type is one that the config calls CSV or JSON, and it is text; else Base64."""
    kind = side.content_type.partition(";")[0].strip().lower()
    encoding = "CSV" if kind in map(str.lower, csv) else "JSON" if kind in map(str.lower, jsonish) else "BASE64"
    data = ""
    if encoding != "BASE64":
        try:
            data = side.body.decode()
        except UnicodeDecodeError:
            encoding = "BASE64"
    if encoding == "BASE64":
        data = base64.b64encode(side.body).decode()
    return {"observedContentType": side.content_type, "mode": mode, "data": data, "encoding": encoding}
