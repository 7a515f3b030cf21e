"""Models of a multi-model endpoint: which object a TargetModel names, and what is refused. Pure.

A TargetModel is part of an object's key and nothing else: it never becomes a path. What lies on disk is named by `digest`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from clary.domain.endpoints.fleets import Fleet
from clary.domain.errors import Invalid
from clary.domain.s3 import Location, parse_uri


@dataclass(frozen=True, slots=True)
class TargetQuestion:
    """What a front asks: put this model into the folder of that replica, so that it can be loaded there."""

    account: str
    region: str
    endpoint: str
    replica: str
    model: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> TargetQuestion:
        return TargetQuestion(*(str(data[name]) for name in ("account", "region", "endpoint", "replica", "model")))


@dataclass(frozen=True, slots=True)
class Placement:
    """The answer: the archive lies in the folder `digest` of the replica's archives and has `size` bytes; it took `seconds`.

    Or it does not: `refused` says why in words for the user, `again` whether the same may succeed in a moment."""

    digest: str = ""
    size: int = 0
    seconds: float = 0.0
    refused: str = ""
    again: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Placement:
        return Placement(
            str(data["digest"]), int(data["size"]), float(data["seconds"]), str(data["refused"]), bool(data["again"])
        )


def location(prefix: str, model: str) -> Location:
    """The object of a TargetModel below a model's ModelDataUrl. The prefix may be written without its last slash."""
    found = parse_uri(prefix)
    folder = found.key if not found.key or found.key.endswith("/") else found.key + "/"
    return Location(found.bucket, folder + model.lstrip("/"))


def digest(key: str, etag: str) -> str:
    """What names a version of a model on disk, here and as `/opt/ml/models/DIGEST/model` in the sandbox."""
    return hashlib.sha256(f"{key}\0{etag}".encode()).hexdigest()[:32]


def missing(where: Location) -> str:
    """AWS's words."""
    return (
        f"Failed to download model data(bucket: {where.bucket}, key: {where.key}). Please ensure that there is an object located at "
        "the URL and that the role passed to CreateModel has permissions to download the model."
    )


def check_fleet(fleet: Fleet) -> None:
    """Invalid for combinations that AWS does not have: many models in a serverless variant, beside a shadow, or asynchronously (its
    calls cannot name one)."""
    many = next((v for v in fleet.variants if v.container.multi_model), None)
    if many is None:
        return
    if any(variant.serverless for variant in fleet.variants):
        raise Invalid(
            f"Model '{many.container.model}' has Mode MultiModel, which is not supported for serverless endpoints."
        )
    if fleet.asynchronous:
        raise Invalid(
            f"Model '{many.container.model}' has Mode MultiModel, which is not supported for asynchronous inference: InvokeEndpointAsync "
            "has no TargetModel."
        )
    if any(variant.shadow for variant in fleet.variants):
        raise Invalid(
            f"Model '{many.container.model}' has Mode MultiModel, which is not supported together with shadow variants."
        )
