"""EventBridge rules, Scheduler and their targets, through unmodified boto3: "approved, so deploy" and "alarm or violation, so retrain"."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk import acts
from tests.sdk.conftest import ROLE, Server
from tests.sdk.test_functions import zipped

pytestmark = pytest.mark.live
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ECS = "arn:aws:ecs:us-east-1:000000000000:cluster/x"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


@pytest.fixture(scope="module")
def events(server: Server) -> Any:
    return server.client("events")


@pytest.fixture(scope="module")
def sqs(server: Server) -> Any:
    return server.client("sqs")


def queue(sqs: Any, name: str) -> tuple[str, str]:
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def received(sqs: Any, url: str, seconds: int = 20) -> Any:
    """The body of the next message, as JSON."""
    [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=seconds).get("Messages") or [None]
    assert message is not None, "no message came"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return json.loads(message["Body"])


def test_an_event_reaches_the_targets_of_rules_that_match(events: Any, sqs: Any) -> None:
    url, arn = queue(sqs, "put")
    events.put_rule(
        Name="orders", EventPattern=json.dumps({"source": ["shop"], "detail": {"total": [{"numeric": [">", 10]}]}})
    )
    events.put_targets(
        Rule="orders",
        Targets=[
            {
                "Id": "q",
                "Arn": arn,
                "InputTransformer": {
                    "InputPathsMap": {"id": "$.detail.id", "total": "$.detail.total"},
                    "InputTemplate": '{"order": <id>, "text": "it is <total>", "rule": "<aws.events.rule-name>"}',
                },
            }
        ],
    )
    entries = [
        {"Source": "shop", "DetailType": "order", "Detail": json.dumps({"id": "a", "total": total})}
        for total in (5, 50)
    ]
    answer = events.put_events(Entries=[*entries, {"Source": "shop", "DetailType": "order", "Detail": "junk"}])
    assert [entry.get("ErrorCode", "") for entry in answer["Entries"]] == ["", "", "MalformedDetail"]
    assert received(sqs, url) == {"order": "a", "text": "it is 50", "rule": "orders"}
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    assert events.list_rule_names_by_target(TargetArn=arn)["RuleNames"] == ["orders"]


def test_approved_so_deploy(server: Server, events: Any) -> None:
    """The rule that everybody builds: a model package is approved, and a function sets an endpoint up."""
    sm, lam, s3 = (server.client(name) for name in ("sagemaker", "lambda", "s3"))
    code = """
import boto3

def handler(event, context):
    detail = event["detail"]
    if detail["ModelApprovalStatus"] != "Approved":
        return
    sagemaker = boto3.client("sagemaker")
    name = f"{detail['ModelPackageGroupName']}-{detail['ModelPackageVersion']}"
    sagemaker.create_model(ModelName=name, ExecutionRoleArn="ROLE", Containers=[{"ModelPackageName": detail["ModelPackageArn"]}])
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[
        {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}])
