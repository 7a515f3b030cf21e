from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest

from clary.domain.errors import Invalid
from clary.domain.fields.table import OPERATIONS, Use, check

_MODEL = botocore.session.get_session().get_service_model("sagemaker")


def _paths(shape: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            below = f"{path}.{name}" if path else name
            yield below
            yield from _paths(member, below)
    elif shape.type_name == "list":
        yield from _paths(shape.member, f"{path}[]")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_field_of_botocore_is_classified_and_no_other(operation: str) -> None:
    known = set(_paths(_MODEL.operation_model(operation).input_shape, ""))
    assert known - set(OPERATIONS[operation]) == set(), "classify the new fields in domain/fields/table.py"
    assert set(OPERATIONS[operation]) - known == set(), "botocore has no such field"


def test_what_is_not_honoured_says_why() -> None:
    for table in OPERATIONS.values():
        assert [field.path for field in table.values() if field.use is not Use.HONOURED and not field.why] == []


def test_recorded_fields_are_told_topmost_and_only_when_they_carry_something() -> None:
    params = {
        "HyperParameters": {"VpcConfig": "x"},
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["s-1"]},
        "OutputDataConfig": {"S3OutputPath": "s3://b/o", "KmsKeyId": ""},
        "ResourceConfig": {"VolumeSizeInGB": 30, "InstanceType": "ml.m5.large", "InstanceCount": 1},
        "EnableInterContainerTrafficEncryption": False,
        "DebugHookConfig": {"S3OutputPath": "s3://b/d", "CollectionConfigurations": []},
        "ProfilerRuleConfigurations": [],
    }
    paths = [field.path for field in check("CreateTrainingJob", params)]
    assert paths == ["VpcConfig", "DebugHookConfig"]


def test_strict_fields_refuses_what_is_only_recorded() -> None:
    with pytest.raises(Invalid, match=r"strict_fields refuses them: VpcConfig"):
        check("CreateTrainingJob", {"VpcConfig": {"Subnets": ["s-1"]}}, strict=True)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"AlgorithmSpecification": {"AlgorithmName": "mine"}}, "AlgorithmSpecification.AlgorithmName"),
        ({"MlflowConfig": {"MlflowResourceArn": "arn"}}, "MlflowConfig (MLflow"),
        (
            {"InputDataConfig": [{"DataSource": {"FileSystemDataSource": {"FileSystemId": "fs-1"}}}]},
            r"InputDataConfig[].DataSource.FileSystemDataSource (file systems",
        ),
        ({"BrandNew": 1}, "BrandNew (this version of Clary does not know it)"),
    ],
)
def test_refused_fields_are_named(params: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid) as caught:
        check("CreateTrainingJob", params)
    assert named in caught.value.message
