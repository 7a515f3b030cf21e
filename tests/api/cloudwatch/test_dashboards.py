"""Dashboards as the API keeps them: whole bodies, names in order, one namespace for all regions of an account."""

from __future__ import annotations

from typing import Any

import pytest

from clary.api.call import Ports
from clary.api.cloudwatch import dashboards
from clary.api.dispatch import answer
from clary.api.errors import ApiError, translate
from clary.domain.errors import Invalid, NotFound
from clary.testing.clock import FakeClock

BODY = '{"widgets": [{"type": "text", "properties": {"markdown": "hello"}}]}'


class Watch:
    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    async def __call__(
        self, operation: str, _account: str = "0" * 12, _region: str = "eu-west-1", **params: Any
    ) -> Any:
        where = {"account": _account, "region": _region, "principal": "arn:aws:iam::0:user/clary"}
        return await answer(self.ports, "cloudwatch", operation, params, **where)

    async def put(self, name: str, body: str = BODY, **more: Any) -> None:
        assert await self("PutDashboard", DashboardName=name, DashboardBody=body, **more) == {
            "DashboardValidationMessages": []
        }

    async def names(self, **params: Any) -> list[str]:
        return [each["DashboardName"] for each in (await self("ListDashboards", **params))["DashboardEntries"]]


@pytest.fixture
def watch(ports: Ports) -> Watch:
    return Watch(ports)


async def test_a_body_comes_back_as_it_was_put(watch: Watch, clock: FakeClock) -> None:
    await watch.put("main", "  " + BODY)
    got = await watch("GetDashboard", DashboardName="main", _region="us-east-1")
    arn = f"arn:aws:cloudwatch::{'0' * 12}:dashboard/main"
    assert got == {"DashboardName": "main", "DashboardArn": arn, "DashboardBody": "  " + BODY}
    clock.advance(5.0)
    await watch.put("main")
    (entry,) = (await watch("ListDashboards"))["DashboardEntries"]
    assert (entry["DashboardArn"], entry["Size"]) == (arn, len(BODY))
    assert entry["LastModified"].timestamp() == clock.now()
    with pytest.raises(NotFound, match="Dashboard main does not exist"):
        await watch("GetDashboard", DashboardName="main", _account="1" * 12)


async def test_a_bad_body_is_refused_with_every_place(watch: Watch) -> None:
    with pytest.raises(ApiError, match="there are 1 validation errors") as caught:
        await watch.put("main", '{"widgets": [{"type": "text"}]}')
    code, _, status, members = translate("cloudwatch", "PutDashboard", caught.value)
    assert (code, status) == ("InvalidParameterInput", 400)
    wanted = {"DataPath": "/widgets/0", "Message": "Should have required property 'properties'"}
    assert members == {"dashboardValidationMessages": [wanted]}
    with pytest.raises(Invalid, match="field DashboardName is invalid"):
        await watch.put("ma in")
    assert await watch.names() == []


async def test_pages_and_prefixes(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboards, "PAGE", 2)
    for name in ("b-3", "a-1", "a-2", "a-b-3", "b-1"):
        await watch.put(name)
    assert await watch.names(DashboardNamePrefix="a") == ["a-1", "a-2"]
    seen, token = [], {}
    while True:
        page = await watch("ListDashboards", DashboardNamePrefix="b", **token)
        seen.append([each["DashboardName"] for each in page["DashboardEntries"]])
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert seen == [["b-1", "b-3"]], "a-b-3 has a b, but does not begin with it"
    first = await watch("ListDashboards")
    second = await watch("ListDashboards", NextToken=first["NextToken"])
    third = await watch("ListDashboards", NextToken=second["NextToken"])
    found = [each["DashboardName"] for page in (first, second, third) for each in page["DashboardEntries"]]
    assert found == ["a-1", "a-2", "a-b-3", "b-1", "b-3"]
    assert "NextToken" not in third
    with pytest.raises(ApiError) as caught:
        await watch("ListDashboards", NextToken="forged")
    assert caught.value.code == "InvalidParameterValue"


async def test_as_many_as_possible_are_deleted(watch: Watch) -> None:
    for name in ("a", "b", "c"):
        await watch.put(name)
    with pytest.raises(ApiError, match="do not exist: x, y") as caught:
        await watch("DeleteDashboards", DashboardNames=["x", "a", "y", "b", "a"])
    assert (caught.value.code, caught.value.status) == ("ResourceNotFound", 404)
    assert await watch("DeleteDashboards", DashboardNames=["c"]) == {}
    assert await watch.names() == []
    with pytest.raises(Invalid, match="these are 101"):
        await watch("DeleteDashboards", DashboardNames=[str(number) for number in range(101)])


async def test_tags_are_of_a_new_dashboard_and_changed_by_its_arn(watch: Watch) -> None:
    await watch.put("main", Tags=[{"Key": "team", "Value": "a"}])
    await watch.put("main", Tags=[{"Key": "team", "Value": "ignored, as on AWS"}])
    arn = (await watch("GetDashboard", DashboardName="main"))["DashboardArn"]
    assert await watch("ListTagsForResource", ResourceARN=arn) == {"Tags": [{"Key": "team", "Value": "a"}]}
    await watch("TagResource", ResourceARN=arn, Tags=[{"Key": "env", "Value": "p"}], _region="us-east-1")
    await watch("UntagResource", ResourceARN=arn, TagKeys=["team"])
    assert await watch("ListTagsForResource", ResourceARN=arn) == {"Tags": [{"Key": "env", "Value": "p"}]}
    with pytest.raises(NotFound):
        await watch("ListTagsForResource", ResourceARN=arn, _account="1" * 12)
