"""Application Auto Scaling: what can be scaled, and its records (target, policies, scheduled actions, activities). Pure.

A target's document: `resource`, `dimension`, `min`, `max`, `role`, `suspended`, `tags`, and what the scaling loop keeps in it:
`triggers` (alarm name -> the policy that it drives, and in which state), `acted` (when each last did), `activity` (the one under
way), `changes` (the last one out and the last one in), `said` (what was told of doing nothing), `ran` (when each scheduled action last
did), `spent` (when each `at(...)` action that ran was put, so that it does not run again however the clock is set),
`cause` (why capacity outside of the range is to be pulled into it) and `count` (of activities).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.ids import arn
from clary.domain.names import COMPONENT
from clary.domain.resources import Record, Scope

TARGET, POLICY, ACTION, ACTIVITY = "scalable-target", "scaling-policy", "scheduled-action", "scaling-activity"
ACTIVE = "Active"  # the status of a target
NAMESPACE = "sagemaker"
KEEP_ACTIVITIES = 42 * 86_400.0
INSTANCES = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"
COPIES = "sagemaker:inference-component:DesiredCopyCount"
MILLICPU = "clary:variant:DesiredMillicpuPerInstance"
ROLE = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
STEP, TRACKING = "StepScaling", "TargetTrackingScaling"
SUSPENDED = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")

_WORDS = {
    INSTANCES: "instance count",
    PROVISIONED: "provisioned concurrency",
    COPIES: "copy count",
    MILLICPU: "millicpu",
}


@dataclass(frozen=True, slots=True)
class ScalableResource:
    """What a ResourceId names: a variant of an endpoint, or an inference component (`variant` is "")."""

    kind: str
    name: str
    variant: str = ""

    @property
    def words(self) -> str:
        if self.kind == COMPONENT:
            return f"inference component {self.name}"
        return f"variant {self.variant} of endpoint {self.name}"


def place_of(resource: str, dimension: str) -> ScalableResource:
    """Invalid for a ResourceId that is not of this dimension."""
    parts = resource.split("/")
    if dimension == COPIES and len(parts) == 2 and parts[0] == "inference-component" and parts[1]:
        return ScalableResource(COMPONENT, parts[1])
    if (
        dimension in (INSTANCES, PROVISIONED, MILLICPU)
        and len(parts) == 4
        and (parts[0], parts[2]) == ("endpoint", "variant")
        and parts[1]
        and parts[3]
    ):
        return ScalableResource("endpoint", parts[1], parts[3])
    raise Invalid(
        f"Unsupported service namespace, resource type or scalable dimension: {NAMESPACE}, {resource}, {dimension}. Resource ids are "
        f"endpoint/ENDPOINT/variant/VARIANT for {INSTANCES}, {PROVISIONED} and {MILLICPU}, and inference-component/NAME for {COPIES}."
    )


def check_namespace(params: Mapping[str, Any]) -> None:
    if params["ServiceNamespace"] != NAMESPACE:
        raise Invalid(
            f"Unsupported service namespace: {params['ServiceNamespace']}. Clary scales resources of the namespace {NAMESPACE}."
        )


def check_filter(params: Mapping[str, Any]) -> None:
    """What a Describe asks for: a dimension only of resources that it names."""
    check_namespace(params)
    if params.get("ScalableDimension") and not (params.get("ResourceId") or params.get("ResourceIds")):
        raise Invalid("If you specify a scalable dimension, you must also specify a resource ID.")


def target_name(resource: str, dimension: str) -> str:
    """The name of a target's record."""
    return f"{resource}|{dimension}"


def part_name(resource: str, dimension: str, name: str) -> str:
    """The name of a policy's or a scheduled action's record."""
    return f"{resource}|{dimension}|{name}"


def target_arn(scope: Scope, id: str) -> str:
    return arn("application-autoscaling", scope.region, scope.account, f"scalable-target/{id}")


def policy_arn(scope: Scope, id: str, resource: str, name: str) -> str:
    tail = f"scalingPolicy:{id}:resource/{NAMESPACE}/{resource}:policyName/{name}"
    return arn("autoscaling", scope.region, scope.account, tail)


def action_arn(scope: Scope, id: str, resource: str, name: str) -> str:
    tail = f"scheduledAction:{id}:resource/{NAMESPACE}/{resource}:scheduledActionName/{name}"
    return arn("autoscaling", scope.region, scope.account, tail)


def new_target(resource: str, dimension: str, role: str) -> dict[str, Any]:
    """The document of a target that is registered now, without its range."""
    return {
        "resource": resource,
        "dimension": dimension,
        "role": role,
        "suspended": dict.fromkeys(SUSPENDED, False),
        "tags": [],
        "triggers": {},
        "acted": {},
        "activity": None,
        "changes": {},
        "said": {},
        "ran": {},
        "spent": {},
        "cause": "",
        "count": 0,
    }


def words_of(dimension: str) -> str:
    """The dimension as AWS's descriptions name it."""
    return _WORDS[dimension]


def activity_id(target: Record, number: int) -> str:
    """The same whenever this activity of this target is decided again."""
    digest = hashlib.sha256(f"{target.arn} {target.created} {number}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a target has at the moment. `settled`: nothing of it is being changed, and a change may be asked. `failure` is why the
    last change was taken back, `floor` the least whatever its range says. `count`, `millicpu`: of the replicas of a variant that has
    both, whichever the target's own dimension is (0: it has none)."""

    desired: int
    running: int
    settled: bool
    failure: str = ""
    status: str = ""
    floor: int = 0
    count: int = 0
    millicpu: int = 0


def triggered(target: Record, alarm: str, policy: str, state: str) -> dict[str, Any]:
    """The target's document, when an alarm told that it drives one of its policies in that state. It acts at once."""
    acted = {name: at for name, at in target.document["acted"].items() if name != alarm}
    triggers = {**target.document["triggers"], alarm: {"policy": policy, "state": state}}
    said = {name: code for name, code in target.document["said"].items() if name != alarm}
    return {**target.document, "triggers": triggers, "acted": acted, "said": said}


def policy_of(action: str) -> str:
    """The policy's ARN in an alarm's action: those that target tracking made have their mark behind it."""
    return action.partition(":createdBy/")[0]
