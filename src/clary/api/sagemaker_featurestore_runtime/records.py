"""Records of feature groups: put, get, update, delete, list, one by one and in batches. Source: the runtime's API reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from clary.api import paging
from clary.api.call import Call, Params
from clary.api.errors import translate
from clary.api.registry import operation
from clary.api.sagemaker import feature_groups
from clary.domain.errors import ClaryError, Invalid
from clary.domain.features import groups, online, values
from clary.domain.features.groups import Group
from clary.domain.features.online import Stored, Write, alive
from clary.domain.lifecycle import GroupStatus
from clary.feature_ports import Entry

_SERVICE = "sagemaker-featurestore-runtime"
_BOTH = ("OnlineStore", "OfflineStore")
_PAGE = 100
_MOST_GROUPS = 10  # of one BatchGetRecord
_KNOWN: dict[
    tuple[str, int], Group
] = {}  # by key and version of the record: a change of the record makes another version
_MOST_KNOWN = 1024


async def _group(call: Call, name: str) -> Group:
    """The group, by name or ARN. NotFound; Invalid when it takes no records now."""
    record = await feature_groups.find(call, name)
    if record.status != GroupStatus.CREATED:
        raise Invalid(
            f"Validation Error: FeatureGroup [{record.name}] is {record.status}; records need one that is Created."
        )
    known = record.document["key"], record.version
    group = _KNOWN.get(known)
    if group is None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        group = _KNOWN[known] = groups.group_of(record)
    return group


def _targets(group: Group, given: Sequence[str] | None) -> tuple[bool, bool]:
    """Whether a write reaches the online and the offline store: those of the group, or of them those that are named."""
    for store in given or ():
        if store not in _BOTH:
            raise Invalid(
                f"Validation Error: TargetStores holds [{store[:100]}]; it can hold OnlineStore and OfflineStore."
            )
    wanted = given or [
        name for name, there in zip(_BOTH, (group.online, group.offline is not None), strict=True) if there
    ]
    if "OnlineStore" in wanted and not group.online:
        raise Invalid(f"Validation Error: FeatureGroup [{group.name}] has no online store.")
    if "OfflineStore" in wanted and group.offline is None:
        raise Invalid(f"Validation Error: FeatureGroup [{group.name}] has no offline store.")
    return "OnlineStore" in wanted, "OfflineStore" in wanted


def _must_be_online(group: Group) -> None:
    if not group.online:
        raise Invalid(f"Validation Error: FeatureGroup [{group.name}] has no online store to read from.")


async def _one(call: Call, entry: Entry) -> None:
    [answer] = await call.ports.features.change([entry], call.now)
    if isinstance(answer, ClaryError):
        raise answer


def _put(call: Call, group: Group, entry: Params, ttl: Any = None) -> Entry:
    given, event = values.checked(group, entry["Record"])
    to_online, to_offline = _targets(group, entry.get("TargetStores"))
    write = Write(
        given, event, online.ttl_seconds(entry.get("TtlDuration") or ttl) or group.ttl, to_online, to_offline, call.now
    )
    return Entry(group.key, given[group.identifier], partial(_put_into, group, write))


def _put_into(group: Group, write: Write, stored: Stored | None) -> online.Change:
    return online.put(group, stored, write)


@operation(_SERVICE, "PutRecord")
async def put_record(call: Call, params: Params) -> Params:
    """Replace the record online unless a later one is stored; append it to the history."""
    group = await _group(call, params["FeatureGroupName"])
    await _one(call, _put(call, group, params))
    return {}


@operation(_SERVICE, "BatchWriteRecord")
async def batch_write_record(call: Call, params: Params) -> Params:
    """Each entry by itself, in one durable write. Errors tell which were refused and why."""
    online.ttl_seconds(params.get("TtlDuration"))
    found: dict[str, Group] = {}
    entries: list[Entry] = []
    errors: list[Params] = []
    given: list[Params] = []
    for entry in params["Entries"]:
        try:
            name = entry["FeatureGroupName"]
            if name not in found:
                found[name] = await _group(call, name)
            entries.append(_put(call, found[name], entry, params.get("TtlDuration")))
            given.append(entry)
        except ClaryError as error:
            errors.append(_error(call, entry, error))
    answers = await call.ports.features.change(entries, call.now) if entries else []
    for entry, answer in zip(given, answers, strict=True):
        if isinstance(answer, ClaryError):
            errors.append(_error(call, entry, answer))
    return {"Errors": errors, "UnprocessedEntries": []}


def _error(call: Call, entry: Params, error: ClaryError) -> Params:
    code, message, _, _ = translate(call.service, call.operation, error)
    return {"Entry": entry, "ErrorCode": code, "ErrorMessage": message[:2048]}


@operation(_SERVICE, "GetRecord")
async def get_record(call: Call, params: Params) -> Params:
    """The record, or nothing where there is none: a missing record is no error."""
    group = await _group(call, params["FeatureGroupName"])
    _must_be_online(group)
    names = params.get("FeatureNames") or ()
    values.check_names(group, names)
    identifier = params["RecordIdentifierValueAsString"]
    stored = alive((await call.ports.features.get(group.key, [identifier])).get(identifier), call.now)
    if stored is None or stored.deleted:
        return {}
    shown = values.shown(group, stored.values, names)
    return {**({"Record": shown} if shown else {}), **_expiry(params, stored)}


def _expiry(params: Params, stored: Stored) -> Params:
    if params.get("ExpirationTimeResponse") != "Enabled" or stored.expires is None:
        return {}
    return {"ExpiresAt": groups.moment(stored.expires)}


@operation(_SERVICE, "BatchGetRecord")
async def batch_get_record(call: Call, params: Params) -> Params:
    """Records of several groups; those that are not there are left out, what cannot be read is told in Errors."""
    identifiers = params["Identifiers"]
    if len({each["FeatureGroupName"] for each in identifiers}) > _MOST_GROUPS:
        raise Invalid(f"Validation Error: Identifiers name more than {_MOST_GROUPS} feature groups.")
    found: list[Params] = []
    errors: list[Params] = []
    for each in identifiers:
        try:
            found += await _of_group(call, params, each)
        except ClaryError as error:
            code, message, _, _ = translate(call.service, call.operation, error)
            errors += [
                {
                    "FeatureGroupName": each["FeatureGroupName"],
                    "RecordIdentifierValueAsString": identifier,
                    "ErrorCode": code,
                    "ErrorMessage": message,
                }
                for identifier in each["RecordIdentifiersValueAsString"]
            ]
    return {"Records": found, "Errors": errors, "UnprocessedIdentifiers": []}


async def _of_group(call: Call, params: Params, wanted: Params) -> list[Params]:
    group = await _group(call, wanted["FeatureGroupName"])
    _must_be_online(group)
    names = wanted.get("FeatureNames") or ()
    values.check_names(group, names)
    rows = await call.ports.features.get(group.key, wanted["RecordIdentifiersValueAsString"])
    found = []
    for identifier, row in rows.items():
        shown = values.shown(group, row.values, names)
        if alive(row, call.now) is not None and not row.deleted and shown:
            found.append(
                {
                    "FeatureGroupName": wanted["FeatureGroupName"],
                    "RecordIdentifierValueAsString": identifier,
                    "Record": shown,
                    **_expiry(params, row),
                }
            )
    return found


@operation(_SERVICE, "DeleteRecord")
async def delete_record(call: Call, params: Params) -> Params:
    """Hide the record (SoftDelete) or remove it (HardDelete), and write a marker into the history."""
    group = await _group(call, params["FeatureGroupName"])
    to_online, to_offline = _targets(group, params.get("TargetStores"))
    identifier, event = params["RecordIdentifierValueAsString"], params["EventTime"]
    hard = params.get("DeletionMode") == "HardDelete"

    def remove(stored: Stored | None) -> online.Change:
        return online.delete(group, identifier, stored, event, hard, to_online, to_offline, call.now)

    await _one(call, Entry(group.key, identifier, remove))
    return {}


@operation(_SERVICE, "UpdateRecord")
async def update_record(call: Call, params: Params) -> Params:
    """Change some features of a record; the others stay."""
    group = await _group(call, params["FeatureGroupName"])
    if group.storage not in groups.PARTIAL:
        raise Invalid(
            f"Validation Error: UpdateRecord needs an online store of StorageType {' or '.join(groups.PARTIAL)}; that of FeatureGroup "
            f"[{group.name}] is {group.storage or 'not enabled'}."
        )
    _, to_offline = _targets(group, params.get("TargetStores"))
    identifier, changed = params["RecordIdentifierValueAsString"], values.partial(group, params["Features"])
    ttl = online.ttl_seconds(params.get("TtlDuration"))

    def update(stored: Stored | None) -> online.Change:
        return online.update(group, identifier, stored, changed, ttl, to_offline, call.now)

    await _one(call, Entry(group.key, identifier, update))
    return {}


@operation(_SERVICE, "ListRecords")
async def list_records(call: Call, params: Params) -> Params:
    """Identifiers in byte order."""
    group = await _group(call, params["FeatureGroupName"])
    _must_be_online(group)
    limit = params.get("MaxResults", _PAGE)
    after = paging.resume(call, params)
    found = await call.ports.features.identifiers(
        group.key, after[1] if after else "", limit + 1, bool(params.get("IncludeSoftDeletedRecords")), call.now
    )
    more = {"NextToken": paging.token(call, params, ("", found[limit - 1]))} if len(found) > limit else {}
    return {"RecordIdentifiers": found[:limit], **more}
