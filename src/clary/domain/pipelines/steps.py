"""The types of steps: for those that make a child, which operations make, describe and stop it, and what of its arguments is a cache's key.

A row is all that a further type of child needs. Sources: reference/lifecycle.md 8.3 and 8.4. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_ENDED = {"Completed": "Succeeded", "Failed": "Failed", "Stopped": "Stopped"}


@dataclass(frozen=True, slots=True)
class ChildType:
    """A type of step that makes one child. `named` is the member of Create and Describe that names it; `made` the member of Create's answer
    with its ARN; `by_arn`: Describe asks by ARN. `status` is the member of Describe's answer that tells how it is ("": it ended when it
    was made), `ended` which of its values end the step and how. `key` are the members of the arguments that a cache compares, as paths;
    none: the type is not cached. `ranked`: a member of the properties -> the list operation whose answer has it, best first."""

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
    )
}
CONDITION, FAIL, CALLBACK, LAMBDA = "Condition", "Fail", "Callback", "Lambda"
TYPES = (*CHILDREN, CONDITION, FAIL, CALLBACK, LAMBDA)
OUTPUTS: Mapping[str, tuple[str, ...]] = {CALLBACK: ("SqsQueueUrl",), LAMBDA: ("FunctionArn",)}
NEEDED: Mapping[str, tuple[str, str]] = {
    **{row.name: ("sagemaker", row.create) for row in CHILDREN.values()},
    CALLBACK: ("sqs", "SendMessage"),
    LAMBDA: ("lambda", "Invoke"),
}
"""The operation that a type of step is carried out by."""
"""Types of steps that have OutputParameters, and the further members that they must have."""
OUTPUT_TYPES = ("String", "Integer", "Float", "Boolean")
REFUSED: Mapping[str, str] = {
    "EMR": "Clary has no EMR clusters: run the work as a Processing step, with DuckDB or pandas",
    "EMRServerless": "Clary has no EMR applications: run the work as a Processing step, with DuckDB or pandas",
    "AutoML": "AutoML jobs are not available yet",
    "QualityCheck": "checks are not steps yet: run the same image in a Processing step, and decide in a Condition step",
    "ClarifyCheck": "checks are not steps yet: run the same image in a Processing step, and decide in a Condition step",
    "Lineage": "Lineage steps are not available yet",
    "EndpointConfig": "steps that deploy are not available yet: create the endpoint configuration after the execution",
    "Endpoint": "steps that deploy are not available yet: create or update the endpoint after the execution",
    "InferenceComponent": "steps that deploy are not available yet: create the component after the execution",
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
