"""SDK v2: ModelBiasMonitor and ModelExplainabilityMonitor, from their baselines to a scheduled run and its CloudWatch metrics."""

import datetime
import json
import time

import boto3
import numpy as np
import xgboost
from common import CPU, ROLE, XGBOOST, bucket, csv, put, session_v2, unique, xgboost_archive
from sagemaker import clarify
from sagemaker.model import Model
from sagemaker.model_monitor import (
    BiasAnalysisConfig,
    CronExpressionGenerator,
    DataCaptureConfig,
    EndpointInput,
    ExplainabilityAnalysisConfig,
    ModelBiasMonitor,
    ModelExplainabilityMonitor,
)

sm, runtime, s3, cloudwatch = (boto3.client(name) for name in ("sagemaker", "sagemaker-runtime", "s3", "cloudwatch"))
session, name = session_v2(), unique("v2-bias")
random = np.random.default_rng(4)
sex, age, income = random.integers(0, 2, 200), random.integers(18, 70, 200), random.normal(size=200).round(3)
label = (income + 0.8 * sex + random.normal(size=200) / 2 > 0.3).astype(int)
x = np.column_stack([sex, age, income])
booster = xgboost.train({"objective": "binary:logistic", "seed": 1}, xgboost.DMatrix(x, label), 20)
features = ["sex", "age", "income"]


def until(probe, seconds=90):
    end = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < end, f"not within {seconds} s: {probe()}"
        time.sleep(0.5)
    return found


# --- a live endpoint that is asked, captured and labelled
data_uri = put(f"{name}/data.csv", csv(x, label))
model = Model(
    image_uri=XGBOOST,
    role=ROLE,
    name=name,
    model_data=xgboost_archive(f"{name}/model.tar.gz", booster),
    sagemaker_session=session,
)
model.deploy(
    initial_instance_count=1,
    instance_type=CPU,
    endpoint_name=name,
    data_capture_config=DataCaptureConfig(
        enable_capture=True,
        sampling_percentage=100,
        csv_content_types=["text/csv"],
        destination_s3_uri=f"s3://{bucket()}/{name}/capture",
        sagemaker_session=session,
    ),
)
for at, row in enumerate(x):
    body = ",".join(str(each) for each in row)
    runtime.invoke_endpoint(
        EndpointName=name, Body=body, ContentType="text/csv", Accept="text/csv", InferenceId=f"r{at}"
    )
truth = "".join(
    json.dumps(
        {
            "groundTruthData": {"data": str(int(label[at])), "encoding": "CSV"},
            "eventMetadata": {"eventId": f"r{at}"},
            "eventVersion": "0",
        }
    )
    + "\n"
    for at in range(len(x))
)
put(f"{name}/truth/{datetime.datetime.now(datetime.UTC):%Y/%m/%d/%H}/labels.jsonl", truth)


def captured():
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket(), Prefix=f"{name}/capture/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    bodies = (s3.get_object(Bucket=bucket(), Key=key)["Body"].read() for key in keys)
    return sum(body.count(b"\n") for body in bodies) >= len(x)


until(captured)


def run_of(schedule):
    listed = sm.list_monitoring_executions(MonitoringScheduleName=schedule)["MonitoringExecutionSummaries"]
    ended = [each for each in listed if each["MonitoringExecutionStatus"] not in ("Pending", "InProgress", "Stopping")]
    return ended[0] if ended else None


def metrics_of(kind, schedule):
    listed = cloudwatch.list_metrics(
        Namespace=f"aws/sagemaker/Endpoints/{kind}-metrics",
        Dimensions=[{"Name": "MonitoringSchedule", "Value": schedule}, {"Name": "Endpoint", "Value": name}],
    )
    return {each["MetricName"] for each in listed["Metrics"]}


sizes = {"instance_count": 1, "instance_type": CPU, "volume_size_in_gb": 5, "max_runtime_in_seconds": 600}
now = {
    "schedule_cron_expression": CronExpressionGenerator.now(),
    "data_analysis_start_time": "-PT2H",
    "data_analysis_end_time": "-PT0H",
    "enable_cloudwatch_metrics": True,
}
shap = clarify.SHAPConfig(baseline=[[0, 40, 0.0]], num_samples=50, agg_method="mean_abs")
config = clarify.ModelConfig(
    model_name=name, instance_count=1, instance_type=CPU, accept_type="text/csv", content_type="text/csv"
)


def data(kind):
    return clarify.DataConfig(
        s3_data_input_path=data_uri,
        s3_output_path=f"s3://{bucket()}/{name}/{kind}",
        label="label",
        headers=["label", *features],
        dataset_type="text/csv",
    )


# --- bias
bias = clarify.BiasConfig(label_values_or_threshold=[1], facet_name="sex", facet_values_or_threshold=[0])
watch = ModelBiasMonitor(role=ROLE, sagemaker_session=session, **sizes)
watch.suggest_baseline(
    data_config=data("bias-baseline"),
    bias_config=bias,
    model_config=config,
    model_predicted_label_config=clarify.ModelPredictedLabelConfig(probability_threshold=0.5),
)
watch.latest_baselining_job.wait(logs=False)
watch.create_monitoring_schedule(
    monitor_schedule_name=f"{name}-b",
    analysis_config=BiasAnalysisConfig(bias, headers=features, label="label"),
    output_s3_uri=f"s3://{bucket()}/{name}/reports",
    endpoint_input=EndpointInput(
        endpoint_name=name,
        destination="/opt/ml/processing/input/endpoint",
        start_time_offset="-PT2H",
        end_time_offset="-PT0H",
        probability_attribute="0",
        probability_threshold_attribute=0.5,
    ),
    ground_truth_input=f"s3://{bucket()}/{name}/truth",
    **now,
)
found = until(lambda: run_of(f"{name}-b"))
assert found["MonitoringExecutionStatus"] in ("Completed", "CompletedWithViolations"), found
until(lambda: {"bias_metric_DPPL", "bias_metric_CI"} <= metrics_of("bias", f"{name}-b"), 20)
watch.delete_monitoring_schedule()

# --- attribution
watch = ModelExplainabilityMonitor(role=ROLE, sagemaker_session=session, **sizes)
watch.suggest_baseline(data_config=data("shap-baseline"), explainability_config=shap, model_config=config)
watch.latest_baselining_job.wait(logs=False)
watch.create_monitoring_schedule(
    monitor_schedule_name=f"{name}-e",
    analysis_config=ExplainabilityAnalysisConfig(shap, config, headers=features),
    output_s3_uri=f"s3://{bucket()}/{name}/reports",
    endpoint_input=EndpointInput(endpoint_name=name, destination="/opt/ml/processing/input/endpoint"),
    **now,
)
found = until(lambda: run_of(f"{name}-e"))
assert found["MonitoringExecutionStatus"] in ("Completed", "CompletedWithViolations"), found
until(lambda: {"ExpectedValue", "feature_income"} <= metrics_of("explainability", f"{name}-e"), 20)
watch.delete_monitoring_schedule()
sm.delete_endpoint(EndpointName=name)
