"""Search over records of every kind that has a row: what is found, how it is shown, in which order, by pages."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.api.house import GROUP, JOB, house
from tests.api.world import ACCOUNT, REGION, World

from clary.api import handlers, searchable
from clary.api.sagemaker import search
from clary.domain.resources import Query, Record, Scope
from clary.testing.clock import FakeClock

HERE = Scope(ACCOUNT, REGION)


def passes(world: World, seconds: float) -> None:
    clock = world.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(seconds)


@pytest.fixture
async def world() -> World:
    """Seven training jobs."""
    made = World({"b": {"m.tar.gz": b"1"}})
    for n in range(7):
        passes(made, 60)
        params = {"eta": f"0.{n}", "depth": str(n + 5), "objective": "a" if n % 2 else "b"}
        tags = [{"Key": "team", "Value": "red" if n < 3 else "blue"}]
        await made(
            "sagemaker",
            "CreateTrainingJob",
            **{**JOB, "TrainingJobName": f"j{n}", "HyperParameters": params, "Tags": tags},
        )
    return made


async def found(world: World, *filters: tuple[str, ...], **more: Any) -> str:
    given = [dict(zip(("Name", "Operator", "Value"), each, strict=False)) for each in filters]
    answer = await world("sagemaker", "Search", Resource="TrainingJob", SearchExpression={"Filters": given}, **more)
    return " ".join(each["TrainingJob"]["TrainingJobName"] for each in answer["Results"])


async def test_filters(world: World) -> None:
    assert await found(world) == "j6 j5 j4 j3 j2 j1 j0"  # last modified first
    assert await found(world, ("TrainingJobName", "Equals", "j3")) == "j3"
    assert await found(world, ("TrainingJobName", "Contains", "j")) == "j6 j5 j4 j3 j2 j1 j0"
    assert await found(world, ("TrainingJobStatus", "Equals", "Completed")) == ""
    assert await found(world, ("HyperParameters.eta", "Equals", "0.3")) == "j3"
    assert await found(world, ("HyperParameters.depth", "GreaterThan", "9")) == "j6 j5"
    assert await found(world, ("hyperparameters.objective", "Equals", "a"), ("Tags.team", "Equals", "red")) == "j1"
    assert await found(world, ("Tags.team", "NotEquals", "blue")) == "j2 j1 j0"
    assert (
        await found(world, ("ResourceConfig.InstanceCount", "Equals", "1"), ("TrainingJobName", "In", "j1,j2"))
        == "j2 j1"
    )
    assert await found(world, ("HyperParameters.gamma", "Exists")) == ""
    assert await found(world, ("StoppingCondition.MaxRuntimeInSeconds", "LessThan", "10")) == ""


async def test_results_are_as_described_with_tags(world: World) -> None:
    answer = await world("sagemaker", "Search", Resource="TrainingJob", MaxResults=1)
    (result,) = answer["Results"]
    shown = await world("sagemaker", "DescribeTrainingJob", TrainingJobName="j6")
    job = result["TrainingJob"]
    assert job["Tags"] == [{"Key": "team", "Value": "blue"}]
    own = ("Tags", "AlgorithmSpecification")  # Describe adds what a built-in algorithm measures
    assert {name: value for name, value in job.items() if name not in own} == {n: shown[n] for n in job if n not in own}
    assert answer["TotalHits"] == {"Value": 2, "Relation": "GreaterThanOrEqualTo"}


@pytest.mark.parametrize(
    "sort", ["LastModifiedTime", "TrainingJobName", "HyperParameters.depth", "HyperParameters.objective"]
)
@pytest.mark.parametrize("order", ["Ascending", "Descending"])
async def test_pages_join_in_every_order(world: World, sort: str, order: str) -> None:
    whole = (await found(world, SortBy=sort, SortOrder=order, MaxResults=100)).split()
    assert len(whole) == 7
    paged: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await world(
            "sagemaker", "Search", Resource="TrainingJob", SortBy=sort, SortOrder=order, MaxResults=2, **token
        )
        paged += [each["TrainingJob"]["TrainingJobName"] for each in page["Results"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert paged == whole
    if sort == "HyperParameters.depth":
        assert whole == (sorted(whole) if order == "Ascending" else sorted(whole, reverse=True))  # 10 and 11 after 9


async def test_visibility_and_accounts(world: World) -> None:
    assert await found(world, VisibilityConditions=[{"Key": "Tags.team", "Value": "red"}]) == "j2 j1 j0"
    assert await found(world, CrossAccountFilterOption="CrossAccount") == ""


async def test_what_is_not_there_is_found_by_nothing(world: World) -> None:
    answer = await world(
        "sagemaker", "Search", Resource="Project", SearchExpression={"Filters": [{"Name": "ProjectName", "Value": "x"}]}
    )
    assert answer == {"Results": [], "TotalHits": {"Value": 0, "Relation": "EqualTo"}}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"SearchExpression": {"Filters": [{"Name": "Nothing", "Value": "1"}]}}, "Unknown property name: 'Nothing'"),
        ({"SearchExpression": {"Filters": [{"Name": "TrainingJobName.x", "Value": "1"}]}}, "Unknown property name"),
        (
            {"SearchExpression": {"NestedFilters": [{"NestedPropertyName": "X", "Filters": [{"Name": "X.Y"}]}]}},
            "Unknown",
        ),
        (
            {"SearchExpression": {"NestedFilters": [{"NestedPropertyName": "RoleArn", "Filters": [{"Name": "Y"}]}]}},
            "no nested",
        ),
        ({"SortBy": "Nothing"}, "Unknown property name"),
        ({"NextToken": "x"}, "Invalid NextToken"),
    ],
)
async def test_bad_requests(world: World, more: dict[str, Any], why: str) -> None:
    code, message = await world.refused("sagemaker", "Search", Resource="TrainingJob", **more)
    assert code == "ValidationException"
    assert why in message


async def test_nested_filters(world: World) -> None:
    channel = {
        "ChannelName": "train",
        "DataSource": {
            "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/m", "S3DataDistributionType": "FullyReplicated"}
        },
    }
    other = {"ChannelName": "test", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/x"}}}
    await world(
        "sagemaker", "CreateTrainingJob", **{**JOB, "TrainingJobName": "with", "InputDataConfig": [channel, other]}
    )

    async def nested(name: str, uri: str) -> int:
        filters = [
            {"Name": "InputDataConfig.ChannelName", "Operator": "Equals", "Value": name},
            {"Name": "InputDataConfig.DataSource.S3DataSource.S3Uri", "Operator": "Equals", "Value": uri},
        ]
        expression = {"NestedFilters": [{"NestedPropertyName": "InputDataConfig", "Filters": filters}]}
        return len((await world("sagemaker", "Search", Resource="TrainingJob", SearchExpression=expression))["Results"])

    assert (await nested("train", "s3://b/m"), await nested("train", "s3://b/x")) == (1, 0)
    assert await found(world, ("InputDataConfig.DataSource.S3DataSource.S3Uri", "Equals", "s3://b/x")) == "with"
    tags = {
        "NestedFilters": [
            {"NestedPropertyName": "Tags", "Filters": [{"Name": "Tags.Key", "Operator": "Equals", "Value": "team"}]}
        ]
    }
    assert len((await world("sagemaker", "Search", Resource="TrainingJob", SearchExpression=tags))["Results"]) == 7


async def test_metrics_of_a_job_are_found_by_name(world: World) -> None:
    record = await world.store.get("training-job", HERE, "j2")
    assert record is not None
    metrics = [{"MetricName": "validation:auc", "Value": 0.9, "Timestamp": 1.0}]
    await world.store.save(replace(record, document={**record.document, "metrics": metrics}))
    assert await found(world, ("Metrics.validation:auc", "GreaterThan", "0.8")) == "j2"
    assert (await found(world, SortBy="Metrics.validation:auc", MaxResults=1)) == "j2"


async def test_plain_records_say_in_their_row_that_they_are_searched(world: World) -> None:
    for name in ("alpha", "beta"):
        await world(
            "sagemaker",
            "CreateModelPackageGroup",
            ModelPackageGroupName=name,
            ModelPackageGroupDescription=f"of {name}",
            Tags=[{"Key": "k", "Value": name}],
        )

    async def groups(name: str, operator: str, value: str) -> list[str]:
        expression = {"Filters": [{"Name": name, "Operator": operator, "Value": value}]}
        answer = await world("sagemaker", "Search", Resource="ModelPackageGroup", SearchExpression=expression)
        return [each["ModelPackageGroup"]["ModelPackageGroupName"] for each in answer["Results"]]

    assert await groups("ModelPackageGroupName", "Equals", "alpha") == ["alpha"]
    assert await groups("ModelPackageGroupDescription", "Contains", "of b") == ["beta"]
    assert await groups("ModelPackageGroupDescription", "Equals", "of alpha") == ["alpha"]
    assert await groups("Tags.k", "In", "beta,gamma") == ["beta"]
    assert await groups("ModelPackageGroupStatus", "Equals", "Completed") == ["beta", "alpha"]


async def test_models_are_shown_as_the_dashboard_has_them(
    world: World,
) -> None:
    image = JOB["AlgorithmSpecification"]["TrainingImage"]  # type: ignore[index]
    await world(
        "sagemaker", "CreateModel", ModelName="m", PrimaryContainer={"Image": image, "ModelDataUrl": "s3://b/m.tar.gz"}
    )
    for name in ("ModelName", "Model.ModelName"):
        expression = {"Filters": [{"Name": name, "Operator": "Equals", "Value": "m"}]}
        (result,) = (await world("sagemaker", "Search", Resource="Model", SearchExpression=expression))["Results"]
        assert result["Model"]["Model"]["ModelName"] == "m"


async def test_suggestions(world: World) -> None:
    async def suggested(hint: str) -> list[str]:
        query = {"PropertyNameQuery": {"PropertyNameHint": hint}}
        answer = await world("sagemaker", "GetSearchSuggestions", Resource="TrainingJob", SuggestionQuery=query)
        return [each["PropertyName"] for each in answer["PropertyNameSuggestions"]]

    assert await suggested("hyperparameters") == [
        "HyperParameters.depth",
        "HyperParameters.eta",
        "HyperParameters.objective",
    ]
    assert "Tags.team" in await suggested("tags")
    assert (await suggested("trainingjobn"))[0] == "TrainingJobName"
    assert await suggested("no such thing") == []


async def test_the_event_loop_is_given_to_others_between_slices(world: World) -> None:
    """Counted in turns of the loop, not in time: a search of 1,000 records that no database can filter."""
    record = await world.store.get("training-job", HERE, "j0")
    assert record is not None
    for n in range(1000):
        await world.store.add(replace(record, name=f"x{n}", arn=f"{record.arn}-{n}", version=0))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    assert await found(world, ("BillableTimeInSeconds", "GreaterThan", "1")) == ""
    beside.cancel()
    assert turns >= 1000 // search.SLICE


async def test_the_database_decides_what_it_can(world: World) -> None:
    """Of records that it can tell apart, only those that match are looked at."""
    seen: list[Query] = []
    page = world.store.page

    async def noted(query: Query) -> list[Record]:
        seen.append(query)
        return await page(query)

    world.store.page = noted  # type: ignore[method-assign]
    assert await found(world, ("HyperParameters.eta", "Equals", "0.3"), ("Tags.team", "Equals", "blue")) == "j3"
    (query,) = seen
    assert [record.name for record in await page(query)] == ["j3"]


async def test_the_largest_page_is_one_read_where_all_records_match(world: World) -> None:
    """The record behind the page, which tells that there is another page, is read with it."""
    record = await world.store.get("training-job", HERE, "j0")
    assert record is not None
    for n in range(200):
        await world.store.add(replace(record, name=f"x{n}", arn=f"{record.arn}-{n}", version=0))
    limits: list[int] = []
    page = world.store.page

    async def noted(query: Query) -> list[Record]:
        limits.append(query.limit)
        return await page(query)

    world.store.page = noted  # type: ignore[method-assign]
    assert len((await found(world, MaxResults=100)).split()) == 100
    assert limits == [101]


def test_rows_name_what_there_is() -> None:
    handlers.load()
    assert {"TrainingJob", "Endpoint", "Model", "ModelPackage", "ModelPackageGroup", "Image"} <= set(searchable.ROWS)
    with pytest.raises(ValueError, match="has a row already"):
        searchable.register(searchable.ROWS["Model"])
    with pytest.raises(ValueError, match="knows no resource Nothing"):
        searchable.register(replace(searchable.ROWS["Model"], resource="Nothing"))


@pytest.mark.parametrize(
    ("resource", "name", "operator", "value", "member"),
    [
        ("Pipeline", "PipelineName", "Equals", "pipe", "PipelineArn"),
        ("PipelineExecution", "PipelineExecutionStatus", "Equals", "Executing", "PipelineExecutionArn"),
        ("PipelineExecution", "PipelineArn", "Contains", "pipeline/pipe", "PipelineVersionId"),
        ("FeatureGroup", "FeatureDefinitions.FeatureName", "Contains", "at", "FeatureGroupName"),
        ("FeatureMetadata", "FeatureName", "Equals", "at", "FeatureGroupName"),
        ("HyperParameterTuningJob", "HyperParameterTuningJobStatus", "Exists", "", "HyperParameterTuningJobConfig"),
    ],
)
async def test_every_noun_with_a_row_is_found(resource: str, name: str, operator: str, value: str, member: str) -> None:
    world = await house()
    wanted = {"Name": name, "Operator": operator, **({"Value": value} if value else {})}
    answer = await world("sagemaker", "Search", Resource=resource, SearchExpression={"Filters": [wanted]})
    assert answer["Results"]
    assert all(each[resource].get(member) for each in answer["Results"])


# -- features: one record gives several results ----------------------------------------------------------------------------------


@pytest.fixture
async def features() -> World:
    """Two groups of three features each; two of the features are described."""
    made = World({"b": {}})
    for name in ("flights", "airports"):
        passes(made, 60)
        await made("sagemaker", "CreateFeatureGroup", **{**GROUP, "FeatureGroupName": name})
    for group, feature, key, value in (("airports", "v", "org", "Sage"), ("flights", "at", "team", "weather")):
        passes(made, 60)
        await made(
            "sagemaker",
            "UpdateFeatureMetadata",
            FeatureGroupName=group,
            FeatureName=feature,
            Description=f"about {feature}",
            ParameterAdditions=[{"Key": key, "Value": value}],
        )
    return made


async def of_features(world: World, *filters: tuple[str, ...], operator: str = "And", **more: Any) -> str:
    given = [dict(zip(("Name", "Operator", "Value"), each, strict=False)) for each in filters]
    answer = await world(
        "sagemaker",
        "Search",
        Resource="FeatureMetadata",
        SearchExpression={"Filters": given, "Operator": operator},
        **{"SortBy": "FeatureName", "SortOrder": "Ascending", "MaxResults": 100, **more},
    )
    shown = [each["FeatureMetadata"] for each in answer["Results"]]
    return " ".join(f"{each['FeatureGroupName']}.{each['FeatureName']}" for each in shown)


async def test_features_are_found_by_what_is_told_of_them(features: World) -> None:
    everything = "airports.at flights.at airports.id flights.id airports.v flights.v"
    assert await of_features(features) == everything
    assert (
        await of_features(features, ("FeatureGroupName", "Equals", "airports")) == "airports.at airports.id airports.v"
    )
    assert await of_features(features, ("FeatureGroupName", "Contains", "light")) == "flights.at flights.id flights.v"
    assert await of_features(features, ("FeatureName", "Equals", "v")) == "airports.v flights.v"
    assert await of_features(features, ("FeatureType", "Equals", "String")) == "airports.id flights.id"
    assert await of_features(features, ("Description", "Contains", "about")) == "flights.at airports.v"
    assert await of_features(features, ("Parameters.org", "Equals", "Sage")) == "airports.v"
    assert await of_features(features, ("Parameters.team", "Exists")) == "flights.at"
    assert await of_features(features, ("AllParameters", "Contains", "eat")) == "flights.at"  # weather
    assert await of_features(features, ("AllParameters", "Equals", "org")) == "airports.v"
    either = (("FeatureName", "Equals", "id"), ("Parameters.org", "Contains", "Sag"))
    assert await of_features(features, *either, operator="Or") == "airports.id flights.id airports.v"
    assert await of_features(features, ("FeatureGroupName", "NotEquals", "airports"), either[0]) == "flights.id"


async def test_features_are_shown_as_described(features: World) -> None:
    answer = await features(
        "sagemaker", "Search", Resource="FeatureMetadata", MaxResults=1
    )  # last modified first: a description counts
    shown = await features("sagemaker", "DescribeFeatureMetadata", FeatureGroupName="flights", FeatureName="at")
    assert answer["Results"] == [{"FeatureMetadata": shown}]


@pytest.mark.parametrize("sort", ["LastModifiedTime", "CreationTime", "FeatureName", "FeatureGroupName"])
@pytest.mark.parametrize("order", ["Ascending", "Descending"])
async def test_pages_of_features_join_and_may_end_within_a_group(features: World, sort: str, order: str) -> None:
    whole = (await of_features(features, SortBy=sort, SortOrder=order)).split()
    assert len(set(whole)) == 6
    paged: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await features(
            "sagemaker", "Search", Resource="FeatureMetadata", SortBy=sort, SortOrder=order, MaxResults=4, **token
        )
        shown = [each["FeatureMetadata"] for each in page["Results"]]
        paged += [f"{each['FeatureGroupName']}.{each['FeatureName']}" for each in shown]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert paged == whole


async def test_what_features_are_searched_by_is_suggested(features: World) -> None:
    answer = await features(
        "sagemaker",
        "GetSearchSuggestions",
        Resource="FeatureMetadata",
        SuggestionQuery={"PropertyNameQuery": {"PropertyNameHint": "param"}},
    )
    names = [each["PropertyName"] for each in answer["PropertyNameSuggestions"]]
    assert names == ["Parameters.org", "Parameters.team", "AllParameters"]


async def test_a_property_that_features_do_not_have_is_refused(features: World) -> None:
    code, message = await features.refused(
        "sagemaker",
        "Search",
        Resource="FeatureMetadata",
        SearchExpression={"Filters": [{"Name": "Tags.team", "Value": "red"}]},
    )
    assert (code, "Unknown property name: 'Tags.team'" in message) == ("ValidationException", True)
