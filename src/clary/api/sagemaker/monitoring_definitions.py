"""Job definitions of monitors: create, describe, list, delete. The four kinds are rows of a table, whose handlers are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clary.api import images, paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import Invalid
from clary.domain.monitoring import definitions
from clary.domain.monitoring.definitions import MONITOR_KINDS, Monitor, MonitorKind
from clary.domain.resources import Record


def check(call: Call, monitor: Monitor) -> None:
    """Invalid, in AWS's words, for a definition whose runs could not be started."""
    definitions.check(monitor)
    images.require(call, monitor.image, training=True)
    records.check_role(call, monitor.role)
    runtime = call.ports.runtimes.resolve(monitor.image)
    if not monitor.entrypoint and (runtime is None or not runtime.process):
        raise Invalid(f"Image '{monitor.image}' has no program of its own: name one in ContainerEntrypoint.")


def summary(record: Record) -> Params:
    """MonitoringJobDefinitionSummary."""
    return {
        "MonitoringJobDefinitionName": record.name,
        "MonitoringJobDefinitionArn": record.arn,
        "CreationTime": record.created,
        "EndpointName": record.document["endpoint"],
    }


def _register(row: MonitorKind) -> None:
    name = f"{row.type}JobDefinition"

    def created(_: Call, record: Record) -> Params:
        return {"JobDefinitionArn": record.arn}

    @operation("sagemaker", f"Create{name}", again=created)
    async def create(call: Call, params: Params) -> Params:
        """Record what a monitor's runs are to do; schedules name it."""
        request = {member: value for member, value in params.items() if member != "Tags"}
        monitor = definitions.of_definition(row.type, request)
        check(call, monitor)
        document: dict[str, Any] = {
            "request": request,
            "tags": tagging.checked(params.get("Tags")),
            "endpoint": monitor.endpoint,
        }
        made = records.new(call, row.kind, params["JobDefinitionName"], document)
        return {"JobDefinitionArn": (await records.add(call, made)).arn}

    @operation("sagemaker", f"Describe{name}")
    async def describe(call: Call, params: Params) -> Params:
        """As it was created."""
        record = await records.find(call, row.kind, params["JobDefinitionName"])
        return {**record.document["request"], "JobDefinitionArn": record.arn, "CreationTime": record.created}

    @operation("sagemaker", f"List{name}s")
    async def list_(call: Call, params: Params) -> Params:
        """A page of definitions."""
        wanted = paging.query(call, params, row.kind)
        if params.get("EndpointName"):
            wanted = replace(wanted, where={"endpoint": params["EndpointName"]})
        found, more = await paging.page(call, params, wanted)
        return {"JobDefinitionSummaries": [summary(record) for record in found], **more}

    @operation("sagemaker", f"Delete{name}")
    async def delete(call: Call, params: Params) -> Params:
        """Delete the definition; the schedules that name it fail when they are due."""
        await records.drop(call, row.kind, params["JobDefinitionName"])
        return {}


for _row in MONITOR_KINDS.values():
    _register(_row)
