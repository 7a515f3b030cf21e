"""Real images under the host's container engine, through boto3: served as SageMaker serves them, limited, ended, replaced."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from tests.sdk import container_images
from tests.sdk.acts import User, targz, unique, until
from tests.sdk.conftest import ROLE, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def engine() -> str:
    found = container_images.engine()
    if not found:
        pytest.skip("NO CONTAINER ENGINE THAT RUNS HERE: these tests need root, and podman or docker")
    return found


@pytest.fixture(scope="module")
def image(engine: str) -> str:
    return container_images.make(engine)


@pytest.fixture(scope="module")
def user(engine: str, start: Callable[..., Server]) -> User:
    return User(start(container_engine=engine))


@pytest.fixture(scope="module")
def endpoint(user: User, image: str) -> str:
    data = user.put("model.tar.gz", targz({"weights": "w"}))
    return user.endpoint({"ModelName": user.model(image, data, {"COLOUR": "a \"b\" 'c' $d #e=f"})}, seconds=120)


def test_it_is_served_as_sagemaker_does(user: User, endpoint: str) -> None:
    answer = user.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"hello")
    assert answer["ContentType"] == "application/x-mine"
    seen = json.loads(answer["Body"].read())
    assert (seen["text"], seen["arguments"], seen["os"], seen["port"]) == ("hello", [], True, "8080")
    assert (seen["model"], seen["write"]) == (["weights"], "Read-only file system")
    assert seen["colour"] == "a \"b\" 'c' $d #e=f"
    assert seen["ours"] == []
    assert len(seen["devices"]) > 1


def test_isolated_it_has_no_network(user: User, image: str) -> None:
    name = unique("isolated")
    container = {"Image": image, "ModelDataUrl": user.put("isolated.tar.gz", targz({"weights": "w"}))}
    user.sm.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, EnableNetworkIsolation=True)
    endpoint = user.endpoint({"ModelName": name}, seconds=120)
    assert json.loads(user.ask(endpoint, "hello"))["devices"] == ["lo"]


@pytest.mark.parametrize(("body", "words"), [("die", "the container ended with exit code 3"), ("eat", "exit code 137")])
def test_a_container_that_dies_is_replaced(user: User, image: str, body: str, words: str) -> None:
    data = user.put("model.tar.gz", targz({"weights": "w"}))
    endpoint = user.endpoint({"ModelName": user.model(image, data)}, seconds=120)
    with pytest.raises(ClientError):
        user.ask(endpoint, body)

    def alive() -> bool:
        try:
            return b"hello" in user.ask(endpoint, "hello")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ModelError":
                raise
            return False

    until(alive, seconds=60)
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    until(
        lambda: user.logs.filter_log_events(logGroupName=group, filterPattern=f'"{words}"')["events"],
        seconds=20,
    )
    user.sm.delete_endpoint(EndpointName=endpoint)


def test_its_end_is_in_good_order_and_leaves_nothing(user: User, image: str, engine: str) -> None:
    data = user.put("model.tar.gz", targz({"weights": "w"}))
    before = running(engine)
    endpoint = user.endpoint({"ModelName": user.model(image, data)}, seconds=120)
    (mine,) = running(engine) - before
    user.sm.delete_endpoint(EndpointName=endpoint)
    until(lambda: mine not in running(engine), seconds=60)
    lines = user.logs.filter_log_events(
        logGroupName=f"/aws/sagemaker/Endpoints/{endpoint}", filterPattern='"good order"'
    )["events"]
    assert [event["message"] for event in lines] == ["ended in good order"]


def running(engine: str) -> set[str]:
    argv = [*engine.split(), "ps", "--all", "--format", "{{.Names}}"]
    return set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())


def test_an_image_that_cannot_be_had_fails_the_endpoint_with_the_engines_words(user: User) -> None:
    model = user.model("localhost/no-such-image:1", None)
    failed = user.settled(user.endpoint({"ModelName": model}, wait=False), "Failed", 120)
    assert "Image 'localhost/no-such-image:1' stands for no runtime of Clary" in failed["FailureReason"]
    assert "clary runtime add localhost/no-such-image:1 RUNTIME" in failed["FailureReason"]


def test_training_in_an_image_is_refused(user: User, image: str) -> None:
    with pytest.raises(ClientError, match="stands for no runtime"):
        user.job(image, {"train.py": "pass"})
