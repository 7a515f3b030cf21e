"""A pipeline by SDK v2: train, gate, register and make a model; the second run is cached, the third fails on purpose."""

import json

import boto3
import common
from botocore.exceptions import WaiterError
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo, ConditionIn, ConditionNot, ConditionOr
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parallelism_config import ParallelismConfiguration
from sagemaker.workflow.parameters import ParameterInteger, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.retry import SageMakerJobExceptionTypeEnum, SageMakerJobStepRetryPolicy
from sagemaker.workflow.selective_execution_config import SelectiveExecutionConfig
from sagemaker.workflow.steps import CacheConfig, TrainingStep

ROLE, IMAGE, BUCKET = common.ROLE, common.XGBOOST, common.bucket()
name = common.unique("v2-pipeline")
sm, s3 = boto3.client("sagemaker"), boto3.client("s3")
s3.put_object(Bucket=BUCKET, Key=f"{name}/t.csv", Body="\n".join(f"{n % 2},{n % 2},{n}" for n in range(100)))
session = PipelineSession(default_bucket=BUCKET)
rounds = ParameterInteger("Rounds", default_value=3)
kind = ParameterString("Kind", default_value="a", enum_values=["a", "b"])
estimator = Estimator(
    IMAGE,
    ROLE,
    1,
    "ml.m5.large",
    sagemaker_session=session,
    output_path=f"s3://{BUCKET}/{name}/out",
    hyperparameters={"objective": "binary:logistic", "num_round": rounds},
)
policy = SageMakerJobStepRetryPolicy([SageMakerJobExceptionTypeEnum.CAPACITY_ERROR], max_attempts=2)
train = TrainingStep(
    "Train",
    step_args=estimator.fit({"train": TrainingInput(f"s3://{BUCKET}/{name}/t.csv", content_type="text/csv")}),
    cache_config=CacheConfig(enable_caching=True, expire_after="30d"),
    retry_policies=[policy],
)
artifact = train.properties.ModelArtifacts.S3ModelArtifacts
model = Model(IMAGE, model_data=artifact, role=ROLE, sagemaker_session=session)
register = ModelStep(
    "Register",
    step_args=model.register(
        content_types=["text/csv"],
        response_types=["text/csv"],
        inference_instances=["ml.m5.large"],
        transform_instances=["ml.m5.large"],
        model_package_group_name=name,
        approval_status="Approved",
        customer_metadata_properties={"execution": ExecutionVariables.PIPELINE_EXECUTION_ID},
    ),
)
create = ModelStep("Create", step_args=model.create(instance_type="ml.m5.large"))
gate = ConditionStep(
    "Gate",
    conditions=[
        ConditionGreaterThanOrEqualTo(left=rounds, right=2),
        ConditionOr([ConditionIn(kind, ["a"]), ConditionNot(ConditionIn(kind, ["b"]))]),
    ],
    if_steps=[register, create],
    else_steps=[FailStep("Bad", error_message=Join(on=" ", values=["not", kind, rounds]))],
)
gate.add_depends_on([train])
pipeline = Pipeline(name, parameters=[rounds, kind], steps=[train, gate], sagemaker_session=session)
arn = pipeline.create(ROLE, parallelism_config=ParallelismConfiguration(2))["PipelineArn"]
assert pipeline.upsert(ROLE, description="second", tags=[{"Key": "k", "Value": "v"}])["PipelineArn"] == arn
assert pipeline.latest_pipeline_version_id == 2
assert pipeline.describe()["PipelineDescription"] == "second"
assert json.loads(pipeline.describe(1)["PipelineDefinition"]) == json.loads(pipeline.definition())


def run(wanted="Succeeded", **more):
    execution = pipeline.start(**more)
    try:
        execution.wait(delay=1, max_attempts=100)
    except WaiterError:
        assert wanted == "Failed"
    assert execution.describe()["PipelineExecutionStatus"] == wanted, execution.list_steps()
    return execution, {step["StepName"]: step for step in execution.list_steps()}


one, steps = run(parameters={"Rounds": 4})
assert set(steps) == {"Train", "Gate", "Register-RegisterModel", "Create-CreateModel"}, set(steps)
package = sm.describe_model_package(
    ModelPackageName=steps["Register-RegisterModel"]["Metadata"]["RegisterModel"]["Arn"]
)
assert package["CustomerMetadataProperties"] == {"execution": one.arn.rpartition("/")[2]}
made = next(
    m
    for m in sm.list_models(MaxResults=100)["Models"]
    if m["ModelArn"] == steps["Create-CreateModel"]["Metadata"]["Model"]["Arn"]
)
data = sm.describe_model(ModelName=made["ModelName"])["PrimaryContainer"]["ModelDataUrl"]
assert data == package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
_, steps = run(parameters={"Rounds": 4})
assert steps["Train"]["CacheHitResult"]["SourcePipelineExecutionArn"] == one.arn
two, steps = run("Failed", parameters={"Rounds": 4, "Kind": "b"})
assert steps["Bad"]["FailureReason"] == "not b 4"
listed = {p["Name"]: p["Value"] for p in two.list_parameters()["PipelineParameters"]}
assert listed == {"Rounds": "4", "Kind": "b"}
chosen = SelectiveExecutionConfig(selected_steps=["Register-RegisterModel"], source_pipeline_execution_arn=one.arn)
three, steps = run(selective_execution_config=chosen, parameters=pipeline.build_parameters_from_execution(one.arn))
assert steps["Train"]["SelectiveExecutionResult"]["SourcePipelineExecutionArn"] == one.arn
assert len(sm.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]) == 3
assert len(pipeline.list_executions()["PipelineExecutionSummaries"]) == 4
pipeline.delete()
print("OK")
