"""SDK v2: SageMakerClarifyProcessor. Bias before and after training, SHAP and dependence of a model by an endpoint of its own, errors."""

# ruff: noqa: PT017
import csv as tables
import io
import json

import boto3
import numpy as np
import xgboost
from common import CPU, ROLE, XGBOOST, bucket, csv, put, session_v2, unique, xgboost_archive
from sagemaker import clarify
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.explainer import (
    ClarifyExplainerConfig,
    ClarifyInferenceConfig,
    ClarifyShapBaselineConfig,
    ClarifyShapConfig,
    ExplainerConfig,
)
from sagemaker.model import Model

sm, s3 = boto3.client("sagemaker"), boto3.client("s3")
session, prefix = session_v2(), unique("v2-clarify")
random = np.random.default_rng(4)
sex, age, income = random.integers(0, 2, 200), random.integers(18, 70, 200), random.normal(size=200).round(3)
label = (income + 0.8 * sex + random.normal(size=200) / 2 > 0.3).astype(int)
x = np.column_stack([sex, age, income])
booster = xgboost.train({"objective": "binary:logistic", "seed": 1}, xgboost.DMatrix(x, label), 20)
headers = ["label", "sex", "age", "income"]
data_uri = put(f"{prefix}/data.csv", csv(x, label))


def read(name, key):
    return s3.get_object(Bucket=bucket(), Key=f"{prefix}/{name}/{key}")["Body"].read()


def data(name, **more):
    return clarify.DataConfig(
        s3_data_input_path=data_uri,
        s3_output_path=f"s3://{bucket()}/{prefix}/{name}",
        label="label",
        headers=headers,
        dataset_type="text/csv",
        **more,
    )


def values(section, facet="sex"):
    return {each["name"]: each["value"] for each in section["facets"][facet][0]["metrics"]}


processor = clarify.SageMakerClarifyProcessor(role=ROLE, instance_count=1, instance_type=CPU, sagemaker_session=session)
bias = clarify.BiasConfig(label_values_or_threshold=[1], facet_name="sex", facet_values_or_threshold=[0])

# --- before training
processor.run_pre_training_bias(data("pre"), bias, logs=False)
found = json.loads(read("pre", "analysis.json"))
before = found["pre_training_bias_metrics"]
assert (found["version"], before["label"], before["label_value_or_threshold"]) == ("1.0", "label", "1")
assert before["facets"]["sex"][0]["value_or_threshold"] == "0"
assert set(values(before)) == {"CDDL", "CI", "DPL", "JS", "KL", "KS", "LP", "TVD"}
assert abs(values(before)["DPL"] - (label[sex == 1].mean() - label[sex == 0].mean())) < 1e-9
assert abs(values(before)["CI"] - (sex.sum() - (1 - sex).sum()) / 200) < 1e-9
assert json.loads(read("pre", "analysis_config.json"))["label"] == "label"

# --- the model: after training, SHAP, dependence, by an endpoint that is gone afterwards
name = unique("clarify-model")
model = Model(
    XGBOOST,
    xgboost_archive(f"{prefix}/model.tar.gz", booster, "ubj"),
    ROLE,
    name=name,
    sagemaker_session=session,
)
model.create(CPU)
asked = clarify.ModelConfig(
    model_name=name, instance_type=CPU, instance_count=1, accept_type="text/csv", content_type="text/csv"
)
baseline = [[0, 40, 0.1], [1, 30, -0.2]]
shap = clarify.SHAPConfig(baseline=baseline, num_samples=100, agg_method="mean_abs", seed=3)
pdp = clarify.PDPConfig(features=["income"], grid_resolution=5)
processor.run_bias_and_explainability(
    data("all"), asked, [shap, pdp], bias, model_predicted_label_config=clarify.ModelPredictedLabelConfig(), logs=False
)
found = json.loads(read("all", "analysis.json"))
prediction = booster.predict(xgboost.DMatrix(x))
after = values(found["post_training_bias_metrics"])
assert len(after) == 13
positive = prediction > 0.5
assert abs(after["DPPL"] - (positive[sex == 1].mean() - positive[sex == 0].mean())) < 1e-9
accuracy = [(positive == label)[sex == each].mean() for each in (0, 1)]
assert abs(after["AD"] - (accuracy[1] - accuracy[0])) < 1e-9
explained = found["explanations"]["kernel_shap"]["label0"]
expected = booster.predict(xgboost.DMatrix(np.array(baseline))).mean()
assert abs(explained["expected_value"] - expected) < 1e-5
rows = list(tables.reader(io.StringIO(read("all", "explanations_shap/out.csv").decode())))
assert rows[0] == ["sex_label0", "age_label0", "income_label0"]
local = np.array(rows[1:], dtype=float)
assert np.abs(local.sum(axis=1) + expected - prediction).max() < 1e-5, "attributions add up to the prediction"
assert abs(explained["global_shap_values"]["income"] - np.abs(local[:, 2]).mean()) < 1e-9
assert explained["global_shap_values"]["income"] > explained["global_shap_values"]["age"]
dependence = found["explanations"]["pdp"][0]
assert dependence["feature_name"] == "income"
assert len(dependence["feature_values"]) == 5
highest = np.column_stack([sex, age, np.full(200, income.max())])
assert abs(dependence["model_predictions"][0][-1] - booster.predict(xgboost.DMatrix(highest)).mean()) < 1e-5
assert read("all", "report.pdf").startswith(b"%PDF-")
assert b"Partial Dependence" in read("all", "report.html")
assert json.loads(read("all", "report.ipynb"))["nbformat"] == 4
assert not sm.list_endpoints(NameContains="clarify")["Endpoints"]
assert not sm.list_endpoint_configs(NameContains="clarify")["EndpointConfigs"]

# --- an endpoint that explains its answers
explainer = ExplainerConfig(
    clarify_explainer_config=ClarifyExplainerConfig(
        shap_config=ClarifyShapConfig(
            shap_baseline_config=ClarifyShapBaselineConfig(shap_baseline="0,40,0.1\n1,30,-0.2"), seed=3
        ),
        inference_config=ClarifyInferenceConfig(feature_headers=headers[1:]),
    )
)
endpoint = unique("clarify-online")
model.deploy(1, CPU, endpoint_name=endpoint, explainer_config=explainer)
answer = json.loads(
    boto3.client("sagemaker-runtime")
    .invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Accept="text/csv", Body=csv(x[:2]))["Body"]
    .read()
)
for row, record in zip(local, answer["explanations"]["kernel_shap"], strict=False):
    online = [feature["attributions"][0]["attribution"][0] for feature in record]
    assert np.abs(np.array(online) - row).max() < 1e-5, "as the job explained it"
sm.delete_endpoint(EndpointName=endpoint)

# --- what cannot be is told
wrong = clarify.BiasConfig(label_values_or_threshold=[1], facet_name="gender")
try:
    processor.run_pre_training_bias(data("wrong"), wrong, logs=False)
    raise AssertionError("a facet that is not there")
except UnexpectedStatusException as error:
    assert "Failed" in str(error), error
told = sm.describe_processing_job(ProcessingJobName=processor.latest_job.job_name)
assert told["ProcessingJobStatus"] == "Failed"
assert told["ExitMessage"].startswith("Customer Error: "), told
assert "no column 'gender'; it has 4 columns: 'label', 'sex', 'age', 'income'" in told["ExitMessage"]
print("ok")
