"""What Clary records by itself of jobs, packages and endpoints, over a store in memory and through the API's own handlers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.api.house import JOB, house
from tests.api.world import ACCOUNT, REGION, World

from clary.domain.resources import Record, Scope
from clary.loops.lineage.follower import LineageFollower

HERE = Scope(ACCOUNT, REGION)
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
CHANNEL = {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/m"}}}


@pytest.fixture
async def world() -> World:
    """An experiment's trial, and a training job in it."""
    made = World({"b": {"m.tar.gz": b"1"}})
    await made("sagemaker", "CreateExperiment", ExperimentName="e")
    await made("sagemaker", "CreateTrial", TrialName="t", ExperimentName="e")
    await made(
        "sagemaker",
        "CreateTrainingJob",
        **{
            **JOB,
            "TrainingJobName": "Job",
            "HyperParameters": {"eta": "0.1", "objective": "mse"},
            "InputDataConfig": [CHANNEL],
            "ExperimentConfig": {"ExperimentName": "e", "TrialName": "t", "TrialComponentDisplayName": "Shown"},
        },
    )
    return made


def follower(world: World) -> LineageFollower:
    return LineageFollower(world.store, world.ports.clock)


async def completed(world: World) -> Record:
    job = await world.store.get("training-job", HERE, "Job")
    assert job is not None
    metrics = [{"MetricName": "auc", "Value": 0.9, "Timestamp": world.now}]
    document = {
        **job.document,
        "artifacts": "s3://b/out/model.tar.gz",
        "metrics": metrics,
        "started": 1.0,
        "ended": 2.0,
    }
    return await world.store.save(replace(job, status="Completed", document=document))


async def component(world: World) -> dict[str, Any]:
    return await world("sagemaker", "DescribeTrialComponent", TrialComponentName="Job-aws-training-job")


async def test_a_job_has_a_component_from_the_beginning_that_follows_it(world: World) -> None:
    await follower(world).catch_up()
    shown = await component(world)
    assert (shown["DisplayName"], shown["Status"]) == ("Shown", {"PrimaryStatus": "InProgress"})
    assert shown["Parameters"]["eta"] == {"NumberValue": 0.1}
    assert shown["Parameters"]["objective"] == {"StringValue": "mse"}
    assert shown["Parameters"]["SageMaker.InstanceType"] == {"StringValue": "ml.m5.large"}
    assert shown["InputArtifacts"]["train"] == {"Value": "s3://b/m"}
    assert shown["Source"] == {"SourceArn": f"{ARN}:training-job/job", "SourceType": "SageMakerTrainingJob"}
    await world(
        "sagemaker",
        "UpdateTrialComponent",
        TrialComponentName="Job-aws-training-job",
        Parameters={"mine": {"NumberValue": 1.0}},
    )
    await completed(world)
    await follower(world).catch_up()
    shown = await component(world)
    assert (shown["Status"], shown["StartTime"], shown["EndTime"]) == ({"PrimaryStatus": "Completed"}, 1.0, 2.0)
    assert shown["OutputArtifacts"] == {"SageMaker.ModelArtifact": {"Value": "s3://b/out/model.tar.gz"}}
    assert (shown["Metrics"][0]["MetricName"], shown["Metrics"][0]["Last"]) == ("auc", 0.9)
    assert shown["Parameters"]["mine"] == {"NumberValue": 1.0}  # what users added stays
    listed = await world("sagemaker", "ListTrialComponents", TrialName="t", SourceArn=f"{ARN}:training-job/JOB")
    assert len(listed["TrialComponentSummaries"]) == 1


async def test_of_a_completed_job_data_and_image_lead_to_the_model(world: World) -> None:
    await completed(world)
    await follower(world).catch_up()
    model = (await world("sagemaker", "ListArtifacts", SourceUri="s3://b/out/model.tar.gz"))["ArtifactSummaries"][0]
    found = await world("sagemaker", "QueryLineage", StartArns=[model["ArtifactArn"]], Direction="Ascendants")
    assert sorted(each["Type"] for each in found["Vertices"]) == ["DataSet", "Image", "TrainingJob"]
    assert {each["AssociationType"] for each in found["Edges"]} == {"ContributedTo", "Produced"}


