"""AddTags, ListTags, DeleteTags: on every kind of record, by ARN."""

from __future__ import annotations

from clary.api import tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker import package_names
from clary.domain.errors import Denied, Invalid, NotFound
from clary.domain.resources import KINDS, Record


async def _find(call: Call, arn: str) -> Record:
    """By ARN, in the caller's account; the resource's name may be written as given or in lower case."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn":
        raise Invalid(f"Invalid ARN: {arn}")
    _, partition, service, region, account, tail = parts
    if account != call.scope.account:
        raise Denied(
            f"User: {call.principal} is not authorized to perform: sagemaker:{call.operation} on resource: {arn} because no "
            f"identity-based policy allows the sagemaker:{call.operation} action"
        )
    record = await call.store.by_arn(f"arn:{partition}:{service}:{region}:{account}:{tail.lower()}")
    if record is None or service != "sagemaker" or region != call.scope.region:
        kind = next((k for k in KINDS.values() if k.tail == tail.split("/")[0]), None)
        raise NotFound(f'Could not find {kind.label if kind else "resource"} "{arn}".')
    return record


@operation("sagemaker", "AddTags")
async def add_tags(call: Call, params: Params) -> Params:
    """Add or overwrite; answers all tags of the resource."""
    record = await _find(call, params["ResourceArn"])
    tagging.merged(record.document, params["Tags"])
    rest = await package_names.tagged(call, record, params["Tags"])
    record = await tagging.add(call, lambda: _find(call, params["ResourceArn"]), rest)
    return {"Tags": [*record.document["tags"], *await package_names.shown(call, record)]}


@operation("sagemaker", "ListTags")
async def list_tags(call: Call, params: Params) -> Params:
    """All tags in one page: MaxResults is at least 50, and users can set at most 50. The system's own (`aws:`), which
    nobody can set or delete, count towards no limit."""
    if params.get("NextToken"):
        raise Invalid("Invalid NextToken: all tags are in the first page.")
    record = await _find(call, params["ResourceArn"])
    own = [{"Key": key, "Value": value} for key, value in record.document.get("system_tags", {}).items()]
    return {"Tags": [*record.document.get("tags", []), *await package_names.shown(call, record), *own]}


@operation("sagemaker", "DeleteTags")
async def delete_tags(call: Call, params: Params) -> Params:
    """Keys that do not exist are ignored."""
    record = await tagging.remove(call, lambda: _find(call, params["ResourceArn"]), params["TagKeys"])
    await package_names.untagged(call, record, params["TagKeys"])
    return {}
