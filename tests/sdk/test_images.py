"""Images that stand for no runtime: refused with the way out, which then works at once."""

from __future__ import annotations

import sys

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import User, targz, unique
from tests.sdk.conftest import ROLE, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

SCRIPT = """
def model_fn(model_dir): return "mine"
def predict_fn(data, model): return [model, len(data)]
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def clary(user: User, *words: str) -> str:
    code = "from clary.app.cli import main; main()"
    done = user.server.run([sys.executable, "-c", code, *words, "--dir", user.server.settings.dir])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_image_of_ones_own_gets_a_runtime(user: User) -> None:
    repository = unique("my-model")
    image = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{repository}:1"
    data = user.put("own/model.tar.gz", targz({"code/inference.py": SCRIPT}))
    request = {
        "ModelName": repository,
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {"Image": image, "ModelDataUrl": data},
    }
    with pytest.raises(ClientError) as caught:
        user.sm.create_model(**request)
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert f"Image '{image}' stands for no runtime of Clary." in error["Message"]
    assert "python (sagemaker-base-python" in error["Message"]
    assert f"clary runtime add {image} RUNTIME" in error["Message"]

    assert f"the repository {repository} now run in the runtime python" in clary(
        user, "runtime", "add", image, "python"
    )
    assert repository in clary(user, "runtime", "list")
    user.sm.create_model(**request)
    name = user.endpoint({"ModelName": repository})
    assert user.ask(name, "[1, 2]", ContentType="application/json") == b'["mine", 2]'

    clary(user, "runtime", "remove", repository)
    with pytest.raises(ClientError, match="stands for no runtime"):
        user.sm.create_model(**{**request, "ModelName": f"{repository}-2"})


def test_a_training_image_is_refused_alike(user: User) -> None:
    with pytest.raises(ClientError, match="clary runtime add my/own:1 RUNTIME"):
        user.job("my/own:1", {"train.py": "pass"})
