"""`clary export`: the calls that make a resource again, as a boto3 script, as AWS CLI commands, or as Terraform blocks."""

from __future__ import annotations

import json
import pprint
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from clary.app.cli import recreate
from clary.app.cli.output import USAGE, Refused, say, say_json
from clary.app.cli.recreate import Step
from clary.app.cli.site import find

FORMS = ("boto3", "cli", "terraform")
_HEAD = "# Made by `clary export {resource}`. The data that it names in S3 is not part of it."


def export(directory: str | None, resource: str, form: str, *, as_json: bool) -> None:
    if form not in FORMS:
        raise Refused(f"--as is one of {', '.join(FORMS)}, not {form!r}", USAGE)
    site = find(directory)
    client = site.client()
    try:
        steps = recreate.steps(client, resource)
    finally:
        client.close()
    if as_json:
        say_json([{"operation": step.operation, "request": step.request} for step in steps])
        return
    head = _HEAD.format(resource=resource)
    text = {"boto3": boto3, "cli": cli, "terraform": terraform}[form](steps)
    say(f"#!/bin/sh\n{head}\nset -e\n\n{text}" if form == "cli" else f"{head}\n\n{text}")


def boto3(steps: Sequence[Step]) -> str:
    """A Python script. Credentials, region and endpoint are the environment's."""
    parts = ['import boto3\n\nsagemaker = boto3.client("sagemaker")\n']
    for step in steps:
        arguments = ",\n".join(
            f"    {name}={_indented(pprint.pformat(value, width=110, sort_dicts=False))}"
            for name, value in step.request.items()
        )
        parts.append(f"sagemaker.{snake(step.operation)}(\n{arguments},\n)")
    return "\n".join(parts)


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def cli(steps: Sequence[Step]) -> str:
    """Commands of a shell, each with its whole request."""
    return "\n".join(
        f"aws sagemaker {snake(step.operation).replace('_', '-')} --cli-input-json {shlex.quote(json.dumps(step.request))}"
        for step in steps
    )


def snake(name: str) -> str:
    """CreateEndpointConfig -> create_endpoint_config; MemorySizeInMB -> memory_size_in_mb; S3DataSource -> s3_data_source."""
    split = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name))
    return split.lower()


# -- Terraform: resources and arguments of the AWS provider (registry documentation of aws_sagemaker_*, version 5) --------------

_RESOURCES = {
    "model": "aws_sagemaker_model",
    "endpoint-config": "aws_sagemaker_endpoint_configuration",
    "endpoint": "aws_sagemaker_endpoint",
}
_NAMES = {  # where the provider's argument is not the member's name in snake case
    "ModelName": "name",
    "EndpointConfigName": "name",
    "EndpointName": "name",
    "Containers": "container",
    "KmsKeyId": "kms_key_arn",
    "SecurityGroupIds": "security_group_ids",
}
_PLAIN_LISTS = {"SecurityGroupIds", "Subnets", "CsvContentTypes", "JsonContentTypes", "IncludeInferenceResponseIn"}
_MAPS = {"Environment"}
_UNKNOWN = {  # members that the provider has no argument for
    "AdditionalModelDataSources",
    "ModelReferenceArn",
    "ExecutionRoleArn of an endpoint configuration",
    "InstancePools",
    "PrefixAwareRoutingConfig",
    "ExplainerConfig",
    "MetricsConfig",
    "CrossRegionTrafficConfig",
    "ContainerMetricsConfig",
    "HubAccessConfig",
}


def terraform(steps: Sequence[Step]) -> str:
    """Blocks that refer to each other. Refused for kinds and members that the AWS provider does not know."""
    for step in steps:
        if step.kind.noun not in _RESOURCES:
            raise Refused(
                f"Terraform's AWS provider has no resource for a {step.kind.noun}; boto3 and cli can express it"
            )
    known = {(step.kind.noun, step.name): _label(step.name) for step in steps}
    return "\n\n".join(_resource(step, known) for step in steps)


def _resource(step: Step, known: Mapping[tuple[str, str], str]) -> str:
    lines = [f'resource "{_RESOURCES[step.kind.noun]}" "{_label(step.name)}" {{']
    request = dict(step.request)
    tags = request.pop("Tags", [])
    for name, value in request.items():
        if name == "EndpointConfigName" and step.kind.noun == "endpoint":
            lines.append(f"  endpoint_config_name = {_reference('endpoint-config', value, known)}")
        else:
            lines += _member(name, value, 1, known, top=True)
    if tags:
        lines += _map("tags", {tag["Key"]: tag["Value"] for tag in tags}, 1)
    return "\n".join([*lines, "}"])


def _member(name: str, value: Any, depth: int, known: Mapping[tuple[str, str], str], top: bool = False) -> list[str]:
    if name in _UNKNOWN:
        raise Refused(f"Terraform's AWS provider has no argument for {name}; boto3 and cli can express it")
    argument = _NAMES.get(name, snake(name)) if top or name not in ("ModelName",) else snake(name)
    indent = "  " * depth
    if name in _MAPS:
        return _map(argument, value, depth)
    if isinstance(value, Mapping):
        inner = [line for key, item in value.items() for line in _member(key, item, depth + 1, known)]
        return [f"{indent}{argument} {{", *inner, f"{indent}}}"]
    if isinstance(value, list) and name not in _PLAIN_LISTS:
        return [line for item in value for line in _member(name, item, depth, known, top)]
    if name == "ModelName" and not top:
        return [f"{indent}{argument} = {_reference('model', value, known)}"]
    return [f"{indent}{argument} = {_literal(value)}"]


def _map(name: str, value: Mapping[str, str], depth: int) -> list[str]:
    indent = "  " * depth
    return [
        f"{indent}{name} = {{",
        *(f"{indent}  {_literal(k)} = {_literal(v)}" for k, v in value.items()),
        f"{indent}}}",
    ]


def _reference(noun: str, name: str, known: Mapping[tuple[str, str], str]) -> str:
    label = known.get((noun, name))
    return f"{_RESOURCES[noun]}.{label}.name" if label else _literal(name)


def _literal(value: Any) -> str:
    """An HCL literal. JSON's, except that `${` and `%{` begin templates."""
    return json.dumps(value).replace("${", "$${").replace("%{", "%%{")


def _label(name: str) -> str:
    label = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return label if label[0].isalpha() else f"_{label}"
