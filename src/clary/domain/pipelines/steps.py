"""The types of steps: for those that make a child, which operations make, describe and stop it, and what of its arguments is a cache's key.

A row is all that a further type of child needs. Sources: reference/lifecycle.md 8.3 and 8.4. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clary.domain.pipelines import checks

_ENDED = {"Completed": "Succeeded", "Failed": "Failed", "Stopped": "Stopped"}
_SERVING = {
    "InService": "Succeeded",
    "OutOfService": "Failed",
    "UpdateRollbackFailed": "Failed",
    "Failed": "Failed",
    "Deleting": "Failed",
}
TRANSIENT = ("", "InProgress", "Stopping", "Creating", "Updating", "RollingBack")  # of children: no step ends with one


@dataclass(frozen=True, slots=True)
class ChildType:
    """A type of step that makes one child. `named` is the member of Create and Describe that names it; `made` the member of Create's answer
    with its ARN; `by_arn`: Describe asks by ARN. `status` is the member of Describe's answer that tells how it is ("": it ended when it
    was made), `ended` which of its values end the step and how. `key` are the members of the arguments that a cache compares, as paths;
    none: the type is not cached. `ranked`: a member of the properties -> the list operation whose answer has it, best first.

    `keeps`: the child has the very name that the definition gives, and may be there before the step. It is changed by `update` then, or
    used if that is "" and it is what the step asks for. `only_create`, `only_update`: members of one of both requests. `serves`: the
    member of Describe's answer that must be what was asked for when the step ends: an update that was rolled back left another."""

    name: str
    kind: str
    create: str
    describe: str
    named: str
    made: str
    metadata: str
    status: str = ""
    stop: str = ""
    by_arn: bool = False
    longest: int = 63  # characters of a child's name
    ended: Mapping[str, str] = field(default_factory=lambda: _ENDED)
    key: tuple[str, ...] = ()
    ranked: Mapping[str, str] = field(default_factory=dict)
    keeps: bool = False
    update: str = ""
    only_create: tuple[str, ...] = ()
    only_update: tuple[str, ...] = ()
    serves: str = ""

    @property
    def in_trials(self) -> bool:
        """Whether what it makes is put into the execution's trial."""
        return self.kind in ("training-job", "processing-job", "transform-job")


