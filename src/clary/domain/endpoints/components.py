"""Inference components: models that are placed on an endpoint whose variants have instances and no model of their own. Pure.

A component is a record with a plant of its own, driven by the same `endpoints.decide`: one fleet of one variant, a replica for each
copy. Its fleet knows the Specification that asked for it, so what is told and counted is what serves, however a change ends. To the
fronts it is an endpoint of the name ENDPOINT/COMPONENT, at home where its endpoint is. Its copies are placed on the instances of the
endpoint's variant by what they require at least; what cannot be placed is refused at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from clary.domain.endpoints.fleets import Fleet, Plant, Variant, new_fleet
from clary.domain.errors import Invalid, LimitExceeded
from clary.domain.lifecycle import EndpointStatus
from clary.domain.machine import admission, instances
from clary.domain.machine.instances import Size
from clary.domain.models.containers import Container
from clary.domain.resources import Record

_SHOWN = {  # AWS has five statuses for a component; the machinery has an endpoint's
    EndpointStatus.ROLLING_BACK: "Updating",
    EndpointStatus.SYSTEM_UPDATING: "Updating",
    EndpointStatus.OUT_OF_SERVICE: "InService",  # without a copy
    EndpointStatus.UPDATE_ROLLBACK_FAILED: "Failed",
}
_POLICIES = ("MaximumBatchSize", "RollbackMaximumBatchSize")


@dataclass(frozen=True, slots=True)
class Need:
    """What each of so many copies requires at least. `memory` in MB."""

    cores: float
    memory: int
    accelerators: int
    copies: int


def status_of(record: Record) -> str:
    """As Describe and List show it."""
    return _SHOWN.get(EndpointStatus(record.status), record.status)


def statuses_of(shown: str) -> tuple[str, ...]:
    """The statuses of records that are shown as this one."""
    return tuple(s.value for s in EndpointStatus if _SHOWN.get(s, s.value) == shown)


# -- the endpoint beneath ---------------------------------------------------------------------------------------------------------


def host_of(fleet: Fleet | None, endpoint: str, name: str) -> Variant:
    """The variant that the component is to be placed on; `name` may be left out where there is one."""
    hosts = [v for v in fleet.variants if v.hosting] if fleet is not None else []
    chosen = [v for v in hosts if v.name == name] if name else hosts
    if len(chosen) == 1:
        return chosen[0]
    if not hosts:
        raise Invalid(
            f"Endpoint {endpoint} cannot host inference components: its variants have models. Leave ModelName out of the variants of "
            "its endpoint config, and give the config an ExecutionRoleArn."
        )
    known = ", ".join(v.name for v in hosts)
    if not name:
        raise Invalid(f"Please provide VariantName: endpoint {endpoint} has several variants: {known}.")
    raise Invalid(f"Variant {name} of endpoint {endpoint} hosts no inference components. Variants that do: {known}.")


def check_config(variant: Mapping[str, Any], role: str) -> None:
    """Invalid for a variant without a model that could not host components."""
    name = variant["VariantName"]
    if not role:
        raise Invalid(
            f"Production variant '{name}' has no ModelName, so it is for inference components: the endpoint config needs "
            "ExecutionRoleArn."
        )
    scaling = variant.get("ManagedInstanceScaling") or {}
    low, high = scaling.get("MinInstanceCount"), scaling.get("MaxInstanceCount")
    if low is not None and high is not None and low > high:
        raise Invalid(
            f"ManagedInstanceScaling of variant '{name}': MinInstanceCount {low} is above MaxInstanceCount {high}."
        )


def instances_of(host: Variant, needs: Iterable[Need]) -> int:
    """How many instances the variant has: as configured; under ManagedInstanceScaling as many as its components need."""
    scaling = _scaling(host)
    if not scaling:
        return _initial(host)
    size = instances.find(host.instance_type)
    wanted = bins(list(needs), size) if size is not None else None
    low = int(scaling.get("MinInstanceCount", 1))
    return max(low, min(wanted or 0, _most(host)))


def _scaling(host: Variant) -> Mapping[str, Any]:
    scaling: Mapping[str, Any] = host.config.get("ManagedInstanceScaling") or {}
    return scaling if scaling.get("Status") == "ENABLED" else {}


def _initial(host: Variant) -> int:
    return int(host.config.get("InitialInstanceCount", 1))


def _most(host: Variant) -> int:
    return max(_initial(host), int(_scaling(host).get("MaxInstanceCount", 0)))


def sized(host: Variant, count: int) -> Variant:
    """The variant with so many instances (UpdateEndpointWeightsAndCapacities). It has no replicas of its own."""
    return replace(host, count=0, config={**host.config, "InitialInstanceCount": count})


# -- placement --------------------------------------------------------------------------------------------------------------------


def check_room(host: Variant, own: Need, others: Sequence[Need]) -> None:
    """LimitExceeded unless all copies find a place on the variant's instances; Invalid for a copy that no such instance could hold."""
    admission.check_number(host.instance_type, own.copies, "inference component")
    size = instances.find(host.instance_type)
    if size is None:
        return
    if not _holds(size, own):
        raise Invalid(
            f"A copy requires {own.cores:g} CPU cores, {own.memory} MB and {own.accelerators} accelerator device(s); an instance of "
            f"{size.name} has {size.vcpu}, {size.memory >> 20} and {size.accelerators}. Require less, or use a larger instance type."
        )
    wanted, most = bins([*others, own], size), _most(host)
    if wanted is None or wanted > most:
        raise LimitExceeded(
            f"Insufficient capacity: variant '{host.name}' has {most} instance(s) of {size.name}, and {own.copies} copies that require "
            f"{own.cores:g} CPU cores, {own.memory} MB and {own.accelerators} accelerator device(s) each do not fit beside its other "
            "inference components. Use more instances, fewer copies or smaller requirements."
        )


