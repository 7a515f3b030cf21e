"""Create requests as blocks of Terraform's AWS provider.

Owns what of them the provider knows: its documentation of aws_sagemaker_model, aws_sagemaker_endpoint_configuration and
aws_sagemaker_endpoint (version 6). What it has no argument for is an error that names it, unless leaving it out means the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from clary.app.cli.output import CommandRefused
from clary.app.cli.recreate import CreateCall, snake

Known = Mapping[str, Any]  # a member that the provider knows -> the members of its block; {} for a plain one

_RESOURCES = {
    "model": "aws_sagemaker_model",
    "endpoint-config": "aws_sagemaker_endpoint_configuration",
    "endpoint": "aws_sagemaker_endpoint",
}


def _block(plain: str, **blocks: Known) -> Known:
    return {**{name: {} for name in plain.split()}, **blocks}


_S3_SOURCE = _block("S3Uri S3DataType CompressionType", ModelAccessConfig=_block("AcceptEula"))
_CONTAINER = _block(
    "ContainerHostname Image Mode ModelDataUrl Environment ModelPackageName InferenceSpecificationName",
    ImageConfig=_block("RepositoryAccessMode", RepositoryAuthConfig=_block("RepositoryCredentialsProviderArn")),
    ModelDataSource=_block("", S3DataSource=_S3_SOURCE),
    AdditionalModelDataSources=_block("ChannelName", S3DataSource=_S3_SOURCE),
    MultiModelConfig=_block("ModelCacheSetting"),
)
_VARIANT = _block(
    """VariantName ModelName InitialInstanceCount InstanceType InitialVariantWeight AcceleratorType VolumeSizeInGB EnableSSMAccess
    ModelDataDownloadTimeoutInSeconds ContainerStartupHealthCheckTimeoutInSeconds InferenceAmiVersion""",
    CoreDumpConfig=_block("DestinationS3Uri KmsKeyId"),
    ServerlessConfig=_block("MemorySizeInMB MaxConcurrency ProvisionedConcurrency"),
    ManagedInstanceScaling=_block(
        "Status MinInstanceCount MaxInstanceCount",
        ScaleInPolicy=_block("Strategy MaximumStepSize CooldownInMinutes"),
    ),
    RoutingConfig=_block("RoutingStrategy"),
    CapacityReservationConfig=_block("CapacityReservationPreference MlReservationArn"),
)
_SIZE = _block("Type Value")
_DEPLOYMENT = _block(
    "",
    BlueGreenUpdatePolicy=_block(
        "TerminationWaitInSeconds MaximumExecutionTimeoutInSeconds",
        TrafficRoutingConfiguration=_block("Type WaitIntervalInSeconds", CanarySize=_SIZE, LinearStepSize=_SIZE),
    ),
    RollingUpdatePolicy=_block(
        "WaitIntervalInSeconds MaximumExecutionTimeoutInSeconds", MaximumBatchSize=_SIZE, RollbackMaximumBatchSize=_SIZE
    ),
    AutoRollbackConfiguration=_block("", Alarms=_block("AlarmName")),
)
KNOWN: Mapping[str, Known] = {
    "model": _block(
        "ModelName ExecutionRoleArn EnableNetworkIsolation",
        PrimaryContainer=_CONTAINER,
        Containers=_CONTAINER,
        InferenceExecutionConfig=_block("Mode"),
        VpcConfig=_block("SecurityGroupIds Subnets"),
    ),
    "endpoint-config": _block(
        "EndpointConfigName KmsKeyId ExecutionRoleArn",
        ProductionVariants=_VARIANT,
        ShadowProductionVariants=_VARIANT,
        DataCaptureConfig=_block(
            "EnableCapture InitialSamplingPercentage DestinationS3Uri KmsKeyId",
            CaptureOptions=_block("CaptureMode"),
            CaptureContentTypeHeader=_block("CsvContentTypes JsonContentTypes"),
        ),
        AsyncInferenceConfig=_block(
            "",
            ClientConfig=_block("MaxConcurrentInvocationsPerInstance"),
            OutputConfig=_block(
                "S3OutputPath S3FailurePath KmsKeyId",
                NotificationConfig=_block("SuccessTopic ErrorTopic IncludeInferenceResponseIn"),
            ),
        ),
    ),
    "endpoint": _block("EndpointName EndpointConfigName", DeploymentConfig=_DEPLOYMENT),
}
_TOP = {  # arguments of a resource whose name is not the member's in snake case
    "ModelName": "name",
    "EndpointConfigName": "name",
    "EndpointName": "name",
    "Containers": "container",
    "KmsKeyId": "kms_key_arn",
}
_SINGULAR = {"AdditionalModelDataSources": "additional_model_data_source"}
_MAPS = {"Environment"}


def terraform(steps: Sequence[CreateCall]) -> str:
    """Blocks that refer to each other. Refused for kinds and members that the AWS provider does not know."""
    for step in steps:
        if step.kind.noun not in _RESOURCES:
            raise CommandRefused(
                f"Terraform's AWS provider has no resource for {_a(step.kind.noun)}; boto3 and cli can express it"
            )
    labels = {(step.kind.noun, step.name): _label(step.name) for step in steps}
    return "\n\n".join(_resource(step, labels) for step in steps)


def _resource(step: CreateCall, labels: Mapping[tuple[str, str], str]) -> str:
    noun = step.kind.noun
    lines = [f'resource "{_RESOURCES[noun]}" "{_label(step.name)}" {{']
    request = dict(step.request)
    tags = request.pop("Tags", [])
    for name, value in request.items():
        if name == "EndpointConfigName" and noun == "endpoint":
            lines.append(f"  endpoint_config_name = {_reference('endpoint-config', value, labels)}")
        else:
            lines += _Blocks(noun, labels).member(name, value, KNOWN[noun], (name,))
    if tags:
        lines += _map("tags", {tag["Key"]: tag["Value"] for tag in tags}, 1)
    return "\n".join([*lines, "}"])


class _Blocks:
    """The lines of one resource's members."""

    def __init__(self, noun: str, labels: Mapping[tuple[str, str], str]) -> None:
        self._noun = noun
        self._labels = labels

    def member(self, name: str, value: Any, known: Known, path: tuple[str, ...]) -> list[str]:
        """`path`: the member's place in the request, itself included."""
        if name not in known:
            if value is False:
                return []  # as when it is not given
            what = f"{'.'.join(path)} of {_a(self._noun)}"
            raise CommandRefused(f"Terraform's AWS provider has no argument for {what}; boto3 and cli can express it")
        top, depth = len(path) == 1, len(path)
        argument = (_TOP if top else _SINGULAR).get(name, snake(name))
        indent = "  " * depth
        if name in _MAPS:
            return _map(argument, value, depth)
        if isinstance(value, list) and known[name]:
            return [line for item in value for line in self.member(name, item, known, path)]
        if isinstance(value, Mapping):
            inner = [line for key, item in value.items() for line in self.member(key, item, known[name], (*path, key))]
            return [f"{indent}{argument} {{", *inner, f"{indent}}}"]
        if name == "ModelName" and not top:
            return [f"{indent}{argument} = {_reference('model', value, self._labels)}"]
        return [f"{indent}{argument} = {_literal(value)}"]


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _map(name: str, value: Mapping[str, str], depth: int) -> list[str]:
    indent = "  " * depth
    return [
        f"{indent}{name} = {{",
        *(f"{indent}  {_literal(k)} = {_literal(v)}" for k, v in value.items()),
        f"{indent}}}",
    ]


def _reference(noun: str, name: str, labels: Mapping[tuple[str, str], str]) -> str:
    label = labels.get((noun, name))
    return f"{_RESOURCES[noun]}.{label}.name" if label else _literal(name)


def _literal(value: Any) -> str:
    """An HCL literal. JSON's, except that `${` and `%{` begin templates."""
    return json.dumps(value).replace("${", "$${").replace("%{", "%%{")


def _label(name: str) -> str:
    label = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return label if label[0].isalpha() else f"_{label}"