CHILDREN: Mapping[str, ChildType] = {
    row.name: row
    for row in (
        ChildType(
            "Training",
            "training-job",
            "CreateTrainingJob",
            "DescribeTrainingJob",
            "TrainingJobName",
            "TrainingJobArn",
            "TrainingJob",
            status="TrainingJobStatus",
            stop="StopTrainingJob",
            key=(
                "AlgorithmSpecification",
                "CheckpointConfig",
                "DebugHookConfig",
                "DebugRuleConfigurations",
                "Environment",
                "HyperParameters",
                "InputDataConfig",
            ),
        ),
        ChildType(
            "Processing",
            "processing-job",
            "CreateProcessingJob",
            "DescribeProcessingJob",
            "ProcessingJobName",
            "ProcessingJobArn",
            "ProcessingJob",
            status="ProcessingJobStatus",
            stop="StopProcessingJob",
            key=("AppSpecification", "Environment", "ProcessingInputs"),
        ),
        ChildType(
            "Transform",
            "transform-job",
            "CreateTransformJob",
            "DescribeTransformJob",
            "TransformJobName",
            "TransformJobArn",
            "TransformJob",
            status="TransformJobStatus",
            stop="StopTransformJob",
            key=(
                "BatchStrategy",
                "DataProcessing",
                "Environment",
                "MaxConcurrentTransforms",
                "MaxPayloadInMB",
                "ModelName",
                "TransformInput",
            ),
        ),
        ChildType(
            "Tuning",
            "hyper-parameter-tuning-job",
            "CreateHyperParameterTuningJob",
            "DescribeHyperParameterTuningJob",
            "HyperParameterTuningJobName",
            "HyperParameterTuningJobArn",
            "TuningJob",
            status="HyperParameterTuningJobStatus",
            stop="StopHyperParameterTuningJob",
            longest=32,
            key=(
                "HyperParameterTuningJobConfig",
                "TrainingJobDefinition.AlgorithmSpecification",
                "TrainingJobDefinition.HyperParameterRanges",
                "TrainingJobDefinition.InputDataConfig",
                "TrainingJobDefinition.StaticHyperParameters",
                "TrainingJobDefinition.TuningObjective",
                "TrainingJobDefinitions",
            ),
            ranked={"TrainingJobSummaries": "ListTrainingJobsForHyperParameterTuningJob"},
        ),
        ChildType("Model", "model", "CreateModel", "DescribeModel", "ModelName", "ModelArn", "Model"),
        ChildType(
            "RegisterModel",
            "model-package",
            "CreateModelPackage",
            "DescribeModelPackage",
            "ModelPackageName",
            "ModelPackageArn",
            "RegisterModel",
            by_arn=True,
        ),
        ChildType(
            "EndpointConfig",
            "endpoint-config",
            "CreateEndpointConfig",
            "DescribeEndpointConfig",
            "EndpointConfigName",
            "EndpointConfigArn",
            "EndpointConfig",
            keeps=True,
            key=(
                "AsyncInferenceConfig",
                "DataCaptureConfig",
                "EnableNetworkIsolation",
                "EndpointConfigName",
                "ExecutionRoleArn",
                "ExplainerConfig",
                "ProductionVariants",
                "ShadowProductionVariants",
                "VpcConfig",
            ),
        ),
        ChildType(
            "Endpoint",
            "endpoint",
            "CreateEndpoint",
            "DescribeEndpoint",
            "EndpointName",
            "EndpointArn",
            "Endpoint",
            status="EndpointStatus",
            ended=_SERVING,
            key=("DeploymentConfig", "EndpointConfigName", "EndpointName"),
            keeps=True,
            update="UpdateEndpoint",
            only_create=("Tags",),
            only_update=(
                "ExcludeRetainedVariantProperties",
                "RetainAllVariantProperties",
                "RetainDeploymentConfig",
            ),
            serves="EndpointConfigName",
        ),
        ChildType(
            "InferenceComponent",
            "inference-component",
            "CreateInferenceComponent",
            "DescribeInferenceComponent",
            "InferenceComponentName",
            "InferenceComponentArn",
            "InferenceComponent",
            status="InferenceComponentStatus",
            ended=_SERVING,
            keeps=True,
            update="UpdateInferenceComponent",
            only_create=("EndpointName", "VariantName", "Tags"),
            only_update=("DeploymentConfig",),
        ),
        *(
            ChildType(
                name,
                "processing-job",
                "CreateProcessingJob",
                "DescribeProcessingJob",
                "ProcessingJobName",
                "ProcessingJobArn",
                name,
                status="ProcessingJobStatus",
                stop="StopProcessingJob",
                key=checks.KEY,
            )
            for name in checks.MEMBERS
        ),
    )
}
CONDITION, FAIL, CALLBACK, LAMBDA, LINEAGE = "Condition", "Fail", "Callback", "Lambda", "Lineage"
TYPES = (*CHILDREN, CONDITION, FAIL, CALLBACK, LAMBDA, LINEAGE)
OUTPUTS: Mapping[str, tuple[str, ...]] = {CALLBACK: ("SqsQueueUrl",), LAMBDA: ("FunctionArn",)}
NEEDED: Mapping[str, tuple[str, str]] = {
    **{row.name: ("sagemaker", row.create) for row in CHILDREN.values()},
    CALLBACK: ("sqs", "SendMessage"),
    LAMBDA: ("lambda", "Invoke"),
    LINEAGE: ("sagemaker", "AddAssociation"),
}
"""The operation that a type of step is carried out by."""
"""Types of steps that have OutputParameters, and the further members that they must have."""
OUTPUT_TYPES = ("String", "Integer", "Float", "Boolean")
REFUSED: Mapping[str, str] = {
    "EMR": "Clary has no EMR clusters: run the work as a Processing step, with DuckDB or pandas",
    "EMRServerless": "Clary has no EMR applications: run the work as a Processing step, with DuckDB or pandas",
    "AutoML": "AutoML jobs are not available yet",
    "ForEach": "write the steps out one by one",
    "Cleanup": "delete what is not needed after the execution",
    "Job": "generic jobs are not available",
    "Athena": "Athena steps are not available: query with DuckDB in a Processing step, or by a Lambda step",
    "HubContent": "hub contents are not made by pipelines: import them",
    "BedrockCustomModel": "Clary has no Bedrock",
    "BedrockCustomModelDeployment": "Clary has no Bedrock",
    "BedrockProvisionedModelThroughput": "Clary has no Bedrock",
    "BedrockModelImport": "Clary has no Bedrock",
}


def outcome(row: ChildType, wanted: str, answer: Mapping[str, Any]) -> tuple[str, str]:
    """How a step ended whose child is as Describe answers ("": it has not ended), and why it failed. `wanted`: what it shall serve."""
    if not row.status:
        return "Succeeded", ""
    ended, reason = row.ended.get(str(answer.get(row.status)), ""), str(answer.get("FailureReason") or "")
    if not row.keeps or not ended:
        return ended, reason
    arn = answer.get(row.made)
    if ended == "Succeeded" and row.serves and answer.get(row.serves) != wanted:
        why = f"{arn} serves {answer.get(row.serves)}, not {wanted}: the update was rolled back, or another came after it."
        return "Failed", f"{why} {reason}".strip()
    if ended == "Succeeded" and reason:
        return "Failed", f"{arn} was rolled back to what it was before. {reason}"
    return ended, reason or f"{arn} is {answer.get(row.status)}."


def covers(has: Any, wanted: Any) -> bool:
    """Whether a described value is what was asked for; it may have more members, as defaults."""
    if isinstance(has, Mapping) and isinstance(wanted, Mapping):
        return all(name in has and covers(has[name], each) for name, each in wanted.items())
    if isinstance(has, list | tuple) and isinstance(wanted, list | tuple):
        return len(has) == len(wanted) and all(covers(one, other) for one, other in zip(has, wanted, strict=True))
    return bool(has == wanted)
