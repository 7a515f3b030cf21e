"""Application Auto Scaling through unmodified clients, against real load: step policies on CPU as the paper describes them, asynchronous
endpoints to zero and back, components, schedules, and the AWS CLI."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, targz, unique, until
from tests.sdk.conftest import ROOT, Server
from tests.sdk.test_components import host, place

pytestmark = [pytest.mark.live, pytest.mark.slow]

COUNT = "sagemaker:variant:DesiredInstanceCount"
MILLICPU = "clary:variant:DesiredMillicpuPerInstance"
AWS = ROOT / ".venv-cli" / "bin" / "aws"
BURNS = """
import time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    end = time.thread_time() + float(body)
    while time.thread_time() < end:
        pass
    return "done"
"""
ONE = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
MANY = {"SAGEMAKER_MODEL_SERVER_WORKERS": "8"}  # that they get most of a vCPU together, on a busy machine too


@pytest.fixture(scope="module")
def watch(server: Server) -> Any:
    return server.client("cloudwatch")


def target_of(endpoint: str, variant: str = "v1") -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
        "ScalableDimension": COUNT,
    }


def count(user: User, endpoint: str) -> int:
    [variant] = user.sm.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    return int(variant["CurrentInstanceCount"])


def drop(user: User, endpoint: str) -> None:
    """An endpoint cannot be deleted while it scales."""

    def asked() -> bool:
        try:
            user.sm.delete_endpoint(EndpointName=endpoint)
        except ClientError as error:
            if "in-progress" not in str(error):
                raise
            return False
        return True

    until(asked)


@contextmanager
def load(user: User, endpoint: str, body: str, threads: int = 2) -> Iterator[list[Exception]]:
    """Requests one after the other from so many threads; what failed."""
    stop, failed = threading.Event(), list[Exception]()

    def send() -> None:
        while not stop.is_set():
            try:
                user.ask(endpoint, body, ContentType="text/plain")
            except ClientError as error:
                failed.append(error)
                stop.wait(0.2)

    sending = [threading.Thread(target=send) for _ in range(threads)]
    for each in sending:
        each.start()
    try:
        yield failed
    finally:
        stop.set()
        for each in sending:
            each.join()


def steps(
    watch: Any, scaling: Any, target: dict[str, str], endpoint: str, namespace: str = "/aws/sagemaker/Endpoints"
) -> dict[str, str]:
    """Out above 70 % of CPU, in below 30 %; alarms of one point of 10 s. Policy ARNs by name."""
    made = {}
    where = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "v1"}]
    for name, bound, change, threshold, compared in (
        ("out", "MetricIntervalLowerBound", 1, 70.0, "GreaterThanThreshold"),
        ("in", "MetricIntervalUpperBound", -1, 30.0, "LessThanThreshold"),
    ):
        config = {
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{bound: 0.0, "ScalingAdjustment": change}],
            "Cooldown": 5,
        }
        made[name] = scaling.put_scaling_policy(
            **target, PolicyName=name, PolicyType="StepScaling", StepScalingPolicyConfiguration=config
        )["PolicyARN"]
        watch.put_metric_alarm(
            AlarmName=f"{endpoint}-{name}",
            Namespace=namespace,
            MetricName="CPUUtilization",
            Dimensions=where,
            Statistic="Average",
            Period=10,
            EvaluationPeriods=1,
            Threshold=threshold,
            ComparisonOperator=compared,
            AlarmActions=[made[name]],
        )
    return made


def test_step_policies_follow_the_cpu(user: User, scaling: Any, watch: Any) -> None:
    """The paper's setting: 1 to 4 instances, out above 70 % of CPU, in below 30 %."""
    endpoint = user.endpoint({"ModelName": user.scripted({"code/inference.py": BURNS}, MANY, PYTHON)})
    target = target_of(endpoint)
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    steps(watch, scaling, target, endpoint)

    def busiest() -> float:
        now = datetime.now(UTC)
        points = watch.get_metric_statistics(
            Namespace="/aws/sagemaker/Endpoints",
            MetricName="CPUUtilization",
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "v1"}],
            StartTime=now - timedelta(seconds=60),
            EndTime=now,
            Period=10,
            Statistics=["Average"],
        )["Datapoints"]
        return max((point["Average"] for point in points), default=0.0)

    with load(user, endpoint, "0.2", 8) as failed:
        end = time.monotonic() + 60
        while count(user, endpoint) < 2 and time.monotonic() < end:
            time.sleep(0.2)
        given = busiest()
        if count(user, endpoint) < 2 and given <= 70:
            pytest.skip(f"MACHINE TOO BUSY: it gave a replica that could use all of it {given:.0f} % of a vCPU")
        until(lambda: count(user, endpoint) >= 2, seconds=30)
    until(lambda: count(user, endpoint) == 1, seconds=120)
    assert failed == []
    causes = [a["Cause"] for a in scaling.describe_scaling_activities(**target)["ScalingActivities"]]
    assert causes[-1] == f"monitor alarm {endpoint}-out in state ALARM triggered policy out"
    assert causes[0] == f"monitor alarm {endpoint}-in in state ALARM triggered policy in"
    drop(user, endpoint)
    watch.delete_alarms(AlarmNames=[f"{endpoint}-out", f"{endpoint}-in"])


