"""The port `Operations`: a parent's loop asks the API of its own process, by the same steps as a request does, without HTTP and signature.

Parameters are parsed and checked against botocore's model like a client's; the answer is the handler's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.api import dispatch
from clary.api.call import Ports
from clary.api.errors import ApiError
from clary.api.registry import operation_model
from clary.domain import extensions
from clary.domain.resources import Record
from clary.wire.errors import ServiceError
from clary.wire.json_body import parse_members
from clary.wire.validate import validate


class OwnOperations:
    """`Operations` over the handlers."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def call(
        self, service: str, operation: str, params: Mapping[str, Any], *, parent: Record, key: str = ""
    ) -> dict[str, Any]:
        model = operation_model(service, operation)
        try:
            parsed = {} if model.input_shape is None else parse_members(model.input_shape, dict(params))
            validate(model, parsed, extra_values=extensions.VALUES)
        except ServiceError as error:
            raise ApiError(error.code, error.message, error.status or 400, error.members) from None
        return await dispatch.answer(
            self._ports,
            service,
            operation,
            parsed,
            account=parent.scope.account,
            region=parent.scope.region,
            principal=str(parent.document.get("by") or f"arn:aws:iam::{parent.scope.account}:root"),
            retry_token=key,
            parent=parent.arn,
        )
