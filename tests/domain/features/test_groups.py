"""The rules of feature groups (`domain/features/groups.py`) and of where their history lies (`offline.py`)."""

from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.features import groups, offline

REQUEST: dict[str, Any] = {
    "FeatureGroupName": "Our-people",
    "RecordIdentifierFeatureName": "id",
    "EventTimeFeatureName": "at",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "Fractional"},
    ],
    "OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": "s3://b/store/"}},
    "RoleArn": "arn:aws:iam::000000000000:role/R",
}


def more(name: str, kind: str = "String", **rest: Any) -> list[dict[str, Any]]:
    return [*REQUEST["FeatureDefinitions"], {"FeatureName": name, "FeatureType": kind, **rest}]


def test_a_good_request_passes() -> None:
    groups.check(REQUEST)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RecordIdentifierFeatureName": "x"}, "not among"),
        ({"EventTimeFeatureName": "x"}, "not among"),
        ({"FeatureDefinitions": more("id")}, "twice"),
        ({"FeatureDefinitions": more("Write_Time")}, "reserved"),
        ({"FeatureDefinitions": more("n", "Integral"), "EventTimeFeatureName": "n"}, "must be String or Fractional"),
        ({"FeatureDefinitions": more("v", CollectionType="Vector")}, "Dimension"),
        ({"FeatureDefinitions": more("l", CollectionType="List"), "RecordIdentifierFeatureName": "l"}, "collection"),
        ({"OfflineStoreConfig": None}, "Enable the online store"),
        ({"OfflineStoreConfig": {"S3StorageConfig": {"S3Uri": "https://x/y"}}}, "not an S3 URI"),
        ({"OfflineStoreConfig": {**REQUEST["OfflineStoreConfig"], "TableFormat": "Iceberg"}}, "Iceberg"),
        ({"RoleArn": None}, "RoleArn is required"),
        ({"OnlineStoreConfig": {"EnableOnlineStore": True, "TtlDuration": {"Unit": "Days"}}}, "Unit and Value"),
    ],
)
def test_a_bad_one_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        groups.check({**REQUEST, **change})


def test_where_the_history_lies() -> None:
    found = groups.offline_of(REQUEST, "000000000000", "us-east-1", 1714567890.9)
    assert found == {
        "data": "s3://b/store/000000000000/sagemaker/us-east-1/offline-store/Our-people-1714567890/data",
        "catalog": {
            "Catalog": "AwsDataCatalog",
            "Database": "sagemaker_featurestore",
            "TableName": "our_people_1714567890",
        },
    }
    assert offline.partition(1714567890.25) == "year=2024/month=05/day=01/hour=12"
    name = offline.file_name(1714567890.25, "g 1-2")
    assert name.startswith("20240501T125130Z_")
    assert len(name) == len("20240501T125130Z_") + 16 + len(".parquet")
    assert name == offline.file_name(1714567890.25, "g 1-2") != offline.file_name(1714567890.25, "g 1-3")