@contextmanager
def said(watch: Any, endpoint: str, value: float) -> Iterator[None]:
    """Somebody else's measurements of the endpoint: this value each second."""
    stop = threading.Event()
    where = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "v1"}]
    row = {"MetricName": "CPUUtilization", "Dimensions": where, "Value": value, "StorageResolution": 1}

    def put() -> None:
        while not stop.is_set():
            watch.put_metric_data(Namespace="Measured", MetricData=[row])
            stop.wait(1.0)

    putting = threading.Thread(target=put)
    putting.start()
    try:
        yield
    finally:
        stop.set()
        putting.join()


@pytest.mark.waits
def test_step_policies_scale_in_both_directions(user: User, scaling: Any, watch: Any) -> None:
    """The same policies on a metric that is put, so that no other load of the machine comes in between; under requests all the while."""
    endpoint = user.endpoint({"ModelName": user.scripted({"code/inference.py": BURNS}, ONE, PYTHON)})
    target = target_of(endpoint)
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    made = steps(watch, scaling, target, endpoint, "Measured")
    with load(user, endpoint, "0.01", 1) as failed:
        with said(watch, endpoint, 90.0):
            until(lambda: count(user, endpoint) == 2, seconds=60)
        with said(watch, endpoint, 10.0):
            until(lambda: count(user, endpoint) == 1, seconds=90)
            until(lambda: "AlreadyAtMinCapacity" in reasons(scaling, target), seconds=60)
    assert failed == []
    found = scaling.describe_scaling_activities(**target)["ScalingActivities"]
    assert [(each["Description"], each["StatusCode"], each["Cause"]) for each in found] == [
        (
            f"Setting desired instance count to {number}.",
            "Successful",
            f"monitor alarm {endpoint}-{name} in state ALARM triggered policy {name}",
        )
        for number, name in ((1, "in"), (2, "out"))
    ]
    listed = scaling.describe_scaling_policies(**target)["ScalingPolicies"]
    assert {each["PolicyARN"]: [a["AlarmName"] for a in each["Alarms"]] for each in listed} == {
        made["out"]: [f"{endpoint}-out"],
        made["in"]: [f"{endpoint}-in"],
    }
    drop(user, endpoint)
    where = {"ServiceNamespace": "sagemaker", "ResourceIds": [target["ResourceId"]]}
    until(lambda: not scaling.describe_scalable_targets(**where)["ScalableTargets"])
    policies = {"ServiceNamespace": "sagemaker", "ResourceId": target["ResourceId"]}
    until(lambda: not scaling.describe_scaling_policies(**policies)["ScalingPolicies"])
    watch.delete_alarms(AlarmNames=[f"{endpoint}-out", f"{endpoint}-in"])


