"""Multi-model endpoints through unmodified boto3: models come, change and go without a change of the endpoint."""

from __future__ import annotations

import concurrent.futures
import datetime
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.live import ROLE
from tests.sdk.acts import PYTHON, User, targz, unique, until
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

TEXT = {"ContentType": "text/csv"}
CODE = """
import json, os

def model_fn(model_dir):
    return open(os.path.join(model_dir, "name")).read()

def transform_fn(model, body, content_type, accept):
    if body == "die":
        os.kill(os.getpid(), 9)
    return json.dumps({"model": model, "pid": os.getpid(), "multi": os.environ.get("SAGEMAKER_MULTI_MODEL")})
"""


def refused(call: Callable[..., Any], **params: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    return dict(caught.value.response)


class Models:
    """A prefix of models and an endpoint that serves them."""

    def __init__(self, user: User, **container: Any) -> None:
        self.user, self.prefix = user, unique("models")
        for name in ("a", "b"):
            self.put(name)
        variant = container.pop("variant", {})
        url = f"s3://{user.bucket}/{self.prefix}/"
        model = user.model(PYTHON, url, container.pop("environment", {}), Mode="MultiModel", **container)
        self.endpoint = user.endpoint({"ModelName": model, **variant})

    def put(self, name: str, code: str = CODE, content: str = "") -> None:
        archive = targz({"code/inference.py": code, "name": content or name})
        self.user.put(f"{self.prefix}/{name}.tar.gz", archive)

    def ask(self, name: str, body: str = "") -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.user.ask(self.endpoint, body, TargetModel=f"{name}.tar.gz", **TEXT))
        return answer

    def failure(self, **params: Any) -> dict[str, Any]:
        return refused(self.user.runtime.invoke_endpoint, EndpointName=self.endpoint, Body=b"x", **TEXT, **params)


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def models(user: User) -> Iterator[Models]:
    made = Models(user)
    yield made
    user.sm.delete_endpoint(EndpointName=made.endpoint)


def test_each_model_answers_for_itself_in_a_process_of_its_own(models: Models) -> None:
    first, second = models.ask("a"), models.ask("b")
    assert (first["model"], second["model"], first["multi"]) == ("a", "b", "true")
    assert first["pid"] != second["pid"]
    assert models.ask("a") == first, "it is loaded once"


def test_a_new_object_is_served_at_once(models: Models) -> None:
    models.put("new")
    assert models.ask("new")["model"] == "new"


def test_a_deleted_or_changed_object_serves_on_until_it_is_unloaded(models: Models) -> None:
    models.put("gone", content="first")
    assert models.ask("gone")["model"] == "first"
    models.put("gone", content="second")
    assert models.ask("gone")["model"] == "first"
    models.user.s3.delete_object(Bucket=models.user.bucket, Key=f"{models.prefix}/gone.tar.gz")
    assert models.ask("gone")["model"] == "first"
    dies = {"EndpointName": models.endpoint, "Body": b"die", "TargetModel": "gone.tar.gz", **TEXT}
    assert refused(models.user.runtime.invoke_endpoint, **dies)["Error"]["Code"] == "ModelError"
    error = models.failure(TargetModel="gone.tar.gz")["Error"]
    assert (error["Code"], "Failed to download model data" in error["Message"]) == ("ValidationError", True)


def test_what_is_refused(models: Models) -> None:
    without = models.failure()["Error"]
    assert (without["Code"], "missing a target model header" in without["Message"]) == ("ValidationError", True)
    for name in ("nowhere.tar.gz", "../a.tar.gz", "a.tar", "..", "/etc/passwd"):
        error = models.failure(TargetModel=name)["Error"]
        key = f"{models.prefix}/{name.lstrip('/')}"
        assert error["Code"] == "ValidationError"
        assert error["Message"].startswith(f"Failed to download model data(bucket: {models.user.bucket}, key: {key}).")


def test_a_leading_slash_names_the_same_model(models: Models) -> None:
    answer = json.loads(models.user.ask(models.endpoint, "", TargetModel="/a.tar.gz", **TEXT))
    assert answer == models.ask("a")


def test_a_broken_model_hurts_only_itself(models: Models) -> None:
    good = models.ask("a")
    models.put("broken", "raise ValueError('no weights')\n")
    models.put("crashes", "import os\nos.kill(os.getpid(), 11)\n")
    models.user.put(f"{models.prefix}/rubbish.tar.gz", b"no archive" * 100)
    for name, words in (
        ("broken", "ValueError: no weights"),
        ("crashes", "was ended by SIGSEGV"),
        ("rubbish", "Cannot extract rubbish.tar.gz: the archive is not a tar."),
    ):
        answer = models.failure(TargetModel=f"{name}.tar.gz")
        assert answer["Error"]["Code"] == "ModelError"
        assert answer["OriginalStatusCode"] == 500
        assert words in answer["OriginalMessage"]
    assert models.ask("a") == good
    models.put("broken", content="mended")
    until(lambda: answers(models, "broken"), seconds=20)
    assert models.ask("broken")["model"] == "mended"


def answers(models: Models, name: str) -> bool:
    try:
        models.ask(name)
    except ClientError:
        return False
    return True


def test_many_models_at_once_are_each_loaded_once(models: Models) -> None:
    names = [f"many-{n}" for n in range(12)]
    for name in names:
        models.put(name)
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        seen = list(pool.map(models.ask, names * 2))
    assert [answer["model"] for answer in seen] == names * 2
    # Two for each, which wait for its load: that earns a model no second process, as a long queue of a loaded one would.
    assert len({answer["pid"] for answer in seen}) == len(names)


