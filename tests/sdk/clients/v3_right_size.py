"""SDK v3's right_size of a ModelBuilder, and deploy with what came out."""

import io
import tarfile
import time

import boto3
from common import REGION, ROLE, put, session_v3, unique
from sagemaker.serve import ModelBuilder
from sagemaker.serve.inference_recommendation_mixin import CategoricalParameter, Phase

sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 1.0))  # the SDK looks every two minutes, and first sleeps
CODE = b"""
def model_fn(d): return 1
def transform_fn(model, body, content_type, accept): return body, "text/csv"
"""


def archive(name, body):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(body)
        tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


session, name = session_v3(), unique("v3-right")
builder = ModelBuilder(
    image_uri=f"683313688378.dkr.ecr.{REGION}.amazonaws.com/sagemaker-base-python-310:latest",
    s3_model_data_url=put(f"{name}/model.tar.gz", archive("code/inference.py", CODE)),
    role_arn=ROLE,
    sagemaker_session=session,
    instance_type="ml.m5.large",
)
builder.build(model_name=name)
builder.right_size(
    sample_payload_url=put(f"{name}/payload.tar.gz", archive("a.csv", b"1,2")),
    supported_content_types=["text/csv"],
    framework="SKLEARN",
    job_name=name,
    hyperparameter_ranges=[{"instance_types": CategoricalParameter(["ml.c5.large"]), "A": CategoricalParameter(["7"])}],
    phases=[Phase(duration_in_seconds=5, initial_number_of_users=1, spawn_rate=0)],
    log_level="Quiet",
)
(best,) = builder.inference_recommendations
assert best["EndpointConfiguration"]["InstanceType"] == "ml.c5.large", best
assert best["Metrics"]["MaxInvocations"] > 0, best
builder.deploy(endpoint_name=name, inference_recommendation_id=best["RecommendationId"])
(variant,) = boto3.client("sagemaker").describe_endpoint(EndpointName=name)["ProductionVariants"]
assert variant["DesiredInstanceCount"] == 1, variant
boto3.client("sagemaker").delete_endpoint(EndpointName=name)
print("done")
