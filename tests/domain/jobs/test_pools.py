"""Warm pools: what is kept, for whom, how long, and when it gives way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.decisions import Unable
from clary.domain.jobs import pools
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.pools import Drop, Hold, SeenPool
from clary.domain.machine.admission import WAITING
from clary.domain.machine.capacity import Book, Claim, Fit, Machine, Owner, Waiting
from clary.domain.machine.workload import Observation, RunState
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
GIB = 1 << 30
MACHINE = Machine(cpus=4, memory=16 * GIB, available=8 * GIB, name="here")
BOOK = Book(MACHINE, "fit", 0.0)
RUNS = Observation(RunState.RUNNING)


def job(name: str = "first", **changes: Any) -> Record:
    request = {
        "TrainingJobName": name,
        "RoleArn": "arn:aws:iam::000000000000:role/R",
        "AlgorithmSpecification": {"TrainingImage": "sagemaker-scikit-learn:1", "TrainingInputMode": "File"},
        "HyperParameters": {"sagemaker_program": '"train.py"'},
        "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 5,
            "KeepAlivePeriodInSeconds": 60,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **changes,
    }
    row = JOB_KINDS["training-job"]
    document = jobs.document(row, row.parse(request), request, [], f"id-{name}", (), 0.0)
    document["fits"] = {"ml.m5.large": {"cpu": 2.0, "memory": 8 * GIB, "gpus": 0, "notes": []}}
    document["work"] = {"code": {"requirements": "", "run": "x"}, "environment": {}}
    return Record(row.name, SCOPE, name, f"arn:job/{name}", "Completed", 0.0, 0.0, document)


def pool(**document: Any) -> Record:
    made = pools.new(job(), "arn:pool/first", 100.0)
    assert made is not None
    return replace(made, document={**made.document, **document})


def held(**document: Any) -> Record:
    return pool(granted=True, handle="pool-id-first-0", lasts=160.0, **document)


def test_nothing_is_kept_of_a_job_that_asks_for_nothing() -> None:
    asks = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
    assert pools.new(job(ResourceConfig=asks), "arn", 1.0) is None


@pytest.mark.parametrize(
    "other",
    [
        job(ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "KeepAlivePeriodInSeconds": 60}),
        job(HyperParameters={}),
        job(AlgorithmSpecification={"TrainingImage": "x", "TrainingInputMode": "File", "ContainerEntrypoint": ["sh"]}),
    ],
)
def test_nothing_is_kept_of_several_hosts_or_without_a_script(other: Record) -> None:
    assert pools.match(other) is None


def test_nothing_is_kept_of_a_users_own_requirements_or_of_gpus() -> None:
    one = job()
    wants = {"code": {"requirements": "flask", "run": "x"}, "environment": {}}
    assert pools.match(replace(one, document={**one.document, "work": wants})) is None
    fits = {"ml.m5.large": {"cpu": 2.0, "memory": GIB, "gpus": 1, "notes": []}}
    assert pools.match(replace(one, document={**one.document, "fits": fits})) is None


def test_a_place_is_granted_before_a_sandbox_is_made() -> None:
    first = pools.decide(pool(), SeenPool(BOOK), 101.0)
    assert first.commands == ()
    assert first.grants is not None
    assert [(grant.kind, grant.memory, grant.cpu) for grant in first.grants.take] == [("warm pool", 8 * GIB, 2.0)]
    second = pools.decide(first.record, SeenPool(BOOK), 102.0)
    assert second.commands == (Hold("pool-id-first-0", 58.0),)
    kept = pools.absorb(second.record, [(second.commands[0], "pool-id-first-0")])
    assert kept.document["handle"] == "pool-id-first-0"
    third = pools.decide(kept, SeenPool(BOOK, RUNS), 103.0)
    assert (third.record, third.commands) == (kept, ())


def test_it_ends_when_its_time_is_up_and_costs_no_more_than_that() -> None:
    over = pools.decide(held(), SeenPool(BOOK, RUNS), 161.5)
    assert over.record.status == "Terminated"
    assert over.commands == (Drop("pool-id-first-0"),)
    assert over.grants is not None
    assert over.grants.release == ("arn:pool/first#algo-1",)
    assert pools.shown(over.record, job(), 500.0) == {
        "Status": "Terminated",
        "ResourceRetainedBillableTimeInSeconds": 60,
    }


ENDPOINT, JOB = Owner("endpoint", "e"), Owner("training job", "j")
HELD = Claim("x", (Fit(3.0, 15 * GIB, 0),), 0.0)


@pytest.mark.parametrize(
    ("book", "way"),
    [
        (replace(BOOK, waiting=(Waiting("j", JOB, 0.0, WAITING + "1 MiB"),)), "training job waits for room"),
        (replace(BOOK, waiting=(Waiting("e", ENDPOINT, 0.0, "", (Fit(1, GIB, 0),)),)), "endpoint waits for room"),
        (replace(BOOK, waiting=(Waiting("j", JOB, 0.0, "Starting the training job"),)), ""),
        (replace(BOOK, machine=replace(MACHINE, available=1)), "memory is short"),
        (replace(BOOK, policy="strict", jobs=(HELD,)), "what it holds is given to others"),
        (replace(BOOK, jobs=(HELD,)), ""),
    ],
)
def test_it_gives_way_to_what_waits(book: Book, way: str) -> None:
    assert pools.needed(book) == way
    decided = pools.decide(held(), SeenPool(book, RUNS), 110.0)
    assert decided.record.status == ("Terminated" if way else "Available")
    assert decided.record.document.get("why", "") == way


def test_a_job_finds_free_what_pools_hold() -> None:
    claim = Claim("p", (Fit(2.0, 8 * GIB, 0),), 0.0, owner=Owner("warm pool", "first"))
    other = Claim("j", (Fit(1.0, GIB, 0),), 0.0, owner=JOB)
    assert pools.without(replace(BOOK, jobs=(claim, other))).jobs == (other,)


def test_one_whose_sandbox_ended_or_could_not_be_made_is_terminated() -> None:
    for run in (None, Observation(RunState.LOST)):
        assert pools.decide(held(), SeenPool(BOOK, run), 110.0).record.status == "Terminated"
    unable = pools.absorb(pool(granted=True), [(Hold("k", 1.0), Unable("no sandbox"))])
    decided = pools.decide(unable, SeenPool(BOOK), 110.0)
    assert (decided.record.status, decided.record.document["why"]) == ("Terminated", "no sandbox")


def test_prolonged_it_gets_a_sandbox_that_lasts_as_long() -> None:
    longer = pools.kept(held(), 600, 110.0)
    first = pools.decide(longer, SeenPool(BOOK, RUNS), 110.0)
    assert first.commands == (Drop("pool-id-first-0"),)
    second = pools.decide(first.record, SeenPool(BOOK), 110.0)
    assert second.commands == (Hold("pool-id-first-1", 590.0),)
    ended = pools.decide(pools.kept(held(), 0, 110.0), SeenPool(BOOK, RUNS), 110.0)
    assert ended.record.status == "Terminated"


def test_a_job_alike_takes_the_pool_that_has_least_time_left() -> None:
    near, far = held(), replace(held(keep=90), name="far")
    second = job("second")
    assert pools.reusable([far, near], second, 110.0) == near
    assert pools.reusable([far, near], second, 170.0) == far
    assert pools.reusable([pool(granted=True)], second, 110.0) is None  # nothing waits there yet
    assert pools.reusable([near], job("other", RoleArn="arn:aws:iam::000000000000:role/S"), 110.0) is None
    assert pools.reusable([near], job("other", EnableNetworkIsolation=True), 110.0) is None


def test_handed_over_it_is_the_other_jobs() -> None:
    taken = pools.taken(held(), "second", 120.5)
    assert pools.shown(taken, job(), 999.0) == {
        "Status": "Reused",
        "ResourceRetainedBillableTimeInSeconds": 21,
        "ReusedByJob": "second",
    }
    given = Observation(RunState.EXITED, exit_code=0)
    assert pools.decide(taken, SeenPool(BOOK, given, True), 121.0).commands == ()
    assert pools.decide(taken, SeenPool(BOOK, given, True), 121.0).record.status == "Reused"
    waits = pools.decide(taken, SeenPool(BOOK, RUNS, True), 121.0)
    assert (waits.record, waits.commands) == (taken, ())
    for seen, now in ((SeenPool(BOOK, RUNS, False), 121.0), (SeenPool(BOOK, RUNS, True), 181.0)):
        unfit = pools.decide(taken, seen, now)
        assert (unfit.record.status, unfit.commands) == ("Reused", (Drop("pool-id-first-0"),))


def test_a_job_that_goes_on_has_its_pool_in_use() -> None:
    assert pools.shown(None, replace(job(), status="InProgress"), 1.0) == {"Status": "InUse"}
    assert pools.shown(None, job(), 1.0) is None
