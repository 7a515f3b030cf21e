"""Feature groups and what is told about their features. Handlers record the request; the feature loop makes and removes the stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from clary.api import paging, records, searchable, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.searchable import Searchable
from clary.domain.errors import Invalid, NotFound
from clary.domain.features import groups
from clary.domain.fields import table
from clary.domain.lifecycle import GroupFact, GroupStatus
from clary.domain.resources import Query, Record
from clary.domain.s3 import parse_uri
from clary.domain.search.plan import Kept

_MANY = 100_000
_SORTS = {"FeatureGroupStatus": "Status", "OfflineStoreStatus": "Name"}
_RECORDED = ("ThroughputConfig", "RoleArn", "Description")


async def find(call: Call, name: str) -> Record:
    """By name or ARN. NotFound in AWS's words."""
    try:
        return await records.named(call, groups.KIND, name)
    except NotFound:
        shown = name.rpartition("/")[2]
        raise NotFound(f"Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name {shown}") from None


@operation("sagemaker", "CreateFeatureGroup", again=lambda _, record: {"FeatureGroupArn": record.arn})
async def create_feature_group(call: Call, params: Params) -> Params:
    """Record it as Creating; the loop sees that its stores take records."""
    table.check("CreateFeatureGroup", params, call.settings.strict_fields)
    groups.check(params)
    if params.get("RoleArn"):
        records.check_role(call, params["RoleArn"])
    request = {name: value for name, value in params.items() if name != "Tags"}
    document: dict[str, Any] = {
        "request": request,
        "tags": tagging.checked(params.get("Tags")),
        "key": call.new_id(),
        "by": call.principal,
    }
    if params.get("OfflineStoreConfig"):
        await _check_bucket(call, params["OfflineStoreConfig"])
        document["offline"] = groups.offline_of(request, call.scope.account, call.scope.region, call.now)
        document["offline_status"] = "Active"
    record = records.new(call, groups.KIND, params["FeatureGroupName"], document, GroupStatus.CREATING)
    return {"FeatureGroupArn": (await records.add(call, record)).arn}


async def _check_bucket(call: Call, offline: Mapping[str, Any]) -> None:
    location = parse_uri(offline["S3StorageConfig"]["S3Uri"])
    if not await call.ports.artifacts.of(call.scope.account).exists(location.bucket):
        raise Invalid(f'The bucket "{location.bucket}" of OfflineStoreConfig.S3StorageConfig.S3Uri does not exist.')


@operation("sagemaker", "DescribeFeatureGroup")
async def describe_feature_group(call: Call, params: Params) -> Params:
    """All features are in one page. NextToken is a required member of the answer: there is none, so it is empty."""
    if params.get("NextToken"):
        raise Invalid("Invalid NextToken: all features are in the first page.")
    record = await find(call, params["FeatureGroupName"])
    answer = {**_described(call, record), "NextToken": ""}
    if answer.get("OnlineStoreConfig"):
        answer["OnlineStoreTotalSizeBytes"] = await call.ports.features.size(record.document["key"])
    return answer


def _described(_: Call, record: Record) -> Params:
    request, document = record.document["request"], record.document
    answer: Params = {
        "FeatureGroupArn": record.arn,
        "FeatureGroupName": record.name,
        "RecordIdentifierFeatureName": request["RecordIdentifierFeatureName"],
        "EventTimeFeatureName": request["EventTimeFeatureName"],
        "FeatureDefinitions": request["FeatureDefinitions"],
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
        "FeatureGroupStatus": record.status,
        **{member: request[member] for member in _RECORDED if request.get(member)},
    }
    if request.get("OnlineStoreConfig"):
        answer["OnlineStoreConfig"] = request["OnlineStoreConfig"]
    if document.get("offline"):
        answer["OfflineStoreConfig"] = _offline(request["OfflineStoreConfig"], document["offline"])
        answer["OfflineStoreStatus"] = _offline_status(document)
    if document.get("updated"):
        answer["LastUpdateStatus"] = {"Status": "Successful"}
    if document.get("failure"):
        answer["FailureReason"] = document["failure"]
    return answer


