"""Data capture through unmodified boto3: production and shadow side by side in S3, switched off by an update, lost only aloud."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, User, unique, until
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

TIMES = """
def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    return str({factor} * int(body)), "text/csv"
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def config(bucket: str, folder: str, **changes: Any) -> dict[str, Any]:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{bucket}/{folder}",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        **changes,
    }


def captured(user: User, prefix: str) -> dict[str, str]:
    """Request -> answer of every record under the prefix."""
    found = {}
    for key in user.keys(prefix):
        for line in user.get(f"s3://{user.bucket}/{key}").splitlines():
            data = json.loads(line)["captureData"]
            found[data["endpointInput"]["data"]] = data["endpointOutput"]["data"]
    return found


def test_production_and_shadow_side_by_side(user: User) -> None:
    own, other = (user.scripted({"code/inference.py": TIMES.replace("{factor}", str(n))}, {}, PYTHON) for n in (2, 3))
    folder = unique("captured")
    row = {"VariantName": "dark", "ModelName": other, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    name = user.endpoint(
        {"ModelName": own, "InitialVariantWeight": 1.0},
        ShadowProductionVariants=[{**row, "InitialVariantWeight": 1.0}],
        DataCaptureConfig=config(user.bucket, folder),
    )
    assert user.sm.describe_endpoint(EndpointName=name)["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{user.bucket}/{folder}",
        "KmsKeyId": "",
    }
    for n in range(10):
        answer = user.runtime.invoke_endpoint(EndpointName=name, Body=str(n), ContentType="text/csv")
        assert int(answer["Body"].read()) == 2 * n
    for variant, factor in (("v1", 2), ("dark", 3)):
        wanted = {str(n): str(factor * n) for n in range(10)}
        prefix = f"{folder}/{name}/{variant}/20"
        assert until(lambda prefix=prefix: captured(user, prefix), lambda seen, n=wanted: len(seen) == len(n)) == wanted

    # an update switches it off, and the endpoint says so
    off = unique("off")
    size = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    user.sm.create_endpoint_config(
        EndpointConfigName=off,
        ProductionVariants=[{"VariantName": "v1", "ModelName": own, **size}],
        DataCaptureConfig=config(user.bucket, folder, EnableCapture=False),
    )
    user.sm.update_endpoint(EndpointName=name, EndpointConfigName=off)
    until(lambda: user.sm.describe_endpoint(EndpointName=name)["EndpointStatus"], lambda status: status == "InService")
    assert user.sm.describe_endpoint(EndpointName=name)["DataCaptureConfig"]["CaptureStatus"] == "Stopped"


def test_what_was_answered_is_captured_though_control_plane_and_front_go(server: Server, user: User) -> None:
    model = user.scripted({"code/inference.py": TIMES.replace("{factor}", "2")}, {}, PYTHON)
    name = user.endpoint({"ModelName": model}, DataCaptureConfig=config(user.bucket, unique("captured")))
    folder = user.sm.describe_endpoint(EndpointName=name)["DataCaptureConfig"]["DestinationS3Uri"].rsplit("/", 1)[1]
    processes = json.loads((server.settings.run / "processes.json").read_text())
    os.kill(processes["control"]["pid"], signal.SIGKILL)
    for n in range(3):
        user.runtime.invoke_endpoint(EndpointName=name, Body=str(n), ContentType="text/csv")
    for process in [each for each in processes if each.startswith("front")]:
        os.kill(processes[process]["pid"], signal.SIGTERM)  # it drains, and writes what it has
    assert until(lambda: captured(user, folder), lambda seen: len(seen) == 3) == {"0": "0", "1": "2", "2": "4"}


def test_a_bucket_that_is_not_there_is_told_in_the_endpoints_log(user: User) -> None:
    model = user.scripted({"code/inference.py": TIMES.replace("{factor}", "2")}, {}, PYTHON)
    name = user.endpoint({"ModelName": model}, DataCaptureConfig=config(unique("nowhere"), "x"))
    user.runtime.invoke_endpoint(EndpointName=name, Body="1", ContentType="text/csv")

    def told() -> list[str]:
        group = f"/aws/sagemaker/Endpoints/{name}"
        found = user.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="v1/data-log")["logStreams"]
        if not found:
            return []
        events = user.logs.get_log_events(logGroupName=group, logStreamName="v1/data-log")["events"]
        return [event["message"] for event in events]

    [line] = until(told)
    assert "Data capture: records for s3://nowhere-" in line
    assert "bucket does not exist" in line
