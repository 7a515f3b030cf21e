"""The order that every List has when nobody asks for one: AWS's reference, which botocore carries, says it of each operation."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.api.world import World

from clary.api import handlers, registry
from clary.domain.resources import Query, Record
from clary.testing.store import MemoryStore

handlers.load()
SORTED = [
    (service, name)
    for service, name in sorted(registry.registered())
    if (shape := registry.operation_model(service, name).input_shape) and {"SortBy", "SortOrder"} & set(shape.members)
]
FIELDS = {"CreationTime": "created", "Name": "name"}


class Asked(MemoryStore):
    """Remembers how pages were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[Query] = []

    async def page(self, query: Query) -> list[Record]:
        self.queries.append(query)
        return await super().page(query)


def documented(service: str, name: str, member: str) -> str:
    """The default that the reference tells of SortBy or SortOrder."""
    shape = registry.operation_model(service, name).input_shape
    assert shape is not None
    text = re.sub(r"<[^>]+>", "", shape.members[member].documentation)
    found = re.search(r"The default(?: value)? is (\w+)", text)
    assert found is not None, f"{name}.{member} has no default in the reference: {text}"
    return found[1]


async def listed(service: str, name: str, **params: Any) -> Query:
    world = World()
    store = Asked()
    world.ports = replace(world.ports, store=cast("Any", store))
    await world(service, name, **params)
    (query,) = store.queries
    return query


def test_there_are_lists_to_look_at() -> None:
    assert ("sagemaker", "ListTrainingJobs") in SORTED
    assert {name for service, name in registry.registered() if service == "sagemaker" and name.startswith("List")} == {
        "ListTags",
        *(name for _, name in SORTED),
    }


@pytest.mark.parametrize(("service", "name"), SORTED)
async def test_the_default_order_is_that_of_the_reference(service: str, name: str) -> None:
    query = await listed(service, name)
    assert query.sort_by == FIELDS[documented(service, name, "SortBy")]
    assert query.descending == (documented(service, name, "SortOrder") == "Descending")


@pytest.mark.parametrize(("service", "name"), SORTED)
@pytest.mark.parametrize("order", ["Ascending", "Descending"])
async def test_an_order_that_is_asked_for_is_kept(service: str, name: str, order: str) -> None:
    query = await listed(service, name, SortBy="Name", SortOrder=order)
    assert (query.sort_by, query.descending) == ("name", order == "Descending")