searchable.register(
    Searchable(
        "FeatureGroup",
        groups.KIND,
        _described,
        Kept(
            {**searchable.TIMES, "FeatureGroupName": "name", "FeatureGroupArn": "arn", "FeatureGroupStatus": "status"}
        ),
    )
)


def _offline(given: Mapping[str, Any], found: Mapping[str, Any]) -> Params:
    storage = {**given["S3StorageConfig"], "ResolvedOutputS3Uri": found["data"]}
    return {
        "DisableGlueTableCreation": False,
        **given,
        "S3StorageConfig": storage,
        "DataCatalogConfig": found["catalog"],
    }


def _offline_status(document: Mapping[str, Any]) -> Params:
    status: Params = {"Status": document["offline_status"]}
    if document.get("blocked"):
        status["BlockedReason"] = document["blocked"]
    return status


@operation("sagemaker", "UpdateFeatureGroup")
async def update_feature_group(call: Call, params: Params) -> Params:
    """Add features, change the time to live of records that are put from now on."""
    table.check("UpdateFeatureGroup", params, call.settings.strict_fields)
    ttl = (params.get("OnlineStoreConfig") or {}).get("TtlDuration")
    if ttl and groups.seconds_of(ttl) is None:
        raise Invalid("TtlDuration needs both Unit and Value.")

    def change(old: Record) -> Record:
        if old.status != GroupStatus.CREATED:
            raise Invalid(f"Feature group {old.name} is {old.status}; only one that is Created can be updated.")
        request = dict(old.document["request"])
        if params.get("FeatureAdditions"):
            request["FeatureDefinitions"] = groups.added(old, params["FeatureAdditions"])
        if ttl:
            online = request.get("OnlineStoreConfig") or {}
            if not online.get("EnableOnlineStore"):
                raise Invalid(f"Feature group {old.name} has no online store, which TtlDuration is for.")
            request["OnlineStoreConfig"] = {**online, "TtlDuration": ttl}
        if params.get("ThroughputConfig"):
            request["ThroughputConfig"] = {**(request.get("ThroughputConfig") or {}), **params["ThroughputConfig"]}
        return replace(old, modified=call.now, document={**old.document, "request": request, "updated": True})

    record = await records.amend(call, lambda: find(call, params["FeatureGroupName"]), change)
    return {"FeatureGroupArn": record.arn}


@operation("sagemaker", "ListFeatureGroups")
async def list_feature_groups(call: Call, params: Params) -> Params:
    sort = params.get("SortBy", "CreationTime")
    status = params.get("FeatureGroupStatusEquals")
    common = {**params, "SortBy": _SORTS.get(sort, sort)}
    query = paging.query(call, {**common, "StatusEquals": status} if status else common, groups.KIND, order="Ascending")
    query = replace(query, after=paging.resume(call, params))
    if params.get("OfflineStoreStatusEquals"):
        query = replace(query, where={"offline_status": params["OfflineStoreStatusEquals"]})
    if sort == "OfflineStoreStatus":
        found, more = await _by_offline_status(call, params, query)
    else:
        found, more = await paging.page(call, params, query)
    return {"FeatureGroupSummaries": [_summary(record) for record in found], **more}


async def _by_offline_status(call: Call, params: Params, query: Query) -> tuple[list[Record], Params]:
    """A page in an order that stores do not have: of groups with the same status, by name."""
    everything = await call.store.page(replace(query, limit=_MANY, after=None))
    found = sorted(everything, key=_offline_position, reverse=query.descending)
    if query.after is not None:
        after = query.after
        found = [
            each
            for each in found
            if (_offline_position(each) < after) == query.descending and _offline_position(each) != after
        ]
    page = found[: query.limit]
    return page, {"NextToken": paging.token(call, params, _offline_position(page[-1]))} if len(
        found
    ) > query.limit else {}


