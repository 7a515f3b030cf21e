"""SDK v2: QualityCheckStep of a model's quality and ClarifyCheckStep of its explanations, and a CallbackStep behind them. The first run
registers the baselines, the second one's predictions are worse than they."""

import json

import boto3
import numpy as np
import xgboost
from botocore.exceptions import ClientError, WaiterError
from common import CPU, ROLE, XGBOOST, bucket, csv, put, unique, xgboost_archive
from sagemaker import clarify
from sagemaker.drift_check_baselines import DriftCheckBaselines
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource
from sagemaker.model_monitor import DatasetFormat
from sagemaker.workflow.callback_step import CallbackOutput, CallbackOutputTypeEnum, CallbackStep
from sagemaker.workflow.check_job_config import CheckJobConfig
from sagemaker.workflow.clarify_check_step import ClarifyCheckStep, ModelExplainabilityCheckConfig
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterBoolean, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.quality_check_step import ModelQualityCheckConfig, QualityCheckStep

sm, sqs = boto3.client("sagemaker"), boto3.client("sqs")
name, session = unique("v2-model-checks"), PipelineSession(default_bucket=bucket())
random = np.random.default_rng(11)
x = random.normal(size=(120, 2)).round(3)
y = (x[:, 0] > 0).astype(int)
booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(x, y), 5)
archive, out = xgboost_archive(f"{name}/model.tar.gz", booster), f"s3://{bucket()}/{name}"
sm.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": XGBOOST, "ModelDataUrl": archive})


def predicted(scores):
    rows = [f"{label},{int(score > 0.5)},{score:.4f}" for label, score in zip(y, scores, strict=True)]
    return "\n".join(["label,predicted,score", *rows]) + "\n"


scores = booster.predict(xgboost.DMatrix(x))
good = put(f"{name}/good/predicted.csv", predicted(scores))
worse = put(f"{name}/worse/predicted.csv", predicted(np.where(random.random(120) < 0.4, 1 - scores, scores)))
data = ParameterString("Predicted", default_value=good)
skip, register = ParameterBoolean("Skip", default_value=False), ParameterBoolean("Register", default_value=False)
shared = {
    "check_job_config": CheckJobConfig(role=ROLE, instance_count=1, instance_type=CPU, sagemaker_session=session),
    "skip_check": skip,
    "register_new_baseline": register,
    "model_package_group_name": name,
}
quality = QualityCheckStep(
    name="Quality",
    quality_check_config=ModelQualityCheckConfig(
        baseline_dataset=data,
        dataset_format=DatasetFormat.csv(header=True),
        output_s3_uri=f"{out}/quality",
        problem_type="BinaryClassification",
        inference_attribute="predicted",
        probability_attribute="score",
        ground_truth_attribute="label",
    ),
    **shared,
)
explained = ClarifyCheckStep(
    name="Explain",
    clarify_check_config=ModelExplainabilityCheckConfig(
        data_config=clarify.DataConfig(
            s3_data_input_path=put(f"{name}/rows/x.csv", csv(x[:20], y[:20])),
            s3_output_path=f"{out}/explained",
            s3_analysis_config_output_path=f"{out}/config",
            label=0,
            headers=["label", "one", "two"],
            dataset_type="text/csv",
        ),
        model_config=clarify.ModelConfig(
            model_name=name, instance_count=1, instance_type=CPU, accept_type="text/csv", content_type="text/csv"
        ),
        explainability_config=clarify.SHAPConfig(baseline=[[0.0, 0.0]], num_samples=20, agg_method="mean_abs"),
    ),
    **shared,
)


def source(uri):
    return MetricsSource(s3_uri=uri, content_type="application/json")


url = sqs.create_queue(QueueName=name)["QueueUrl"]
asked = CallbackStep(
    name="Ask",
    sqs_queue_url=url,
    inputs={"constraints": quality.properties.CalculatedBaselineConstraints},
    outputs=[CallbackOutput("status", CallbackOutputTypeEnum.String)],
    depends_on=[explained],
)
model = Model(XGBOOST, model_data=archive, role=ROLE, sagemaker_session=session)
package = ModelStep(
    "Package",
    step_args=model.register(
        content_types=["text/csv"],
        response_types=["text/csv"],
        model_package_group_name=name,
        approval_status=asked.properties.Outputs["status"],
        drift_check_baselines=DriftCheckBaselines(
            model_statistics=source(quality.properties.BaselineUsedForDriftCheckStatistics),
            model_constraints=source(quality.properties.BaselineUsedForDriftCheckConstraints),
            explainability_constraints=source(explained.properties.BaselineUsedForDriftCheckConstraints),
        ),
    ),
)
pipeline = Pipeline(
    name, parameters=[data, skip, register], steps=[quality, explained, asked, package], sagemaker_session=session
)
pipeline.create(ROLE)


def refusal(token):
    """The code of the error that a token is answered with; "" if it was taken."""
    try:
        sm.send_pipeline_execution_step_success(CallbackToken=token)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def answer(status):
    """What a person behind the queue does. A token that somebody guessed ends nothing."""
    for _ in range(12):
        messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10).get("Messages") or []
        if messages:
            break
    sqs.delete_message(QueueUrl=url, ReceiptHandle=messages[0]["ReceiptHandle"])
    told = json.loads(messages[0]["Body"])
    assert told["arguments"] == {"constraints": f"{out}/quality/constraints.json"}, told
    assert refusal("guessed001") == "ResourceNotFound"
    sm.send_pipeline_execution_step_success(
        CallbackToken=told["token"], OutputParameters=[{"Name": "status", "Value": status}]
    )


def run(wanted, status="", **given):
    execution = pipeline.start(parameters=given)
    if status:
        answer(status)
    try:
        execution.wait(delay=1, max_attempts=120)
    except WaiterError:
        assert wanted == "Failed"
    steps = {step["StepName"]: step for step in execution.list_steps()}
    assert execution.describe()["PipelineExecutionStatus"] == wanted, steps
    return steps


first = run("Succeeded", "Approved", Skip=True, Register=True)
assert first["Quality"]["Metadata"]["QualityCheck"]["CheckType"] == "MODEL_QUALITY"
assert first["Explain"]["Metadata"]["ClarifyCheck"]["CheckType"] == "MODEL_EXPLAINABILITY"
[listed] = sm.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]
assert listed["ModelApprovalStatus"] == "Approved", listed
drift = sm.describe_model_package(ModelPackageName=listed["ModelPackageArn"])["DriftCheckBaselines"]
assert drift["ModelQuality"]["Constraints"]["S3Uri"] == f"{out}/quality/constraints.json"
assert drift["Explainability"]["Constraints"]["S3Uri"] == f"{out}/explained/analysis.json"
second = run("Failed", Predicted=worse)
told = second["Quality"]
assert told["FailureReason"].startswith("CompletedWithViolations: MODEL_QUALITY check found"), told
assert told["Metadata"]["QualityCheck"]["ViolationReport"] == f"{out}/quality/constraint_violations.json"
assert "ViolationReport" not in second["Explain"]["Metadata"]["ClarifyCheck"], second
assert second["Explain"]["StepStatus"] == "Succeeded", second
print("OK")
