"""Policies of model package groups, endpoints and lineage groups. Their text is kept with the resource and shown; Clary shares nothing with
other accounts, so nothing acts on it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

from clary.api import paging, records
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.errors import Invalid, NotFound
from clary.domain.resources import KINDS, Record

Read = Callable[[], Awaitable[Record]]


def checked(text: str) -> str:
    """Invalid for a text that is no policy: a JSON structure with a Statement."""
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        policy = None
    if not isinstance(policy, dict) or not policy.get("Statement"):
        raise Invalid("ResourcePolicy must be a policy: a JSON object with at least one Statement.")
    return text


async def put(call: Call, read: Read, text: str) -> Record:
    policy = checked(text)
    return await records.amend(call, read, lambda old: replace(old, document={**old.document, "policy": policy}))


def text_of(record: Record) -> str:
    """NotFound where it has none, in the words that Terraform looks for."""
    policy = record.document.get("policy")
    if policy is None:
        raise NotFound(f"Cannot find resource policy for {KINDS[record.kind].label} {record.arn}.")
    return str(policy)


async def remove(call: Call, read: Read) -> None:
    def change(old: Record) -> Record:
        text_of(old)
        return replace(old, document={name: value for name, value in old.document.items() if name != "policy"})

    await records.amend(call, read, change)


def _group(call: Call, params: Params) -> Read:
    name = params["ModelPackageGroupName"]

    async def read() -> Record:
        found = await call.store.get("model-package-group", call.scope, name)
        if found is None:
            raise NotFound(f"Cannot find Model Package Group: {call.arn('model-package-group', name)}")
        return found

    return read


def _endpoint(call: Call, params: Params) -> Read:
    return lambda: records.find(call, "endpoint", params["EndpointName"])


@operation("sagemaker", "PutModelPackageGroupPolicy")
async def put_model_package_group_policy(call: Call, params: Params) -> Params:
    """Keep the policy's text with the group: Clary shares no groups, so nothing acts on it."""
    return {"ModelPackageGroupArn": (await put(call, _group(call, params), params["ResourcePolicy"])).arn}


@operation("sagemaker", "GetModelPackageGroupPolicy")
async def get_model_package_group_policy(call: Call, params: Params) -> Params:
    """The text as it was given."""
    return {"ResourcePolicy": text_of(await _group(call, params)())}


@operation("sagemaker", "DeleteModelPackageGroupPolicy")
async def delete_model_package_group_policy(call: Call, params: Params) -> Params:
    """Remove the text; the group stays."""
    await remove(call, _group(call, params))
    return {}


@operation("sagemaker", "PutEndpointPolicy")
async def put_endpoint_policy(call: Call, params: Params) -> Params:
    """Keep the policy's text with the endpoint: Clary shares no endpoints, so nothing acts on it."""
    return {"EndpointArn": (await put(call, _endpoint(call, params), params["ResourcePolicy"])).arn}


@operation("sagemaker", "GetEndpointPolicy")
async def get_endpoint_policy(call: Call, params: Params) -> Params:
    """The text as it was given."""
    record = await _endpoint(call, params)()
    return {"EndpointName": record.name, "EndpointArn": record.arn, "ResourcePolicy": text_of(record)}


@operation("sagemaker", "DeleteEndpointPolicy")
async def delete_endpoint_policy(call: Call, params: Params) -> Params:
    """Remove the text; the endpoint stays."""
    await remove(call, _endpoint(call, params))
    return {}


@operation("sagemaker", "GetLineageGroupPolicy")
async def get_lineage_group_policy(call: Call, params: Params) -> Params:
    """Always "not found": a lineage group gets a policy when it is shared with other accounts, which Clary does not do."""
    record = await records.named(call, "lineage-group", params["LineageGroupName"])
    return {"LineageGroupArn": record.arn, "ResourcePolicy": text_of(record)}


@operation("sagemaker", "ListResourceCatalogs")
async def list_resource_catalogs(call: Call, params: Params) -> Params:
    """Always empty: a catalog is what other accounts share."""
    paging.resume(call, params)
    return {"ResourceCatalogs": []}
