"""Where models come from, through unmodified boto3: the registry, plain prefixes, additional sources; and no network when isolated."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, User, targz, unique
from tests.sdk.conftest import ROLE, Server
from tests.sdk.test_serving import refused

pytestmark = [pytest.mark.live, pytest.mark.slow]

# Tells what lies where, and whether anybody can be reached.
TELLS = """
import json, os, socket

def below(root):
    return sorted(os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names)

def model_fn(model_dir):
    return None

def reach():
    host, port = os.environ["AWS_ENDPOINT_URL"].rpartition("/")[2].rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 2).close()
        return True
    except OSError:
        return False

def transform_fn(model, body, content_type, accept):
    more = "/opt/ml/additional-model-data-sources"
    told = {"model": below("/opt/ml/model"), "more": below(more), "colour": os.environ.get("COLOUR", ""), "network": reach()}
    try:
        open(more + "/written", "w").close()
        told["writable"] = True
    except OSError:
        told["writable"] = False
    return json.dumps(told)
"""


# What the SageMaker SDK's ModelBuilder writes (sagemaker/serve/model_server/torchserve/inference.py), in short.
BUILT = """
import shutil
from pathlib import Path

def model_fn(model_dir):
    shared_libs_path = Path(model_dir + "/shared_libs")
    if shared_libs_path.exists():
        shutil.copytree(shared_libs_path, "/lib", dirs_exist_ok=True)
    return sorted(path.name for path in shared_libs_path.iterdir())

def predict_fn(data, model):
    return model
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def prefix(user: User) -> str:
    """A model that is not packed."""
    where = unique("plain")
    user.put(f"{where}/code/inference.py", TELLS)
    user.put(f"{where}/deep/er/weights.bin", "w")
    return f"s3://{user.bucket}/{where}/"


def plain(uri: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3Uri": uri, "S3DataType": "S3Prefix", "CompressionType": "None"}}


def told(user: User, endpoint: str) -> dict[str, Any]:
    return dict(json.loads(user.ask(endpoint, "x")))


def test_prefixes_archives_and_additional_sources(user: User, prefix: str) -> None:
    packed = user.put(f"{unique('more')}/words.tar.gz", targz({"a/words": "w"}))
    single = user.put(f"{unique('more')}/one.bin", "1")
    sources = [
        {"ChannelName": "whole", **plain(prefix)},
        {
            "ChannelName": "packed",
            "S3DataSource": {"S3Uri": packed, "S3DataType": "S3Object", "CompressionType": "Gzip"},
        },
        {"ChannelName": "one", "S3DataSource": {"S3Uri": single, "S3DataType": "S3Object", "CompressionType": "None"}},
    ]
    model = user.model(
        PYTHON, None, {"COLOUR": "red"}, ModelDataSource=plain(prefix), AdditionalModelDataSources=sources
    )
    seen = told(user, user.endpoint({"ModelName": model}))
    files = ["code/inference.py", "deep/er/weights.bin"]
    assert seen["model"] == files
    assert seen["more"] == ["one/one.bin", "packed/a/words", *(f"whole/{name}" for name in files)]
    assert (seen["colour"], seen["writable"]) == ("red", False)


def test_an_archive_as_a_data_source(user: User) -> None:
    uri = user.put(f"{unique('models')}/model.tar.gz", targz({"code/inference.py": TELLS, "w": "w"}))
    source = {"S3DataSource": {"S3Uri": uri, "S3DataType": "S3Object", "CompressionType": "Gzip"}}
    assert told(user, user.endpoint({"ModelName": user.model(PYTHON, None, ModelDataSource=source)}))["model"] == [
        "code/inference.py",
        "w",
    ]


def test_network_isolation_is_no_network(user: User, prefix: str) -> None:
    seen = {}
    for isolated in (False, True):
        name = unique("model")
        container = {"Image": PYTHON, "ModelDataSource": plain(prefix)}
        user.sm.create_model(
            ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, EnableNetworkIsolation=isolated
        )
        seen[isolated] = told(user, user.endpoint({"ModelName": name}))["network"]
    assert seen == {False: True, True: False}


def test_a_model_of_an_approved_package(user: User, prefix: str) -> None:
    group = unique("group")
    user.sm.create_model_package_group(ModelPackageGroupName=group)
    container = {"Image": PYTHON, "ModelDataSource": plain(prefix), "Environment": {"COLOUR": "blue"}}
    arn = user.sm.create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification={"Containers": [container], "SupportedContentTypes": ["text/csv"]},
    )["ModelPackageArn"]
    name = unique("model")
    early = refused(
        user.sm.create_model, ModelName=name, PrimaryContainer={"ModelPackageName": arn}, ExecutionRoleArn=ROLE
    )
    assert early["Error"]["Code"] == "ValidationException"
    assert "is not approved" in early["Error"]["Message"]
    user.sm.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    user.sm.create_model(ModelName=name, PrimaryContainer={"ModelPackageName": arn}, ExecutionRoleArn=ROLE)
    full = refused(user.sm.delete_model_package_group, ModelPackageGroupName=group)
    assert full["Error"]["Code"] == "ConflictException"
    user.sm.delete_model_package(ModelPackageName=arn)
    user.sm.delete_model_package_group(ModelPackageGroupName=group)
    seen = told(user, user.endpoint({"ModelName": name}))
    assert (seen["model"], seen["colour"]) == (["code/inference.py", "deep/er/weights.bin"], "blue")


def test_a_model_of_model_builder_copies_its_libraries_over_lib(user: User) -> None:
    name = user.scripted({"code/inference.py": BUILT, "shared_libs/README": "none"}, {}, PYTHON)
    endpoint = user.endpoint({"ModelName": name})
    assert json.loads(user.ask(endpoint, "[]", ContentType="application/json")) == ["README"]
    user.sm.delete_endpoint(EndpointName=endpoint)
