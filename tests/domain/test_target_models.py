"""A TargetModel names an object below the prefix, whatever it looks like."""

from __future__ import annotations

import pytest

from clary.domain.target_models import Placement, TargetQuestion, digest, location, missing


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