async def test_data_is_known_by_the_etags_of_its_objects(world: World) -> None:
    job = await completed(world)
    told = {"count": 1, "digest": "d1", "first": [["m.tar.gz", "e1"]]}
    document = {**job.document, "work": {"channels": {"copied": [], "objects": {"train": told}}}}
    await world.store.save(replace(job, document=document))
    await follower(world).catch_up()
    (data,) = (await world("sagemaker", "ListArtifacts", ArtifactType="DataSet"))["ArtifactSummaries"]
    shown = await world("sagemaker", "DescribeArtifact", ArtifactArn=data["ArtifactArn"])
    assert shown["Source"]["SourceTypes"] == [{"SourceIdType": "Custom", "Value": "d1"}]
    assert shown["Properties"] == {"Objects": "1", "s3:m.tar.gz": "e1"}


async def test_again_and_by_two_at_once_it_is_the_same(world: World) -> None:
    await completed(world)
    await asyncio.gather(*(follower(world).catch_up() for _ in range(3)))
    before = dict(world.store._records)
    await follower(world).catch_up()
    assert world.store._records == before


async def test_what_was_cut_off_anywhere_is_done_by_the_next(world: World) -> None:
    """As after a kill at each of the writes: the n-th fails, then another follower begins."""
    await completed(world)
    whole = World()
    whole.store._records.update(world.store._records)
    await follower(whole).catch_up()
    for cut in range(len(whole.store._records) - len(world.store._records)):
        other = World()
        other.store._records.update(world.store._records)
        add, left = other.store.add, cut

        async def cut_off(record: Record, *more: Any, add: Any = add) -> Record:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            found: Record = await add(record, *more)
            return found

        other.store.add = cut_off  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            await follower(other).catch_up()
        other.store.add = add  # type: ignore[method-assign]
        await follower(other).catch_up()
        assert set(other.store._records) == set(whole.store._records)


async def test_a_change_is_heard(world: World) -> None:
    running = asyncio.create_task(follower(world).run())
    found: dict[str, Any] = {}
    await completed(world)
    for _ in range(200):
        await asyncio.sleep(0)
        if await world.store.get("trial-component", HERE, "Job-aws-training-job") is not None:
            found = await component(world)
            if found["Status"]["PrimaryStatus"] == "Completed":
                break
    assert found["Status"] == {"PrimaryStatus": "Completed"}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def changed(world: World, **more: Any) -> None:
    job = await world.store.get("training-job", HERE, "Job")
    assert job is not None
    await world.store.save(replace(job, document={**job.document, **more}))


async def test_a_component_is_written_only_where_it_shows_something_new(world: World) -> None:
    own = follower(world)
    await own.catch_up()
    await changed(world, phase="downloading")
    await own.catch_up()
    key = "Job-aws-training-job"
    first = await world.store.get("trial-component", HERE, key)
    assert first is not None
    assert first.version == 1
    await follower(world).catch_up()  # one that remembers nothing sees by what is stored that it is the same
    assert await world.store.get("trial-component", HERE, key) == first
    await changed(world, phase="training", started=5.0)
    await own.catch_up()
    second = await world.store.get("trial-component", HERE, key)
    assert second is not None
    assert (second.version, second.document["request"]["StartTime"]) == (2, 5.0)


async def test_data_that_becomes_known_is_recorded_though_the_component_shows_the_same(world: World) -> None:
    own = follower(world)
    await own.catch_up()
    assert not (await world("sagemaker", "ListArtifacts", ArtifactType="DataSet"))["ArtifactSummaries"]
    told = {"count": 1, "digest": "d1", "first": [["m.tar.gz", "e1"]]}
    await changed(world, work={"channels": {"copied": [], "objects": {"train": told}}})
    await own.catch_up()
    assert len((await world("sagemaker", "ListArtifacts", ArtifactType="DataSet"))["ArtifactSummaries"]) == 1


async def test_from_an_endpoint_to_its_model() -> None:
    world = await house()
    await follower(world).catch_up()
    (context,) = (await world("sagemaker", "ListContexts", SourceUri=f"{ARN}:endpoint/e"))["ContextSummaries"]
    assert context["ContextType"] == "Endpoint"
    found = await world("sagemaker", "QueryLineage", StartArns=[context["ContextArn"]], Direction="Ascendants")
    described = [
        (await world("sagemaker", "DescribeArtifact", ArtifactArn=each["Arn"]))["Source"]["SourceUri"]
        for each in found["Vertices"]
        if each["LineageType"] == "Artifact"
    ]
    assert "s3://b/m.tar.gz" in described
    deployed = await world(
        "sagemaker", "ListAssociations", SourceArn=context["ContextArn"], DestinationType="ModelDeployment"
    )
    (action,) = [each["DestinationArn"] for each in deployed["AssociationSummaries"]]
    models = await world("sagemaker", "ListAssociations", SourceArn=action, DestinationType="Model")
    assert len(models["AssociationSummaries"]) == 1
