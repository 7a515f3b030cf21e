"""Records of feature groups over the ports in memory (`api/sagemaker_featurestore_runtime/records.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from tests.api.house import GROUP
from tests.api.world import ACCOUNT, REGION, World

from clary.domain.lifecycle import GroupStatus
from clary.domain.resources import Scope
from clary.testing.clock import FakeClock

RUNTIME = "sagemaker-featurestore-runtime"
REQUESTS: dict[str, dict[str, Any]] = {
    "PutRecord": {"Record": [{"FeatureName": "id", "ValueAsString": "a"}, {"FeatureName": "at", "ValueAsString": "1"}]},
    "UpdateRecord": {
        "RecordIdentifierValueAsString": "a",
        "Features": [{"FeatureName": "at", "ValueAsString": "2"}],
    },
    "DeleteRecord": {"RecordIdentifierValueAsString": "a", "EventTime": "3"},
    "GetRecord": {"RecordIdentifierValueAsString": "a"},
    "ListRecords": {},
}


@pytest.fixture
async def world() -> World:
    made = World({"b": {}})
    await made("sagemaker", "CreateFeatureGroup", **GROUP)
    await becomes(made, GroupStatus.CREATED)
    return made


async def becomes(world: World, status: GroupStatus) -> str:
    """The group's key; its status is written as its loop writes it."""
    found = await world.store.get("feature-group", Scope(ACCOUNT, REGION), "people")
    assert found is not None
    await world.store.save(replace(found, status=status))
    return str(found.document["key"])


def record(at: float, **values: str) -> list[dict[str, str]]:
    return [{"FeatureName": n, "ValueAsString": v} for n, v in {"id": "a", "at": f"{at:f}", **values}.items()]


@pytest.mark.parametrize("operation", REQUESTS)
@pytest.mark.parametrize("status", [GroupStatus.CREATING, GroupStatus.DELETING, GroupStatus.DELETE_FAILED])
async def test_a_group_that_comes_or_goes_has_no_records(world: World, operation: str, status: GroupStatus) -> None:
    await world(RUNTIME, "PutRecord", FeatureGroupName="people", Record=record(1))
    key = await becomes(world, status)
    before = await world.ports.features.get(key, ["a"]), await world.ports.features.waiting(key)
    code, words = await world.refused(RUNTIME, operation, FeatureGroupName="people", **REQUESTS[operation])
    assert (code, f"FeatureGroup [people] is {status}" in words) == ("ValidationError", True)
    assert (await world.ports.features.get(key, ["a"]), await world.ports.features.waiting(key)) == before


async def test_a_batch_tells_which_of_its_groups_is_being_deleted(world: World) -> None:
    await becomes(world, GroupStatus.DELETING)
    entry = {"FeatureGroupName": "people", "Record": record(1)}
    answer = await world(RUNTIME, "BatchWriteRecord", Entries=[entry])
    [error] = answer["Errors"]
    assert (error["Entry"], error["ErrorCode"]) == (entry, "ValidationError")
    assert "is Deleting" in error["ErrorMessage"]


async def test_an_event_of_the_future_stays_until_one_that_is_later_still(world: World) -> None:
    tomorrow = world.now + 86_400
    for at in (tomorrow, world.now, tomorrow + 1):
        await world(RUNTIME, "PutRecord", FeatureGroupName="people", Record=record(at))
        found = await world(RUNTIME, "GetRecord", FeatureGroupName="people", RecordIdentifierValueAsString="a")
        shown = {each["FeatureName"]: each["ValueAsString"] for each in found["Record"]}
        assert float(shown["at"]) == pytest.approx(max(at, tomorrow))
    key = await becomes(world, GroupStatus.CREATED)
    assert (await world.ports.features.waiting(key))[key].count == 3


async def test_the_time_to_live_of_an_event_of_the_future_begins_with_it(world: World) -> None:
    tomorrow = world.now + 86_400
    ttl = {"Unit": "Seconds", "Value": 10}
    await world(RUNTIME, "PutRecord", FeatureGroupName="people", Record=record(tomorrow), TtlDuration=ttl)
    asked = {"FeatureGroupName": "people", "RecordIdentifierValueAsString": "a"}
    assert "Record" in await world(RUNTIME, "GetRecord", **asked)
    cast(FakeClock, world.ports.clock).advance(86_400 + 11)
    assert "Record" not in await world(RUNTIME, "GetRecord", **asked)


async def test_no_event_is_after_the_year_9999(world: World) -> None:
    code, words = await world.refused(RUNTIME, "PutRecord", FeatureGroupName="people", Record=record(253_402_300_800))
    assert (code, "is no event time" in words) == ("ValidationError", True)
