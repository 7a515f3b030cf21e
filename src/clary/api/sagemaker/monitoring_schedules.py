"""Monitoring schedules, their executions and alerts. Handlers record; the loops of monitoring act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import monitoring_definitions
from clary.domain.errors import Invalid, NotFound
from clary.domain.lifecycle import MONITOR, MonitorFact, MonitorStatus, admits, advance
from clary.domain.monitoring import definitions, windows
from clary.domain.monitoring import record as monitoring
from clary.domain.monitoring.definitions import DATA, MONITOR_KINDS, Monitor
from clary.domain.resources import Query, Record
from clary.guarded import until_first


async def _find(call: Call, name: str) -> Record:
    record = await call.store.get(monitoring.SCHEDULE, call.scope, name)
    if record is None:
        raise NotFound(f'Monitoring Schedule "{call.arn(monitoring.SCHEDULE, name)}" not found')
    return record


async def _monitor(call: Call, config: Params) -> Monitor:
    """What a schedule's runs are to do. Invalid, or NotFound for a definition that does not exist."""
    inline, name = config.get("MonitoringJobDefinition"), config.get("MonitoringJobDefinitionName")
    type_ = config.get("MonitoringType") or DATA
    if bool(inline) == bool(name):
        raise Invalid("Give exactly one of MonitoringJobDefinition and MonitoringJobDefinitionName.")
    windows.check(config)
    if not name:
        if type_ != DATA:
            raise Invalid(
                f"MonitoringJobDefinition is for MonitoringType DataQuality; make a job definition for {type_}."
            )
        monitor = definitions.of_inline(config["MonitoringJobDefinition"])
        monitoring_definitions.check(call, monitor)
        return monitor
    if not config.get("MonitoringType"):
        raise Invalid("MonitoringType is needed with MonitoringJobDefinitionName.")
    record = await records.find(call, MONITOR_KINDS[type_].kind, str(name))
    return definitions.of_definition(type_, record.document["request"])


@operation("sagemaker", "CreateMonitoringSchedule", again=lambda _, record: {"MonitoringScheduleArn": record.arn})
async def create_monitoring_schedule(call: Call, params: Params) -> Params:
    """Record the schedule as Pending; its loop checks it and makes executions when they are due."""
    monitor = await _monitor(call, params["MonitoringScheduleConfig"])
    request = {name: value for name, value in params.items() if name != "Tags"}
    tags = tagging.checked(params.get("Tags"))
    document = monitoring.schedule_document(request, tags, call.principal, call.new_id(), monitor, call.now)
    made = records.new(call, monitoring.SCHEDULE, params["MonitoringScheduleName"], document, MonitorStatus.PENDING)
    return {"MonitoringScheduleArn": (await records.add(call, made)).arn}


@operation("sagemaker", "UpdateMonitoringSchedule")
async def update_monitoring_schedule(call: Call, params: Params) -> Params:
    """Replace the config: Pending again, and due from now on."""
    config = params["MonitoringScheduleConfig"]
    monitor = await _monitor(call, config)

    def change(old: Record) -> Record:
        request = {**old.document["request"], "MonitoringScheduleConfig": config}
        document = {**old.document, "request": request, **monitoring.begun(config, monitor, call.now)}
        status = advance(MONITOR, old.status, MonitorFact.CHANGED)
        return replace(old, status=status, modified=call.now, document=document)

    changed = await records.amend(call, lambda: _find(call, params["MonitoringScheduleName"]), change)
    return {"MonitoringScheduleArn": changed.arn}


async def _move(call: Call, params: Params, fact: MonitorFact, more: Callable[[Record], dict[str, Any]]) -> None:
    """Without effect where it is so already."""

    def change(old: Record) -> Record:
        if not admits(MONITOR, old.status, fact):
            return old
        status = advance(MONITOR, old.status, fact)
        return replace(old, status=status, modified=call.now, document={**old.document, **more(old)})

    await records.amend(call, lambda: _find(call, params["MonitoringScheduleName"]), change)


