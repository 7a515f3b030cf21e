"""Versions of registered models as model packages."""

from __future__ import annotations

import pytest
from tests.domain.mlflow.test_servers import server

from clary.domain.mlflow.registration import MlflowVersion, group_name, group_params, new, package_params, versions


def version(name: str, number: int, made: int) -> MlflowVersion:
    return MlflowVersion(name, str(number), made)


def test_those_that_are_not_ready_wait() -> None:
    told = {"name": "m", "version": "1", "creation_timestamp": "5", "run_id": "r", "source": "s3://b/m"}
    found = versions({"model_versions": [told, {**told, "version": "2", "status": "PENDING_REGISTRATION"}]})
    assert found == [MlflowVersion("m", "1", 5, "r", "", "s3://b/m")]
    assert versions({}) == []


def test_new_are_those_behind_the_last_one_and_others_of_its_moment() -> None:
    found = [version("m", 3, 9), version("m", 2, 5), version("n", 1, 5), version("m", 1, 2)]
    assert new(found, 5, ["m/2"]) == [version("n", 1, 5), version("m", 3, 9)]
    assert new(found, 9, ["m/3"]) == []


@pytest.mark.parametrize(
    ("name", "group"),
    [("churn", "churn"), ("my model_2.0", "my-model-2-0"), ("--x--", "x"), ("模型", "model"), ("a" * 90, "a" * 63)],
)
def test_groups_have_names_that_sagemaker_takes(name: str, group: str) -> None:
    assert group_name(name) == group


def test_a_package_tells_where_it_comes_from() -> None:
    made = MlflowVersion("my model", "2", 5, "run", "", "s3://b/m")
    assert group_params(made, server())["ModelPackageGroupName"] == "my-model"
    params = package_params(made, server())
    assert (params["SourceUri"], params["ModelPackageGroupName"]) == ("s3://b/m", "my-model")
    assert params["MetadataProperties"] == {"GeneratedBy": server().arn}
    assert params["CustomerMetadataProperties"] == {
        "mlflow.name": "my model",
        "mlflow.version": "2",
        "mlflow.run_id": "run",
    }
