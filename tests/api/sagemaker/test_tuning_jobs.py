"""Handlers of tuning jobs: what Create refuses, what Describe and the lists answer of a record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.api.house import TUNING
from tests.api.world import ACCOUNT, REGION, World

from clary.domain.resources import Record, Scope

NAME = {"HyperParameterTuningJobName": "t"}
SINGLE: dict[str, Any] = TUNING["TrainingJobDefinition"]
CONFIG: dict[str, Any] = TUNING["HyperParameterTuningJobConfig"]


@pytest.fixture
def world() -> World:
    return World({"b": {"data/a": b"1"}})


async def create(world: World, name: str = "t", config: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    definition = {**SINGLE, **changes.pop("definition", {})}
    request = {
        **TUNING,
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {**CONFIG, **(config or {})},
        "TrainingJobDefinition": definition,
        **changes,
    }
    return await world("sagemaker", "CreateHyperParameterTuningJob", **request)


async def refused(world: World, **changes: Any) -> tuple[str, str]:
    definition = {**SINGLE, **changes.pop("definition", {})}
    request = {
        **TUNING,
        "HyperParameterTuningJobConfig": {**CONFIG, **changes.pop("config", {})},
        "TrainingJobDefinition": definition,
        **changes,
    }
    return await world.refused("sagemaker", "CreateHyperParameterTuningJob", **request)


def trial(number: int, value: float | None = None, status: str = "Completed", **more: Any) -> dict[str, Any]:
    return {
        "name": f"t-{number:03d}-abcdef01",
        "definition": 0,
        "params": {"eta": f"0.{number}"},
        "raw": {"eta": number / 10},
        "made": True,
        "status": status,
        "created": 100.0 + number,
        "objective": "Pending" if status == "InProgress" else "Failed" if value is None else "Succeeded",
        **({} if value is None else {"value": value}),
        **more,
    }


async def given(world: World, *trials: dict[str, Any], **document: Any) -> Record:
    """The tuning job `t` with these trials."""
    record = await world.store.get("hyper-parameter-tuning-job", Scope(ACCOUNT, REGION), "t")
    assert record is not None
    status = document.pop("status", record.status)
    return await world.store.save(
        replace(record, status=status, document={**record.document, "trials": list(trials), **document})
    )


async def listed(world: World, **how: Any) -> list[str]:
    answer = await world("sagemaker", "ListTrainingJobsForHyperParameterTuningJob", **NAME, **how)
    return [entry["TrainingJobName"][2:5] for entry in answer["TrainingJobSummaries"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"definition": {"OutputDataConfig": {"S3OutputPath": "s3://nobodys/out"}}}, "does not exist"),
        ({"definition": {"RoleArn": "arn:aws:iam::111111111111:role/x"}}, "Could not assume role"),
        (
            {"config": {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"}}},
            "'loss' is not one that the algorithm reports. Choose one of: train:accuracy, validation:accuracy",
        ),
        (
            {"definition": {"StaticHyperParameters": {"sagemaker_program": "train.py"}}},
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric definitions.",
        ),
        (
            {
                "WarmStartConfig": {
                    "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "gone"}],
                    "WarmStartType": "TransferLearning",
                }
            },
            "'gone' of WarmStartConfig does not exist",
        ),
        ({"config": {"Strategy": "Grid"}}, "categorical hyperparameters only"),
    ],
)
async def test_what_create_refuses(world: World, changes: dict[str, Any], words: str) -> None:
    code, message = await refused(world, **changes)
    assert code == "ValidationException"
    assert words in message


async def test_a_name_is_taken_once(world: World) -> None:
    await create(world)
    assert (await refused(world))[0] == "ResourceInUse"


async def test_a_missing_job(world: World) -> None:
    for operation in ("DescribeHyperParameterTuningJob", "StopHyperParameterTuningJob"):
        assert await world.refused("sagemaker", operation, **NAME) == (
            "ResourceNotFound",
            "Amazon SageMaker can't find a tuning job with the name t. Check the name and try again.",
        )


async def test_describe_shows_what_was_asked_and_what_the_service_adds(world: World) -> None:
    await create(world, config={"RandomSeed": 5})
    await given(world, trial(1, 0.5), trial(2, 0.25), trial(3, status="InProgress"), trial(4, status="Failed"))
    shown = await world("sagemaker", "DescribeHyperParameterTuningJob", **NAME)
    assert shown["HyperParameterTuningJobConfig"] == {**CONFIG, "RandomSeed": 5}
    assert shown["TrainingJobDefinition"]["StaticHyperParameters"] == {"_tuning_objective_metric": "validation:rmse"}
    names = {entry["Name"] for entry in shown["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]}
    assert "validation:rmse" in names
    assert "TrainingJobDefinitions" not in shown
    assert shown["TrainingJobStatusCounters"] == {
        "Completed": 2, "InProgress": 1, "RetryableError": 0, "NonRetryableError": 1, "Stopped": 0,
    }  # fmt: skip
    assert shown["ObjectiveStatusCounters"] == {"Succeeded": 2, "Pending": 1, "Failed": 1}
    best = shown["BestTrainingJob"]
    assert best["TrainingJobName"] == "t-002-abcdef01"
    assert best["TunedHyperParameters"] == {"eta": "0.2"}
    assert best["FinalHyperParameterTuningJobObjectiveMetric"] == {
        "Type": "Minimize", "MetricName": "validation:rmse", "Value": 0.25,
    }  # fmt: skip
    assert "FailureReason" not in shown
    assert "OverallBestTrainingJob" not in shown


async def test_a_warning_is_told_while_the_job_goes_on(world: World) -> None:
    await create(world)
    await given(world, trial(1), warning="Warning: no value")
    shown = await world("sagemaker", "DescribeHyperParameterTuningJob", **NAME)
    assert (shown["HyperParameterTuningJobStatus"], shown["FailureReason"]) == ("InProgress", "Warning: no value")


async def test_the_training_jobs_are_sorted_filtered_and_paged(world: World) -> None:
    await create(world)
    await given(
        world, trial(1, 0.5), trial(2, 0.9), trial(3, 0.7, "Stopped"), trial(4, status="Failed"), trial(5, status="InProgress"),
        trial(6, status="InProgress", made=False),
    )  # fmt: skip
    assert await listed(world) == ["001", "002", "003", "004", "005"], "one that is not made yet cannot be described"
    assert await listed(world, SortOrder="Descending") == ["005", "004", "003", "002", "001"]
    assert await listed(world, SortBy="FinalObjectiveMetricValue") == ["001", "003", "002"], "the best first"
    assert await listed(world, SortBy="FinalObjectiveMetricValue", SortOrder="Descending") == ["002", "003", "001"]
    assert await listed(world, SortBy="CreationTime", SortOrder="Descending") == ["005", "004", "003", "002", "001"]
    assert await listed(world, SortBy="Status") == ["001", "002", "004", "005", "003"]
    assert await listed(world, StatusEquals="Stopped") == ["003"]


@pytest.mark.parametrize("how", [{}, {"SortBy": "FinalObjectiveMetricValue", "SortOrder": "Descending"}])
async def test_pages_hold_every_job_once(world: World, how: dict[str, Any]) -> None:
    await create(world)
    await given(world, *(trial(number, 0.5 if number < 4 else number / 10) for number in range(1, 8)))
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await world(
            "sagemaker", "ListTrainingJobsForHyperParameterTuningJob", **NAME, **how, **token, MaxResults=3
        )
        found += [entry["TrainingJobName"][2:5] for entry in page["TrainingJobSummaries"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert found == await listed(world, **how, MaxResults=100)
    assert len(found) == 7


async def test_for_an_objective_that_is_maximized_the_highest_comes_first(world: World) -> None:
    await create(
        world, config={"HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:auc"}}
    )
    await given(world, trial(1, 0.5), trial(2, 0.9))
    assert await listed(world, SortBy="FinalObjectiveMetricValue") == ["002", "001"]
    shown = await world("sagemaker", "DescribeHyperParameterTuningJob", **NAME)
    assert shown["BestTrainingJob"]["TrainingJobName"] == "t-002-abcdef01"


async def test_stop_and_delete(world: World) -> None:
    await create(world)
    assert "is in status InProgress" in (await world.refused("sagemaker", "DeleteHyperParameterTuningJob", **NAME))[1]
    for _ in range(2):
        await world("sagemaker", "StopHyperParameterTuningJob", **NAME)
    shown = await world("sagemaker", "DescribeHyperParameterTuningJob", **NAME)
    assert shown["HyperParameterTuningJobStatus"] == "Stopping"
    await given(world, status="Completed")
    code, message = await world.refused("sagemaker", "StopHyperParameterTuningJob", **NAME)
    assert (code, message.endswith("is in status Completed.")) == ("ValidationException", True)
    await world("sagemaker", "DeleteHyperParameterTuningJob", **NAME)
    assert await world.store.get("hyper-parameter-tuning-job", Scope(ACCOUNT, REGION), "t") is None


async def test_a_warm_start_keeps_what_it_needs_of_its_parents(world: World) -> None:
    await create(world)
    await given(world, trial(1, 0.5), trial(2, 0.25), status="Completed")
    warm = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "t"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    await create(world, "u", WarmStartConfig=warm)
    await world("sagemaker", "DeleteHyperParameterTuningJob", **NAME)
    shown = await world("sagemaker", "DescribeHyperParameterTuningJob", HyperParameterTuningJobName="u")
    assert "BestTrainingJob" not in shown
    assert shown["OverallBestTrainingJob"]["TrainingJobName"] == "t-002-abcdef01"
    assert shown["OverallBestTrainingJob"]["TuningJobName"] == "t"
    record = await world.store.get("hyper-parameter-tuning-job", Scope(ACCOUNT, REGION), "u")
    assert record is not None
    assert [entry["value"] for entry in record.document["prior"]] == [0.5, 0.25]


async def test_lists_show_counters_and_limits(world: World) -> None:
    await create(world, "b")
    await create(world, "a")
    found = await world("sagemaker", "ListHyperParameterTuningJobs")
    summaries = found["HyperParameterTuningJobSummaries"]
    assert [entry["HyperParameterTuningJobName"] for entry in summaries] == ["a", "b"]
    assert summaries[0]["Strategy"] == "Random"
    assert summaries[0]["ResourceLimits"] == CONFIG["ResourceLimits"]
