"""Good requests of monitoring: job definitions of the four kinds, and a schedule."""

from __future__ import annotations

from typing import Any

from tests.api.requests import ROLE

ANALYZER = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
TRUTH = {"GroundTruthS3Input": {"S3Uri": "s3://b/labels"}}
TYPES = ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")


def definition(type_: str, name: str = "again", **input_: Any) -> dict[str, Any]:
    """A Create*JobDefinition request with all members that this kind has."""
    scripts = {
        "ContainerEntrypoint": ["python3", "x.py"],
        "ContainerArguments": ["a"],
        "RecordPreprocessorSourceUri": "s3://b/pre.py",
        "PostAnalyticsProcessorSourceUri": "s3://b/post.py",
    }
    application = {"ImageUri": ANALYZER, "Environment": {"A": "b"}}
    application |= scripts if type_ in ("DataQuality", "ModelQuality") else {"ConfigUri": "s3://b/config.json"}
    application |= {"ProblemType": "Regression"} if type_ == "ModelQuality" else {}
    baseline = {"BaseliningJobName": "p", "ConstraintsResource": {"S3Uri": "s3://b/constraints.json"}}
    baseline |= {"StatisticsResource": {"S3Uri": "s3://b/statistics.json"}} if type_ == "DataQuality" else {}
    source = {
        "EndpointName": "e",
        "LocalPath": "/opt/ml/processing/input/endpoint",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "FeaturesAttribute": "f",
        "InferenceAttribute": "0",
        "ProbabilityAttribute": "1",
        "ProbabilityThresholdAttribute": 0.5,
        "StartTimeOffset": "-PT2H",
        "EndTimeOffset": "-PT1H",
        "ExcludeFeaturesAttribute": "0",
        **input_,
    }
    stored = {
        "S3Uri": "s3://b/reports",
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    return {
        "JobDefinitionName": name,
        f"{type_}BaselineConfig": baseline,
        f"{type_}AppSpecification": application,
        f"{type_}JobInput": {"EndpointInput": source, **(TRUTH if type_ in ("ModelQuality", "ModelBias") else {})},
        f"{type_}JobOutputConfig": {"MonitoringOutputs": [{"S3Output": stored}], "KmsKeyId": "k"},
        "JobResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
                "VolumeKmsKeyId": "k",
            }
        },
        "NetworkConfig": {
            "EnableInterContainerTrafficEncryption": True,
            "EnableNetworkIsolation": True,
            "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        },
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "Tags": [{"Key": "k", "Value": "v"}],
    }


def schedule(name: str = "again", **config: Any) -> dict[str, Any]:
    """A CreateMonitoringSchedule request whose definition is inline."""
    whole = definition("DataQuality")
    application = {key: value for key, value in whole["DataQualityAppSpecification"].items() if key != "Environment"}
    inline = {
        "BaselineConfig": whole["DataQualityBaselineConfig"],
        "MonitoringInputs": [whole["DataQualityJobInput"]],
        "MonitoringOutputConfig": whole["DataQualityJobOutputConfig"],
        "MonitoringResources": whole["JobResources"],
        "MonitoringAppSpecification": application,
        "StoppingCondition": whole["StoppingCondition"],
        "Environment": {"A": "b"},
        "NetworkConfig": whole["NetworkConfig"],
        "RoleArn": ROLE,
    }
    when = {
        "ScheduleExpression": "cron(0 * ? * * *)",
        "DataAnalysisStartTime": "-PT1H",
        "DataAnalysisEndTime": "-PT0H",
    }
    given = {"ScheduleConfig": when, "MonitoringJobDefinition": inline, "MonitoringType": "DataQuality", **config}
    return {
        "MonitoringScheduleName": name,
        "MonitoringScheduleConfig": given,
        "Tags": [{"Key": "k", "Value": "v"}],
    }


def untagged(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name != "Tags"}


CREATES: dict[tuple[str, str], dict[str, Any]] = {
    **{("sagemaker", f"Create{type_}JobDefinition"): untagged(definition(type_)) for type_ in TYPES},
    ("sagemaker", "CreateMonitoringSchedule"): untagged(schedule()),
}
RECORDS: list[tuple[str, str, dict[str, Any]]] = [
    *(("sagemaker", f"Create{type_}JobDefinition", definition(type_, "definition")) for type_ in TYPES),
    ("sagemaker", "CreateMonitoringSchedule", schedule("watch")),
]
_NAME = {"MonitoringScheduleName": "watch"}
_ALERT = {"MonitoringAlertName": "watch"}
BASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(("sagemaker", f"Create{type_}JobDefinition", definition(type_, "made")) for type_ in TYPES),
    *(("sagemaker", f"Describe{type_}JobDefinition", {"JobDefinitionName": "definition"}) for type_ in TYPES),
    *(("sagemaker", f"Delete{type_}JobDefinition", {"JobDefinitionName": "definition"}) for type_ in TYPES),
    *(("sagemaker", f"List{type_}JobDefinitions", {"EndpointName": "e", "NameContains": "d"}) for type_ in TYPES),
    ("sagemaker", "CreateMonitoringSchedule", schedule("made")),
    (
        "sagemaker",
        "CreateMonitoringSchedule",
        {
            "MonitoringScheduleName": "made",
            "MonitoringScheduleConfig": {
                "MonitoringJobDefinitionName": "definition",
                "MonitoringType": "ModelQuality",
            },
        },
    ),
    ("sagemaker", "UpdateMonitoringSchedule", untagged(schedule("watch"))),
    *(("sagemaker", f"{verb}MonitoringSchedule", _NAME) for verb in ("Describe", "Start", "Stop", "Delete")),
    ("sagemaker", "ListMonitoringSchedules", {"EndpointName": "e", "MonitoringTypeEquals": "DataQuality"}),
    ("sagemaker", "ListMonitoringExecutions", {**_NAME, "SortBy": "ScheduledTime", "StatusEquals": "Failed"}),
    ("sagemaker", "UpdateMonitoringAlert", {**_NAME, **_ALERT, "DatapointsToAlert": 1, "EvaluationPeriod": 2}),
    ("sagemaker", "ListMonitoringAlerts", _NAME),
    ("sagemaker", "ListMonitoringAlertHistory", {**_NAME, **_ALERT, "SortBy": "Status", "StatusEquals": "OK"}),
)
