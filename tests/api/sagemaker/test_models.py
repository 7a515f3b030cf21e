from __future__ import annotations

from typing import Any, cast

import pytest

from clary.api.call import Ports
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.testing.memory_artifacts import MemoryArtifacts

ARN = "arn:aws:sagemaker:eu-west-1:000000000000:model/my-model"

ADDITIONAL = {
    "ChannelName": "extra",
    "S3DataSource": {"S3Uri": "s3://b/extra/", "S3DataType": "S3Prefix", "CompressionType": "None"},
}


def source(uri: str, kind: str, compression: str = "None") -> dict[str, Any]:
    return {"S3DataSource": {"S3Uri": uri, "S3DataType": kind, "CompressionType": compression}}


async def test_create_describe_delete(ask: Any, image: str, clock: Any) -> None:
    request = {
        "PrimaryContainer": {"Image": image, "ModelDataUrl": "s3://b/model.tar.gz", "Environment": {"A": "1"}},
        "ExecutionRoleArn": "arn:aws:iam::000000000000:role/r",
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
    }
    created = await ask("CreateModel", ModelName="My-Model", Tags=[{"Key": "k", "Value": "v"}], **request)
    assert created == {"ModelArn": ARN}
    described = await ask("DescribeModel", ModelName="My-Model")
    assert described == {
        **request,
        "PrimaryContainer": {"Mode": "SingleModel", **request["PrimaryContainer"]},
        "ModelName": "My-Model",
        "ModelArn": ARN,
        "CreationTime": clock.now(),
        "EnableNetworkIsolation": False,
    }
    with pytest.raises(AlreadyExists, match=f'Cannot create already existing model "{ARN}".'):
        await ask("CreateModel", ModelName="My-Model", **request)
    assert await ask("DeleteModel", ModelName="My-Model") == {}
    for operation in ("DescribeModel", "DeleteModel"):
        with pytest.raises(NotFound, match=f'Could not find model "{ARN}".'):
            await ask(operation, ModelName="My-Model")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "provide either PrimaryContainer or Containers"),
        ({"PrimaryContainer": {"ModelDataUrl": "s3://b/k"}}, "provide Image"),
        ({"PrimaryContainer": {"Image": "my/own:1"}}, "stands for no runtime.*sagemaker-xgboost"),
        (
            {"PrimaryContainer": {"Image": "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"}},
            r"built-in algorithm Linear Learner, which Clary does not implement\..* algorithms that Clary implements: xgboost\. "
            r"Train and serve a script of your own instead, with sklearn\.",
        ),
        (
            {"Containers": [{"Image": "xgboost:1"}, {"Image": "xgboost:1", "ContainerHostname": "container-1"}]},
            "ContainerHostname must be unique in Containers; 'container-1' is used more than once",
        ),
        ({"Containers": [{"Image": "xgboost:1"}, {"Image": "my/own:1"}]}, "'my/own:1' stands for no runtime"),
        ({"Containers": [{"Image": "xgboost:1"}, {"ModelDataUrl": "s3://b/k"}]}, r"provide Image .* Containers\[1\]"),
        (
            {
                "Containers": [{"Image": "xgboost:1", "ContainerHostname": "a"}, {"Image": "xgboost:1"}],
                "InferenceExecutionConfig": {"Mode": "Direct"},
            },
            r"Mode Direct needs ContainerHostname in Containers\[1\]",
        ),
        (
            {
                "Containers": [{"Image": "xgboost:1", "ContainerHostname": "a"}],
                "InferenceExecutionConfig": {"Mode": "Direct"},
            },
            "Direct needs at least two Containers",
        ),
        (
            {"PrimaryContainer": {"Image": "xgboost:1"}, "InferenceExecutionConfig": {"Mode": "Serial"}},
            "InferenceExecutionConfig is for models with Containers",
        ),
        (
            {"PrimaryContainer": {"ModelPackageName": "p", "Image": "xgboost:1"}},
            "either ModelPackageName or Image, not both",
        ),
        (
            {"PrimaryContainer": {"Image": "xgboost:1", "InferenceSpecificationName": "other"}},
            "InferenceSpecificationName needs ModelPackageName",
        ),
        (
            {"PrimaryContainer": {"Image": "xgboost:1", "AdditionalModelDataSources": [ADDITIONAL, ADDITIONAL]}},
            "ChannelName must be unique in PrimaryContainer.AdditionalModelDataSources; 'extra'",
        ),
        (
            {
                "PrimaryContainer": {
                    "Image": "xgboost:1",
                    "AdditionalModelDataSources": [{**ADDITIONAL, "ChannelName": ".."}],
                }
            },
            "cannot be the name of a folder",
        ),
        ({"PrimaryContainer": {"Image": "xgboost:1", "Mode": "MultiModel"}}, "MultiModel .* needs ModelDataUrl"),
        (
            {"PrimaryContainer": {"Image": "xgboost:1", "Mode": "MultiModel", "ModelDataSource": {"S3DataSource": {}}}},
            "ModelDataSource cannot be used with Mode MultiModel",
        ),
        (
            {"PrimaryContainer": {"Image": "xgboost:1", "MultiModelConfig": {"ModelCacheSetting": "Disabled"}}},
            "MultiModelConfig needs Mode MultiModel",
        ),
        (
            {"Containers": [{"Image": "xgboost:1", "Mode": "MultiModel", "ModelDataUrl": "s3://b/m/"}] * 2},
            "Only one of the Containers may have Mode MultiModel",
        ),
        (
            {
                "Containers": [
                    {"Image": "xgboost:1", "Mode": "MultiModel", "ModelDataUrl": "s3://b/m/", "ContainerHostname": "a"},
                    {"Image": "xgboost:1", "ContainerHostname": "b"},
                ],
                "InferenceExecutionConfig": {"Mode": "Direct"},
            },
            "Mode MultiModel is for serial pipelines",
        ),
        (
            {
                "PrimaryContainer": {"Image": "xgboost:1"},
                "ExecutionRoleArn": "arn:aws:iam::111111111111:role/other",
            },
            "Could not assume role arn:aws:iam::111111111111:role/other",
        ),
        (
            {"PrimaryContainer": {"Image": "xgboost:1", "Environment": {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "soon"}}},
            "SAGEMAKER_MODEL_SERVER_TIMEOUT must be a number",
        ),
        ({"PrimaryContainer": {"Image": "xgboost:1"}, "Tags": [{"Key": "aws:x", "Value": ""}]}, "reserved"),
    ],
)
async def test_refusals_name_their_reason(ask: Any, params: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await ask("CreateModel", ModelName="m", **params)


@pytest.mark.parametrize(
    "data",
    [
        {"ModelDataUrl": "s3://b/m.tar"},
        {"ModelDataUrl": "https://b.s3.eu-west-1.amazonaws.com/m.tar"},
        {"ModelDataUrl": "s3://nowhere/m.tar.gz"},
        {"ModelDataUrl": "s3://b"},
        {"ModelDataSource": source("s3://b/m.tar", "S3Object", "Gzip")},
        {"ModelDataSource": source("s3://b/plain/", "S3Prefix")},
        {"ModelDataSource": source("s3://nowhere/plain/", "S3Prefix")},
    ],
)
async def test_data_that_is_not_there_is_refused_in_awss_words(ask: Any, image: str, data: dict[str, Any]) -> None:
    uri = data.get("ModelDataUrl") or data["ModelDataSource"]["S3DataSource"]["S3Uri"]
    for model in (
        {"PrimaryContainer": {"Image": image, **data}},
        {"Containers": [{"Image": image, "ModelDataUrl": "s3://b/m.tar.gz"}, {"Image": image, **data}]},
    ):
        with pytest.raises(Invalid) as caught:
            await ask("CreateModel", ModelName="m", **model)
        assert caught.value.message == f"Could not find model data at {uri}."
    assert (await ask("ListModels"))["Models"] == []


async def test_data_that_is_there_may_be_an_object_or_a_prefix(ask: Any, image: str, ports: Ports) -> None:
    await ports.artifacts.of("000000000000").make("own", "eu-west-1")
    held = cast("MemoryArtifacts", ports.artifacts).buckets["own"]
    held |= {"plain/a/b": b"1", "one": b"1"}
    for n, data in enumerate((source("s3://own/plain/", "S3Prefix"), source("s3://own/one", "S3Object"))):
        await ask("CreateModel", ModelName=f"m{n}", PrimaryContainer={"Image": image, "ModelDataSource": data})
    many = {"Image": image, "Mode": "MultiModel", "ModelDataUrl": "s3://own/later/"}
    await ask("CreateModel", ModelName="many", PrimaryContainer=many)

    other = {"PrimaryContainer": {"Image": image, "ModelDataUrl": "s3://own/one"}, "_account": "111111111111"}
    role = "arn:aws:iam::111111111111:role/r"
    with pytest.raises(Invalid) as caught:
        await ask("CreateModel", ModelName="thief", ExecutionRoleArn=role, **other)
    assert caught.value.message.startswith(
        f'Could not access model data at s3://own/one. Please ensure that the role "{role}" exists and'
    )


async def test_a_public_bucket_of_aws_is_explained(ask: Any, image: str) -> None:
    container = {"Image": image, "ModelDataUrl": "s3://jumpstart-cache-prod-eu-west-1/m.tar.gz"}
    with pytest.raises(Invalid, match=r"Could not find model data at .*/m\.tar\.gz\. .* one of AWS's public buckets"):
        await ask("CreateModel", ModelName="m", PrimaryContainer=container)


async def test_accounts_and_regions_are_namespaces(ask: Any, image: str) -> None:
    for where in ({}, {"_account": "111111111111"}, {"_region": "ap-south-1"}):
        await ask("CreateModel", ModelName="m", PrimaryContainer={"Image": image}, **where)
    assert len((await ask("ListModels"))["Models"]) == 1


async def test_several_containers_are_shown_as_they_were_given(ask: Any, image: str) -> None:
    request = {
        "Containers": [{"Image": image, "ContainerHostname": "first"}, {"Image": image, "ContainerHostname": "second"}],
        "InferenceExecutionConfig": {"Mode": "Direct"},
    }
    await ask("CreateModel", ModelName="m", **request)
    described = await ask("DescribeModel", ModelName="m")
    assert [c["ContainerHostname"] for c in described["Containers"]] == ["first", "second"]
    assert described["InferenceExecutionConfig"] == {"Mode": "Direct"}
    assert "PrimaryContainer" not in described


async def test_a_multi_model_container_is_recorded_as_it_is(ask: Any, image: str) -> None:
    container = {
        "Image": image,
        "Mode": "MultiModel",
        "ModelDataUrl": "s3://b/models/",
        "MultiModelConfig": {"ModelCacheSetting": "Disabled"},
    }
    await ask("CreateModel", ModelName="m", PrimaryContainer=container)
    assert (await ask("DescribeModel", ModelName="m"))["PrimaryContainer"] == {**container, "Environment": {}}
