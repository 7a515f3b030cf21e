"""How a transform job goes on, turn by turn, without anything that runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clary.domain.endpoints.turn import NO_CAPACITY
from clary.domain.lifecycle import JobStatus
from clary.domain.machine.workload import Observation, RunState
from clary.domain.models.containers import Container
from clary.domain.resources import Record, Scope
from clary.domain.transform import record as transforms
from clary.domain.transform import request as requests
from clary.domain.transform.life import MOST_DEATHS, decide
from clary.domain.transform.record import (
    Begin,
    Discard,
    DropFleet,
    ForgetDriver,
    MakeFleet,
    SeenFleet,
    SeenTransform,
    StartDriver,
    StopDriver,
    Work,
)

REQUEST = {
    "TransformJobName": "j",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}},
    "TransformOutput": {"S3OutputPath": "s3://b/out"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}
UP = SeenFleet("InService", workers=2, up=True)
DONE, RUNS = Work("done"), Observation(RunState.RUNNING)
PLACED = {"place": DONE}


def job(**document: Any) -> Record:
    fleet = requests.fleet_of("f", "j", "arn:j", REQUEST, [Container("m", "image")], 1.0)
    whole = {**transforms.document(REQUEST, [], "id", "seed", fleet), **document}
    return Record(transforms.KIND, Scope("1", "r"), "j", "arn:j", JobStatus.IN_PROGRESS, 1.0, 1.0, whole)


def running(**document: Any) -> Record:
    return job(phase="running", handle="h", attempt=1, started=2.0, **document)


def ended(code: int | None = 0) -> Observation:
    return Observation(RunState.EXITED if code is not None else RunState.LOST, exit_code=code)


def test_objects_are_placed_while_the_replicas_come_up() -> None:
    first = decide(job(), SeenTransform(), 2.0)
    assert first.commands == (Begin("place"), MakeFleet())
    waits = decide(first.record, SeenTransform(fleet=SeenFleet("Creating"), work=PLACED), 3.0)
    assert waits.commands == ()
    assert waits.record.document["phase"] == "starting"
    begins = decide(first.record, SeenTransform(fleet=UP, work=PLACED), 4.0)
    assert begins.commands == (StartDriver(1, 2),)
    assert (begins.record.document["phase"], begins.record.document["started"]) == ("running", 4.0)


def test_it_completes_once_all_outputs_are_stored() -> None:
    seen = SeenTransform(fleet=UP, run=ended(), ready=True, work=PLACED)
    first = decide(running(), seen, 5.0)
    assert first.commands == (Begin("publish"),)
    assert first.record.status == JobStatus.IN_PROGRESS
    second = decide(first.record, replace(seen, ready=False), 6.0)
    assert second.commands == (Begin("finish"),)
    last = decide(second.record, replace(seen, ready=False, work={"finish": DONE}), 7.0)
    assert last.commands == (DropFleet(), Discard("h"))
    assert (last.record.status, last.record.document["ended"], last.again) == (JobStatus.COMPLETED, 7.0, None)


def test_a_failure_tells_where_and_why_and_keeps_what_is_whole() -> None:
    verdict = {"blame": "ClientError", "where": "s3://b/in/a.csv, line 3", "message": "the model answered 400: bad row"}
    seen = SeenTransform(fleet=UP, run=ended(1), verdict=verdict, ready=True, work=PLACED)
    first = decide(running(), seen, 5.0)
    assert first.commands == (Begin("publish"),), "outputs of objects that were whole are stored"
    last = decide(first.record, replace(seen, ready=False, work={"finish": DONE}), 6.0)
    assert last.record.status == JobStatus.FAILED
    assert last.record.document["failure"] == (
        "ClientError: s3://b/in/a.csv, line 3: the model answered 400: bad row. See job logs for more information"
    )


def test_a_model_that_runs_out_of_memory_is_told_as_that() -> None:
    verdict = {"blame": "AlgorithmError", "where": "s3://b/in/a.csv, lines 1 to 9", "message": "the model answered 500"}
    fleet = replace(UP, failure="it ran out of memory on ml.m5.large; use an instance type with more memory")
    decision = decide(running(), SeenTransform(fleet=fleet, run=ended(1), verdict=verdict), 5.0)
    assert (
        "The model ran out of memory on ml.m5.large at s3://b/in/a.csv, lines 1 to 9."
        in decision.record.document["failure"]
    )


def test_a_driver_that_dies_is_started_again_until_it_is_hopeless() -> None:
    seen = SeenTransform(fleet=UP, run=ended(None), work=PLACED)
    again = decide(running(), seen, 5.0)
    assert again.commands == (ForgetDriver("h"),)
    started = decide(again.record, replace(seen, run=None), 6.0)
    assert started.commands == (StartDriver(2, 2),)
    assert started.record.document["started"] == 2.0
    hopeless = decide(running(deaths=MOST_DEATHS), seen, 7.0)
    assert hopeless.record.document["failure"].startswith(
        "InternalServerError: the process that carries the job out was lost"
    )
    lives = decide(running(deaths=3), replace(seen, run=RUNS, ready=True, work={"publish": DONE}), 8.0)
    assert lives.record.document["deaths"] == 0, "an output came between"


def test_it_waits_for_room_as_jobs_do() -> None:
    full = SeenFleet("Failed", NO_CAPACITY + "no room")
    first = decide(job(), SeenTransform(fleet=full, work=PLACED), 10.0)
    assert first.commands == (DropFleet(),)
    assert first.record.status == JobStatus.IN_PROGRESS
    early = decide(first.record, SeenTransform(work=PLACED), 11.0)
    assert early.commands == ()
    later = decide(first.record, SeenTransform(work=PLACED), 12.0)
    assert later.commands == (MakeFleet(),)


def test_a_model_that_does_not_come_up_fails_the_job() -> None:
    decision = decide(job(), SeenTransform(fleet=SeenFleet("Failed", "Traceback: boom"), work=PLACED), 10.0)
    assert decision.record.document["failure"] == "AlgorithmError: Traceback: boom"


def test_replicas_that_are_lost_for_good_end_the_driver() -> None:
    lost = SeenTransform(fleet=SeenFleet("OutOfService", "it ran out of memory"), run=RUNS)
    first = decide(running(), lost, 5.0)
    assert first.commands == (StopDriver("h"),)
    last = decide(first.record, replace(lost, run=ended(143), work={"finish": DONE}), 6.0)
    assert (last.record.status, last.record.document["failure"]) == (
        JobStatus.FAILED,
        "AlgorithmError: it ran out of memory",
    )


def test_a_stop_keeps_the_outputs_of_whole_objects() -> None:
    stopping = transforms.stop_asked(running(), 4.0)
    first = decide(stopping, SeenTransform(fleet=UP, run=RUNS), 5.0)
    assert first.commands == (StopDriver("h"),)
    second = decide(first.record, SeenTransform(fleet=UP, run=ended(143), ready=True), 6.0)
    assert second.commands == (Begin("publish"),)
    last = decide(second.record, SeenTransform(fleet=UP, run=ended(143), work={"finish": DONE}), 7.0)
    assert last.record.status == JobStatus.STOPPED
    before = transforms.stop_asked(job(), 4.0)
    assert decide(before, SeenTransform(), 5.0).record.status == JobStatus.STOPPED, "before its driver began"


def test_an_output_that_cannot_be_stored_fails_the_job() -> None:
    seen = SeenTransform(fleet=UP, run=RUNS, ready=True, work={"publish": Work("failed", message="no such bucket")})
    first = decide(running(), seen, 5.0)
    assert StopDriver("h") in first.commands
    assert first.record.document["failure"] == "ClientError: no such bucket"
    away = replace(seen, work={"publish": Work("failed", message="away", client=False)})
    assert decide(running(), away, 5.0).record.document["phase"] == "running", "a store that restarts is waited for"
