"""SDK v2's right_size of a Model and of a ModelPackage, and deploy with what came out."""

import io
import tarfile
import time

import common
from common import ROLE, unique
from sagemaker.inference_recommender.inference_recommender_mixin import ModelLatencyThreshold, Phase
from sagemaker.model import Model, ModelPackage
from sagemaker.parameter import CategoricalParameter

CODE = """
def model_fn(d): return 1
def transform_fn(model, body, content_type, accept): return body, "text/csv"
"""
IMAGE = f"683313688378.dkr.ecr.{common.REGION}.amazonaws.com/sagemaker-base-python-310:latest"
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 1.0))  # the SDK looks every two minutes, and first sleeps
session = common.session_v2()
s3, bucket, name = session.boto_session.client("s3"), session.default_bucket(), unique("right")


def put(key, **files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path, body in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body.encode()))
    s3.put_object(Bucket=bucket, Key=f"{name}/{key}", Body=archive.getvalue())
    return f"s3://{bucket}/{name}/{key}"


data = put("model.tar.gz", **{"code/inference.py": CODE})
payload = put("payload.tar.gz", **{"a.csv": "1,2"})
asked = {
    "sample_payload_url": payload,
    "supported_content_types": ["text/csv"],
    "framework": "SKLEARN",
    "phases": [Phase(duration_in_seconds=5, initial_number_of_users=1, spawn_rate=0)],
    "max_tests": 2,
    "log_level": "Quiet",
}

model = Model(image_uri=IMAGE, model_data=data, role=ROLE, sagemaker_session=session, name=name)
model.right_size(
    **asked,
    job_name=f"{name}-m",
    hyperparameter_ranges=[{"instance_types": CategoricalParameter(["ml.m5.large"]), "A": CategoricalParameter(["7"])}],
    model_latency_thresholds=[ModelLatencyThreshold(percentile="P95", value_in_milliseconds=2000)],
    max_invocations=100000,
)
best = model.inference_recommendations[0]
assert best["EndpointConfiguration"]["InstanceType"] == "ml.m5.large", best
wanted = -(-100000 // best["Metrics"]["MaxInvocations"])  # as many instances as answer so many a minute
assert best["EndpointConfiguration"]["InitialInstanceCount"] == wanted, best
assert best["Metrics"]["MaxInvocations"] > 0, best
small = Model(image_uri=IMAGE, model_data=data, role=ROLE, sagemaker_session=session, name=f"{name}-small")
small.right_size(
    **asked,
    job_name=f"{name}-s",
    hyperparameter_ranges=[{"instance_types": CategoricalParameter(["ml.m5.large"]), "A": CategoricalParameter(["7"])}],
)
small.name = f"{name}-sized"  # deploy makes a model with the recommended environment, where there is none of that name
small.deploy(inference_recommendation_id=small.inference_recommendations[0]["RecommendationId"], endpoint_name=name)
described = session.sagemaker_client.describe_model(ModelName=small.name)
assert described["PrimaryContainer"]["Environment"]["A"] == "7", described
answer = session.sagemaker_runtime_client.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=b"1,2")
assert answer["Body"].read() == b"1,2"
session.delete_endpoint(name)

# A version that nobody has approved yet: it is tried before.
session.sagemaker_client.create_model_package_group(ModelPackageGroupName=name)
version = session.sagemaker_client.create_model_package(
    ModelPackageGroupName=name,
    ModelApprovalStatus="PendingManualApproval",
    InferenceSpecification={
        "Containers": [{"Image": IMAGE, "ModelDataUrl": data}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
        "SupportedRealtimeInferenceInstanceTypes": ["ml.c5.large"],
    },
)["ModelPackageArn"]
package = ModelPackage(role=ROLE, model_package_arn=version, sagemaker_session=session)
package.right_size(**asked, job_name=f"{name}-p")
(only,) = package.inference_recommendations
assert only["EndpointConfiguration"]["InstanceType"] == "ml.c5.large", only
session.sagemaker_client.update_model_package(ModelPackageArn=version, ModelApprovalStatus="Approved")
package.deploy(inference_recommendation_id=only["RecommendationId"], endpoint_name=f"{name}-p")
(variant,) = session.sagemaker_client.describe_endpoint(EndpointName=f"{name}-p")["ProductionVariants"]
assert variant["DesiredInstanceCount"] == 1, variant
session.delete_endpoint(f"{name}-p")
print("done")
