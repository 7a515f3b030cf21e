"""What Clary will not have is refused with a reason, in every service that lists it."""

from __future__ import annotations

import pytest

from clary.api import registry
from clary.api.call import Ports
from clary.api.dispatch import answer
from clary.api.errors import ApiError
from clary.api.refusals import REFUSED


@pytest.mark.parametrize(("service", "name"), sorted(REFUSED))
async def test_a_refusal_names_the_operation_and_another_way(ports: Ports, service: str, name: str) -> None:
    assert registry.find(service, name) is None
    where = {"account": "0" * 12, "region": "eu-west-1", "principal": "p"}
    with pytest.raises(ApiError) as caught:
        await answer(ports, service, name, {}, **where)
    assert caught.value.code == "UnknownOperationException"
    assert caught.value.message == f"{service} {name} is refused: {REFUSED[service, name]}"


def test_every_refused_operation_is_one_of_aws() -> None:
    assert [(s, n) for s, n in REFUSED if n not in registry.model(s).operation_names] == []
