"""Online explanations through unmodified boto3: what CreateEndpointConfig asks is described and done; plain endpoints are as before. And a
job that is stopped while it asks its own endpoint leaves none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, unique, until
from tests.sdk.conftest import ROLE

pytestmark = [pytest.mark.live, pytest.mark.slow]

LINEAR = """
def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    body = body.decode() if isinstance(body, bytes) else body
    rows = [[float(each) for each in line.split(",")] for line in body.strip().split("\\n")]
    return "".join("%r\\n" % (a + 2 * b + 3 * c) for a, b, c in rows), "text/csv"
"""
EXPLAINER = {
    "ClarifyExplainerConfig": {
        "EnableExplanations": "[0]>`10`",
        "InferenceConfig": {"FeatureHeaders": ["a", "b", "c"]},
        "ShapConfig": {"ShapBaselineConfig": {"ShapBaseline": "0,0,0"}, "Seed": 3},
    }
}


def ask(user: User, endpoint: str, body: str, **more: Any) -> Any:
    return json.loads(user.ask(endpoint, body, ContentType="text/csv", Accept="text/csv", **more))


def test_an_endpoint_explains_its_answers(user: User) -> None:
    model = user.scripted({"code/inference.py": LINEAR}, image=PYTHON)
    endpoint = user.endpoint({"ModelName": model}, ExplainerConfig=EXPLAINER)
    described = user.sm.describe_endpoint(EndpointName=endpoint)
    assert described["ExplainerConfig"] == EXPLAINER
    config = user.sm.describe_endpoint_config(EndpointConfigName=described["EndpointConfigName"])
    assert config["ExplainerConfig"] == EXPLAINER
    found = ask(user, endpoint, "1,2,3\n1,1,1\n")
    assert found["predictions"] == {"content_type": "text/csv", "data": "14.0\n6.0\n"}
    first, second = found["explanations"]["kernel_shap"]
    assert [each["feature_header"] for each in first] == ["a", "b", "c"]
    assert [each["attributions"][0]["attribution"][0] for each in first] == pytest.approx([1, 4, 9])
    assert second is None
    assert ask(user, endpoint, "1,2,3", EnableExplanations="`false`")["explanations"] == {}
    assert ask(user, endpoint, "1,1,1", EnableExplanations="`true`")["explanations"]["kernel_shap"][0]
    with pytest.raises(ClientError) as refused:
        user.ask(endpoint, "1,2", ContentType="text/csv")
    assert refused.value.response["Error"]["Code"] == "ModelError"


def test_an_endpoint_without_an_explainer_says_so(user: User) -> None:
    model = user.scripted({"code/inference.py": LINEAR}, image=PYTHON)
    endpoint = user.endpoint({"ModelName": model})
    with pytest.raises(ClientError, match="EnableExplanations needs an endpoint with an ExplainerConfig"):
        user.ask(endpoint, "1,2,3", ContentType="text/csv", EnableExplanations="`true`")
    assert user.ask(endpoint, "1,2,3", ContentType="text/csv") == b"14.0\n"


def test_texts_are_refused(user: User) -> None:
    model = user.scripted({"code/inference.py": LINEAR}, image=PYTHON)
    shap = {
        "ShapBaselineConfig": {"ShapBaseline": '"<MASK>"'},
        "TextConfig": {"Language": "en", "Granularity": "token"},
    }
    with pytest.raises(ClientError, match="texts are not explained") as refused:
        user.config({"ModelName": model}, ExplainerConfig={"ClarifyExplainerConfig": {"ShapConfig": shap}})
    assert refused.value.response["Error"]["Code"] == "ValidationException"


SLOW = LINEAR.replace("    body =", "    import time; time.sleep(1)\n    body =", 1)
CLARIFY = "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0"


def test_a_job_that_is_stopped_deletes_its_endpoint(user: User) -> None:
    model, name = user.scripted({"code/inference.py": SLOW}, image=PYTHON), unique("stopped")
    config = {
        "headers": ["a", "b", "c"],
        "methods": {"shap": {"baseline": [[0, 0, 0]]}},
        "predictor": {"model_name": model, "endpoint_name_prefix": name, "instance_type": "ml.m5.large"},
    }
    inputs = {
        "analysis_config": ("config", user.put(f"{name}/analysis_config.json", json.dumps(config))),
        "dataset": ("data", user.put(f"{name}/data.csv", "1,2,3\n" * 500)),
    }
    target = {
        "S3Uri": f"s3://{user.bucket}/{name}/out",
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    user.sm.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": CLARIFY},
        ProcessingInputs=[
            {
                "InputName": each,
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"/opt/ml/processing/input/{folder}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for each, (folder, uri) in inputs.items()
        ],
        ProcessingOutputConfig={"Outputs": [{"OutputName": "analysis_result", "S3Output": target}]},
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}},
    )

    def own() -> list[str]:
        return [each["EndpointStatus"] for each in user.sm.list_endpoints(NameContains=name)["Endpoints"]]

    def status() -> str:
        return str(user.sm.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])

    until(own, lambda seen: seen == ["InService"])
    user.sm.stop_processing_job(ProcessingJobName=name)
    until(status, lambda seen: seen == "Stopped", 60)
    until(own, lambda seen: not seen)
    assert not user.sm.list_endpoint_configs(NameContains=name)["EndpointConfigs"]