def reasons(scaling: Any, target: dict[str, str]) -> list[str]:
    every = scaling.describe_scaling_activities(**target, IncludeNotScaledActivities=True)["ScalingActivities"]
    return [reason["Code"] for each in every for reason in each.get("NotScaledReasons", ())]


@pytest.mark.waits
def test_an_asynchronous_endpoint_wakes_and_sleeps(user: User, scaling: Any, watch: Any) -> None:
    """From no instance by a step policy on HasBacklogWithoutCapacity, as AWS's documentation has it."""
    model = user.scripted({"code/inference.py": BURNS}, ONE, PYTHON)
    output = {"OutputConfig": {"S3OutputPath": f"s3://{user.bucket}/async"}}
    endpoint = user.endpoint({"ModelName": model}, AsyncInferenceConfig=output)
    target = target_of(endpoint)
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=2)
    wish = [{"VariantName": "v1", "DesiredInstanceCount": 0}]
    user.sm.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=wish)
    until(lambda: count(user, endpoint) == 0)
    user.settled(endpoint, "InService")
    policy = scaling.put_scaling_policy(
        **target,
        PolicyName="wake",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ExactCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
            "Cooldown": 10,
        },
    )
    name = f"{endpoint}-wake"
    watch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="HasBacklogWithoutCapacity",
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}],
        Statistic="Maximum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
        AlarmActions=[policy["PolicyARN"]],
    )
    sent = user.runtime.invoke_endpoint_async(
        EndpointName=endpoint, InputLocation=user.put(f"{endpoint}/in", "0.01"), ContentType="text/plain"
    )
    until(lambda: count(user, endpoint) == 1, seconds=60)
    key = sent["OutputLocation"].split("/", 3)[3]
    until(lambda: user.keys(key), seconds=30)
    assert user.get(sent["OutputLocation"]) == b"done"
    config = {
        "TargetValue": 5.0,
        "ScaleInCooldown": 0,
        "CustomizedMetricSpecification": {
            "MetricName": "ApproximateBacklogSizePerInstance",
            "Namespace": "AWS/SageMaker",
            "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
            "Statistic": "Average",
        },
    }
    made = scaling.put_scaling_policy(
        **target,
        PolicyName="follow",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=config,
    )
    low = made["Alarms"][1]["AlarmName"]
    # fifteen low points take 150 s: say at once what they would
    low_said = {"StateValue": "ALARM", "StateReason": "the test does not wait for 150 s"}

    def asleep() -> bool:
        watch.set_alarm_state(AlarmName=low, **low_said)
        return count(user, endpoint) == 0

    until(asleep, seconds=60)
    watch.delete_alarms(AlarmNames=[name])
    scaling.deregister_scalable_target(**target)


def test_copies_of_a_component_follow_their_range(user: User, scaling: Any) -> None:
    artifact = user.put(f"{unique('models')}/model.tar.gz", targz({"code/inference.py": BURNS}))
    name = place(user, host(user), artifact)
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"inference-component/{name}",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=2, MaxCapacity=3)

    def copies() -> int:
        seen = user.sm.describe_inference_component(InferenceComponentName=name)["RuntimeConfig"]
        return int(seen["CurrentCopyCount"])

    until(lambda: copies() == 2)
    done = until(lambda: scaling.describe_scaling_activities(**target)["ScalingActivities"])[0]
    assert (done["Description"], done["Cause"]) == (
        "Setting desired copy count to 2.",
        "minimum capacity was set to 2",
    )
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=0)
    until(lambda: copies() == 0)
    scaling.register_scalable_target(**target, MinCapacity=9, MaxCapacity=9)  # there is no room for nine
    probe = lambda: scaling.describe_scaling_activities(**target)["ScalingActivities"][0]  # noqa: E731
    refused = until(probe, lambda a: a["StatusCode"] == "Unfulfilled")
    assert "Insufficient capacity" in refused["StatusMessage"]
    scaling.deregister_scalable_target(**target)