@operation("sagemaker", "StartMonitoringSchedule")
async def start_monitoring_schedule(call: Call, params: Params) -> Params:
    """Start a stopped schedule; what was due meanwhile is not made up."""
    monitor = await _monitor(
        call, (await _find(call, params["MonitoringScheduleName"])).document["request"]["MonitoringScheduleConfig"]
    )
    await _move(
        call,
        params,
        MonitorFact.START_ASKED,
        lambda old: monitoring.begun(old.document["request"]["MonitoringScheduleConfig"], monitor, call.now),
    )
    return {}


@operation("sagemaker", "StopMonitoringSchedule")
async def stop_monitoring_schedule(call: Call, params: Params) -> Params:
    """Stop the schedule; an execution that is under way goes on."""
    await _move(call, params, MonitorFact.STOP_ASKED, lambda _: {"due": None})
    return {}


@operation("sagemaker", "DeleteMonitoringSchedule")
async def delete_monitoring_schedule(call: Call, params: Params) -> Params:
    """Delete the schedule; its executions stay listed. Invalid while one is under way, as on AWS."""

    async def attempt() -> None:
        record = await _find(call, params["MonitoringScheduleName"])
        wanted = Query(
            monitoring.EXECUTION, call.scope, where={"schedule": record.name}, statuses=monitoring.OPEN, limit=1
        )
        if await call.store.page(wanted):
            raise Invalid(
                f"Cannot delete the monitoring schedule '{record.name}' while an execution of it is in progress: wait for its end, or stop "
                "its processing job."
            )
        await call.store.remove(record)

    await until_first(attempt, "The monitoring schedule")
    return {}


@operation("sagemaker", "DescribeMonitoringSchedule")
async def describe_monitoring_schedule(call: Call, params: Params) -> Params:
    """With the last execution."""
    record = await _find(call, params["MonitoringScheduleName"])
    answer = monitoring.schedule_summary(record)
    answer.pop("MonitoringJobDefinitionName", None)
    answer["MonitoringScheduleConfig"] = record.document["request"]["MonitoringScheduleConfig"]
    if record.document["failure"]:
        answer["FailureReason"] = record.document["failure"]
    last = await call.store.page(Query(monitoring.EXECUTION, call.scope, where={"schedule": record.name}, limit=1))
    if last:
        answer["LastMonitoringExecutionSummary"] = monitoring.execution_summary(last[0])
    return answer


_FILTERS = {"EndpointName": "endpoint", "MonitoringJobDefinitionName": "definition", "MonitoringTypeEquals": "type"}


def _where(params: Params, **more: str) -> dict[str, str]:
    return {**more, **{key: params[name] for name, key in _FILTERS.items() if params.get(name)}}


@operation("sagemaker", "ListMonitoringSchedules")
async def list_monitoring_schedules(call: Call, params: Params) -> Params:
    """A page of schedules."""
    wanted = replace(paging.query(call, params, monitoring.SCHEDULE), where=_where(params))
    found, more = await paging.page(call, params, wanted)
    return {"MonitoringScheduleSummaries": [monitoring.schedule_summary(record) for record in found], **more}


@operation("sagemaker", "ListMonitoringExecutions")
async def list_monitoring_executions(call: Call, params: Params) -> Params:
    """A page of executions; by the time that they were due for."""
    by = params.get("SortBy", "CreationTime")
    asked = {**params, "SortBy": "CreationTime" if by == "ScheduledTime" else by}
    schedule = {"schedule": params["MonitoringScheduleName"]} if params.get("MonitoringScheduleName") else {}
    wanted = replace(
        paging.query(call, asked, monitoring.EXECUTION),
        where=_where(params, **schedule),
        created_after=paging.seconds(params.get("ScheduledTimeAfter")),
        created_before=paging.seconds(params.get("ScheduledTimeBefore")),
        after=paging.resume(call, params),
    )
    after, before = (paging.seconds(params.get(f"CreationTime{which}")) for which in ("After", "Before"))

    def keep(record: Record) -> bool:
        made = float(record.document["made"])
        return (after is None or made > after) and (before is None or made < before)

    found, more = await paging.page(call, params, wanted, keep)
    return {"MonitoringExecutionSummaries": [monitoring.execution_summary(record) for record in found], **more}