def _offline_position(record: Record) -> tuple[str, str]:
    return record.document.get("offline_status", ""), record.name


def _summary(record: Record) -> Params:
    summary: Params = {
        "FeatureGroupName": record.name,
        "FeatureGroupArn": record.arn,
        "CreationTime": record.created,
        "FeatureGroupStatus": record.status,
    }
    if record.document.get("offline"):
        summary["OfflineStoreStatus"] = _offline_status(record.document)
    return summary


@operation("sagemaker", "DeleteFeatureGroup")
async def delete_feature_group(call: Call, params: Params) -> Params:
    """Mark it for deletion; the loop writes what is left of its history and removes the rest. Objects in S3 stay."""
    await records.amend(
        call,
        lambda: find(call, params["FeatureGroupName"]),
        lambda old: groups.advanced(old, GroupFact.DELETE_ASKED, call.now),
    )
    return {}


@operation("sagemaker", "DescribeFeatureMetadata")
async def describe_feature_metadata(call: Call, params: Params) -> Params:
    record = await find(call, params["FeatureGroupName"])
    return {**_owner(call, record), **_told(record, _feature(record, params["FeatureName"]))}


def _owner(_: Call, record: Record) -> Params:
    """What is told of every feature of a group."""
    return {"FeatureGroupArn": record.arn, "FeatureGroupName": record.name, "CreationTime": record.created}


def _told(record: Record, feature: groups.Feature) -> Params:
    """What is told of one feature."""
    told = (record.document.get("metadata") or {}).get(feature.name) or {}
    return {
        "FeatureName": feature.name,
        "FeatureType": feature.type,
        "LastModifiedTime": told.get("modified", record.created),
        "Description": told.get("description", ""),
        "Parameters": [{"Key": key, "Value": value} for key, value in (told.get("parameters") or {}).items()],
    }


def _searched(record: Record) -> Iterator[tuple[str, Params]]:
    for feature in groups.group_of(record).features.values():
        told = _told(record, feature)
        words = [each[member] for each in told["Parameters"] for member in ("Key", "Value")]
        yield feature.name, {**told, "AllParameters": words}


# AllParameters is the key or the value of any parameter. Source: the developer guide, "Find features in your feature groups".
searchable.register(
    Searchable(
        "FeatureMetadata",
        groups.KIND,
        _owner,
        Kept({"FeatureGroupName": "name", "FeatureGroupArn": "arn", "CreationTime": "created"}),
        parts=_searched,
        also=("AllParameters",),
    )
)


def _feature(record: Record, name: str) -> groups.Feature:
    feature = groups.group_of(record).features.get(name)
    if feature is None:
        raise NotFound(f"Feature group {record.name} has no feature {name}.")
    return feature


@operation("sagemaker", "UpdateFeatureMetadata")
async def update_feature_metadata(call: Call, params: Params) -> Params:
    """Describe a feature; add, overwrite and remove its parameters, of which it has at most 25."""

    def change(old: Record) -> Record:
        name = _feature(old, params["FeatureName"]).name
        metadata = dict(old.document.get("metadata") or {})
        told = dict(metadata.get(name) or {})
        parameters = dict(told.get("parameters") or {})
        for key in params.get("ParameterRemovals") or ():
            parameters.pop(key, None)
        for each in params.get("ParameterAdditions") or ():
            if not each.get("Key") or not each.get("Value"):
                raise Invalid("Each of ParameterAdditions needs a Key and a Value.")
            parameters[each["Key"]] = each["Value"]
        if len(parameters) > 25:
            raise Invalid(f"A feature has at most 25 parameters; {name} would have {len(parameters)}.")
        if params.get("Description") is not None:
            told["description"] = params["Description"]
        metadata[name] = {**told, "parameters": parameters, "modified": call.now}
        return replace(old, document={**old.document, "metadata": metadata})

    await records.amend(call, lambda: find(call, params["FeatureGroupName"]), change)
    return {}
