"""SDK v2: QualityCheckStep and ClarifyCheckStep. The first run registers a baseline with its model, the second one is checked against it,
the third one's data has drifted."""

import boto3
import numpy as np
import xgboost
from botocore.exceptions import WaiterError
from common import CPU, ROLE, XGBOOST, bucket, csv, put, unique, xgboost_archive
from sagemaker import clarify
from sagemaker.drift_check_baselines import DriftCheckBaselines
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource
from sagemaker.model_monitor import DatasetFormat
from sagemaker.workflow.check_job_config import CheckJobConfig
from sagemaker.workflow.clarify_check_step import (
    ClarifyCheckStep,
    DataBiasCheckConfig,
    ModelBiasCheckConfig,
    ModelPredictedLabelConfig,
)
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterBoolean, ParameterString
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.quality_check_step import DataQualityCheckConfig, QualityCheckStep

sm = boto3.client("sagemaker")
name, session = unique("v2-checks"), PipelineSession(default_bucket=bucket())
random = np.random.default_rng(5)
sex, income = random.integers(0, 2, 300), random.normal(size=300).round(3)
label = (income + 0.5 * sex > 0.2).astype(int)
columns = np.column_stack([label, sex, income])
good = put(f"{name}/good/data.csv", csv(columns))
other = put(f"{name}/other/data.csv", csv(np.column_stack([label * (1 - sex), sex, income + 3])))

data = ParameterString("Data", default_value=good)
skip, register = ParameterBoolean("Skip", default_value=False), ParameterBoolean("Register", default_value=False)
job = CheckJobConfig(role=ROLE, instance_count=1, instance_type=CPU, sagemaker_session=session)
shared = {
    "check_job_config": job,
    "skip_check": skip,
    "register_new_baseline": register,
    "model_package_group_name": name,
}
out = f"s3://{bucket()}/{name}"
quality = QualityCheckStep(
    name="Quality",
    quality_check_config=DataQualityCheckConfig(
        baseline_dataset=data, dataset_format=DatasetFormat.csv(header=False), output_s3_uri=f"{out}/quality"
    ),
    **shared,
)
read = clarify.DataConfig(
    s3_data_input_path=data,
    s3_output_path=f"{out}/bias",
    s3_analysis_config_output_path=f"{out}/config",
    label=0,
    headers=["label", "sex", "income"],
    dataset_type="text/csv",
)
groups = clarify.BiasConfig(label_values_or_threshold=[1], facet_name="sex", facet_values_or_threshold=[1])
bias = ClarifyCheckStep(
    name="Bias", clarify_check_config=DataBiasCheckConfig(data_config=read, data_bias_config=groups), **shared
)
booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(columns[:, 1:], label), 5)
archive = xgboost_archive(f"{name}/model.tar.gz", booster)
model_name = f"{name}-model"
sm.create_model(
    ModelName=model_name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": XGBOOST, "ModelDataUrl": archive}
)
asked = clarify.ModelConfig(
    model_name=model_name, instance_count=1, instance_type=CPU, accept_type="text/csv", content_type="text/csv"
)
model_bias = ClarifyCheckStep(
    name="ModelBias",
    clarify_check_config=ModelBiasCheckConfig(
        data_config=clarify.DataConfig(
            s3_data_input_path=data,
            s3_output_path=f"{out}/model-bias",
            s3_analysis_config_output_path=f"{out}/model-config",
            label=0,
            headers=["label", "sex", "income"],
            dataset_type="text/csv",
        ),
        data_bias_config=groups,
        model_config=asked,
        model_predicted_label_config=ModelPredictedLabelConfig(probability_threshold=0.5),
        methods=["DPPL", "AD"],
    ),
    **shared,
)


def source(uri):
    return MetricsSource(s3_uri=uri, content_type="application/json")


model = Model(XGBOOST, model_data=archive, role=ROLE, sagemaker_session=session)
package = ModelStep(
    "Package",
    step_args=model.register(
        content_types=["text/csv"],
        response_types=["text/csv"],
        model_package_group_name=name,
        approval_status="Approved",
        drift_check_baselines=DriftCheckBaselines(
            model_data_statistics=source(quality.properties.BaselineUsedForDriftCheckStatistics),
            model_data_constraints=source(quality.properties.BaselineUsedForDriftCheckConstraints),
            bias_pre_training_constraints=source(bias.properties.BaselineUsedForDriftCheckConstraints),
            bias_post_training_constraints=source(model_bias.properties.BaselineUsedForDriftCheckConstraints),
        ),
    ),
)
pipeline = Pipeline(
    name, parameters=[data, skip, register], steps=[quality, bias, model_bias, package], sagemaker_session=session
)
pipeline.create(ROLE)


def run(wanted, **given):
    execution = pipeline.start(parameters=given)
    try:
        execution.wait(delay=1, max_attempts=120)
    except WaiterError:
        assert wanted == "Failed"
    steps = {step["StepName"]: step for step in execution.list_steps()}
    assert execution.describe()["PipelineExecutionStatus"] == wanted, steps
    return steps


nothing = run("Failed")
assert "has no previous baseline to check DATA_QUALITY against" in nothing["Quality"]["FailureReason"], nothing
first = run("Succeeded", Skip=True, Register=True)
told = first["Quality"]["Metadata"]["QualityCheck"]
assert told["CalculatedBaselineConstraints"] == f"{out}/quality/constraints.json"
assert told["BaselineUsedForDriftCheckStatistics"] == f"{out}/quality/statistics.json"
[listed] = sm.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]
drift = sm.describe_model_package(ModelPackageName=listed["ModelPackageArn"])["DriftCheckBaselines"]
assert drift["Bias"]["PreTrainingConstraints"]["S3Uri"] == f"{out}/bias/analysis.json"
assert drift["Bias"]["PostTrainingConstraints"]["S3Uri"] == f"{out}/model-bias/analysis.json"
second = run("Succeeded")
assert second["Bias"]["Metadata"]["ClarifyCheck"]["CheckType"] == "DATA_BIAS"
assert "ViolationReport" not in second["Bias"]["Metadata"]["ClarifyCheck"]
third = run("Failed", Data=other)
told = third["Quality"]
assert told["StepStatus"] == "Failed"
assert told["FailureReason"].startswith("CompletedWithViolations: DATA_QUALITY check found"), told
assert told["Metadata"]["QualityCheck"]["ViolationReport"] == f"{out}/quality/constraint_violations.json"
assert third["Bias"]["StepStatus"] == "Failed"
assert "Package-RegisterModel" not in third
print("OK")
