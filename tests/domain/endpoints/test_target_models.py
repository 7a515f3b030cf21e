"""A TargetModel names an object below the prefix, whatever it looks like."""

from __future__ import annotations

from typing import Any

import pytest

from clary.domain.endpoints.fleets import new_fleet
from clary.domain.endpoints.target_models import Placement, TargetQuestion, check_fleet, digest, location, missing
from clary.domain.errors import Invalid
from clary.domain.models.containers import Container


@pytest.mark.parametrize(
    ("prefix", "model", "key"),
    [
        ("s3://b/models/", "a.tar.gz", "models/a.tar.gz"),
        ("s3://b/models", "a.tar.gz", "models/a.tar.gz"),
        ("s3://b/models/", "/team/a.tar.gz", "models/team/a.tar.gz"),
        ("s3://b", "a.tar.gz", "a.tar.gz"),
        ("s3://b/models/", "../other/a.tar.gz", "models/../other/a.tar.gz"),  # a key like any other: it leads nowhere
    ],
)
def test_the_object_of_a_model(prefix: str, model: str, key: str) -> None:
    found = location(prefix, model)
    assert (found.bucket, found.key) == ("b", key)


def test_a_version_has_a_name_of_its_own_that_is_no_path() -> None:
    names = {digest("k", "1"), digest("k", "2"), digest("../k", "1")}
    assert len(names) == 3
    assert all(len(name) == 32 and name.isalnum() for name in names)


def test_what_travels_comes_back() -> None:
    question = TargetQuestion("000000000000", "us-east-1", "e", "i-1", "a")
    assert TargetQuestion.from_json({**question.to_json(), "ask_model": 1}) == question
    placement = Placement("d", 1, 0.5, "no", True)
    assert Placement.from_json({**placement.to_json(), "op": "model"}) == placement


def test_what_is_missing_is_named() -> None:
    assert missing(location("s3://b/m/", "a")).startswith(
        "Failed to download model data(bucket: b, key: m/a). Please ensure"
    )


@pytest.mark.parametrize(
    ("row", "shadows", "words"),
    [
        ({"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}, [], "serverless"),
        (
            {"InstanceType": "ml.m5.large"},
            [{"VariantName": "S", "ModelName": "m", "InstanceType": "ml.m5.large"}],
            "shadow",
        ),
    ],
)
def test_combinations_that_aws_does_not_have(row: dict[str, Any], shadows: list[dict[str, Any]], words: str) -> None:
    many = Container("m", "xgboost:1", "s3://b/models/", multi_model=True)
    rows = [{"VariantName": "A", "ModelName": "m", **row}]
    with pytest.raises(Invalid, match=f"not supported .*{words}"):
        check_fleet(new_fleet("f", "c", rows, {"m": (many,)}, 0.0, shadows))
    check_fleet(new_fleet("f", "c", rows, {"m": (Container("m", "xgboost:1"),)}, 0.0, shadows))
