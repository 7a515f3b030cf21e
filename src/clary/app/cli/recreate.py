"""The calls that would make a resource again: its Describe answer, less what only Describe tells, as its Create request.

Owns which kinds there are, what each rests on (an endpoint on its config, a config on its models) and the order. Only AWS's public
API and botocore's shapes are used, so the same calls work here and on AWS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.kinds import Kind
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused

Request = dict[str, Any]


KINDS = (
    Kind("endpoint", "Endpoint", "EndpointName"),
    Kind("training-job", "TrainingJob", "TrainingJobName"),
    Kind("model", "Model", "ModelName"),
    Kind("endpoint-config", "EndpointConfig", "EndpointConfigName"),
    Kind("inference-component", "InferenceComponent", "InferenceComponentName"),
)
_BY_NOUN = {kind.noun: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class CreateCall:
    """One Create call. `operation` as the API calls it (CreateModel)."""

    kind: Kind
    name: str
    request: Request

    @property
    def operation(self) -> str:
        return f"Create{self.kind.operation}"


def find(client: Client, resource: str) -> tuple[Kind, str, Mapping[str, Any]]:
    """What is meant by an ARN, `KIND/NAME` or a name: its kind, its name, its description."""
    text = resource.rpartition(":")[2] if resource.startswith("arn:") else resource
    noun, slash, name = text.partition("/")
    if slash and noun not in _BY_NOUN:
        raise CommandRefused(f"{noun!r} is not a kind that can be made again; there are: {', '.join(_BY_NOUN)}", USAGE)
    kinds, wanted = ((_BY_NOUN[noun],), name) if slash else (KINDS, text)
    found = []
    for kind in kinds:
        try:
            found.append((kind, kind.describe(client, wanted)))
        except ApiFailure as error:
            if "ValidationException" not in error.aws_code:
                raise
    if not found:
        raise CommandRefused(f"there is no {' or '.join(kind.noun for kind in kinds)} {wanted!r}", NOT_FOUND)
    if len(found) > 1:
        choices = " or ".join(f"{kind.noun}/{text}" for kind, _ in found)
        raise CommandRefused(f"{text!r} is the name of several resources; say {choices}", USAGE)
    [(kind, seen)] = found
    return kind, str(seen[kind.member]), seen


def steps(client: Client, resource: str) -> list[CreateCall]:
    """The calls that make it and what it rests on, in the order in which they work. An endpoint comes with its inference components."""
    kind, name, seen = find(client, resource)
    found, members = [(kind, name, seen)], members_of()
    if kind.noun == "endpoint":
        asked = {"EndpointNameEquals": name, "MaxResults": 100}
        rows = client.pages("sagemaker", "ListInferenceComponents", "InferenceComponents", asked)
        found += [find(client, f"inference-component/{row['InferenceComponentName']}") for row in rows]
    done: dict[tuple[str, str], CreateCall] = {}
    for each in found:
        for step in _steps(client, *each, members):
            done.setdefault((step.kind.noun, step.name), step)
    return list(done.values())


def waits_for(step: CreateCall) -> str:
    """The endpoint that must be in service before the call; "" where there is none."""
    return str(step.request["EndpointName"]) if step.kind.noun == "inference-component" else ""


def with_role(step: CreateCall, role: str) -> CreateCall:
    """The same call with another role, as another account needs; "" leaves it as it is."""
    named = [name for name in ("ExecutionRoleArn", "RoleArn") if role and name in step.request]
    return replace(step, request={**step.request, **dict.fromkeys(named, role)})


Members = Callable[[str], Any]


def members_of() -> Members:
    """operation -> its input shape, of botocore's model."""
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    return lambda operation: model.operation_model(operation).input_shape


def _steps(client: Client, kind: Kind, name: str, seen: Mapping[str, Any], members: Members) -> Iterator[CreateCall]:
    for noun, below in rests_on(kind, seen):
        try:
            found, called, described = find(client, f"{noun}/{below}")
        except CommandRefused as error:
            raise CommandRefused(
                f"{kind.noun} {name} uses {noun} {below}, which does not exist any more: {error.message}"
            ) from error
        yield from _steps(client, found, called, described, members)
    request = request_of(kind, seen, members(f"Create{kind.operation}"))
    yield CreateCall(kind, name, {**request, **tags_of(client, kind, seen)})


def tags_of(client: Client, kind: Kind, seen: Mapping[str, Any]) -> Request:
    """The member Tags, where it has any but the system's, which nobody can set."""
    tags = client.call("sagemaker", "ListTags", {"ResourceArn": seen[kind.arn]})["Tags"]
    own = [tag for tag in tags if not tag["Key"].startswith("aws:")]
    return {"Tags": own} if own else {}


def rests_on(kind: Kind, seen: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(kind, name) of what must be there before."""
    if kind.noun == "endpoint":
        return [("endpoint-config", seen["EndpointConfigName"])]
    if kind.noun == "endpoint-config":
        rows = [*seen["ProductionVariants"], *(seen.get("ShadowProductionVariants") or [])]
        return [("model", name) for name in dict.fromkeys(row["ModelName"] for row in rows if row.get("ModelName"))]
    if kind.noun == "inference-component":
        model = seen["Specification"].get("ModelName")
        return [("endpoint", seen["EndpointName"]), *([("model", model)] if model else [])]
    return []


def request_of(kind: Kind, seen: Mapping[str, Any], shape: Any) -> Request:
    """The Create request of a description: the members that both know. `shape` is the request's (botocore)."""
    request: Request = _common(seen, shape)
    if kind.noun == "endpoint" and seen.get("LastDeploymentConfig"):
        request["DeploymentConfig"] = _common(seen["LastDeploymentConfig"], shape.members["DeploymentConfig"])
    if kind.noun == "inference-component":
        container = seen["Specification"].get("Container")
        if container:
            request["Specification"]["Container"]["Image"] = container["DeployedImage"]["SpecifiedImage"]
        request["RuntimeConfig"] = {"CopyCount": seen["RuntimeConfig"]["DesiredCopyCount"]}
    return request


def _common(value: Any, shape: Any) -> Any:
    if shape.type_name == "structure" and isinstance(value, Mapping):
        return {
            name: _common(value[name], member)
            for name, member in shape.members.items()
            if value.get(name) not in (None, [], {})
        }
    if shape.type_name == "list":
        return [_common(item, shape.member) for item in value]
    return value


def snake(name: str) -> str:
    """CreateEndpointConfig -> create_endpoint_config; MemorySizeInMB -> memory_size_in_mb; S3DataSource -> s3_data_source."""
    split = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name))
    return split.lower()
