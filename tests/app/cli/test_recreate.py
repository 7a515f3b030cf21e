"""Requests made again out of descriptions, in the three forms of `clary export`, and with the changes of `clary rerun`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from clary.app.cli import export, recreate, rerun
from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import CommandRefused
from clary.app.cli.recreate import KINDS, CreateCall

ARN = "arn:aws:sagemaker:us-east-1:000000000000"
MODEL = {
    "ModelName": "iris.model",
    "ModelArn": f"{ARN}:model/iris.model",
    "CreationTime": 1.0,
    "ExecutionRoleArn": "arn:aws:iam::000000000000:role/R",
    "EnableNetworkIsolation": False,
    "PrimaryContainer": {
        "Image": "xgboost:1.7-1",
        "Mode": "SingleModel",
        "ModelDataSource": {
            "S3DataSource": {"S3Uri": "s3://b/m/", "S3DataType": "S3Prefix", "CompressionType": "None"}
        },
        "Environment": {"TEMPLATE": "${x}"},
    },
}
CONFIG = {
    "EndpointConfigName": "iris",
    "EndpointConfigArn": f"{ARN}:endpoint-config/iris",
    "CreationTime": 1.0,
    "ProductionVariants": [
        {"VariantName": "A", "ModelName": "iris.model", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"},
        {
            "VariantName": "B",
            "ModelName": "iris.model",
            "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2},
        },
    ],
}
ENDPOINT = {
    "EndpointName": "iris",
    "EndpointArn": f"{ARN}:endpoint/iris",
    "EndpointConfigName": "iris",
    "EndpointStatus": "InService",
    "ProductionVariants": [{"VariantName": "A", "CurrentWeight": 1.0}],
    "LastDeploymentConfig": {"BlueGreenUpdatePolicy": {"TerminationWaitInSeconds": 5}},
}
JOB = {
    "TrainingJobName": "xgb",
    "TrainingJobArn": f"{ARN}:training-job/xgb",
    "TrainingJobStatus": "Failed",
    "ModelArtifacts": {"S3ModelArtifacts": "s3://b/xgb/output/model.tar.gz"},
    "HyperParameters": {"max_depth": "3", "num_round": "10"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}
TAGS = [{"Key": "team", "Value": "iris"}, {"Key": "clary:rollback-on-regression", "Value": "0.01"}]


class Api:
    """Describe and ListTags over a few records."""

    def __init__(self, *records: Mapping[str, Any]) -> None:
        self.records = records

    def call(self, service: str, operation: str, params: Mapping[str, Any]) -> Any:
        if operation == "ListTags":
            return {"Tags": [*TAGS, {"Key": "aws:clary:last-change", "Value": "x"}]}
        if operation == "ListInferenceComponents":
            found = (r for r in self.records if r.get("EndpointName") == params["EndpointNameEquals"])
            return {"InferenceComponents": [r for r in found if "InferenceComponentName" in r]}
        kind = next(kind for kind in KINDS if operation == f"Describe{kind.operation}")
        for record in self.records:
            if f"{kind.operation}Arn" in record and record[kind.member] == params[kind.member]:
                return record
        raise ApiFailure(operation, "ValidationException", "Could not find it")

    pages = Client.pages


def steps(resource: str = "endpoint/iris") -> list[CreateCall]:
    return recreate.steps(Api(MODEL, CONFIG, ENDPOINT, JOB), resource)  # type: ignore[arg-type]


def test_what_it_rests_on_comes_first_and_once() -> None:
    assert [step.operation for step in steps()] == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]


def test_a_request_has_what_create_takes_and_nothing_else() -> None:
    model, config, endpoint = steps()
    assert set(model.request) == {"ModelName", "ExecutionRoleArn", "EnableNetworkIsolation", "PrimaryContainer", "Tags"}
    assert model.request["Tags"] == TAGS, "what Clary's own tags ask for is asked for again; the system's cannot be set"
    assert config.request["ProductionVariants"] == CONFIG["ProductionVariants"]
    assert set(endpoint.request) == {"EndpointName", "EndpointConfigName", "DeploymentConfig", "Tags"}
    [job] = steps("xgb")
    assert "ModelArtifacts" not in job.request
    assert job.request["HyperParameters"] == JOB["HyperParameters"]


def test_an_endpoint_comes_with_its_components() -> None:
    host = {**CONFIG, "ProductionVariants": [{"VariantName": "A", "InstanceType": "ml.m5.large"}]}
    image = {"SpecifiedImage": "mine:1", "ResolvedImage": "mine@sha256:0", "ResolutionTime": 1.0}
    needs = {"MinMemoryRequiredInMb": 128}
    records = [
        {
            "InferenceComponentName": name,
            "InferenceComponentArn": f"{ARN}:inference-component/{name}",
            "EndpointName": "iris",
            "VariantName": "A",
            "Specification": {**what, "ComputeResourceRequirements": needs},
            "RuntimeConfig": {"DesiredCopyCount": 2, "CurrentCopyCount": 1},
        }
        for name, what in (("one", {"Container": {"DeployedImage": image}}), ("two", {"ModelName": "iris.model"}))
    ]
    api: Any = Api(MODEL, host, ENDPOINT, *records)
    found = recreate.steps(api, "endpoint/iris")
    made = [
        "CreateEndpointConfig",
        "CreateEndpoint",
        "CreateInferenceComponent",
        "CreateModel",
        "CreateInferenceComponent",
    ]
    assert [step.operation for step in found] == made
    assert found[2].request == {
        "InferenceComponentName": "one",
        "EndpointName": "iris",
        "VariantName": "A",
        "Specification": {"Container": {"Image": "mine:1"}, "ComputeResourceRequirements": needs},
        "RuntimeConfig": {"CopyCount": 2},
        "Tags": TAGS,
    }
    assert [s.operation for s in recreate.steps(api, "inference-component/one")] == made[:3]
    assert export.boto3(found).count("get_waiter(\"endpoint_in_service\").wait(EndpointName='iris')") == 1
    lines = export.cli(found).splitlines()
    assert lines[2] == "aws sagemaker wait endpoint-in-service --endpoint-name iris"
    assert len(lines) == 6
    with pytest.raises(CommandRefused, match="no resource for an inference-component"):
        export.terraform(found)


def test_another_account_gets_a_role_of_its_own() -> None:
    role = "arn:aws:iam::111122223333:role/theirs"
    model, config, _ = [recreate.with_role(step, role) for step in steps()]
    assert model.request["ExecutionRoleArn"] == role
    assert "ExecutionRoleArn" not in config.request
    assert recreate.with_role(model, "") == model


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ("iris", "say endpoint/iris or endpoint-config/iris"),
        ("pipeline/p", "not a kind"),
        ("endpoint/none", "there is no"),
    ],
)
def test_a_resource_must_be_one(resource: str, words: str) -> None:
    with pytest.raises(CommandRefused, match=words):
        steps(resource)


def test_what_is_gone_is_named() -> None:
    with pytest.raises(CommandRefused, match="endpoint iris uses endpoint-config iris, which does not exist any more"):
        recreate.steps(Api(ENDPOINT), f"{ARN}:endpoint/iris")  # type: ignore[arg-type]


def test_as_boto3_it_is_python() -> None:
    made: list[tuple[str, dict[str, Any]]] = []

    class Recorder:
        def __getattr__(self, name: str) -> Any:
            return lambda **request: made.append((name, request))

    text = export.boto3(steps()).replace("import boto3", "").replace('boto3.client("sagemaker")', "recorder")
    exec(compile(text, "export", "exec"), {"recorder": Recorder()})  # noqa: S102 (our own text)
    assert made == [(recreate.snake(step.operation), step.request) for step in steps()]


def test_as_cli_each_command_carries_its_request() -> None:
    first = export.cli(steps()).splitlines()[0]
    assert first.startswith("aws sagemaker create-model --cli-input-json '")
    assert json.loads(first.partition("'")[2].removesuffix("'")) == steps()[0].request


def test_as_terraform_blocks_refer_to_each_other() -> None:
    text = export.terraform(steps())
    assert 'resource "aws_sagemaker_model" "iris_model" {\n  name = "iris.model"' in text
    assert "endpoint_config_name = aws_sagemaker_endpoint_configuration.iris.name" in text
    assert text.count("    model_name = aws_sagemaker_model.iris_model.name") == 2
    assert text.count("  production_variants {") == 2
    assert "    serverless_config {\n      memory_size_in_mb = 1024\n      max_concurrency = 2\n    }" in text
    assert '      s3_data_source {\n        s3_uri = "s3://b/m/"' in text
    assert '"TEMPLATE" = "$${x}"' in text, "a template of HCL would be evaluated"
    assert '  tags = {\n    "team" = "iris"\n    "clary:rollback-on-regression" = "0.01"\n  }' in text
    with pytest.raises(CommandRefused, match="no resource for a training-job"):
        export.terraform(steps("xgb"))


def terraform(noun: str, **request: Any) -> str:
    kind = next(kind for kind in KINDS if kind.noun == noun)
    return export.terraform([CreateCall(kind, "it", request)])


def test_terraform_gets_no_argument_that_its_provider_lacks() -> None:
    """`aws_sagemaker_endpoint_configuration` has no enable_network_isolation, which DescribeEndpointConfig always tells."""
    assert "enable_network_isolation" not in terraform("endpoint-config", EnableNetworkIsolation=False)
    assert "enable_network_isolation = false" in terraform("model", EnableNetworkIsolation=False)
    with pytest.raises(CommandRefused, match="no argument for EnableNetworkIsolation of an endpoint-config"):
        terraform("endpoint-config", EnableNetworkIsolation=True)
    with pytest.raises(CommandRefused, match=r"no argument for ProductionVariants\.InstancePools"):
        terraform("endpoint-config", ProductionVariants=[{"InstancePools": [{"InstanceType": "ml.m5.large"}]}])


def test_terraform_names_keys_and_sources_as_its_provider_does() -> None:
    capture = {"InitialSamplingPercentage": 5, "KmsKeyId": "k2", "CaptureOptions": [{"CaptureMode": "Input"}]}
    text = terraform("endpoint-config", KmsKeyId="k1", DataCaptureConfig=capture)
    assert '\n  kms_key_arn = "k1"\n' in text
    assert '\n    kms_key_id = "k2"\n    capture_options {\n      capture_mode = "Input"\n    }\n' in text
    more = {"ChannelName": "words", "S3DataSource": {"S3Uri": "s3://b/w"}}
    text = terraform("model", Containers=[{"Image": "i", "AdditionalModelDataSources": [more]}])
    assert '  container {\n    image = "i"\n    additional_model_data_source {\n      channel_name = "words"' in text


@pytest.mark.parametrize(
    ("member", "argument"),
    [
        ("MemorySizeInMB", "memory_size_in_mb"),
        ("S3DataSource", "s3_data_source"),
        ("InitialInstanceCount", "initial_instance_count"),
        ("ContainerStartupHealthCheckTimeoutInSeconds", "container_startup_health_check_timeout_in_seconds"),
    ],
)
def test_names_in_snake_case(member: str, argument: str) -> None:
    assert recreate.snake(member) == argument


def change(*changes: str, **parameters: str) -> dict[str, Any]:
    request = {**JOB, "HyperParameters": parameters or JOB["HyperParameters"]}
    shape = recreate.members_of()("CreateTrainingJob")
    return rerun.changed(recreate.request_of(KINDS[1], request, shape), changes, shape)


def test_a_changed_hyperparameter_keeps_the_others() -> None:
    assert change("max_depth=5")["HyperParameters"] == {"max_depth": "5", "num_round": "10"}
    assert change("HyperParameters.eta=0.1")["HyperParameters"]["eta"] == "0.1"


def test_script_mode_takes_json() -> None:
    known = {"sagemaker_program": '"train.py"', "name": '"adam"', "rate": "1"}
    seen = change("name=sgd", "rate=0.5", "new=text", "listed=[1]", "digits=7", **known)["HyperParameters"]
    assert seen["name"] == '"sgd"'
    assert (seen["rate"], seen["new"], seen["listed"], seen["digits"]) == ("0.5", '"text"', "[1]", "7")


def test_members_of_the_request_are_typed() -> None:
    seen = change("ResourceConfig.InstanceType=ml.m5.xlarge", "ResourceConfig.InstanceCount=2", "Environment.A=1")
    assert seen["ResourceConfig"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 5}
    assert seen["Environment"] == {"A": "1"}
    assert change("EnableNetworkIsolation=true")["EnableNetworkIsolation"] is True


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("max_depth", "takes KEY=VALUE"),
        ("ResourceConfig.Instances=2", "there is no Instances in ResourceConfig"),
        ("RoleArn.x=2", "RoleArn has no members"),
        ("ResourceConfig.InstanceCount=two", "integer is given as JSON"),
    ],
)
def test_a_change_that_cannot_be(asked: str, words: str) -> None:
    with pytest.raises(CommandRefused, match=words):
        change(asked)


def test_the_new_name_tells_when() -> None:
    assert rerun.named("xgb", 0.0) == "xgb-19700101-000000"
    assert rerun.named("xgb-19700101-000000", 86_400.0) == "xgb-19700102-000000"
    assert len(rerun.named("x" * 63, 0.0)) == 63
