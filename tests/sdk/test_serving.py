"""Endpoints through unmodified boto3: what reaches the model, what comes back, how a model fails, how an endpoint changes and goes."""

from __future__ import annotations

import concurrent.futures
import json
import re
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, XGBOOST, User, targz, unique, until
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

# A model that does as it is told, in the words of the inference toolkit.
TOLD = """
import json, os, time

MODEL_DIR = os.environ["SM_MODEL_DIR"]  # as a training script reads it that serves too, and AWS's images for XGBoost and scikit-learn set

def model_fn(model_dir):
    assert model_dir == MODEL_DIR
    return {"dir": sorted(os.listdir(model_dir)), "colour": os.environ.get("COLOUR", "")}

def input_fn(body, content_type):
    return body, content_type

def predict_fn(data, model):
    body, content_type = data
    text = body.decode() if isinstance(body, (bytes, bytearray)) else body
    if text.startswith("sleep "):
        time.sleep(float(text.split()[1]))
    if text == "raise":
        raise ValueError("the model cannot bear this")
    if text == "die":
        os._exit(3)
    return {"length": len(body), "type": content_type, "text": text[:80], "pid": os.getpid(), **model}

def output_fn(prediction, accept):
    return json.dumps({**prediction, "accept": accept}), "application/json"
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def told(user: User) -> str:
    model = user.scripted({"code/inference.py": TOLD, "weights": "w"}, {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "3"}, PYTHON)
    return user.endpoint({"ModelName": model})


def refused(call: Any, **request: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return dict(caught.value.response)


def test_what_the_model_sees_and_what_comes_back(user: User, told: str) -> None:
    answer = user.runtime.invoke_endpoint(EndpointName=told, Body=b"hello", ContentType="text/x-mine", Accept="a/b")
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "v1"
    seen = json.loads(answer["Body"].read())
    assert (seen["text"], seen["type"], seen["accept"]) == ("hello", "text/x-mine", "a/b")
    assert seen["dir"] == ["code", "weights"]


def test_an_endpoint_described(user: User, told: str) -> None:
    seen = user.sm.describe_endpoint(EndpointName=told)
    (variant,) = seen["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    assert (variant["CurrentWeight"], variant["DesiredWeight"]) == (1.0, 1.0)
    (image,) = variant["DeployedImages"]
    assert image["SpecifiedImage"] == PYTHON
    assert re.fullmatch(re.escape(PYTHON.partition(":")[0]) + "@sha256:[0-9a-f]{64}", image["ResolvedImage"])
    assert "FailureReason" not in seen
    assert told in [e["EndpointName"] for e in user.sm.list_endpoints(StatusEquals="InService")["Endpoints"]]
    assert user.sm.list_endpoints(NameContains=told, StatusEquals="Failed")["Endpoints"] == []


def test_errors_of_the_model(user: User, told: str) -> None:
    wrong = refused(user.runtime.invoke_endpoint, EndpointName=told, Body=b"raise")
    assert wrong["Error"]["Code"] == "ModelError"
    assert wrong["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert wrong["OriginalStatusCode"] == 500
    assert "ValueError: the model cannot bear this" in wrong["OriginalMessage"]
    group = f"/aws/sagemaker/Endpoints/{told}"
    assert group in wrong["LogStreamArn"]
    assert wrong["Error"]["Message"].startswith('Received server error (500) from primary with message "')
    assert f"group={group} in account 000000000000 for more information." in wrong["Error"]["Message"]

    def told_in_log() -> bool:
        events = user.logs.filter_log_events(logGroupName=group, filterPattern='"cannot bear"')["events"]
        return any("ValueError: the model cannot bear this" in event["message"] for event in events)

    until(told_in_log, seconds=20)
    streams = user.logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert all(stream["logStreamName"].startswith("v1/") for stream in streams)


def test_a_worker_that_dies_costs_its_own_request_only(user: User, told: str) -> None:
    died = refused(user.runtime.invoke_endpoint, EndpointName=told, Body=b"die")
    assert (died["Error"]["Code"], died["OriginalStatusCode"]) == ("ModelError", 500)
    assert "could not get a response from the" in died["Error"]["Message"]
    assert json.loads(user.ask(told, "still there"))["text"] == "still there"


def test_the_deadline_of_the_model(user: User, told: str) -> None:
    began = time.monotonic()
    late = refused(user.runtime.invoke_endpoint, EndpointName=told, Body=b"sleep 30")
    assert 2.5 < time.monotonic() - began < 15
    assert (late["Error"]["Code"], late["OriginalStatusCode"]) == ("ModelError", 0)
    assert "Your invocation timed out while waiting for a response from container primary." in late["Error"]["Message"]
    assert json.loads(user.ask(told, "next"))["text"] == "next"


def test_two_vcpus_predict_two_at_once(user: User, told: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        began = time.monotonic()
        pids = {json.loads(body)["pid"] for body in pool.map(lambda _: user.ask(told, "sleep 1.5"), range(2))}
        assert len(pids) == 2
        assert time.monotonic() - began < 2.9, "the two predictions should overlap"


def test_what_is_refused_before_the_model(user: User, told: str) -> None:
    ask = user.runtime.invoke_endpoint
    unknown = refused(ask, EndpointName="no-such-endpoint", Body=b"1")["Error"]
    assert unknown == {
        "Code": "ValidationError",
        "Message": "Endpoint no-such-endpoint of account 000000000000 not found.",
    }
    other = refused(ask, EndpointName=told, Body=b"1", TargetVariant="nobody")["Error"]
    assert (other["Code"], "nobody" in other["Message"]) == ("ValidationError", True)
    assert refused(ask, EndpointName=told, Body=b"1", TargetModel="a.tar.gz")["Error"]["Code"] == "ValidationError"
    long = refused(ask, EndpointName=told, Body=b"1", CustomAttributes="x" * 1025)["Error"]
    assert (long["Code"], "customAttributes" in long["Message"]) == ("ValidationError", True)


def test_bodies_up_to_25_mb_and_beyond(user: User, told: str) -> None:
    full = 25 * 1024 * 1024
    assert json.loads(user.ask(told, b"x" * full))["length"] == full
    assert json.loads(user.ask(told, b""))["length"] == 0
    beyond = refused(user.runtime.invoke_endpoint, EndpointName=told, Body=b"x" * (full + 1))["Error"]
    assert beyond["Code"] == "ValidationError"
    for word in (str(full + 1), str(full), "max_payload"):
        assert word in beyond["Message"]


def test_custom_attributes_and_sessions(user: User) -> None:
    script = """
    import json, os
    def model_fn(model_dir, context=None):
        return None
    def transform_fn(model, data, content_type, accept, context=None):
        names = ("X-Amzn-SageMaker-Custom-Attributes", "X-Amzn-SageMaker-Inference-Id", "X-Amzn-SageMaker-Session-Id")
        seen = {name: context.get_request_header(0, name) for name in names}
        context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "back=1")
        if seen[names[2]] == "NEW_SESSION":
            context.set_response_header(0, "X-Amzn-SageMaker-New-Session-Id", "s-1; Expires=2030-01-01T00:00:00Z")
        if data == "close" or data == b"close":
            context.set_response_header(0, "X-Amzn-SageMaker-Closed-Session-Id", "s-1")
        return json.dumps(seen), "application/json"
    """
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": script}, image=PYTHON)})
    first = user.runtime.invoke_endpoint(
        EndpointName=name, Body=b"open", CustomAttributes="a=1,b=2", InferenceId="i-1", SessionId="NEW_SESSION"
    )
    assert list(json.loads(first["Body"].read()).values()) == ["a=1,b=2", "i-1", "NEW_SESSION"]
    assert first["CustomAttributes"] == "back=1"
    assert first["NewSessionId"] == "s-1; Expires=2030-01-01T00:00:00Z"
    assert "ClosedSessionId" not in first
    last = user.runtime.invoke_endpoint(EndpointName=name, Body=b"close", ContentType="text/plain", SessionId="s-1")
    assert last["ClosedSessionId"] == "s-1"
    assert "NewSessionId" not in last
    user.sm.delete_endpoint(EndpointName=name)


def colours(user: User, *names: str) -> list[str]:
    return [user.scripted({"code/inference.py": TOLD}, {"COLOUR": name}, PYTHON) for name in names]


def test_weighted_variants_and_a_target(user: User) -> None:
    red, blue = colours(user, "red", "blue")
    name = user.endpoint(
        {"ModelName": red, "VariantName": "red", "InitialVariantWeight": 3},
        {"ModelName": blue, "VariantName": "blue", "InitialVariantWeight": 1},
    )

    def split(n: int = 200, **more: Any) -> dict[str, int]:
        seen = [json.loads(user.ask(name, "x", **more))["colour"] for _ in range(n)]
        return {colour: seen.count(colour) for colour in sorted(set(seen))}

    found = split()
    assert set(found) == {"red", "blue"}
    assert 20 <= found["blue"] <= 85, found
    assert split(20, TargetVariant="blue") == {"blue": 20}
    answer = user.runtime.invoke_endpoint(EndpointName=name, Body=b"1", TargetVariant="red")
    assert answer["InvokedProductionVariant"] == "red"

    wanted = [
        {"VariantName": "red", "DesiredWeight": 0, "DesiredInstanceCount": 1},
        {"VariantName": "blue", "DesiredWeight": 1, "DesiredInstanceCount": 2},
    ]
    user.sm.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wanted)
    code = refused(
        user.sm.update_endpoint_weights_and_capacities, EndpointName=name, DesiredWeightsAndCapacities=wanted
    )["Error"]
    assert code["Code"] == "ValidationException"
    assert code["Message"].startswith("Cannot update in-progress endpoint")
    after = {v["VariantName"]: v for v in user.settled(name, "InService")["ProductionVariants"]}
    assert (after["blue"]["CurrentInstanceCount"], after["red"]["CurrentInstanceCount"]) == (2, 1)
    assert (after["blue"]["CurrentWeight"], after["red"]["CurrentWeight"]) == (1.0, 0.0)
    assert split(50) == {"blue": 50}
    assert split(5, TargetVariant="red") == {"red": 5}
    user.sm.delete_endpoint(EndpointName=name)


def test_an_update_loses_no_request(user: User) -> None:
    blue, green = colours(user, "blue", "green")
    name = user.endpoint({"ModelName": blue})
    stop, answers, failures = threading.Event(), [], []
    lock = threading.Lock()

    def ask() -> None:
        while not stop.is_set():
            try:
                colour = json.loads(user.ask(name, "sleep 0.01"))["colour"]
            except ClientError as error:
                failures.append(error)
            else:
                with lock:
                    answers.append(colour)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(answers) > 20)
        config = user.config({"ModelName": green})
        user.sm.update_endpoint(EndpointName=name, EndpointConfigName=config)
        seen = user.sm.describe_endpoint(EndpointName=name)
        assert seen["EndpointStatus"] == "Updating"
        assert seen["PendingDeploymentSummary"]["EndpointConfigName"] == config
        assert refused(user.sm.delete_endpoint, EndpointName=name)["Error"]["Message"].startswith(
            "Cannot update in-progress endpoint"
        )
        done = user.settled(name, "InService")
        before = len(answers)
        until(lambda: len(answers) > before + 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert done["EndpointConfigName"] == config
    assert answers[0] == "blue"
    assert set(answers[before:]) == {"green"}
    user.sm.delete_endpoint(EndpointName=name)


def test_an_update_that_cannot_load_leaves_the_old_one(user: User) -> None:
    (blue,) = colours(user, "blue")
    name = user.endpoint({"ModelName": blue})
    old = user.sm.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    broken = user.scripted({"code/inference.py": "def model_fn(d):\n    raise OSError('no weights')\n"}, image=PYTHON)
    user.sm.update_endpoint(EndpointName=name, EndpointConfigName=user.config({"ModelName": broken}))
    seen = user.settled(name, "InService")
    assert seen["EndpointConfigName"] == old
    assert "no weights" in seen["FailureReason"]
    assert json.loads(user.ask(name))["colour"] == "blue"
    user.sm.delete_endpoint(EndpointName=name)


@pytest.mark.parametrize(
    ("files", "image", "words"),
    [
        (
            {"code/inference.py": "import nothing_like_this\n"},
            PYTHON,
            "ModuleNotFoundError: No module named 'nothing_like_this'",
        ),
        ({"code/inference.py": "def model_fn(d):\n    raise OSError('no weights')\n"}, PYTHON, "OSError: no weights"),
        ({"code/inference.py": "def model_fn(d:\n"}, PYTHON, "SyntaxError"),
        ({"xgboost-model": "not a model"}, XGBOOST, "xgboost-model"),
        ({"other": "x"}, XGBOOST, ""),
    ],
)
def test_a_model_that_cannot_load_fails_soon(user: User, files: dict[str, str], image: str, words: str) -> None:
    began = time.monotonic()
    name = user.endpoint({"ModelName": user.scripted(files, image=image)}, wait=False)
    failed = user.settled(name, "Failed", 60)
    assert time.monotonic() - began < 45
    assert "for production variant v1 did not pass the ping health check." in failed["FailureReason"]
    assert words in failed["FailureReason"], failed["FailureReason"]
    config = failed["EndpointConfigName"]
    assert refused(user.sm.update_endpoint, EndpointName=name, EndpointConfigName=config)["Error"]["Code"] == (
        "ValidationException"
    )
    wrong = refused(user.runtime.invoke_endpoint, EndpointName=name, Body=b"1")["Error"]
    assert wrong["Code"] == "ValidationError"
    user.sm.delete_endpoint(EndpointName=name)
    gone = refused(user.sm.describe_endpoint, EndpointName=name)["Error"]
    assert gone["Message"].startswith('Could not find endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/')


def test_a_model_of_data_that_is_not_there_is_refused(user: User) -> None:
    for uri in (f"s3://{user.bucket}/nothing/model.tar.gz", f"s3://{unique('nowhere')}/model.tar.gz"):
        error = refused(user.model, image=XGBOOST, data=uri)["Error"]
        assert (error["Code"], error["Message"]) == ("ValidationException", f"Could not find model data at {uri}.")


def test_an_artifact_that_is_gone_fails_the_endpoint(user: User) -> None:
    model = user.model(XGBOOST, user.put("nothing/model.tar.gz", targz({"x": "x"})))
    user.s3.delete_object(Bucket=user.bucket, Key="nothing/model.tar.gz")
    name = user.endpoint({"ModelName": model}, wait=False)
    reason = user.settled(name, "Failed", 60)["FailureReason"]
    assert f"s3://{user.bucket}/nothing/model.tar.gz" in reason
    user.sm.delete_endpoint(EndpointName=name)


def test_deletion_in_every_order(user: User) -> None:
    """As predictors do: the model and the config go before their endpoint, which serves on until it goes too."""
    (model,) = colours(user, "grey")
    name = user.endpoint({"ModelName": model})
    config = user.sm.describe_endpoint(EndpointName=name)["EndpointConfigName"]
    user.sm.delete_model(ModelName=model)
    user.sm.delete_endpoint_config(EndpointConfigName=config)
    assert json.loads(user.ask(name))["colour"] == "grey"
    user.sm.delete_endpoint(EndpointName=name)
    assert refused(user.sm.describe_endpoint, EndpointName=name)["Error"]["Code"] == "ValidationException"
    assert refused(user.runtime.invoke_endpoint, EndpointName=name, Body=b"1")["Error"]["Code"] == "ValidationError"
    assert refused(user.sm.delete_endpoint, EndpointName=name)["Error"]["Message"].startswith("Could not find endpoint")
    assert refused(user.sm.describe_model, ModelName=model)["Error"]["Message"].startswith("Could not find model")
    missing = refused(user.sm.describe_endpoint_config, EndpointConfigName=config)["Error"]["Message"]
    assert missing.startswith("Could not find endpoint configuration")


def test_an_endpoint_that_is_being_created_cannot_go(user: User) -> None:
    slow = "import time\ntime.sleep(4)\ndef model_fn(d): return 1\n" + TOLD.split("def input_fn")[1].join(
        ["def input_fn", ""]
    )
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": slow}, image=PYTHON)}, wait=False)
    assert user.status(name) == "Creating"
    message = refused(user.sm.delete_endpoint, EndpointName=name)["Error"]["Message"]
    assert message.startswith("Cannot update in-progress endpoint")
    refusal = refused(user.runtime.invoke_endpoint, EndpointName=name, Body=b"1")["Error"]
    assert refusal["Code"] == "ValidationError"
    user.settled(name, "InService")
    user.sm.delete_endpoint(EndpointName=name)


def test_names_that_exist_or_do_not(user: User) -> None:
    (model,) = colours(user, "x")
    taken = refused(
        user.sm.create_model,
        ModelName=model,
        ExecutionRoleArn="arn:aws:iam::000000000000:role/R",
        PrimaryContainer={"Image": PYTHON},
    )["Error"]
    assert taken["Code"] == "ValidationException"
    assert taken["Message"].startswith("Cannot create already existing model")
    variant = {"VariantName": "a", "ModelName": "nobody", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    config = refused(user.sm.create_endpoint_config, EndpointConfigName=unique("c"), ProductionVariants=[variant])[
        "Error"
    ]
    assert config["Message"].startswith("Could not find model")
    endpoint = refused(user.sm.create_endpoint, EndpointName=unique("e"), EndpointConfigName="nobody")["Error"]
    assert endpoint["Message"].startswith("Could not find endpoint configuration")


def test_a_clients_own_retry_joins_its_prediction(user: User) -> None:
    """boto3 gives up reading after 1 s and asks again: the model is asked once, and the second attempt gets the answer."""
    script = """
    import os, time
    def model_fn(model_dir):
        return None
    def transform_fn(model, data, content_type, accept):
        print("asked for one prediction", flush=True)
        time.sleep(2.5)
        return str(os.getpid()), "text/plain"
    """
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": script}, image=PYTHON)})
    patient = user.server.client(
        "sagemaker-runtime", read_timeout=1, retries={"total_max_attempts": 5, "mode": "standard"}
    )
    answer = patient.invoke_endpoint(EndpointName=name, Body=b"1")
    assert answer["ResponseMetadata"]["RetryAttempts"] >= 1
    assert answer["Body"].read().isdigit()
    group = f"/aws/sagemaker/Endpoints/{name}"

    def asked() -> int:
        events = user.logs.filter_log_events(logGroupName=group, filterPattern='"asked for one prediction"')["events"]
        return len(events)

    assert until(asked, seconds=20) == 1
    user.sm.delete_endpoint(EndpointName=name)


def test_a_script_beside_the_artifact(user: User) -> None:
    """The script comes from S3 by SAGEMAKER_SUBMIT_DIRECTORY, as SKLearnModel and XGBoostModel send it."""
    source = user.put("src/sourcedir.tar.gz", targz({"serve.py": TOLD}))
    environment = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": source, "COLOUR": "brown"}
    data = user.put("src/model.tar.gz", targz({"weights": "w"}))
    name = user.endpoint({"ModelName": user.model(PYTHON, data, environment)})
    assert json.loads(user.ask(name))["colour"] == "brown"
    user.sm.delete_endpoint(EndpointName=name)


def test_an_artifact_that_is_not_packed(user: User) -> None:
    user.put("loose/m/code/inference.py", TOLD)
    user.put("loose/m/weights", "w")
    source = {
        "S3DataSource": {"S3Uri": f"s3://{user.bucket}/loose/m/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    }
    name = user.endpoint({"ModelName": user.model(PYTHON, None, ModelDataSource=source)})
    assert json.loads(user.ask(name))["dir"] == ["code", "weights"]
    user.sm.delete_endpoint(EndpointName=name)
