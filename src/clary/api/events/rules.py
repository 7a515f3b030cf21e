"""EventBridge: rules are records with their targets; loops fire and carry. Source: EventBridge API reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import InUse, LimitExceeded, NotFound
from clary.domain.events import rules
from clary.domain.resources import Query, Record
from clary.guarded import MADE_OR_CHANGED, until_first

PAGE = 100


@operation("events", "PutRule")
async def put_rule(call: Call, params: Params) -> Params:
    """Make the rule, or replace what it is for; its targets stay."""
    rules.check_bus(params.get("EventBusName"), call.scope)
    name = rules.check_name(params["Name"])
    pattern, schedule = params.get("EventPattern") or "", params.get("ScheduleExpression") or ""
    rules.checked(pattern, schedule)
    status = params.get("State") or rules.ENABLED
    tags = tagging.checked(params.get("Tags"))
    about = {
        "pattern": pattern,
        "schedule": schedule,
        "description": params.get("Description") or "",
        "by": call.principal,
    }
    about |= {"role": params.get("RoleArn") or "", "began": call.now, "due": None}

    async def attempt() -> Record:
        old = await call.store.get(rules.RULE, call.scope, name)
        if old is None:
            document = {**about, "targets": [], "tags": tags}
            return await call.store.add(
                Record(
                    rules.RULE, call.scope, name, rules.rule_arn(call.scope, name), status, call.now, call.now, document
                )
            )
        document = {**old.document, **about, "tags": tags or old.document["tags"]}
        return await call.store.save(replace(old, status=status, modified=call.now, document=document))

    return {"RuleArn": (await until_first(attempt, "The rule", MADE_OR_CHANGED)).arn}


@operation("events", "DescribeRule")
async def describe_rule(call: Call, params: Params) -> Params:
    found = await find(call, params["Name"], params)
    return {**_described(found), "CreatedBy": found.scope.account}


@operation("events", "ListRules")
async def list_rules(call: Call, params: Params) -> Params:
    rules.check_bus(params.get("EventBusName"), call.scope)
    prefix = params.get("NamePrefix") or ""
    found, more = await paging.page(
        call, params, _query(call, params, prefix), lambda record: record.name.startswith(prefix)
    )
    return {"Rules": [_described(record) for record in found], **more}


@operation("events", "EnableRule")
async def enable_rule(call: Call, params: Params) -> Params:
    await _amend(
        call, params, "Name", lambda old: replace(old, status=rules.ENABLED, document={**old.document, "due": None})
    )
    return {}


@operation("events", "DisableRule")
async def disable_rule(call: Call, params: Params) -> Params:
    """Nothing is matched or fired until it is enabled; what is on its way is delivered."""
    await _amend(call, params, "Name", lambda old: replace(old, status=rules.DISABLED))
    return {}


@operation("events", "DeleteRule")
async def delete_rule(call: Call, params: Params) -> Params:
    """Delete a rule without targets; no error when it does not exist."""
    rules.check_bus(params.get("EventBusName"), call.scope)

    async def attempt() -> None:
        found = await call.store.get(rules.RULE, call.scope, params["Name"])
        if found is None:
            return
        if found.document["targets"]:
            raise InUse("Rule can't be deleted since it has targets.")
        await call.store.remove(found)

    await until_first(attempt, "The rule")
    return {}


# -- targets ------------------------------------------------------------------------------------------------------------------------


@operation("events", "PutTargets")
async def put_targets(call: Call, params: Params) -> Params:
    """Add targets, or replace those of the same id."""
    given = params["Targets"]
    for target in given:
        rules.check_target(target, call.scope)

    def change(old: Record) -> Record:
        merged = {target["Id"]: target for target in (*old.document["targets"], *given)}
        if len(merged) > rules.TARGETS:
            raise LimitExceeded(f"A rule can have at most {rules.TARGETS} targets; this would make it {len(merged)}.")
        return replace(old, modified=call.now, document={**old.document, "targets": list(merged.values())})

    await _amend(call, params, "Rule", change)
    return {"FailedEntryCount": 0, "FailedEntries": []}


@operation("events", "RemoveTargets")
async def remove_targets(call: Call, params: Params) -> Params:
    failed: list[Params] = []

    def change(old: Record) -> Record:
        known = {target["Id"] for target in old.document["targets"]}
        failed[:] = [
            {"TargetId": id_, "ErrorCode": "ResourceNotFoundException", "ErrorMessage": f"Target {id_} does not exist on rule {old.name}."}
            for id_ in params["Ids"]
            if id_ not in known
        ]  # fmt: skip
        left = [target for target in old.document["targets"] if target["Id"] not in params["Ids"]]
        return replace(old, modified=call.now, document={**old.document, "targets": left})

    await _amend(call, params, "Rule", change)
    return {"FailedEntryCount": len(failed), "FailedEntries": failed}


@operation("events", "ListTargetsByRule")
async def list_targets_by_rule(call: Call, params: Params) -> Params:
    """All targets are in one page: a rule has at most a hundred."""
    paging.resume(call, params)
    return {"Targets": (await find(call, params["Rule"], params)).document["targets"]}


@operation("events", "ListRuleNamesByTarget")
async def list_rule_names_by_target(call: Call, params: Params) -> Params:
    rules.check_bus(params.get("EventBusName"), call.scope)
    arn = params["TargetArn"]
    found, more = await paging.page(
        call,
        params,
        _query(call, params),
        lambda record: any(target["Arn"] == arn for target in record.document["targets"]),
    )
    return {"RuleNames": [record.name for record in found], **more}


# -- records ------------------------------------------------------------------------------------------------------------------------


async def find(call: Call, name: str, params: Params) -> Record:
    """The caller's rule."""
    rules.check_bus(params.get("EventBusName"), call.scope)
    found = await call.store.get(rules.RULE, call.scope, name)
    if found is None:
        raise NotFound(f"Rule {name} does not exist on EventBus default.")
    return found


async def _by_arn(call: Call, arn: str) -> Record:
    found = await call.store.by_arn(arn)
    if found is None or found.kind != rules.RULE or found.scope != call.scope:
        raise NotFound(f"Rule {arn[:300]} does not exist on EventBus default.")
    return found


tagging.register("events", "ResourceARN", _by_arn, "a rule")


async def _amend(call: Call, params: Params, member: str, change: Callable[[Record], Record]) -> None:
    await records.amend(call, lambda: find(call, params[member], params), change)


def _query(call: Call, params: Params, part: str = "") -> Query:
    limit = params.get("Limit") or PAGE
    after = paging.resume(call, params)
    return Query(rules.RULE, call.scope, name_contains=part, sort_by="name", descending=False, limit=limit, after=after)


def _described(record: Record) -> Params:
    document = record.document
    told = {
        "Name": record.name,
        "Arn": record.arn,
        "EventPattern": document["pattern"],
        "ScheduleExpression": document["schedule"],
        "State": record.status,
        "Description": document["description"],
        "RoleArn": document["role"],
        "EventBusName": rules.BUS,
    }
    return {name: value for name, value in told.items() if value}