def test_provisioned_concurrency_follows_its_range_and_reports_its_use(user: User, scaling: Any, watch: Any) -> None:
    model = user.scripted({"code/inference.py": BURNS}, {}, PYTHON)
    config = {"MemorySizeInMB": 1024, "MaxConcurrency": 4, "ProvisionedConcurrency": 1}
    name = unique("serverless")
    variant = {"VariantName": "v1", "ModelName": model, "ServerlessConfig": config}
    user.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    user.sm.create_endpoint(EndpointName=name, EndpointConfigName=name)
    user.settled(name, "InService")
    target = {**target_of(name), "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"}
    scaling.register_scalable_target(**target, MinCapacity=2, MaxCapacity=4)

    def warm() -> int:
        [seen] = user.sm.describe_endpoint(EndpointName=name)["ProductionVariants"]
        return int(seen["CurrentServerlessConfig"]["ProvisionedConcurrency"])

    until(lambda: warm() == 2)
    done = until(lambda: scaling.describe_scaling_activities(**target)["ScalingActivities"])[0]
    assert done["Description"] == "Setting desired provisioned concurrency to 2."
    metric = "ServerlessProvisionedConcurrencyUtilization"
    until(lambda: watch.list_metrics(Namespace="AWS/SageMaker", MetricName=metric)["Metrics"])
    scaling.deregister_scalable_target(**target)
    drop(user, name)


