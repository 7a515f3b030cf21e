"""The order that every List has when nobody asks for one: AWS's reference, which botocore carries, says it of each operation."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.api.house import house
from tests.api.requests import NAMED

from clary.api import handlers, registry
from clary.domain.resources import Query, Record
from clary.testing.store import MemoryStore

handlers.load()
EMPTY = {"ListResourceCatalogs"}  # always: there is nothing to sort
PARTS = {  # of one record, or by its ends: tests/api/sagemaker sort them
    "ListTrainingJobsForHyperParameterTuningJob",
    "ListPipelineExecutionSteps",
    "ListPipelineVersions",
    "ListAssociations",
    "ListLineageGroups",  # there is one
    "ListMonitoringAlertHistory",
}
ANYHOW = {"Search"}  # by any property: tests/api/sagemaker/test_search.py
SORTED = [
    (service, name)
    for service, name in sorted(registry.registered())
    if name not in EMPTY | PARTS | ANYHOW
    and (shape := registry.operation_model(service, name).input_shape)
    and {"SortBy", "SortOrder"} & set(shape.members)
]
FIELDS = {
    "CreationTime": "created",
    "CREATION_TIME": "created",
    "Version": "name",  # names of card versions sort by number
    "CreatedTime": "created",
    "PipelineExecutionArn": "name",
    "VERSION": "created",  # versions are numbered in the order of their creation
    "AccountIdOwner": "created",  # there is one owner
    "LastModifiedTime": "modified",
    "LAST_MODIFIED_TIME": "modified",
    "ScheduledTime": "created",  # executions are made in the order of their times
    "Name": "name",
    "IMAGE_NAME": "name",
    "HubName": "name",
    "HubContentName": "name",
    "Status": "status",
    "HubStatus": "status",
    "HubContentStatus": "status",
    "FeatureGroupStatus": "status",
    "OfflineStoreStatus": "name",  # of those with the same status
}
UNSORTED = {
    "ListTags",
    "ListInferenceRecommendationsJobSteps",
    "ListDomains",
    "ListAliases",
    "ListPipelineParametersForExecution",
    "ListMonitoringAlerts",
}  # of SageMaker: they take no order
SILENT = {
    "ListInferenceExperiments",
    "ListInferenceRecommendationsJobs",
    "ListPipelines",
    "ListPipelineExecutions",
    "ListHubs",
    "ListHubContents",
    "ListHubContentVersions",
    "ListModelCards",
    "ListModelCardVersions",
    "ListModelCardExportJobs",
    "ListMlflowApps",
    "ListMlflowTrackingServers",
}  # whose reference tells no default


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
    if found is None and name == "ListFeatureGroups":  # reference/sagemaker.md 2
        return {"SortBy": "CreationTime", "SortOrder": "Ascending"}[member]
    if found is None and name in SILENT:
        only = values(service, name, member)
        return only[0] if len(only) == 1 else {"SortBy": "CreationTime", "SortOrder": "Descending"}[member]
    assert found is not None, f"{name}.{member} has no default in the reference: {text}"
    return found[1]


def values(service: str, name: str, member: str) -> list[str]:
    """What may be asked for."""
    shape = registry.operation_model(service, name).input_shape
    assert shape is not None
    return [str(value) for value in shape.members[member].enum]


async def listed(service: str, name: str, **params: Any) -> Query:
    """The page that the store was asked for, in a world that has what the list must name."""
    world = await house()
    store = Asked()
    store._records = dict(world.store._records)
    world.ports = replace(world.ports, store=cast("Any", store))
    shape = registry.operation_model(service, name).input_shape
    assert shape is not None
    await world(service, name, **{member: NAMED[member][0] for member in shape.required_members}, **params)
    return store.queries[-1]


def test_there_are_lists_to_look_at() -> None:
    assert ("sagemaker", "ListTrainingJobs") in SORTED
    assert {name for service, name in registry.registered() if service == "sagemaker" and name.startswith("List")} == {
        *UNSORTED,
        *EMPTY,
        *PARTS,
        *(name for _, name in SORTED),
    }


@pytest.mark.parametrize(("service", "name"), SORTED)
async def test_the_default_order_is_that_of_the_reference(service: str, name: str) -> None:
    query = await listed(service, name)
    assert query.sort_by == FIELDS[documented(service, name, "SortBy")]
    assert query.descending == (documented(service, name, "SortOrder").upper() == "DESCENDING")


@pytest.mark.parametrize(("service", "name"), SORTED)
@pytest.mark.parametrize("at", [0, 1])
async def test_an_order_that_is_asked_for_is_kept(service: str, name: str, at: int) -> None:
    order = values(service, name, "SortOrder")[at]
    for value in values(service, name, "SortBy"):
        query = await listed(service, name, SortBy=value, SortOrder=order)
        assert query.sort_by == FIELDS[value]
        assert query.descending == (order.upper() == "DESCENDING")
