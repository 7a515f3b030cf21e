"""A canary that is worse by its labels goes back: capture, labels, metric, alarm and rollback of a running Clary."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from tests.sdk.acts import PYTHON, User, unique
from tests.sdk.conftest import Server

from clary.app.cli.retrain import guard

pytestmark = [pytest.mark.live, pytest.mark.slow]
CLARY = str(Path(sys.executable).parent / "clary")

SAYS = """
def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    return "{answer}", "text/csv"
"""


def test_a_canary_that_is_worse_by_its_labels_goes_back(server: Server) -> None:
    user = User(server)
    good, bad = (user.scripted({"code/inference.py": SAYS.replace("{answer}", each)}, {}, PYTHON) for each in "ab")
    config = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{user.bucket}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    rule = [{"Key": "clary:labels", "Value": "reference=50 window=20 problem=classification"}]
    name, configs = unique("guarded"), {}
    for model in (good, bad):
        configs[model] = unique("config")
        variant = {"VariantName": "v", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        user.sm.create_endpoint_config(
            EndpointConfigName=configs[model], ProductionVariants=[variant], DataCaptureConfig=config, Tags=rule
        )
    user.sm.create_endpoint(EndpointName=name, EndpointConfigName=configs[good])
    user.sm.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    asked = 0

    def traffic(requests: int) -> None:
        nonlocal asked
        lines = []
        for _ in range(requests):
            user.runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body="1", InferenceId=f"r{asked}")
            lines.append(json.dumps({"id": f"r{asked}", "label": "a"}))
            asked += 1
        labels = Path(server.settings.dir) / f"{name}.jsonl"
        labels.write_text("\n".join(lines))
        done = server.run([CLARY, "label", name, str(labels)], CLARY_DIR=server.settings.dir)
        assert done.returncode == 0, done.stderr

    traffic(100)
    alarm = guard(name, "v")
    server.client("cloudwatch").put_metric_alarm(**alarm)
    shift = {
        "Type": "CANARY",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        "WaitIntervalInSeconds": 300,
    }
    user.sm.update_endpoint(
        EndpointName=name,
        EndpointConfigName=configs[bad],
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": shift},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm["AlarmName"]}]},
        },
    )
    deadline = time.monotonic() + 120
    while (told := user.sm.describe_endpoint(EndpointName=name))["EndpointStatus"] != "InService":
        assert time.monotonic() < deadline, told
        traffic(10)
    assert told["EndpointConfigName"] == configs[good]
    history = server.run([CLARY, "history", name, "--json"], CLARY_DIR=server.settings.dir)
    assert any(alarm["AlarmName"] in step["why"] for step in json.loads(history.stdout)), history.stdout
