"""Experiments, trials, components and their metrics, handler by handler."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from tests.api.world import ACCOUNT, REGION, World

from clary.domain.resources import Query, Scope

HERE = Scope(ACCOUNT, REGION)


@pytest.fixture
async def world() -> World:
    """An experiment `e` with a trial `t`, and two components: `c` in the trial, `free` in none."""
    made = World()
    await made("sagemaker", "CreateExperiment", ExperimentName="e", Description="first")
    await made("sagemaker", "CreateTrial", TrialName="t", ExperimentName="e")
    await made("sagemaker", "CreateTrialComponent", TrialComponentName="c", Tags=[{"Key": "k", "Value": "v"}])
    await made("sagemaker", "CreateTrialComponent", TrialComponentName="free")
    await made("sagemaker", "AssociateTrialComponent", TrialComponentName="c", TrialName="t")
    return made


async def test_names_that_are_taken_are_told_as_the_sdk_looks_for(world: World) -> None:
    for operation, params in (
        ("CreateExperiment", {"ExperimentName": "e"}),
        ("CreateTrial", {"TrialName": "t", "ExperimentName": "e"}),
        ("CreateTrialComponent", {"TrialComponentName": "c"}),
    ):
        code, message = await world.refused("sagemaker", operation, **params)
        assert code == "ValidationException"
        assert "already exists" in message


async def test_what_is_missing(world: World) -> None:
    for operation, params in (
        ("DescribeExperiment", {"ExperimentName": "x"}),
        ("CreateTrial", {"TrialName": "x", "ExperimentName": "x"}),
        ("DescribeTrial", {"TrialName": "x"}),
        ("DescribeTrialComponent", {"TrialComponentName": "x"}),
        ("AssociateTrialComponent", {"TrialComponentName": "c", "TrialName": "x"}),
        ("DisassociateTrialComponent", {"TrialComponentName": "free", "TrialName": "t"}),
        ("ListTrials", {"ExperimentName": "x"}),
        ("ListTrialComponents", {"TrialName": "x"}),
    ):
        assert (await world.refused("sagemaker", operation, **params))[0] == "ResourceNotFound", operation


async def test_what_holds_something_is_not_deleted(world: World) -> None:
    code, message = await world.refused("sagemaker", "DeleteExperiment", ExperimentName="e")
    assert (code, "contains 1 Trial" in message) == ("ValidationException", True)
    code, message = await world.refused("sagemaker", "DeleteTrial", TrialName="t")
    assert (code, "1 trial component(s)" in message) == ("ValidationException", True)
    code, message = await world.refused("sagemaker", "DeleteTrialComponent", TrialComponentName="c")
    assert (code, "associated with the trial(s) t" in message) == ("ValidationException", True)
    await world("sagemaker", "DisassociateTrialComponent", TrialComponentName="c", TrialName="t")
    for operation, params in (
        ("DeleteTrialComponent", {"TrialComponentName": "c"}),
        ("DeleteTrial", {"TrialName": "t"}),
        ("DeleteExperiment", {"ExperimentName": "e"}),
    ):
        assert await world("sagemaker", operation, **params)


async def test_a_trial_that_goes_while_a_component_comes_is_refused_to_one_of_the_two(world: World) -> None:
    await world("sagemaker", "DisassociateTrialComponent", TrialComponentName="c", TrialName="t")
    await asyncio.gather(
        world("sagemaker", "DeleteTrial", TrialName="t"),
        world("sagemaker", "AssociateTrialComponent", TrialComponentName="free", TrialName="t"),
        return_exceptions=True,
    )
    trial = await world.store.get("trial", HERE, "t")
    component = await world.store.get("trial-component", HERE, "free")
    assert component is not None
    assert bool(component.document["parents"]) is (trial is not None)


async def test_components_are_merged_key_by_key(world: World) -> None:
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    await world(
        "sagemaker",
        "UpdateTrialComponent",
        TrialComponentName="c",
        StartTime=at,
        Parameters={"a": {"NumberValue": 1.0}, "b": {"StringValue": "x"}},
        InputArtifacts={"in": {"Value": "s3://b/in"}},
    )
    await world(
        "sagemaker",
        "UpdateTrialComponent",
        TrialComponentName="c",
        Parameters={"a": {"NumberValue": 2.0}},
        ParametersToRemove=["b", "never"],
        Status={"PrimaryStatus": "Completed"},
    )
    shown = await world("sagemaker", "DescribeTrialComponent", TrialComponentName="c")
    assert shown["Parameters"] == {"a": {"NumberValue": 2.0}}
    assert shown["InputArtifacts"] == {"in": {"Value": "s3://b/in"}}
    assert (shown["StartTime"], shown["Status"]) == (at.timestamp(), {"PrimaryStatus": "Completed"})
    assert shown["DisplayName"] == "c"
    many = {f"p{n}": {"NumberValue": 1.0} for n in range(300)}
    code, message = await world.refused("sagemaker", "UpdateTrialComponent", TrialComponentName="c", Parameters=many)
    assert (code, "at most 300 Parameters; this would make it 301" in message) == ("ValidationException", True)


async def test_lists(world: World) -> None:
    async def listed(**params: Any) -> list[str]:
        answer = await world("sagemaker", "ListTrialComponents", SortBy="Name", SortOrder="Ascending", **params)
        return [each["TrialComponentName"] for each in answer["TrialComponentSummaries"]]

    assert await listed() == ["c", "free"]
    assert await listed(ExperimentName="e") == ["c"]
    assert await listed(ExperimentName="E") == ["c"]  # as list_runs asks, whose Run lower-cased the name
    assert await listed(TrialName="t", ExperimentName="e") == ["c"]
    assert await listed(SourceArn="arn:aws:x") == []
    trials = await world("sagemaker", "ListTrials", TrialComponentName="free")
    assert trials["TrialSummaries"] == []
    assert (
        len((await world("sagemaker", "ListTrials", TrialComponentName="c", ExperimentName="e"))["TrialSummaries"]) == 1
    )
    first = await world("sagemaker", "ListTrialComponents", MaxResults=1)
    second = await world("sagemaker", "ListTrialComponents", MaxResults=1, NextToken=first["NextToken"])
    assert "NextToken" not in second
    assert first["TrialComponentSummaries"] != second["TrialComponentSummaries"]


async def test_results_of_search_have_tags_and_parents(world: World) -> None:
    expression = {"Filters": [{"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "e"}]}
    answer = await world("sagemaker", "Search", Resource="ExperimentTrialComponent", SearchExpression=expression)
    (component,) = [each["TrialComponent"] for each in answer["Results"]]
    assert component["Parents"] == [{"TrialName": "t", "ExperimentName": "e"}]
    assert component["Tags"] == [{"Key": "k", "Value": "v"}]
    trials = await world("sagemaker", "Search", Resource="ExperimentTrial")
    assert [each["Trial"]["TrialName"] for each in trials["Results"]] == ["t"]
    experiments = await world("sagemaker", "Search", Resource="Experiment")
    assert [each["Experiment"]["Description"] for each in experiments["Results"]] == ["first"]


# -- metrics ------------------------------------------------------------------------------------------------------------------


async def put(world: World, *points: tuple[int | None, float, float], name: str = "loss") -> dict[str, Any]:
    """(step, seconds after now, value) of each."""
    data = [
        {"MetricName": name, "Timestamp": world.now + at, "Value": value, **({} if step is None else {"Step": step})}
        for step, at, value in points
    ]
    return await world("sagemaker-metrics", "BatchPutMetrics", TrialComponentName="c", MetricData=data)


async def got(
    world: World, stat: str = "Last", period: str = "IterationNumber", axis: str = "IterationNumber", **more: Any
) -> Any:
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:experiment-trial-component/c"
    query = {"MetricName": "loss", "ResourceArn": arn, "MetricStat": stat, "Period": period, "XAxisType": axis, **more}
    (found,) = (await world("sagemaker-metrics", "BatchGetMetrics", MetricQueries=[query]))["MetricQueryResults"]
    return found


async def test_points_of_one_second_are_told_apart_by_their_steps(world: World) -> None:
    assert await put(world, (0, 0, 1.0), (1, 0, 0.5), (2, 0, 0.25)) == {}
    assert await put(world, (2, 1, 0.2), (3, 1, 0.1)) == {}  # step 2 again: the last put is meant
    found = await got(world)
    assert (found["Status"], found["XAxisValues"], found["MetricValues"]) == (
        "Complete",
        [0, 1, 2, 3],
        [1.0, 0.5, 0.2, 0.1],
    )
    assert (await got(world, Start=1, End=2))["XAxisValues"] == [1, 2]
    by_minute = await got(world, "Avg", "OneHour", "Timestamp")
    assert by_minute["MetricValues"] == [pytest.approx(0.45)]
    assert by_minute["XAxisValues"] == [int(world.now // 3600 * 3600)]


async def test_metrics_are_summed_up_in_describe_and_search(world: World) -> None:
    assert (await world("sagemaker", "DescribeTrialComponent", TrialComponentName="c"))["Metrics"] == []
    await put(world, (0, 0, 1.0), (1, 1, 3.0))
    await put(world, (2, 2, 2.0))
    await put(world, (None, 0, 0.9), name="auc")
    shown = await world("sagemaker", "DescribeTrialComponent", TrialComponentName="c")
    auc, loss = shown["Metrics"]
    assert (auc["MetricName"], auc["Count"], auc["StdDev"]) == ("auc", 1, 0.0)
    assert {name: loss[name] for name in ("Min", "Max", "Last", "Count", "Avg", "StdDev")} == {
        "Min": 1.0,
        "Max": 3.0,
        "Last": 2.0,
        "Count": 3,
        "Avg": 2.0,
        "StdDev": 1.0,
    }
    expression = {"Filters": [{"Name": "metrics.loss.max", "Operator": "GreaterThan", "Value": "2.5"}]}
    answer = await world("sagemaker", "Search", Resource="ExperimentTrialComponent", SearchExpression=expression)
    assert [each["TrialComponent"]["TrialComponentName"] for each in answer["Results"]] == ["c"]


async def test_a_put_that_was_cut_off_between_its_writes_is_made_good(world: World) -> None:
    """As after a kill: the points are stored, the summary is not."""
    await put(world, (0, 0, 1.0))
    component = await world.store.get("trial-component", HERE, "c")
    assert component is not None
    await put(world, (1, 1, 5.0))
    newer = await world.store.get("trial-component", HERE, "c")
    assert newer is not None
    await world.store.save(
        type(newer)(**{**{s: getattr(newer, s) for s in newer.__slots__}, "document": component.document})
    )
    shown = await world("sagemaker", "DescribeTrialComponent", TrialComponentName="c")
    assert (shown["Metrics"][0]["Count"], shown["Metrics"][0]["Max"]) == (2, 5.0)
    await put(world, (2, 2, 6.0))
    stored = await world.store.get("trial-component", HERE, "c")
    assert stored is not None
    assert stored.document["summaries"]["loss"]["n"] == 3


async def test_many_that_put_at_once_lose_nothing(world: World) -> None:
    await asyncio.gather(*(put(world, (n, n, float(n))) for n in range(40)))
    shown = await world("sagemaker", "DescribeTrialComponent", TrialComponentName="c")
    assert (shown["Metrics"][0]["Count"], shown["Metrics"][0]["Max"]) == (40, 39.0)
    assert len((await got(world))["XAxisValues"]) == 40


async def test_points_that_are_none_are_told_by_their_index(world: World) -> None:
    answer = await put(world, (0, 0, 1.0), (1, 0, float("nan")), (2, -1_300_000, 1.0), (3, 8000, 1.0))
    assert answer["Errors"] == [{"Code": "VALIDATION_ERROR", "MetricIndex": index} for index in (1, 2, 3)]
    assert (await got(world))["XAxisValues"] == [0]


async def test_metrics_of_what_is_not_there(world: World) -> None:
    assert await got(world) == {"Status": "Complete", "XAxisValues": [], "MetricValues": []}
    other = await got(world, ResourceArn=f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:experiment/e")
    assert other["Status"] == "ValidationError"
    code, _ = await world.refused(
        "sagemaker-metrics",
        "BatchPutMetrics",
        TrialComponentName="x",
        MetricData=[{"MetricName": "m", "Timestamp": world.now, "Value": 1.0}],
    )
    assert code == "ResourceNotFound"


async def test_a_component_that_is_deleted_takes_its_points_along(world: World) -> None:
    await put(world, (0, 0, 1.0))
    await world("sagemaker", "DisassociateTrialComponent", TrialComponentName="c", TrialName="t")
    await world("sagemaker", "DeleteTrialComponent", TrialComponentName="c")
    assert await world.store.count(Query("metric-batch", HERE)) == 0
