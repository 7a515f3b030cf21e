"""What a user of SageMaker's MLflow does: a tracking server by boto3, then plain MLflow with AWS's plugin. Prints what it found as JSON."""

import json
import os
import sys
import time

import boto3
import mlflow
from mlflow import MlflowClient

ROLE, BUCKET = "arn:aws:iam::000000000000:role/Mlflow", "mlflow-artifacts"


def waited(sagemaker, name, *wanted):
    for _ in range(1200):
        status = sagemaker.describe_mlflow_tracking_server(TrackingServerName=name)["TrackingServerStatus"]
        if status in wanted or status.endswith("Failed"):
            return status
        time.sleep(0.25)
    return status


def registered(sagemaker, group):
    """The versions that SageMaker's registry has of the model."""
    for _ in range(120):
        try:
            made = sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
        except sagemaker.exceptions.ClientError:  # no group yet
            made = []
        if made:
            break
        time.sleep(0.25)
    shown = [sagemaker.describe_model_package(ModelPackageName=each["ModelPackageArn"]) for each in made]
    return [[each["ModelPackageVersion"], each["SourceUri"], each["CustomerMetadataProperties"]] for each in shown]


def main(name):
    sagemaker, s3 = boto3.client("sagemaker"), boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    arn = sagemaker.create_mlflow_tracking_server(
        TrackingServerName=name, ArtifactStoreUri=f"s3://{BUCKET}/runs", RoleArn=ROLE, AutomaticModelRegistration=True
    )["TrackingServerArn"]
    found = {"status": waited(sagemaker, name, "Created")}
    mlflow.set_tracking_uri(arn)
    mlflow.set_experiment("churn prediction")
    with mlflow.start_run(run_name="first") as run:
        mlflow.log_params({"depth": 4, "eta": 0.1})
        for step in range(5):
            mlflow.log_metric("auc", 0.7 + step / 50, step=step)
        mlflow.log_dict({"threshold": 0.5}, "settings.json")
        mlflow.set_tag("team", "a b+c")
    client = MlflowClient()
    [seen] = mlflow.search_runs(experiment_names=["churn prediction"], output_format="list")
    found["params"], found["auc"], found["team"] = seen.data.params, seen.data.metrics["auc"], seen.data.tags["team"]
    found["history"] = [each.value for each in client.get_metric_history(run.info.run_id, "auc")]
    found["artifact"] = run.info.artifact_uri
    found["file"] = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/settings.json")
    client.create_registered_model("churn")
    version = client.create_model_version("churn", f"{run.info.artifact_uri}/settings.json", run.info.run_id)
    found["version"] = version.version
    client.set_registered_model_alias("churn", "champion", version.version)
    found["alias"] = client.get_model_version_by_alias("churn", "champion").version
    found["packages"] = registered(sagemaker, "churn")
    sagemaker.stop_mlflow_tracking_server(TrackingServerName=name)
    found["stopped"] = waited(sagemaker, name, "Stopped")
    sagemaker.start_mlflow_tracking_server(TrackingServerName=name)
    found["started"] = waited(sagemaker, name, "Started")
    found["after"] = client.get_run(run.info.run_id).data.params
    found["listed"] = [
        each["TrackingServerName"] for each in sagemaker.list_mlflow_tracking_servers()["TrackingServerSummaries"]
    ]
    print(json.dumps(found))


def app(arn):
    """Plain MLflow against an app."""
    mlflow.set_tracking_uri(arn)
    mlflow.set_experiment("from an app")
    with mlflow.start_run():
        mlflow.log_metric("m", 0.5)
    [seen] = mlflow.search_runs(experiment_names=["from an app"], output_format="list")
    print(json.dumps({"experiment": "from an app", "metric": seen.data.metrics["m"]}))


if __name__ == "__main__":
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "2"
    if sys.argv[1] == "--app":
        app(sys.argv[2])
    else:
        main(sys.argv[1])
