"""`clary replay` against a running Clary: the captured requests of an endpoint, asked of another config and compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.sdk.acts import PYTHON, User, unique, until
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]
CLARY = str(Path(sys.executable).parent / "clary")

TIMES = """
def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    number = int(body)
    return str({factor} * number if number > 2 else 2 * number), "text/csv"
"""


def test_captured_requests_are_asked_of_another_config_and_compared(server: Server) -> None:
    user = User(server)
    own, other = (user.scripted({"code/inference.py": TIMES.replace("{factor}", str(n))}, {}, PYTHON) for n in (2, 3))
    folder = unique("captured")
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{user.bucket}/{folder}",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    name = user.endpoint({"ModelName": own}, DataCaptureConfig=capture)
    against = unique("tripled")
    size = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    user.sm.create_endpoint_config(
        EndpointConfigName=against, ProductionVariants=[{"VariantName": "v", "ModelName": other, **size}]
    )
    words = [CLARY, "replay", name, "--against", against, "--rate", "100", "--json"]
    extra = {"CLARY_DIR": server.settings.dir}
    nothing = server.run(words, **extra)
    assert nothing.returncode == 4, nothing.stderr
    assert "no captured requests of" in nothing.stderr

    for number in range(6):
        user.runtime.invoke_endpoint(EndpointName=name, Body=str(number), ContentType="text/csv", Accept="text/csv")

    def count() -> int:
        return sum(len(user.get(f"s3://{user.bucket}/{key}").splitlines()) for key in user.keys(f"{folder}/{name}/"))

    until(count, lambda seen: seen == 6)
    user.put(f"{folder}/{name}/v1/2099/01/01/00/00-00-000-x.jsonl", '{"captureData": {"endpointIn')
    done = server.run(words, **extra)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["requests"], told["not_asked"]) == (6, {"torn or of another format": 1})
    now, then = told["configs"]["own"], told["configs"]["against"]
    assert (now["answers"]["same"], now["answers"]["failed"]) == (6, 0)
    assert (then["config"], then["answers"]["same"], then["answers"]["differed"]) == (against, 3, 3)
    assert then["answers"]["largest_difference"] == 5.0
    for each in (now, then):
        assert 0 < each["latency_ms"]["p50"] <= each["latency_ms"]["p99"]
        assert each["hour"]["vcpu_hours"] > 0
    assert {(each["captured"], each["answered"]) for each in told["samples"]} == {("6", "9"), ("8", "12"), ("10", "15")}

    # nothing of it is left, and nothing of it went through the endpoint
    assert [each["EndpointName"] for each in user.sm.list_endpoints(NameContains="replay-")["Endpoints"]] == []
    assert user.sm.list_endpoint_configs(NameContains="replay-")["EndpointConfigs"] == []
    assert count() == 7