def _holds(size: Size, need: Need) -> bool:
    return need.cores <= size.vcpu and need.memory <= size.memory >> 20 and need.accelerators <= size.accelerators


def bins(needs: Sequence[Need], size: Size) -> int | None:
    """Instances that all copies fit on, the largest placed first; None where one fits on none."""
    copies = sorted(((n.accelerators, n.cores, n.memory) for n in needs for _ in range(n.copies)), reverse=True)
    free: list[tuple[int, float, int]] = []
    for accelerators, cores, memory in copies:
        if accelerators > size.accelerators or cores > size.vcpu or memory > size.memory >> 20:
            return None
        for place, (a, c, m) in enumerate(free):
            if accelerators <= a and cores <= c and memory <= m:
                free[place] = (a - accelerators, c - cores, m - memory)
                break
        else:
            free.append((size.accelerators - accelerators, size.vcpu - cores, (size.memory >> 20) - memory))
    return len(free)


# -- the component ----------------------------------------------------------------------------------------------------------------


def need_of(specification: Mapping[str, Any], copies: int) -> Need:
    required = specification["ComputeResourceRequirements"]
    return Need(
        float(required.get("NumberOfCpuCoresRequired", 1)),
        int(required["MinMemoryRequiredInMb"]),
        int(required.get("NumberOfAcceleratorDevicesRequired", 0)),
        copies,
    )


def request_of(record: Record) -> dict[str, Any]:
    """Specification and RuntimeConfig of what serves; of what comes in, or came in last, where nothing does."""
    shown = _plant(record).shown
    if shown is None:
        raise ValueError(f"{record.arn} has no fleet")
    return _request(record, shown)


def asked_need(record: Record) -> Need:
    """What the change under way asks for; without one, what is there."""
    plant = _plant(record)
    request = _request(record, fleet) if (fleet := plant.incoming or plant.serving) else request_of(record)
    return need_of(request["Specification"], int(request["RuntimeConfig"]["CopyCount"]))


def needs_of(record: Record) -> list[Need]:
    """What others have to leave it: while it changes the larger of what serves and of what comes, copy by copy, since either may stay."""
    plant = _plant(record)
    coming = [fleet for fleet in (plant.serving, plant.incoming) if fleet is not None]
    requests = [_request(record, fleet) for fleet in coming] or [request_of(record)]
    if plant.before:
        [before] = plant.before["variants"].values()
        given = plant.before.get("specification") or record.document["request"]["Specification"]
        requests.append({"Specification": given, "RuntimeConfig": {"CopyCount": before["count"]}})
    needs = [need_of(r["Specification"], int(r["RuntimeConfig"]["CopyCount"])) for r in requests]
    bounds = sorted({0, *(need.copies for need in needs)})
    return [
        Need(
            max(n.cores for n in needs if n.copies > low),
            max(n.memory for n in needs if n.copies > low),
            max(n.accelerators for n in needs if n.copies > low),
            high - low,
        )
        for low, high in pairwise(bounds)
    ]


