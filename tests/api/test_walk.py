"""Every registered operation, given requests that its model allows: it answers, or refuses with an error of AWS's. Never a 500."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.bases import BASES
from tests.api.house import house, subscription
from tests.api.requests import TRUST, mutations, reductions, requests

from clary.api import handlers, registry
from clary.api.errors import translate
from clary.domain.errors import ClaryError
from clary.wire.models import load
from clary.wire.protocol import serialize_response
from clary.wire.validate import violations

handlers.load()
OPERATIONS = sorted(registry.registered())
IDS = [f"{operation}-{at}" for at, (_, operation, _) in enumerate(BASES)]


async def answered(service: str, operation: str, params: dict[str, Any]) -> str:
    """What it is refused with, "" for an answer, which must fit its shape. Requests that the model does not allow never get here."""
    shape = registry.operation_model(service, operation).input_shape
    broken = list(violations(shape, params)) if shape is not None else []
    if broken:
        return str(broken[0])
    world = await house()
    try:
        answer = await world(service, operation, **params)
    except ClaryError as error:
        code, message, status, _ = translate(service, operation, error)
        assert status < 500, f"{code}: {message}"
        assert message
        return f"{code}: {message}"
    serialize_response(load(service), load(service).operation_model(operation), answer, "id")
    return ""


def filled(value: Any) -> Any:
    """A base with what is known at run time only."""
    if isinstance(value, dict):
        return {key: filled(each) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each) for each in value]
    if value == "{subscription}":
        return asyncio.run(subscription())
    return TRUST if value == "{trust}" else value


@pytest.mark.parametrize(("service", "operation", "base"), BASES, ids=IDS)
def test_the_requests_that_the_walk_begins_with_are_good(service: str, operation: str, base: dict[str, Any]) -> None:
    assert asyncio.run(answered(service, operation, filled(base))) == ""


@pytest.mark.parametrize(("service", "operation", "base"), BASES, ids=IDS)
def test_a_good_request_without_any_one_of_its_members_is_no_internal_failure(
    service: str, operation: str, base: dict[str, Any]
) -> None:
    shape = registry.operation_model(service, operation).input_shape

    async def all_of_them() -> None:
        for params in reductions(shape, good):
            await answered(service, operation, params)

    good = filled(base)
    asyncio.run(all_of_them())


@pytest.mark.parametrize(("service", "operation", "base"), BASES, ids=IDS)
@given(data=st.data())
@settings(max_examples=40, derandomize=True, database=None)
def test_no_change_of_a_good_request_is_an_internal_failure(
    service: str, operation: str, base: dict[str, Any], data: st.DataObject
) -> None:
    shape = registry.operation_model(service, operation).input_shape
    asyncio.run(answered(service, operation, data.draw(mutations(shape, filled(base)))))


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
@given(data=st.data())
@settings(max_examples=20, derandomize=True, database=None)
def test_no_request_that_the_model_allows_is_an_internal_failure(
    service: str, operation: str, data: st.DataObject
) -> None:
    shape = registry.operation_model(service, operation).input_shape
    asyncio.run(answered(service, operation, data.draw(requests(shape)) if shape is not None else {}))