# -- alerts -----------------------------------------------------------------------------------------------------------------------


def _check_alert(record: Record, name: str) -> None:
    if name != monitoring.alert_name(record):
        raise NotFound(
            f'Could not find monitoring alert "{name}" of the monitoring schedule "{record.arn}": its alert has the schedule\'s name.'
        )


@operation("sagemaker", "UpdateMonitoringAlert")
async def update_monitoring_alert(call: Call, params: Params) -> Params:
    """Change how many of the last executions must have violations; the alert is evaluated anew."""
    points, period = params["DatapointsToAlert"], params["EvaluationPeriod"]
    if points > period:
        raise Invalid(f"DatapointsToAlert ({points}) must not be greater than EvaluationPeriod ({period}).")

    def change(old: Record) -> Record:
        _check_alert(old, params["MonitoringAlertName"])
        alert = {**old.document["alert"], "points": points, "period": period, "modified": call.now}
        return monitoring.evaluated(replace(old, document={**old.document, "alert": alert}), call.now)

    changed = await records.amend(call, lambda: _find(call, params["MonitoringScheduleName"]), change)
    return {"MonitoringScheduleArn": changed.arn, "MonitoringAlertName": monitoring.alert_name(changed)}


@operation("sagemaker", "ListMonitoringAlerts")
async def list_monitoring_alerts(call: Call, params: Params) -> Params:
    """The alert of a schedule: there is one."""
    record = await _find(call, params["MonitoringScheduleName"])
    alert = record.document["alert"]
    shown = {
        "MonitoringAlertName": monitoring.alert_name(record),
        "CreationTime": alert["created"],
        "LastModifiedTime": alert["modified"],
        "AlertStatus": alert["status"],
        "DatapointsToAlert": alert["points"],
        "EvaluationPeriod": alert["period"],
        "Actions": {"ModelDashboardIndicator": {"Enabled": True}},
    }
    found, more = paging.part(call, params, [shown])
    return {"MonitoringAlertSummaries": list(found), **more}


@operation("sagemaker", "ListMonitoringAlertHistory")
async def list_monitoring_alert_history(call: Call, params: Params) -> Params:
    """The changes of an alert's status, of one schedule or of all."""
    if params.get("MonitoringScheduleName"):
        found = [await _find(call, params["MonitoringScheduleName"])]
        if params.get("MonitoringAlertName"):
            _check_alert(found[0], params["MonitoringAlertName"])
    else:
        found = [each async for each in _all(call)]
        name = params.get("MonitoringAlertName")
        found = [record for record in found if not name or monitoring.alert_name(record) == name]
    after, before = (paging.seconds(params.get(f"CreationTime{which}")) for which in ("After", "Before"))
    rows = [
        {
            "MonitoringScheduleName": record.name,
            "MonitoringAlertName": monitoring.alert_name(record),
            "CreationTime": at,
            "AlertStatus": status,
        }
        for record in found
        for at, status in record.document["alerts"]
        if (after is None or at > after) and (before is None or at < before)
    ]
    wanted = params.get("StatusEquals")
    rows = [row for row in rows if wanted in (None, row["AlertStatus"])]
    key = "AlertStatus" if params.get("SortBy") == "Status" else "CreationTime"
    rows.sort(key=lambda row: row[key], reverse=params.get("SortOrder", "Descending") == "Descending")
    page, more = paging.part(call, params, rows)
    return {"MonitoringAlertHistory": list(page), **more}


async def _all(call: Call) -> Any:
    """Every schedule of the caller."""
    wanted = Query(monitoring.SCHEDULE, call.scope, sort_by="name", descending=False, limit=100)
    while found := await call.store.page(wanted):
        for record in found:
            yield record
        wanted = replace(wanted, after=paging.position(found[-1], "name"))