def test_models_that_do_not_fit_together_take_turns(user: User) -> None:
    made = Models(user, variant={"InstanceType": "ml.t2.medium"})  # 4 GiB
    for name in ("a", "b"):
        made.put(name, "held = bytearray(2100 << 20)\n" + CODE)
    try:
        pids = {made.ask(name)["pid"] for name in ("a", "b", "a", "b")}
        assert len(pids) == 4, "each time it was loaded again"
    finally:
        user.sm.delete_endpoint(EndpointName=made.endpoint)


def test_without_a_cache_a_model_is_loaded_for_each_call(user: User) -> None:
    made = Models(user, MultiModelConfig={"ModelCacheSetting": "Disabled"})
    try:
        assert made.ask("a")["pid"] != made.ask("a")["pid"]
        described = user.sm.describe_endpoint(EndpointName=made.endpoint)
        assert described["EndpointStatus"] == "InService"
    finally:
        user.sm.delete_endpoint(EndpointName=made.endpoint)


def test_code_of_the_container_serves_every_model(user: User) -> None:
    code = "def model_fn(d):\n    return open(d + '/name').read()\ndef transform_fn(m, b, c, a):\n    return '\"mine ' + m + '\"'\n"
    source = user.put(f"{unique('code')}/sourcedir.tar.gz", targz({"serve_all.py": code}))
    environment = {"SAGEMAKER_PROGRAM": "serve_all.py", "SAGEMAKER_SUBMIT_DIRECTORY": source}
    made = Models(user, environment=environment)
    try:
        assert user.ask(made.endpoint, "", TargetModel="a.tar.gz", **TEXT) == b'"mine a"'
    finally:
        user.sm.delete_endpoint(EndpointName=made.endpoint)


def test_a_pipeline_may_have_one_multi_model_container(user: User) -> None:
    before = "def model_fn(d):\n    return 1\ndef transform_fn(m, b, c, a):\n    return b + '!'\n"
    first = user.put(f"{unique('first')}/model.tar.gz", targz({"code/inference.py": before}))
    prefix = unique("models")
    echo = "def model_fn(d):\n    return open(d + '/name').read()\ndef transform_fn(m, b, c, a):\n    return m + b\n"
    user.put(f"{prefix}/x.tar.gz", targz({"code/inference.py": echo, "name": "x"}))
    name = unique("pipeline")
    user.sm.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        Containers=[
            {"Image": PYTHON, "ModelDataUrl": first},
            {"Image": PYTHON, "ModelDataUrl": f"s3://{user.bucket}/{prefix}/", "Mode": "MultiModel"},
        ],
    )
    endpoint = user.endpoint({"ModelName": name})
    try:
        assert user.ask(endpoint, "body", TargetModel="x.tar.gz", **TEXT) == b"xbody!"
        assert (
            refused(user.runtime.invoke_endpoint, EndpointName=endpoint, Body=b"")["Error"]["Code"] == "ValidationError"
        )
    finally:
        user.sm.delete_endpoint(EndpointName=endpoint)


def test_no_account_reaches_the_models_of_another(user: User, models: Models) -> None:
    argv = [
        sys.executable,
        "-m",
        "clary.app.cli",
        "env",
        "--account",
        "222222222222",
        "--dir",
        user.server.settings.dir,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=dict(user.server.environment))
    lines = dict(
        line.removeprefix("export ").split("=", 1) for line in done.stdout.splitlines() if line.startswith("export ")
    )

    def client(service: str) -> Any:
        key, secret = (lines[n].strip("'\"") for n in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=user.server.settings.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    models.ask("a")
    other = client("sagemaker-runtime")
    error = refused(other.invoke_endpoint, EndpointName=models.endpoint, Body=b"", TargetModel="a.tar.gz")["Error"]
    assert (error["Code"], "of account 222222222222 not found" in error["Message"]) == ("ValidationError", True)
    sm, name = client("sagemaker"), unique("thief")
    container = {"Image": PYTHON, "ModelDataUrl": f"s3://{user.bucket}/{models.prefix}/", "Mode": "MultiModel"}
    role = "arn:aws:iam::222222222222:role/Thief"
    sm.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sm.create_endpoint(EndpointName=name, EndpointConfigName=name)
    seen = until(lambda: sm.describe_endpoint(EndpointName=name), lambda d: d["EndpointStatus"] != "Creating")
    assert seen["EndpointStatus"] == "Failed"
    assert "Failed to download model data" in seen["FailureReason"]
    sm.delete_endpoint(EndpointName=name)


def test_cloudwatch_tells_of_loads(models: Models) -> None:
    watch = models.user.server.client("cloudwatch")
    where = [{"Name": "EndpointName", "Value": models.endpoint}, {"Name": "VariantName", "Value": "v1"}]
    for name in ("a", "b", "a"):
        models.ask(name)

    def seen(namespace: str, metric: str) -> float:
        now = datetime.datetime.now(datetime.UTC)
        points = watch.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=where,
            StartTime=now - datetime.timedelta(minutes=10),
            EndTime=now + datetime.timedelta(minutes=1),
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        return max((float(point["Maximum"]) for point in points), default=0.0)

    for metric in ("ModelCacheHit", "ModelLoadingTime", "ModelLoadingWaitTime", "ModelDownloadingTime"):
        until(lambda metric=metric: seen("AWS/SageMaker", metric) > 0, seconds=20)
    until(lambda: seen("/aws/sagemaker/Endpoints", "LoadedModelCount") >= 2, seconds=20)
