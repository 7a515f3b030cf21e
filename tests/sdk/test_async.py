"""Asynchronous endpoints through unmodified boto3: inputs inline and in S3, answers, failures, notifications, deadlines, no replicas."""

from __future__ import annotations

import concurrent.futures
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.loops.alarms.test_deliveries import Hook, hook
from tests.sdk.acts import PYTHON, User, unique, until
from tests.sdk.conftest import Server

__all__ = ["hook"]

pytestmark = [pytest.mark.live, pytest.mark.slow]

TOLD = """
import json, time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    text = body.decode() if isinstance(body, (bytes, bytearray)) else body
    if text.startswith("sleep "):
        time.sleep(float(text.split()[1]))
    if text == "raise":
        raise ValueError("the model cannot bear this")
    return json.dumps({"length": len(text), "text": text[:80], "type": content_type, "accept": accept}), "application/x-told"
"""
MODEL = {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "1", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}


class Caller(User):
    """A user with an asynchronous endpoint."""

    def deploy(self, **output: Any) -> str:
        paths = {"S3OutputPath": f"s3://{self.bucket}/out", "S3FailurePath": f"s3://{self.bucket}/failed", **output}
        config = {"OutputConfig": paths, "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2}}
        model = self.scripted({"code/inference.py": TOLD}, MODEL, PYTHON)
        return self.endpoint({"ModelName": model}, AsyncInferenceConfig=config)

    def call(self, endpoint: str, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.runtime.invoke_endpoint_async(EndpointName=endpoint, **params)
        return answer

    def answer(self, uri: str) -> dict[str, Any]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        until(lambda: self.keys(key))
        found = self.s3.get_object(Bucket=bucket, Key=key)
        return {"type": found["ContentType"], "body": found["Body"].read()}

    def told(self, endpoint: str, **params: Any) -> dict[str, Any]:
        body = self.answer(self.call(endpoint, **params)["OutputLocation"])["body"]
        found: dict[str, Any] = json.loads(body)
        return found


@pytest.fixture(scope="module")
def user(server: Server) -> Caller:
    return Caller(server)


@pytest.fixture(scope="module")
def endpoint(user: Caller) -> str:
    return user.deploy()


def refused(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_inline_body(user: Caller, endpoint: str) -> None:
    sent = user.call(endpoint, Body=b"hello", ContentType="text/x-mine", Accept="a/b", InferenceId="my id")
    assert sent["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert sent["InferenceId"] == "my id"
    assert sent["OutputLocation"].startswith(f"s3://{user.bucket}/out/")
    found = user.answer(sent["OutputLocation"])
    assert found["type"] == "application/x-told"
    assert json.loads(found["body"]) == {"length": 5, "text": "hello", "type": "text/x-mine", "accept": "a/b"}
    assert user.keys("failed/") == []


def test_an_object_has_its_own_content_type(user: Caller, endpoint: str) -> None:
    user.s3.put_object(Bucket=user.bucket, Key="in/a b+c.csv", Body=b"1,2", ContentType="text/csv")
    assert user.told(endpoint, InputLocation=f"s3://{user.bucket}/in/a b+c.csv")["type"] == "text/csv"


def test_an_input_larger_than_a_client_may_send_at_once(user: Caller, endpoint: str) -> None:
    size = int(user.server.settings.max_payload) + (4 << 20)
    location = user.put("in/large", b"x" * size)
    assert (
        user.told(endpoint, InputLocation=location, ContentType="text/plain", InvocationTimeoutSeconds=60)["length"]
        == size
    )


def test_a_caller_names_the_answer(user: Caller, endpoint: str) -> None:
    sent = user.call(endpoint, Body=b"1", S3OutputPathExtension="day/1", Filename="mine.json")
    assert sent["OutputLocation"] == f"s3://{user.bucket}/out/day/1/mine.json"
    assert json.loads(user.answer(sent["OutputLocation"])["body"])["text"] == "1"


def test_a_models_error_is_in_the_failure_object_and_in_the_data_log(user: Caller, endpoint: str) -> None:
    sent = user.call(endpoint, Body=b"raise")
    assert b"ValueError: the model cannot bear this" in user.answer(sent["FailureLocation"])["body"]
    assert sent["OutputLocation"].rpartition("/")[2] not in str(user.keys("out/"))
    group = f"/aws/sagemaker/Endpoints/{endpoint}"

    def lines() -> list[str]:
        pages = user.logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, logStreamNames=["v1/data-log"]
        )
        return [
            event["message"] for page in pages for event in page["events"] if sent["InferenceId"] in event["message"]
        ]

    assert "the model cannot bear this" in until(lines)[0]


def test_an_input_that_is_not_there(user: Caller, endpoint: str) -> None:
    sent = user.call(endpoint, InputLocation=f"s3://{user.bucket}/in/nothing")
    assert b"could not be downloaded" in user.answer(sent["FailureLocation"])["body"]


def test_the_calls_timeout_stands_instead_of_the_models(user: Caller, endpoint: str) -> None:
    assert user.told(endpoint, Body=b"sleep 2", InvocationTimeoutSeconds=30)["text"] == "sleep 2"
    sent = user.call(endpoint, Body=b"sleep 30", InvocationTimeoutSeconds=1)
    assert b"timed out while waiting for a response" in user.answer(sent["FailureLocation"])["body"]


def test_calls_that_are_refused(user: Caller, endpoint: str) -> None:
    call = user.server.client("sagemaker-runtime", parameter_validation=False).invoke_endpoint_async
    both = {"Body": b"1", "InputLocation": f"s3://{user.bucket}/in/x"}
    for params, words in (
        ({}, "either InputLocation"),
        (both, "mutually exclusive"),
        ({"Body": b"x" * 128_001}, "128000"),
        ({"InputLocation": "s3://only-a-bucket"}, "names no object"),
        ({"Body": b"1", "RequestTTLSeconds": 59}, "greater than or equal to 60"),
        ({"Body": b"1", "RequestTTLSeconds": 21601}, "less than or equal to 21600"),
        ({"Body": b"1", "InvocationTimeoutSeconds": 3601}, "less than or equal to 3600"),
        ({"Body": b"1", "Filename": "a/b"}, "regular expression"),
    ):
        code, message = refused(call, EndpointName=endpoint, **params)
        assert code == "ValidationError", params
        assert words in message, message
    code, message = refused(call, EndpointName="nobody", Body=b"1")
    assert (code, message) == ("ValidationError", "Endpoint nobody of account 000000000000 not found.")


def test_an_asynchronous_endpoint_takes_no_other_calls_and_no_other_endpoint_takes_asynchronous_ones(
    user: Caller, endpoint: str
) -> None:
    code, message = refused(user.runtime.invoke_endpoint, EndpointName=endpoint, Body=b"1")
    assert code == "ValidationError"
    assert "takes InvokeEndpointAsync only" in message
    plain = user.endpoint({"ModelName": user.scripted({"code/inference.py": TOLD}, MODEL, PYTHON)})
    code, message = refused(user.runtime.invoke_endpoint_async, EndpointName=plain, Body=b"1")
    assert code == "ValidationError"
    assert "is not asynchronous" in message


def test_to_no_replicas_and_back(user: Caller, endpoint: str) -> None:
    def wish(count: int) -> None:
        wanted = [{"VariantName": "v1", "DesiredInstanceCount": count}]
        user.sm.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=wanted)
        user.settled(endpoint, "InService")

    wish(0)
    assert user.sm.describe_endpoint(EndpointName=endpoint)["ProductionVariants"][0]["CurrentInstanceCount"] == 0
    sent = [user.call(endpoint, Body=b"%d" % n) for n in range(5)]
    assert not any(user.keys(one["OutputLocation"].split("/", 3)[3]) for one in sent)
    wish(1)
    assert [json.loads(user.answer(one["OutputLocation"])["body"])["text"] for one in sent] == list("01234")


def test_described(user: Caller, endpoint: str) -> None:
    seen = user.sm.describe_endpoint(EndpointName=endpoint)
    assert seen["AsyncInferenceConfig"]["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 2}
    config = user.sm.describe_endpoint_config(EndpointConfigName=seen["EndpointConfigName"])
    assert config["AsyncInferenceConfig"] == seen["AsyncInferenceConfig"]


def test_who_is_told_of_it(start: Callable[..., Server], hook: Hook, tmp_path: Path) -> None:
    """Topics with subscribers of every kind; what the operator does not allow is refused."""
    (tmp_path / "news").mkdir()
    user = Caller(start(subscribers=(hook.url, f"file://{tmp_path}/news")))
    sns = user.server.client("sns")
    topics = {name: sns.create_topic(Name=unique(name))["TopicArn"] for name in ("good", "bad")}
    file = tmp_path / "news" / "bad.jsonl"
    for topic, protocol, where in (
        ("good", "http", f"{hook.url}/hook"),
        ("good", "s3", f"s3://{user.bucket}/told"),
        ("bad", "file", f"file://{file}"),
    ):
        sns.subscribe(TopicArn=topics[topic], Protocol=protocol, Endpoint=where, ReturnSubscriptionArn=True)
    code, message = refused(sns.subscribe, TopicArn=topics["good"], Protocol="http", Endpoint="http://10.1.2.3/")
    assert (code, "setting 'subscribers'" in message) == ("InvalidParameter", True)
    listed = [row["Protocol"] for row in sns.list_subscriptions_by_topic(TopicArn=topics["good"])["Subscriptions"]]
    assert sorted(listed) == ["http", "s3"]
    notify = {
        "SuccessTopic": topics["good"],
        "ErrorTopic": topics["bad"],
        "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"],
    }
    endpoint = user.deploy(NotificationConfig=notify)
    sent = user.call(endpoint, Body=b"hello", ContentType="text/plain", InferenceId="mine")
    [(headers, body)] = until(lambda: hook.told)
    assert headers["x-amz-sns-topic-arn"] == topics["good"]
    message = json.loads(json.loads(body)["Message"])
    assert message["invocationStatus"] == "Completed"
    assert message["inferenceId"] == "mine"
    assert message["requestParameters"] == {"contentType": "text/plain", "endpointName": endpoint}
    expected = {"contentType": "application/x-told", "outputLocation": sent["OutputLocation"]}
    assert message["responseParameters"] == expected
    assert json.loads(message["responseBody"]["content"])["text"] == "hello"
    [key] = until(lambda: user.keys("told/"))
    assert json.loads(user.get(f"s3://{user.bucket}/{key}"))["Message"] == json.loads(body)["Message"]
    user.call(endpoint, Body=b"raise")
    until(lambda: file.exists() and file.read_text().endswith("\n"))
    message = json.loads(json.loads(file.read_text())["Message"])
    assert (message["invocationStatus"], "cannot bear this" in message["failureReason"]) == ("Failed", True)
    sns.delete_topic(TopicArn=topics["good"])
    assert refused(sns.publish, TopicArn=topics["good"], Message="m")[0] == "NotFound"


def test_half_a_thousand_at_once(user: Caller, endpoint: str) -> None:
    clients = [user.server.client("sagemaker-runtime") for _ in range(8)]

    def send(n: int) -> str:
        return str(clients[n % 8].invoke_endpoint_async(EndpointName=endpoint, Body=b"%d" % n)["OutputLocation"])

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        locations = list(pool.map(send, range(500)))
    print(f"500 calls of boto3 were answered in {time.perf_counter() - began:.2f} s")
    assert len(set(locations)) == 500
    wanted = {location.split("/", 3)[3] for location in locations}
    until(lambda: wanted <= set(user.keys("out/")), seconds=120)


def test_what_is_measured_and_an_alarm_on_it_that_is_told(user: Caller, endpoint: str) -> None:
    cloudwatch, sns = user.server.client("cloudwatch"), user.server.client("sns")
    user.told(endpoint, Body=b"counted")

    def listed(**dimensions: str) -> set[str]:
        wanted = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        found = cloudwatch.list_metrics(Namespace="AWS/SageMaker", Dimensions=wanted)["Metrics"]
        return {m["MetricName"] for m in found if len(m["Dimensions"]) == len(dimensions)}

    gauges = {
        "ApproximateBacklogSize",
        "ApproximateBacklogSizePerInstance",
        "ApproximateAgeOfOldestRequest",
        "HasBacklogWithoutCapacity",
    }
    until(lambda: gauges <= listed(EndpointName=endpoint), seconds=30)
    counts = {"InvocationsProcessed", "TimeInBacklog", "TotalProcessingTime", "ResponseUploadLatency"}
    until(lambda: counts <= listed(EndpointName=endpoint, VariantName="v1"), seconds=30)
    until(lambda: "ModelLatency" in listed(EndpointName=endpoint, VariantName="v1"), seconds=30)
    unknown = {"Invocations", "InvocationsPerInstance", "OverheadLatency"}
    assert not unknown & listed(EndpointName=endpoint, VariantName="v1"), "as on AWS"
    topic = sns.create_topic(Name=unique("alarms"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="s3", Endpoint=f"s3://{user.bucket}/alarms")
    cloudwatch.put_metric_alarm(
        AlarmName=unique("processed"),
        Namespace="AWS/SageMaker",
        MetricName="ApproximateBacklogSize",
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}],
        Statistic="Maximum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=-1,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic],
    )
    [key] = until(lambda: user.keys("alarms/"), seconds=60)
    told = json.loads(user.get(f"s3://{user.bucket}/{key}"))
    assert told["TopicArn"] == topic
    assert json.loads(told["Message"])["NewStateValue"] == "ALARM"
