"""From an operation and its parameters to an answer: finds the handler, makes the `Call`, leaves errors to `errors.translate`."""

from __future__ import annotations

from dataclasses import replace

from clary.api import registry, retries
from clary.api.call import Call, Params, Ports
from clary.api.errors import ApiError
from clary.api.refusals.table import REFUSED, empty
from clary.domain.fields.table import check_elsewhere
from clary.domain.ids import written
from clary.domain.resources import Scope


def unknown(service: str, operation: str) -> ApiError:
    """The answer to an operation that AWS has and Clary lacks, or will not have."""
    reason = REFUSED.get((service, operation))
    if reason is not None:
        return ApiError("UnknownOperationException", f"{service} {operation} is not supported. {reason}")
    return ApiError(
        "UnknownOperationException",
        f"Clary does not implement {service} {operation} yet. docs/operations.md lists what it does.",
    )


async def answer(
    ports: Ports,
    service: str,
    operation: str,
    params: Params,
    *,
    account: str,
    region: str,
    principal: str,
    request_id: str = "",
    user_agent: str = "",
    retry_token: str = "",
    attempt: int = 0,
    parent: str = "",
) -> Params:
    """Run the operation. ClaryError for everything a client can be told (see `errors.translate`). `attempt` is the client's count of its
    attempts at this call, 0 when it does not say; `parent` is the ARN of the record whose loop asks."""
    found = registry.find(service, operation)
    if found is None:
        nothing = empty(service, operation)
        if nothing is not None:
            return nothing
        raise unknown(service, operation)
    call = Call(
        ports=ports,
        service=service,
        operation=operation,
        scope=Scope(account, region),
        principal=written(principal, region),
        request_id=request_id,
        user_agent=user_agent,
        retry_token=retry_token,
        attempt=attempt,
        parent=parent,
        now=ports.clock.now(),
    )
    check_elsewhere(service, operation, params, ports.settings.strict_fields)
    if found.again is None:
        return await found.handler(call, params)
    call = replace(call, made_by=retries.made_by(call, params))
    return await retries.create(call, params, found.handler, found.again)