def _plant(record: Record) -> Plant:
    return Plant.from_json(record.document["plant"])


def _request(record: Record, fleet: Fleet) -> dict[str, Any]:
    # a fleet of a record from before fleets had a specification: the request was the last that was asked
    specification = fleet.specification or record.document["request"]["Specification"]
    return {"Specification": dict(specification), "RuntimeConfig": {"CopyCount": fleet.variants[0].count}}


def check_specification(specification: Mapping[str, Any]) -> None:
    """Invalid for one that says too little, too much, or contradicts itself."""
    if not specification.get("ComputeResourceRequirements"):
        raise Invalid("Please provide Specification.ComputeResourceRequirements.")
    model, container = specification.get("ModelName"), specification.get("Container")
    if bool(model) == bool(container):
        raise Invalid("Please provide either Specification.ModelName or Specification.Container.")
    if container and not container.get("Image"):
        raise Invalid("Please provide Specification.Container.Image.")
    required = specification["ComputeResourceRequirements"]
    least, most = required["MinMemoryRequiredInMb"], required.get("MaxMemoryRequiredInMb")
    if most is not None and most < least:
        raise Invalid(f"MaxMemoryRequiredInMb {most} is below MinMemoryRequiredInMb {least}.")


def container_of(host: Variant, component: str, given: Mapping[str, Any]) -> Container:
    """What Specification.Container describes, with role and network of the endpoint config."""
    url = given.get("ArtifactUrl", "")
    return replace(
        host.container,
        model=component,
        image=given["Image"],
        artifact=url,
        compression="None" if url.endswith("/") else "Gzip",
        prefix=url.endswith("/"),
        environment=dict(given.get("Environment") or {}),
    )


def fleet_of(
    id_: str, host: Variant, container: Container, specification: Mapping[str, Any], copies: int, now: float
) -> Fleet:
    """The copies, each in a sandbox of its own: cores as required, memory up to what is allowed at most."""
    need = need_of(specification, copies)
    size = instances.find(host.instance_type)
    most = specification["ComputeResourceRequirements"].get("MaxMemoryRequiredInMb")
    memory = int(most) if most is not None else max(need.memory, size.memory >> 20 if size else 0)
    row = {
        "VariantName": host.name,
        "ModelName": container.model,
        "InstanceType": instances.component(need.cores, memory, need.accelerators),
        "InitialInstanceCount": copies,
        **(specification.get("StartupParameters") or {}),
    }
    return replace(new_fleet(id_, "", [row], {container.model: container}, now), specification=specification)


def deployment_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """A component's DeploymentConfig as the endpoint's machinery takes it: copies are its instances."""
    rolling = given.get("RollingUpdatePolicy")
    if not rolling:
        return dict(given)
    policy = dict(rolling)
    for member in _POLICIES:
        if member in policy:
            kind = policy[member]["Type"]
            policy[member] = {**policy[member], "Type": "INSTANCE_COUNT" if kind == "COPY_COUNT" else kind}
    return {**given, "RollingUpdatePolicy": policy}


def updated(request: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """`request_of` a component after UpdateInferenceComponent. ModelName and Container take each other's place."""
    old, new = request["Specification"], params.get("Specification") or {}
    kept = dict(old)
    if new.get("ModelName"):
        kept.pop("Container", None)
    if new.get("Container"):
        kept.pop("ModelName", None)
        kept["Container"] = {**(old.get("Container") or {}), **new["Container"]}
        new = {name: value for name, value in new.items() if name != "Container"}
    runtime = params.get("RuntimeConfig") or request["RuntimeConfig"]
    return {**request, "Specification": {**kept, **new}, "RuntimeConfig": dict(runtime)}


def refuse_hosted(arn: str, names: Sequence[str]) -> None:
    """Invalid for deleting an endpoint that still has components."""
    if names:
        raise Invalid(
            f'Cannot delete endpoint "{arn}" while it has inference components: {", ".join(names)}. Delete them first.'
        )