def test_a_schedule_sets_the_range(user: User, scaling: Any) -> None:
    model = user.scripted({"code/inference.py": BURNS}, ONE, PYTHON)
    endpoint = user.endpoint({"ModelName": model})
    target = target_of(endpoint)
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=1)
    at = datetime.now(UTC) + timedelta(seconds=4)
    scaling.put_scheduled_action(
        **target,
        ScheduledActionName="soon",
        Schedule=f"at({at.strftime('%Y-%m-%dT%H:%M:%S')})",
        ScalableTargetAction={"MinCapacity": 2, "MaxCapacity": 3},
    )
    until(lambda: count(user, endpoint) == 2)
    [seen] = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])[
        "ScalableTargets"
    ]
    assert (seen["MinCapacity"], seen["MaxCapacity"]) == (2, 3)
    found = scaling.describe_scaling_activities(**target)["ScalingActivities"]
    assert {each["Cause"] for each in found} == {"scheduled action name soon was triggered"}
    with pytest.raises(ClientError) as caught:
        scaling.put_scheduled_action(
            **target,
            ScheduledActionName="late",
            Schedule="at(2020-01-01T00:00:00)",
            ScalableTargetAction={"MinCapacity": 1},
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    drop(user, endpoint)


@pytest.mark.waits
@pytest.mark.skipif(not AWS.exists(), reason="scripts/test makes .venv-cli")
def test_the_aws_cli_registers_both_dimensions_and_watches_a_load_test(
    user: User, server: Server, scaling: Any
) -> None:
    """More replicas by target tracking and larger ones by steps, under one load; what happened is read by the CLI too."""
    model = user.scripted({"code/inference.py": BURNS}, ONE, PYTHON)
    endpoint = user.endpoint({"ModelName": model})
    resource = ["--service-namespace", "sagemaker", "--resource-id", f"endpoint/{endpoint}/variant/v1"]
    fleet = [*resource, "--scalable-dimension", COUNT]
    size = [*resource, "--scalable-dimension", MILLICPU]

    def aws(service: str, *words: str) -> Any:
        done = server.run([str(AWS), service, *words, "--output", "json"])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def policy(where: list[str], name: str, kind: str, config: dict[str, Any]) -> Any:
        option = "step" if kind == "StepScaling" else "target-tracking"
        words = [
            "--policy-name",
            name,
            "--policy-type",
            kind,
            f"--{option}-scaling-policy-configuration",
            json.dumps(config),
        ]
        return aws("application-autoscaling", "put-scaling-policy", *where, *words)

    def done(where: list[str]) -> list[tuple[str, str]]:
        """Oldest first, without those that are under way."""
        found = aws("application-autoscaling", "describe-scaling-activities", *where)["ScalingActivities"]
        return [(each["Description"], each["StatusCode"]) for each in reversed(found) if "EndTime" in each]

    def reached(dimension: str, description: str) -> None:
        """Waits; asked by boto3, for an `aws` takes a second of CPU each time."""
        target = {**target_of(endpoint), "ScalableDimension": dimension}
        listed = lambda: scaling.describe_scaling_activities(**target)["ScalingActivities"]  # noqa: E731
        until(lambda: any(each["Description"] == description and "EndTime" in each for each in listed()))

    register = ("application-autoscaling", "register-scalable-target")
    aws(*register, *size, "--min-capacity", "500", "--max-capacity", "500")
    aws(*register, *fleet, "--min-capacity", "1", "--max-capacity", "2")
    reached(MILLICPU, "Setting desired millicpu to 500.")
    aws(*register, *size, "--min-capacity", "500", "--max-capacity", "1000")
    metric = {"PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"}
    tracking = {"TargetValue": 0.5, "ScaleOutCooldown": 5, "PredefinedMetricSpecification": metric}
    high = policy(fleet, "busy", "TargetTrackingScaling", tracking)["Alarms"][0]["AlarmName"]
    [alarm] = aws("cloudwatch", "describe-alarms", "--alarm-names", high)["MetricAlarms"]
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["Threshold"]) == (10, 3, 0.5)
    steps = [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 500}]
    grow = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps, "Cooldown": 5}
    larger = policy(size, "larger", "StepScaling", grow)["PolicyARN"]
    watched = ["--namespace", alarm["Namespace"], "--metric-name", alarm["MetricName"], "--period", "10"]
    watched += ["--dimensions", json.dumps(alarm["Dimensions"])]
    compared = ["--statistic", "Maximum", "--evaluation-periods", "1", "--threshold", "0.5"]
    compared += ["--comparison-operator", "GreaterThanThreshold", "--alarm-actions", larger]
    aws("cloudwatch", "put-metric-alarm", "--alarm-name", f"{endpoint}-larger", *watched, *compared)
    with load(user, endpoint, "0.1", 3) as failed:
        reached(MILLICPU, "Setting desired millicpu to 1000.")
        reached(COUNT, "Setting desired instance count to 2.")
    assert failed == []
    assert done(size) == [(f"Setting desired millicpu to {each}.", "Successful") for each in (500, 1000)]
    assert done(fleet) == [("Setting desired instance count to 2.", "Successful")]
    assert count(user, endpoint) == 2
    now = datetime.now(UTC)
    since = ["--start-time", (now - timedelta(minutes=3)).isoformat(), "--end-time", now.isoformat()]
    seen = aws("cloudwatch", "get-metric-statistics", *watched, *since, "--statistics", "Maximum")["Datapoints"]
    assert max(point["Maximum"] for point in seen) > 0.5
    for where, name in ((fleet, "busy"), (size, "larger")):
        aws("application-autoscaling", "delete-scaling-policy", *where, "--policy-name", name)
        aws("application-autoscaling", "deregister-scalable-target", *where)
    aws("cloudwatch", "delete-alarms", "--alarm-names", f"{endpoint}-larger")
    assert aws("cloudwatch", "describe-alarms", "--alarm-names", high)["MetricAlarms"] == []
    drop(user, endpoint)
