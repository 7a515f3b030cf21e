"""Which function answers which operation. A registration names an operation of botocore's model and fails at import when
botocore has no such operation or when it is taken already.

Owns the table; knows nothing of HTTP, records or what the operations do.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from botocore.model import OperationModel, ServiceModel

from clary.api.call import Call, Params
from clary.domain.resources import Record
from clary.wire.models import load

Handler = Callable[[Call, Params], Awaitable[Params]]
Again = Callable[[Call, Record], Params]


@dataclass(frozen=True, slots=True)
class Operation:
    """A registered operation: botocore's service and operation names, and the function."""

    service: str
    name: str
    handler: Handler
    again: Again | None = None  # of a Create: what its client is answered that asks again for the record it has made


_OPERATIONS: dict[tuple[str, str], Operation] = {}


def model(service: str) -> ServiceModel:
    """botocore's model of a service (its client name, "sagemaker"), the one that requests are read by."""
    return load(service)


@functools.lru_cache(maxsize=4096)
def operation_model(service: str, name: str) -> OperationModel:
    """botocore's model of one operation."""
    return model(service).operation_model(name)


def operation(service: str, name: str, again: Again | None = None) -> Callable[[Handler], Handler]:
    """Register the decorated function as the answer to `service`'s operation `name`. ValueError at import otherwise. A Create that stores
    its record by `records.add` says by `again` what its answer is, given the record: for a retry (`retries.py`)."""
    if name not in model(service).operation_names:
        raise ValueError(f"botocore's model of {service} has no operation {name}")

    def register(handler: Handler) -> Handler:
        taken = _OPERATIONS.get((service, name))
        if taken is not None and taken.handler is not handler:
            raise ValueError(f"{service}.{name} is answered by {taken.handler.__module__}.{taken.handler.__qualname__}")
        _OPERATIONS[service, name] = Operation(service, name, handler, again)
        return handler

    return register


def find(service: str, name: str) -> Operation | None:
    return _OPERATIONS.get((service, name))


def registered() -> Mapping[tuple[str, str], Operation]:
    """All operations by (service, name). Complete once `clary.api.handlers.load()` ran."""
    return dict(_OPERATIONS)


def missing(service: str) -> tuple[str, ...]:
    """Operations that botocore models and Clary does not answer yet, sorted."""
    return tuple(sorted(name for name in model(service).operation_names if (service, name) not in _OPERATIONS))
