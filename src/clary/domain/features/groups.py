"""A feature group: its features, its two stores, and the rules of CreateFeatureGroup and UpdateFeatureGroup.

Source: the developer guide's pages on Feature Store, and the operations' own (reference/lifecycle.md 9.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.lifecycle import GROUP, GroupFact, GroupStatus, advance
from clary.domain.resources import Record
from clary.domain.s3 import Location, parse_uri

KIND = "feature-group"
ACTIVE = (GroupStatus.CREATING, GroupStatus.DELETING)  # those that a loop looks after
RESERVED = frozenset({"is_deleted", "write_time", "api_invocation_time"})
DATABASE = "sagemaker_featurestore"
CATALOG = "AwsDataCatalog"
MOST = 2500  # features of a group
UNITS = {"Seconds": 1, "Minutes": 60, "Hours": 3600, "Days": 86_400, "Weeks": 604_800}
PARTIAL = ("Standard_V2", "InMemory")  # kinds of online store whose records UpdateRecord changes


@dataclass(frozen=True, slots=True)
class Feature:
    """One column. `collection` is "", List, Set or Vector; `dimension` is a vector's length."""

    name: str
    type: str  # Integral | Fractional | String
    collection: str = ""
    dimension: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """A group as its stores see it. `key` tells it from an earlier one of the same name; `ttl` is in seconds (None: for ever);
    `storage` the kind of its online store ("" without one); `offline` where its history lies (None without one)."""

    key: str
    name: str
    arn: str
    account: str
    identifier: str
    event_time: str
    features: Mapping[str, Feature]
    storage: str
    ttl: float | None
    offline: Location | None

    @property
    def online(self) -> bool:
        return bool(self.storage)


def group_of(record: Record) -> Group:
    """The group that a record tells of."""
    request = record.document["request"]
    online = request.get("OnlineStoreConfig") or {}
    offline = record.document.get("offline")
    return Group(
        key=record.document["key"],
        name=record.name,
        arn=record.arn,
        account=record.scope.account,
        identifier=request["RecordIdentifierFeatureName"],
        event_time=request["EventTimeFeatureName"],
        features={feature.name: feature for feature in map(feature_of, request["FeatureDefinitions"])},
        storage=(online.get("StorageType") or "Standard") if online.get("EnableOnlineStore") else "",
        ttl=seconds_of(online.get("TtlDuration")),
        offline=parse_uri(offline["data"]) if offline else None,
    )


def feature_of(definition: Mapping[str, Any]) -> Feature:
    vector = (definition.get("CollectionConfig") or {}).get("VectorConfig") or {}
    return Feature(
        definition["FeatureName"],
        definition["FeatureType"],
        definition.get("CollectionType") or "",
        int(vector.get("Dimension") or 0),
    )


def seconds_of(duration: Mapping[str, Any] | None) -> float | None:
    """A TtlDuration in seconds; None for none."""
    if not duration or not duration.get("Unit") or not duration.get("Value"):
        return None
    return float(UNITS[duration["Unit"]] * int(duration["Value"]))


def check(request: Mapping[str, Any]) -> None:
    """CreateFeatureGroup's own rules. Invalid names what is wrong."""
    features = _checked(request["FeatureDefinitions"])
    for member in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
        if request[member] not in features:
            raise Invalid(f"{member} {request[member]} is not among the FeatureDefinitions.")
    for member in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
        if features[request[member]].collection:
            raise Invalid(f"{member} {request[member]} is a collection; it must be a single value.")
    event = features[request["EventTimeFeatureName"]]
    if event.type not in ("String", "Fractional"):
        raise Invalid(f"The event time feature {event.name} is {event.type}; it must be String or Fractional.")
    online, offline = request.get("OnlineStoreConfig") or {}, request.get("OfflineStoreConfig")
    if not online.get("EnableOnlineStore") and not offline:
        raise Invalid(
            "Enable the online store (OnlineStoreConfig.EnableOnlineStore) or give an OfflineStoreConfig, or both."
        )
    _check_ttl(online.get("TtlDuration"))
    if offline:
        _check_offline(offline, request)


def _check_ttl(duration: Mapping[str, Any] | None) -> None:
    if duration and seconds_of(duration) is None:
        raise Invalid("TtlDuration needs both Unit and Value.")


def _check_offline(offline: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    uri = offline["S3StorageConfig"]["S3Uri"]
    parse_uri(uri)
    if offline.get("TableFormat") == "Iceberg":
        raise Invalid(
            "OfflineStoreConfig.TableFormat Iceberg is not supported: the history is Parquet in the layout of Glue. Leave it out."
        )
    if not request.get("RoleArn"):
        raise Invalid("RoleArn is required with an OfflineStoreConfig.")


def _checked(definitions: Sequence[Mapping[str, Any]]) -> dict[str, Feature]:
    features: dict[str, Feature] = {}
    for feature in map(feature_of, definitions):
        if feature.name in features:
            raise Invalid(f"FeatureDefinitions name {feature.name} twice.")
        if feature.name.lower() in RESERVED:
            raise Invalid(f"{feature.name} is a reserved name: {', '.join(sorted(RESERVED))} are Feature Store's own.")
        if feature.collection == "Vector" and (feature.type != "Fractional" or not feature.dimension):
            raise Invalid(
                f"{feature.name} is a Vector: its FeatureType must be Fractional, and VectorConfig needs a Dimension."
            )
        features[feature.name] = feature
    return features


def added(record: Record, additions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The definitions after UpdateFeatureGroup. Features are only added. Invalid: a name that is there, or too many."""
    request = record.document["request"]
    definitions = [*request["FeatureDefinitions"], *additions]
    if len(definitions) > MOST:
        raise Invalid(f"A feature group has at most {MOST} features; it would have {len(definitions)}.")
    _checked(definitions)
    return definitions


def table_name(name: str, created: float) -> str:
    """The offline store's table: letters, digits and underscores, and when the group was made."""
    return f"{re.sub(r'[^a-z0-9_]', '_', name.lower())}_{int(created)}"


def offline_of(request: Mapping[str, Any], account: str, region: str, created: float) -> dict[str, Any]:
    """Where the history lies and what its table is called: `data` is an s3:// URI of the folder with the partitions."""
    config = request["OfflineStoreConfig"]
    base = config["S3StorageConfig"]["S3Uri"].rstrip("/")
    name = request["FeatureGroupName"]
    catalog = config.get("DataCatalogConfig") or {
        "Catalog": CATALOG,
        "Database": DATABASE,
        "TableName": table_name(name, created),
    }
    return {
        "data": f"{base}/{account}/sagemaker/{region}/offline-store/{name}-{int(created)}/data",
        "catalog": catalog,
    }


def advanced(record: Record, fact: GroupFact, now: float, failure: str = "") -> Record:
    """The record after a fact; IllegalTransition where its status does not admit it."""
    document = {**record.document, "failure": failure} if failure else record.document
    return replace(record, status=advance(GROUP, record.status, fact), modified=now, document=document)


def moment(at: float) -> str:
    """A time as Feature Store answers it: 2024-05-01T12:00:00Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
