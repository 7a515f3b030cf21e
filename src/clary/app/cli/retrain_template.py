"""The pipeline that `clary retrain --init` makes: collect, train, gate, then register or keep the incumbent. Pure.

Its RegisterModel step gives the new version the alias that the endpoint follows, so that the endpoint moves to it by a canary: at once,
or when a person approves the version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

IMAGE = "clary-retrain"
TOP = "/opt/ml/processing"
SIZE = "ml.m5.large"
OBJECTIVES = {"binary": "binary:logistic", "regression": "reg:squarederror"}
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Template:
    """What the pipeline is made for. `capture`, `labels`, `folder`, `pinned` and `brief` are places in S3 ("": none)."""

    endpoint: str
    model: str
    image: str
    group: str
    alias: str
    role: str
    capture: str
    labels: str
    folder: str
    problem: str = "binary"
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    collect: Mapping[str, str] = field(default_factory=dict)
    gate: Mapping[str, str] = field(default_factory=dict)
    pinned: str = ""
    brief: str = ""
    manual: bool = False


def definition(asked: Template) -> Document:
    """The PipelineDefinition."""
    parameters = {
        "EndpointName": asked.endpoint,
        "IncumbentModel": asked.model,
        "CaptureUri": asked.capture,
        "LabelsUri": asked.labels,
        "Since": "0",
        "Reason": "started by hand",
    }
    return {
        "Version": "2020-12-01",
        "Parameters": [{"Name": name, "Type": "String", "DefaultValue": value} for name, value in parameters.items()],
        "Steps": [_collect(asked), _train(asked), _gate(asked), _decide(asked)],
    }


def _get(path: str) -> Document:
    return {"Get": path}


def _output(step: str, name: str) -> Document:
    return _get(f"Steps.{step}.ProcessingOutputConfig.Outputs['{name}'].S3Output.S3Uri")


def _place(asked: Template, name: str) -> Document:
    return {"Std:Join": {"On": "/", "Values": [asked.folder, _get("Execution.PipelineExecutionId"), name]}}


def _source(name: str, uri: str | Document) -> Document:
    where = {"S3Uri": uri, "LocalPath": f"{TOP}/input/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": where}


def _written(asked: Template, name: str, path: str) -> Document:
    where = {"S3Uri": _place(asked, name), "LocalPath": f"{TOP}/output/{path}".rstrip("/"), "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "S3Output": where}


def _processing(
    asked: Template, words: Sequence[str | Document], inputs: list[Document], outputs: list[Document]
) -> Document:
    return {
        "RoleArn": asked.role,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerArguments": list(words)},
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": {"Outputs": outputs},
        "ProcessingResources": {"ClusterConfig": {"InstanceType": SIZE, "InstanceCount": 1, "VolumeSizeInGB": 10}},
    }


def _words(options: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _collect(asked: Template) -> Document:
    words: list[str | Document] = ["collect", "--since", _get("Parameters.Since"), *_words(asked.collect)]
    inputs = [_source("capture", _get("Parameters.CaptureUri")), _source("labels", _get("Parameters.LabelsUri"))]
    inputs += [_source("pinned", asked.pinned)] if asked.pinned else []
    outputs = [_written(asked, name, name) for name in ("train", "validation", "judge")]
    return {"Name": "Collect", "Type": "Processing", "Arguments": _processing(asked, words, inputs, outputs)}


def _train(asked: Template) -> Document:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": _output("Collect", "train"),
        "S3DataDistributionType": "FullyReplicated",
    }
    channel = {"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}
    own = {"objective": OBJECTIVES[asked.problem], "num_round": "50", "csv_weights": "1"}
    arguments = {
        "RoleArn": asked.role,
        "AlgorithmSpecification": {"TrainingImage": asked.image, "TrainingInputMode": "File"},
        "HyperParameters": {**own, **asked.hyperparameters},
        "InputDataConfig": [channel],
        "OutputDataConfig": {"S3OutputPath": _place(asked, "model")},
        "ResourceConfig": {"InstanceType": SIZE, "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    return {"Name": "Train", "Type": "Training", "Arguments": arguments}


def _gate(asked: Template) -> Document:
    artifact = _get("Steps.Train.ModelArtifacts.S3ModelArtifacts")
    words: list[str | Document] = ["gate", "--artifact", artifact, "--image", asked.image]
    words += ["--incumbent", _get("Parameters.IncumbentModel"), "--problem", asked.problem, *_words(asked.gate)]
    inputs = [_source("dataset", _output("Collect", "judge"))]
    inputs += [_source("brief", asked.brief)] if asked.brief else []
    arguments = _processing(asked, words, inputs, [_written(asked, "gate", "")])
    report = {"PropertyFileName": "Report", "OutputName": "gate", "FilePath": "gate.json"}
    return {"Name": "Gate", "Type": "Processing", "Arguments": arguments, "PropertyFiles": [report]}


def _decide(asked: Template) -> Document:
    def report(path: str) -> Document:
        return {"Std:JsonGet": {"PropertyFile": _get("Steps.Gate.PropertyFiles.Report"), "Path": path}}

    keep = {"Name": "Keep", "Type": "Fail", "Arguments": {"ErrorMessage": report("why")}}
    condition = {"Type": "Equals", "LeftValue": report("passed"), "RightValue": True}
    arguments = {"Conditions": [condition], "IfSteps": [_register(asked)], "ElseSteps": [keep]}
    return {"Name": "Decide", "Type": "Condition", "Arguments": arguments}


def _register(asked: Template) -> Document:
    statistics = {
        "ContentType": "application/json",
        "S3Uri": {"Std:Join": {"On": "/", "Values": [_output("Gate", "gate"), "gate.json"]}},
    }
    container = {"Image": asked.image, "ModelDataUrl": _get("Steps.Train.ModelArtifacts.S3ModelArtifacts")}
    arguments = {
        "ModelPackageGroupName": asked.group,
        "ModelPackageDescription": _get("Parameters.Reason"),
        "ModelApprovalStatus": "PendingManualApproval" if asked.manual else "Approved",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
        "CustomerMetadataProperties": {"clary:alias": asked.alias},
    }
    return {"Name": "Register", "Type": "RegisterModel", "Arguments": arguments}