""".replace("ROLE", ROLE)
    function = lam.create_function(
        FunctionName="deploy",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": zipped(code)},
        Timeout=60,
    )["FunctionArn"]
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": ["churn"], "ModelApprovalStatus": ["Approved"]},
    }
    rule = events.put_rule(Name="approved", EventPattern=json.dumps(pattern))["RuleArn"]
    lam.add_permission(
        FunctionName="deploy",
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )
    events.put_targets(Rule="approved", Targets=[{"Id": "deploy", "Arn": function}])
    s3.create_bucket(Bucket="models")
    s3.put_object(Bucket="models", Key="m.tar.gz", Body=b"x")
    sm.create_model_package_group(ModelPackageGroupName="churn")
    package = sm.create_model_package(
        ModelPackageGroupName="churn",
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://models/m.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    sm.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    acts.until(lambda: sm.list_endpoint_configs(NameContains="churn-1")["EndpointConfigs"])


def test_a_version_tells_of_its_decisions_and_stages_in_sagemakers_words(server: Server, events: Any, sqs: Any) -> None:
    sm = server.client("sagemaker")
    url, arn = queue(sqs, "versions")
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Model Package State Change"]}
    pattern["detail"] = {"ModelPackageGroupName": ["told"]}  # type: ignore[assignment]
    events.put_rule(Name="versions", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="versions", Targets=[{"Id": "q", "Arn": arn}])
    sm.create_model_package_group(ModelPackageGroupName="told")
    package = sm.create_model_package(
        ModelPackageGroupName="told",
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={"Containers": [{"Image": IMAGE}], "SupportedContentTypes": ["text/csv"]},
        CustomerMetadataProperties={"team": "a"},
    )["ModelPackageArn"]
    made = received(sqs, url)
    assert (made["resources"], made["account"], made["region"]) == ([package], "000000000000", "us-east-1")
    assert made["detail"].items() >= {
        "ModelPackageGroupName": "told",
        "ModelPackageVersion": 1,
        "ModelPackageArn": package,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "PendingManualApproval",
        "CertifyForMarketplace": False,
        "CustomerMetadataProperties": {"team": "a"},
    }.items()  # fmt: skip
    sm.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected", ApprovalDescription="too slow")
    rejected = received(sqs, url)["detail"]
    assert (rejected["ModelApprovalStatus"], rejected["ApprovalDescription"]) == ("Rejected", "too slow")
    assert "LastModifiedTime" in rejected
    stage = {"Stage": "Staging", "StageStatus": "Approved", "StageDescription": "on to the test site"}
    sm.update_model_package(ModelPackageArn=package, ModelLifeCycle=stage)
    assert received(sqs, url)["detail"]["ModelLifeCycle"] == stage
    assert sm.describe_model_package(ModelPackageName=package)["ModelLifeCycle"] == stage
    sm.update_model_package(ModelPackageArn=package, CustomerMetadataPropertiesToRemove=["team"])
    assert received(sqs, url)["detail"]["UpdatedModelPackageFields"] == ["CustomerMetadataProperties"]


def test_models_and_an_endpoints_update_are_told_in_sagemakers_words(server: Server, events: Any, sqs: Any) -> None:
    user = acts.User(server)
    made_url, made = queue(sqs, "made")
    moved_url, moved = queue(sqs, "moved")
    kinds = ["SageMaker Model State Change", "SageMaker Endpoint Config State Change"]
    for rule, told, to in (("made", kinds, made), ("moved", ["SageMaker Endpoint Deployment State Change"], moved)):
        events.put_rule(Name=rule, EventPattern=json.dumps({"source": ["aws.sagemaker"], "detail-type": told}))
        events.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": to}])
    model = user.scripted({"code/inference.py": "def model_fn(d): return 1\ndef transform_fn(m, *rest): return 'a'\n"})
    told = received(sqs, made_url)
    assert (told["detail-type"], told["detail"]["ModelName"]) == (kinds[0], model)
    assert told["resources"] == [told["detail"]["ModelArn"]]
    row = {"ModelName": model, "InitialInstanceCount": 2}
    endpoint = user.endpoint(row)
    config = received(sqs, made_url)["detail"]
    assert config["ProductionVariants"][0]["ModelName"] == model
    canary = {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 1,
        },
        "TerminationWaitInSeconds": 0,
    }
    wanted = user.config(row)
    user.sm.update_endpoint(
        EndpointName=endpoint,
        EndpointConfigName=wanted,
        DeploymentConfig={"BlueGreenUpdatePolicy": canary},
    )
    user.settled(endpoint, "InService")
    statuses: set[str] = set()
    while statuses != {"Creating", "ActivatingTraffic", "Baking"}:
        detail = received(sqs, moved_url)["detail"]
        assert (detail["EndpointStatus"], detail["EndpointConfigName"]) == ("UPDATING", config["EndpointConfigName"])
        pending = detail["PendingDeploymentSummary"]
        assert pending["EndpointConfigName"] == wanted
        statuses.add(pending["ProductionVariants"][0]["VariantStatus"][0]["Status"])
    user.sm.delete_endpoint(EndpointName=endpoint)
    user.sm.delete_model(ModelName=model)
    last = [received(sqs, made_url)["detail"] for _ in range(2)]  # a standard queue promises no order
    assert sorted(each.get("ModelName") or each["EndpointConfigName"] for each in last) == sorted([wanted, model])


def test_a_pipelines_steps_are_told_in_sagemakers_words(server: Server, events: Any, sqs: Any) -> None:
    sm = server.client("sagemaker")
    url, arn = queue(sqs, "steps")
    events.put_rule(
        Name="steps",
        EventPattern=json.dumps({"detail-type": [{"suffix": "Step Status Change"}], "detail": {"stepName": ["Stop"]}}),
    )
    events.put_targets(Rule="steps", Targets=[{"Id": "q", "Arn": arn}])
    step = {"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "no more"}}
    definition = json.dumps({"Version": "2020-12-01", "Steps": [step]})
    pipeline = sm.create_pipeline(PipelineName="steps", RoleArn=ROLE, PipelineDefinition=definition)["PipelineArn"]
    execution = sm.start_pipeline_execution(PipelineName="steps")["PipelineExecutionArn"]
    told = received(sqs, url)
    while told["detail"]["currentStepStatus"] != "Failed":
        told = received(sqs, url)
    assert told["resources"] == [pipeline, execution]
    assert told["detail"].items() >= {
        "stepType": "Fail",
        "metadata": {"fail": {"errorMessage": "no more"}},
        "failureReason": "no more",
    }.items()  # fmt: skip


def test_a_job_tells_of_its_states_in_sagemakers_words(server: Server, events: Any, sqs: Any) -> None:
    sm = server.client("sagemaker")
    url, arn = queue(sqs, "jobs")
    events.put_rule(
        Name="jobs",
        EventPattern=json.dumps(
            {
                "detail-type": ["SageMaker Training Job State Change"],
                "detail": {"TrainingJobName": [{"prefix": "told-"}]},
            }
        ),
    )
    events.put_targets(Rule="jobs", Targets=[{"Id": "q", "Arn": arn}])
    sm.create_training_job(
        TrainingJobName="told-1",
        RoleArn=ROLE,
        AlgorithmSpecification={
            "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.0",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["true"],
        },
        OutputDataConfig={"S3OutputPath": "s3://models/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
        Tags=[{"Key": "team", "Value": "a"}],
    )
    first = received(sqs, url)
    assert (first["source"], first["detail-type"]) == ("aws.sagemaker", "SageMaker Training Job State Change")
    assert first["resources"] == [first["detail"]["TrainingJobArn"]]
    assert (first["detail"]["TrainingJobStatus"], first["detail"]["Tags"]) == ("InProgress", {"team": "a"})
    assert isinstance(first["detail"]["CreationTime"], int)
    sm.stop_training_job(TrainingJobName="told-1")
    states = []
    while not states or states[-1] not in ("Stopped", "Failed", "Completed"):
        states.append(received(sqs, url)["detail"]["TrainingJobStatus"])


def test_violation_so_retrain(server: Server, events: Any) -> None:
    """A rule starts a pipeline with parameters from its target."""
    sm = server.client("sagemaker")
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Why", "Type": "String", "DefaultValue": "nothing"}],
        "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": {"Get": "Parameters.Why"}}}],
    }
    arn = sm.create_pipeline(PipelineName="retrain", RoleArn=ROLE, PipelineDefinition=json.dumps(definition))[
        "PipelineArn"
    ]
    events.put_rule(
        Name="violation",
        EventPattern=json.dumps({"source": ["monitor"], "detail": {"violations": [{"numeric": [">", 0]}]}}),
    )
    events.put_targets(
        Rule="violation",
        Targets=[
            {
                "Id": "p",
                "Arn": arn,
                "RoleArn": ROLE,
                "SageMakerPipelineParameters": {"PipelineParameterList": [{"Name": "Why", "Value": "drift"}]},
            }
        ],
    )
    events.put_events(Entries=[{"Source": "monitor", "DetailType": "d", "Detail": '{"violations": 3}'}])
    [execution] = acts.until(lambda: sm.list_pipeline_executions(PipelineName="retrain")["PipelineExecutionSummaries"])
    found = sm.list_pipeline_parameters_for_execution(PipelineExecutionArn=execution["PipelineExecutionArn"])
    assert found["PipelineParameters"] == [{"Name": "Why", "Value": "drift"}]


def test_alarm_so_retrain(server: Server, events: Any, sqs: Any) -> None:
    """The rule that CloudWatch's user guide writes: an alarm that goes into ALARM starts a pipeline, and its event reaches a queue."""
    sm, watch = server.client("sagemaker"), server.client("cloudwatch")
    definition = {
        "Version": "2020-12-01",
        "Steps": [{"Name": "Stop", "Type": "Fail", "Arguments": {"ErrorMessage": "asked"}}],
    }
    pipeline = sm.create_pipeline(PipelineName="by-alarm", RoleArn=ROLE, PipelineDefinition=json.dumps(definition))
    watch.put_metric_alarm(
        AlarmName="accuracy",
        AlarmDescription="the model got worse",
        Namespace="Clary/Drift",
        MetricName="Worse",
        Dimensions=[{"Name": "EndpointName", "Value": "shop"}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    url, arn = queue(sqs, "alarms")
    detail = {"alarmName": ["accuracy"], "state": {"value": ["ALARM"]}}
    pattern = {"source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"], "detail": detail}
    events.put_rule(Name="alarm", EventPattern=json.dumps(pattern))
    targets = [{"Id": "q", "Arn": arn}, {"Id": "p", "Arn": pipeline["PipelineArn"], "RoleArn": ROLE}]
    events.put_targets(Rule="alarm", Targets=targets)
    watch.set_alarm_state(AlarmName="accuracy", StateValue="ALARM", StateReason="by hand", StateReasonData='{"a": 1}')
    told = received(sqs, url)
    assert told["resources"] == [watch.describe_alarms(AlarmNames=["accuracy"])["MetricAlarms"][0]["AlarmArn"]]
    detail = told["detail"]
    state = {key: detail["state"][key] for key in ("value", "reason", "reasonData")}
    assert state == {"value": "ALARM", "reason": "by hand", "reasonData": '{"a": 1}'}
    assert detail["previousState"]["value"] == "INSUFFICIENT_DATA"
    assert detail["configuration"]["description"] == "the model got worse"
    [metric] = detail["configuration"]["metrics"]
    dimensions = {"EndpointName": "shop"}
    assert metric["metricStat"] == {
        "metric": {"name": "Worse", "namespace": "Clary/Drift", "dimensions": dimensions},
        "period": 60,
        "stat": "Maximum",
    }
    acts.until(lambda: sm.list_pipeline_executions(PipelineName="by-alarm")["PipelineExecutionSummaries"])


def test_what_cannot_be_delivered_goes_to_the_dead_letter_queue(events: Any, sqs: Any) -> None:
    url, dead = queue(sqs, "dead-events")
    gone, arn = queue(sqs, "gone")
    events.put_rule(Name="lost", EventPattern='{"source": ["lost"]}')
    events.put_targets(Rule="lost", Targets=[{"Id": "q", "Arn": arn, "DeadLetterConfig": {"Arn": dead}}])
    sqs.delete_queue(QueueUrl=gone)
    events.put_events(Entries=[{"Source": "lost", "DetailType": "d", "Detail": "{}"}])
    [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MessageAttributeNames=["All"])["Messages"]
    assert message["MessageAttributes"]["TARGET_ARN"]["StringValue"] == arn
    assert "does not exist" in message["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]


@pytest.mark.parametrize(
    ("operation", "params", "code"),
    [
        ("put_rule", {"Name": "x"}, "ValidationException"),
        ("put_rule", {"Name": "x", "EventPattern": '{"a": "b"}'}, "InvalidEventPatternException"),
        ("put_rule", {"Name": "x", "ScheduleExpression": "cron(99 * * * ? *)"}, "ValidationException"),
        (
            "put_rule",
            {"Name": "x", "EventPattern": '{"a": ["b"]}', "EventBusName": "mine"},
            "ResourceNotFoundException",
        ),
        ("create_event_bus", {"Name": "mine"}, "OperationDisabledException"),
        ("describe_rule", {"Name": "none"}, "ResourceNotFoundException"),
        (
            "put_targets",
            {"Rule": "orders", "Targets": [{"Id": "a", "Arn": ECS}]},
            "ValidationException",
        ),
    ],
)
def test_requests_that_are_wrong(events: Any, operation: str, params: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(events, operation)(**params)
    assert caught.value.response["Error"]["Code"] == code


def test_a_schedule_fires_once_at_its_time_and_is_gone(server: Server, sqs: Any) -> None:
    scheduler = server.client("scheduler")
    url, arn = queue(sqs, "once")
    at = datetime.now(UTC) + timedelta(seconds=2)
    made = scheduler.create_schedule(
        Name="once",
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={"Arn": arn, "RoleArn": ROLE, "Input": '{"at": "<aws.scheduler.scheduled-time>"}'},
    )
    assert made["ScheduleArn"].endswith(":schedule/default/once")
    assert received(sqs, url) == {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    acts.until(lambda: not scheduler.list_schedules()["Schedules"])
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)


def test_a_schedule_calls_any_operation_that_clary_has(server: Server) -> None:
    scheduler, sm = server.client("scheduler"), server.client("sagemaker")
    scheduler.create_schedule_group(Name="nightly")
    target = {
        "Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:createModelPackageGroup",
        "RoleArn": ROLE,
        "Input": json.dumps({"ModelPackageGroupName": "by-schedule"}),
    }
    with pytest.raises(ClientError, match="Clary has no sagemaker MakeCoffee"):
        scheduler.create_schedule(
            Name="g",
            GroupName="nightly",
            ScheduleExpression="rate(1 day)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={**target, "Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:makeCoffee"},
        )
    at = datetime.now(UTC) + timedelta(seconds=2)
    scheduler.create_schedule(
        Name="g",
        GroupName="nightly",
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )
    acts.until(lambda: sm.list_model_package_groups(NameContains="by-schedule")["ModelPackageGroupSummaryList"])
    found = scheduler.get_schedule(Name="g", GroupName="nightly")
    assert (found["State"], found["Target"]["Input"]) == ("ENABLED", target["Input"])
    scheduler.delete_schedule_group(Name="nightly")
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(Name="g", GroupName="nightly")


def test_put_triggers_finds_its_error(server: Server) -> None:
    """SDK v2's put_triggers updates a schedule, and on this error creates it."""
    scheduler = server.client("scheduler")
    wanted = {
        "Name": "trigger", "ScheduleExpression": "rate(30 minutes)", "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/retrain", "RoleArn": ROLE,
                   "SageMakerPipelineParameters": {"PipelineParameterList": []}},
    }  # fmt: skip
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.update_schedule(**wanted)
    scheduler.create_schedule(**wanted)
    scheduler.update_schedule(**{**wanted, "State": "DISABLED"})
    assert scheduler.get_schedule(Name="trigger")["State"] == "DISABLED"
