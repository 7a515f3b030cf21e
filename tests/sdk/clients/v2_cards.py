"""SDK v2, model cards: made, changed, exported, and filled from a model and a training job by the SDK itself."""

import json

import boto3
from common import CPU, ROLE, XGBOOST, csv, put, session_v2, split, unique
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model_card import (
    AdditionalInformation,
    EvaluationJob,
    EvaluationMetricTypeEnum,
    IntendedUses,
    Metric,
    MetricGroup,
    MetricTypeEnum,
    ModelCard,
    ModelCardStatusEnum,
    ModelOverview,
    ModelPackage,
    RiskRatingEnum,
    TrainingDetails,
    TrainingMetric,
)
from sagemaker.model_metrics import MetricsSource, ModelMetrics

name, session, sm = unique("v2-card"), session_v2(), boto3.client("sagemaker")
x_train, x_test, y_train, y_test = split("breast_cancer")
training = put(f"{name}/train.csv", csv(x_train, y_train))
estimator = Estimator(
    XGBOOST,
    ROLE,
    1,
    CPU,
    hyperparameters={"objective": "binary:logistic", "num_round": "4", "eval_metric": "logloss"},
    sagemaker_session=session,
)
estimator.fit({"train": TrainingInput(training, content_type="text/csv")}, logs=False)
details = TrainingDetails.from_training_job_name(
    training_job_name=estimator.latest_training_job.name, sagemaker_session=session
)
job = details.training_job_details
assert job.training_arn.endswith(estimator.latest_training_job.name), job.training_arn
assert {each.name: each.value for each in job.hyper_parameters}["num_round"] == "4", job.hyper_parameters
assert "train:logloss" in {each.name for each in job.training_metrics}, job.training_metrics
details.add_metric(TrainingMetric("seen by hand", 0.5))

# evaluations in the formats of Model Monitor and Clarify
report = {
    "binary_classification_metrics": {
        "confusion_matrix": {"0": {"0": 40, "1": 2}, "1": {"0": 1, "1": 70}},
        "accuracy": {"value": 0.97, "standard_deviation": "NaN"},
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": [0.0, 0.1, 1.0],
            "true_positive_rates": [0.0, 0.95, 1.0],
        },
    }
}
where = put(f"{name}/report.json", json.dumps(report))
evaluation = EvaluationJob("held out", evaluation_observation="fine", datasets=[training])
evaluation.add_metric_group_from_s3(
    session=boto3.Session(), s3_url=where, metric_type=EvaluationMetricTypeEnum.MODEL_MONITOR_MODEL_QUALITY
)
evaluation.metric_groups.append(
    MetricGroup("ours", [Metric("calibrated", MetricTypeEnum.BOOLEAN, True), Metric("f1", MetricTypeEnum.NUMBER, 0.9)])
)
card = ModelCard(
    name=name,
    status=ModelCardStatusEnum.DRAFT,
    model_overview=ModelOverview(
        model_name=name, model_description="<b>cancer</b>", model_artifact=[estimator.model_data]
    ),
    intended_uses=IntendedUses(purpose_of_model="a test", risk_rating=RiskRatingEnum.LOW),
    training_details=details,
    evaluation_details=[evaluation],
    additional_information=AdditionalInformation(custom_details={"colour": "red"}),
    sagemaker_session=session,
)
arn = card.create()
assert (arn.endswith(f":model-card/{name}"), card.version) == (True, 1), (arn, card.version)
card.update(status="Approved")
card.model_overview.model_description = "cancer of the breast"
card.update(status="Archived")  # the SDK sends two updates: one for the status, one for the content
loaded = ModelCard.load(name=name, sagemaker_session=session)
assert (loaded.version, loaded.status) == (2, ModelCardStatusEnum.ARCHIVED), (loaded.version, loaded.status)
assert loaded.model_overview.model_description == "cancer of the breast"
groups = loaded.evaluation_details[0].metric_groups
assert [group.name for group in groups] == ["binary_classification_metrics", "ours"], groups
assert (
    ModelCard.load(name=name, version=1, sagemaker_session=session).model_overview.model_description == "<b>cancer</b>"
)
versions = [each["ModelCardVersion"] for each in card.get_version_history(SortOrder="Ascending")]
assert versions == [1, 2], versions

out = training.rsplit("/", 1)[0] + "/out"
exported = card.export_pdf(export_job_name=unique("export"), s3_output_path=out)
assert exported.startswith(out), exported
assert exported.endswith(".pdf"), exported
bucket, _, key = exported.removeprefix("s3://").partition("/")
found = boto3.client("s3").get_object(Bucket=bucket, Key=key)
assert (found["ContentType"], found["Body"].read(5)) == ("application/pdf", b"%PDF-"), found
jobs = card.list_export_jobs()["ModelCardExportJobSummaries"]
assert [each["Status"] for each in jobs] == ["Completed"], jobs

# filled from a model, and from a version of the registry with its training job and its evaluation
estimator.create_model(name=name).create(instance_type=CPU)
overview = ModelOverview.from_model_name(model_name=name, sagemaker_session=session)
assert overview.model_artifact == [estimator.model_data], overview.model_artifact
found = TrainingDetails.from_model_overview(model_overview=overview, sagemaker_session=session)
assert found.training_job_details.training_arn == job.training_arn
package = estimator.register(
    content_types=["text/csv"],
    response_types=["text/csv"],
    model_package_group_name=name,
    model_metrics=ModelMetrics(model_statistics=MetricsSource("application/json", where)),
)
details = ModelPackage.from_model_package_arn(package.model_package_arn, sagemaker_session=session)
filled = ModelCard(name=f"{name}-2", model_package_details=details, sagemaker_session=session)
filled.create()
content = json.loads(sm.describe_model_card(ModelCardName=filled.name)["Content"])
assert content["training_details"]["training_job_details"]["training_arn"] == job.training_arn, content
assert content["evaluation_details"][0]["name"] == "Model quality report", content
of = ModelPackage.search_model_package_associated_model_cards(package.model_package_arn, session)
assert of == [filled.name], of
filled.delete()
card.delete()
assert name not in [each["ModelCardName"] for each in sm.list_model_cards(NameContains=name)["ModelCardSummaries"]]
