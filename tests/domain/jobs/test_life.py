"""What happens next to a training job: tables of (record, seen) -> (phase, commands)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import botocore.session
import pytest

from clary.domain.errors import IllegalTransition
from clary.domain.jobs import life
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import JOB_KINDS
from clary.domain.jobs.life import decide
from clary.domain.jobs.log_metrics import Sample
from clary.domain.jobs.record import (
    Announce,
    Begin,
    Command,
    Discard,
    Report,
    Say,
    SeenJob,
    StartHost,
    StopHosts,
    SyncOut,
    Unstartable,
    Work,
)
from clary.domain.machine.capacity import Book, Claim, Fit, Machine
from clary.domain.machine.instances import GIB
from clary.domain.machine.workload import Observation, RunFailure, RunState
from clary.domain.resources import Record, Scope

ROW = JOB_KINDS["training-job"]
NOW = 1000.0
MACHINE = Machine(cpus=4, memory=16 * GIB, available=12 * GIB)
BOOK = Book(MACHINE, "fit", NOW)
SEEN = SeenJob(BOOK)
ENVIRONMENT = {"path": "/e", "python": "/e/bin/python", "mounts": []}
RUNNING = Observation(RunState.RUNNING, started_at=1.0)


def request(**changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "Job",
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        "AlgorithmSpecification": {"TrainingImage": "x/sagemaker-xgboost:1", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **changes,
    }


def job(status: str = "InProgress", request_: dict[str, Any] | None = None, **document: Any) -> Record:
    asked = request_ or request()
    made = jobs.document(ROW, ROW.parse(asked), asked, [], "id", ["note"], NOW - 10)
    arn = "arn:aws:sagemaker:us-east-1:000000000000:training-job/job"
    scope = Scope("000000000000", "us-east-1")
    return Record(ROW.name, scope, "Job", arn, status, NOW - 10, NOW - 10, {**made, **document}, 1)


def training(status: str = "InProgress", request_: dict[str, Any] | None = None, **document: Any) -> Record:
    base = {
        "phase": "training",
        "started": NOW - 9,
        "run_started": NOW - 8,
        "fits": {"ml.m5.large": {"cpu": 2.0, "memory": 8 * GIB, "gpus": 0, "notes": []}},
        "handles": {"algo-1": "h1"},
        "work": {"channels": {}, "environment": ENVIRONMENT},
    }
    return job(status, request_, **{**base, **document})


def ended(exit_code: int, **more: Any) -> Observation:
    return Observation(RunState.EXITED, started_at=1.0, ended_at=2.0, exit_code=exit_code, **more)


def kinds(commands: tuple[Command, ...]) -> list[str]:
    return [type(command).__name__ + (f":{command.name}" if isinstance(command, Begin) else "") for command in commands]


def settle(record: Record, seen: SeenJob = SEEN) -> Record:
    """Decide until nothing changes: through the closing turn."""
    for _ in range(4):
        following = decide(record, seen, NOW).record
        if following == record or following.status not in jobs.ACTIVE:
            return following
        record = following
    return record


# -- starting -------------------------------------------------------------------------------------------------------------------


def test_a_granted_job_takes_its_place_before_anything_begins() -> None:
    decision = decide(job(), SEEN, NOW)
    assert decision.commands == ()
    assert decision.grants is not None
    [grant] = decision.grants.take
    assert (grant.arn, grant.key) == (job().arn, f"{job().arn}#algo-1")
    assert decision.grants.version == BOOK.version
    then = decide(decision.record, SEEN, NOW)
    assert then.grants is None
    assert kinds(then.commands) == ["Announce", "Begin:channels", "Begin:environment"]
    assert then.commands[0] == Announce(0, ("note",))
    assert decision.record.document["phase"] == "downloading"
    assert decision.record.document["started"] == NOW
    assert [t["Status"] for t in decision.record.document["transitions"]] == ["Starting", "Downloading"]
    assert decision.record.document["transitions"][0]["EndTime"] == NOW


def test_what_is_clamped_is_told_in_record_and_log() -> None:
    big = request(ResourceConfig={"InstanceType": "ml.g5.12xlarge", "InstanceCount": 1})
    decision = decide(job(request_=big), SEEN, NOW)
    fit = decision.record.document["fits"]["ml.g5.12xlarge"]
    assert (fit["cpu"], fit["gpus"]) == (4.0, 0)
    assert any("at most 4 vCPU" in note for note in fit["notes"])
    assert any("runs on CPU" in note for note in fit["notes"])
    assert decide(decision.record, SEEN, NOW).commands[0] == Announce(0, ("note", *fit["notes"]))
    assert "at most 4 vCPU" in decision.record.document["transitions"][0]["StatusMessage"]


def test_each_instance_group_gets_what_its_type_is_worth() -> None:
    groups = [
        {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1},
        {"InstanceGroupName": "b", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
    ]
    decision = decide(job(request_=request(ResourceConfig={"InstanceGroups": groups})), SEEN, NOW)
    assert decision.grants is not None
    assert [grant.cpu for grant in decision.grants.take] == [2.0, 4.0, 4.0]
    assert set(decision.record.document["fits"]) == {"ml.m5.large", "ml.c5.xlarge"}


def test_a_full_machine_makes_it_wait_and_says_so() -> None:
    claim = Claim("other", (Fit(1.0, GIB, 0),) * 4, NOW - 100)
    decision = decide(job(), replace(SEEN, book=replace(BOOK, jobs=(claim,))), NOW)
    assert decision.commands == ()
    assert decision.again is not None
    assert jobs.secondary(decision.record.document) == "Pending"
    message = decision.record.document["transitions"][-1]["StatusMessage"]
    assert message == "Waiting for capacity: 4 of 4 places for hosts are in use, 1 needed"
    again = decide(decision.record, replace(SEEN, book=replace(BOOK, jobs=(claim,))), NOW + 1)
    assert again.record == decision.record, "waiting on changes nothing"


def test_figures_that_move_are_told_now_and_then_and_another_reason_at_once() -> None:
    claim = Claim("other", (Fit(1.0, GIB, 0),), NOW - 100)

    def look(record: Record, now: float, free: int, **changes: Any) -> Record:
        machine = replace(MACHINE, available=free << 20)
        return decide(record, replace(SEEN, book=Book(machine, "fit", now, (claim,)), **changes), now).record

    first = look(job(), NOW, 100)
    assert "100 MiB of memory are free" in first.document["transitions"][-1]["StatusMessage"]
    same = first
    for second in range(1, 30):
        same = look(same, NOW + second, 100 + second)
    assert same == first, "nothing is saved"
    later = look(same, NOW + 30, 130)
    assert "130 MiB of memory are free" in later.document["transitions"][-1]["StatusMessage"]
    other = look(later, NOW + 31, 130, ahead=1)
    assert "1 job that came earlier waits" in other.document["transitions"][-1]["StatusMessage"]


def test_earlier_jobs_go_first() -> None:
    assert jobs.secondary(decide(job(), replace(SEEN, ahead=1), NOW).record.document) == "Pending"


def test_waiting_too_long_for_spot_capacity_ends_it() -> None:
    spot = request(
        EnableManagedSpotTraining=True, StoppingCondition={"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 105}
    )
    final = settle(job(request_=spot), replace(SEEN, ahead=1))
    assert (final.status, jobs.secondary(final.document)) == ("Stopped", "MaxWaitTimeExceeded")


def test_strict_capacity_that_is_never_there_fails_with_a_capacity_error() -> None:
    big = request(ResourceConfig={"InstanceType": "ml.m5.24xlarge", "InstanceCount": 1})
    final = settle(job(request_=big), replace(SEEN, book=replace(BOOK, policy="strict")))
    assert final.status == "Failed"
    assert final.document["failure"].startswith("CapacityError: The account-level service limit")


# -- downloading ----------------------------------------------------------------------------------------------------------------

CODE = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": '"s3://b/sourcedir.tar.gz"'}


def test_code_is_prepared_before_the_environment_because_its_requirements_decide_it() -> None:
    scripted = request(HyperParameters=CODE)
    first = decide(decide(job(request_=scripted), SEEN, NOW).record, SEEN, NOW)
    assert kinds(first.commands)[1:] == ["Begin:channels", "Begin:code"]
    work = {"channels": Work("running"), "code": Work("done", {"requirements": "x==1"})}
    second = decide(first.record, replace(SEEN, work=work), NOW)
    assert second.commands == (Begin("environment", 0, requirements="x==1"),)
    work |= {"channels": Work("done"), "environment": Work("done", ENVIRONMENT)}
    third = decide(second.record, replace(SEEN, work=work), NOW)
    assert third.commands == ()
    assert jobs.secondary(third.record.document) == "Downloading"
    fourth = decide(third.record, replace(SEEN, work=work), NOW)
    assert fourth.commands == (StartHost("algo-1", 0, 3600.0),)
    assert jobs.secondary(fourth.record.document) == "Training"


def test_no_host_starts_before_what_was_laid_out_for_it_is_saved() -> None:
    """A control plane that is killed between the start and its save leaves a record by which its successor, which knows nothing of the
    work, starts the hosts again (they run already) and makes nothing anew beneath them."""
    record = decide(job(), SEEN, NOW).record
    work = {"channels": Work("done"), "environment": Work("done", ENVIRONMENT)}
    while not (turn := decide(record, replace(SEEN, work=work), NOW)).commands:
        record = turn.record
    assert turn.commands == (StartHost("algo-1", 0, 3600.0),)
    assert decide(record, SEEN, NOW).commands == turn.commands


@pytest.mark.parametrize(
    ("placed", "built", "seconds"),
    [
        (2, 28, 12),  # data after 2 s, runtime after 30, 10 s of run
        (25, 28, 35),  # the data took nearly as long as the runtime: that is the job's own time
        (2, 0, 40),  # nothing was built: what else took its time is the job's too
    ],
)
def test_the_building_of_a_runtime_is_not_billed(placed: float, built: float, seconds: int) -> None:
    """A job that begins at NOW, runs from 30 s on and ends at 40 s."""
    record = job(phase="downloading", started=NOW)
    record = decide(
        record, replace(SEEN, work={"channels": Work("done"), "environment": Work("running")}), NOW + placed
    ).record
    work = {"channels": Work("done"), "environment": Work("done", {"built": float(built)})}
    record = decide(record, replace(SEEN, work=work), NOW + 30).record
    record = decide(record, replace(SEEN, work=work), NOW + 30).record
    assert record.document["phase"] == "training"
    assert jobs.billed_seconds({**record.document, "ended": NOW + 40}) == seconds


def test_a_job_whose_runtime_cannot_be_built_is_billed_for_its_data_alone() -> None:
    record = job(phase="downloading", started=NOW)
    record = decide(
        record, replace(SEEN, work={"channels": Work("done"), "environment": Work("running")}), NOW + 3
    ).record
    assert jobs.billed_seconds({**record.document, "ended": NOW + 60}) == 3
    assert jobs.billed_seconds(record.document) is None


def test_work_that_was_lost_with_its_process_is_begun_again() -> None:
    downloading = decide(job(), SEEN, NOW).record
    assert kinds(decide(downloading, SEEN, NOW).commands)[1:] == ["Begin:channels", "Begin:environment"]


@pytest.mark.parametrize(("placed", "begun"), [({"synced": True}, False), ({"copied": []}, True)])
def test_checkpoints_are_part_of_the_data_but_of_that_which_an_older_clary_placed(
    placed: dict[str, Any], begun: bool
) -> None:
    checkpointed = request(CheckpointConfig={"S3Uri": "s3://b/c"})
    granted = decide(job(request_=checkpointed), SEEN, NOW).record
    assert "Begin:syncs" not in kinds(decide(granted, SEEN, NOW).commands)
    seen = replace(SEEN, work={"channels": Work("done", placed), "environment": Work("running")})
    assert ("Begin:syncs" in kinds(decide(granted, seen, NOW).commands)) is begun


@pytest.mark.parametrize(
    ("client", "reason"), [(True, "ClientError: no such key"), (False, "InternalServerError: no such key")]
)
def test_failed_work_fails_the_job(client: bool, reason: str) -> None:
    downloading = decide(job(), SEEN, NOW).record
    final = settle(downloading, replace(SEEN, work={"channels": Work("failed", message="no such key", client=client)}))
    assert (final.status, final.document["failure"]) == ("Failed", reason)
    assert final.document["transitions"][-1]["StatusMessage"] == reason


def test_the_end_is_written_down_before_anything_is_removed() -> None:
    downloading = decide(job(), SEEN, NOW).record
    seen = replace(SEEN, work={"channels": Work("failed", message="no")})
    closing = decide(downloading, seen, NOW)
    assert closing.commands == ()
    assert closing.record.status == "InProgress"
    assert closing.record.document["phase"] == "closing"
    final = decide(closing.record, seen, NOW)
    assert kinds(final.commands) == ["Discard"]
    assert final.record.status == "Failed"


# -- training -------------------------------------------------------------------------------------------------------------------


def test_a_running_job_is_looked_at_again_and_its_metrics_are_kept() -> None:
    samples = (Sample("loss", 0.5, 1.0), Sample("loss", 0.25, 2.0))
    seen = replace(SEEN, runs={"algo-1": RUNNING}, samples=samples, offsets={"algo-1": 42})
    decision = decide(training(), seen, NOW)
    assert decision.commands == (Report(samples),)
    assert decision.again is not None
    assert decision.record.document["metrics"] == [{"MetricName": "loss", "Value": 0.25, "Timestamp": 2.0}]
    assert decision.record.document["offsets"] == {"algo-1": 42}


def test_a_lost_save_starts_the_same_host_again_by_the_same_key() -> None:
    assert decide(training(handles={}), SEEN, NOW).commands == (StartHost("algo-1", 0, 3600.0),)


def test_a_stop_asks_the_hosts_to_end() -> None:
    seen = replace(SEEN, runs={"algo-1": RUNNING})
    assert decide(training("Stopping"), seen, NOW).commands == (StopHosts(("h1",)),)


def test_synced_folders_are_copied_beside_the_run() -> None:
    seen = replace(SEEN, runs={"algo-1": RUNNING}, sync_due=True)
    assert decide(training(), seen, NOW).commands == (SyncOut(0),)


def test_one_failed_host_ends_the_others() -> None:
    two = request(ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2})
    record = training(request_=two, handles={"algo-1": "h1", "algo-2": "h2"})
    seen = replace(SEEN, runs={"algo-1": RUNNING, "algo-2": ended(1)}, failures={"algo-2": ("boom", ())})
    assert decide(record, seen, NOW).commands == (StopHosts(("h1",)),)
    seen = replace(seen, runs={"algo-1": ended(143, stopped=True), "algo-2": ended(1)})
    decision = decide(record, seen, NOW)
    assert decision.record.document["outcome"]["reason"] == "AlgorithmError: boom, exit code: 1"


@pytest.mark.parametrize(
    ("status", "run", "fact", "status_after"),
    [
        ("InProgress", ended(0), "succeeded", "Completed"),
        ("InProgress", ended(3), "gave up", "Failed"),
        ("InProgress", ended(137, oom_killed=True), "gave up", "Failed"),
        ("InProgress", ended(143, timed_out=True), "time up", "Stopped"),
        ("InProgress", ended(0, timed_out=True), "time up", "Stopped"),
        ("Stopping", ended(143, stopped=True), "ended", "Stopped"),
        ("Stopping", ended(0, stopped=True), "ended", "Stopped"),
        ("Stopping", ended(0), "succeeded", "Completed"),
        ("Stopping", ended(1), "ended", "Stopped"),
    ],
)
def test_how_a_run_ended_is_how_the_job_ends(status: str, run: Observation, fact: str, status_after: str) -> None:
    stays = [{"Key": "clary:grow-on-out-of-memory", "Value": "false"}]
    decision = decide(training(status, tags=stays), replace(SEEN, runs={"algo-1": run}), NOW)
    assert decision.record.document["outcome"]["fact"] == fact
    assert decision.commands == (Begin("upload", 0, succeeded=fact != "gave up"),)
    done = replace(SEEN, work={"upload": Work("done", {"artifacts": "s3://b/m"} if fact != "gave up" else {})})
    final = settle(decision.record, done)
    assert final.status == status_after
    assert final.document.get("artifacts") == ("s3://b/m" if fact != "gave up" else None)
    assert final.document["ended"] == NOW
    assert "EndTime" in final.document["transitions"][-1]


def test_out_of_memory_says_what_to_do() -> None:
    decision = decide(training(), replace(SEEN, runs={"algo-1": ended(137, oom_killed=True)}), NOW)
    reason = decision.record.document["outcome"]["reason"]
    assert reason.startswith("ClientError: Please use an instance type with more memory")
    assert "8192 MiB (ml.m5.large)" in reason


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (ended(137, detail="it wrote too much"), "ClientError: it wrote too much, exit code: 137"),
        (replace(ended(1), started_at=None, detail="no bwrap"), "InternalServerError: no bwrap"),
    ],
)
def test_the_backends_own_word_is_the_reason(run: Observation, reason: str) -> None:
    decision = decide(training(), replace(SEEN, runs={"algo-1": run}), NOW)
    assert decision.record.document["outcome"]["reason"] == reason


def test_an_expression_that_matched_nothing_is_told() -> None:
    spec = {**request()["AlgorithmSpecification"], "MetricDefinitions": [{"Name": "acc", "Regex": r"acc=(\S+)"}]}
    decision = decide(
        training(request_=request(AlgorithmSpecification=spec)), replace(SEEN, runs={"algo-1": ended(0)}), NOW
    )
    told = "Warning: no line gave a number for metric 'acc': nothing matched its expression 'acc=(\\S+)', or group 1 was no number"
    assert decision.commands[0] == Say((told,))


def test_a_lost_run_is_tried_again_where_the_retry_strategy_allows() -> None:
    lost = replace(SEEN, runs={"algo-1": Observation(RunState.LOST)})
    assert settle(training(), lost).document["failure"].startswith("InternalServerError: ")
    retried = decide(training(request_=request(RetryStrategy={"MaximumRetryAttempts": 1})), lost, NOW)
    assert retried.commands == (Discard(0, ("h1",), folder=False),)
    document = retried.record.document
    assert (document["phase"], document["attempt"], document["handles"]) == ("starting", 1, {})
    assert document["spent"] == 8.0, "MaxRuntime spans all attempts"
    assert jobs.secondary(document) == "Restarting"


def test_a_run_that_the_backend_never_heard_of_is_lost() -> None:
    assert settle(training(), SEEN).status == "Failed"


def test_a_host_that_cannot_start_fails_the_job() -> None:
    started = jobs.absorb(training(handles={}), [(StartHost("algo-1", 0, 1.0), Unstartable("no GPU", client=True))])
    assert settle(started).document["failure"] == "ClientError: no GPU"


@pytest.mark.parametrize(
    ("client", "reason"), [(True, "ClientError: no such key"), (False, "InternalServerError: no such key")]
)
def test_what_cannot_be_laid_out_fails_the_job_by_whose_fault_it_is(client: bool, reason: str) -> None:
    failure = RunFailure("no such key", client)
    run = Observation(RunState.EXITED, ended_at=9.0, detail="no such key", failure=failure)
    two = request(ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1})
    both = training(request_=two, handles={"algo-1": "h1", "algo-2": "h2"})
    other = replace(SEEN, runs={"algo-1": run, "algo-2": Observation(RunState.RUNNING, started_at=1.0)})
    assert StopHosts(("h2",)) in decide(both, other, NOW).commands
    stopped = Observation(RunState.EXITED, started_at=1.0, ended_at=9.0, exit_code=143, stopped=True)
    over = replace(SEEN, runs={"algo-1": run, "algo-2": stopped})
    assert settle(both, over).document["failure"] == reason


def test_handles_are_kept() -> None:
    started = jobs.absorb(training(handles={}), [(StartHost("algo-1", 0, 1.0), "h9")])
    assert started.document["handles"] == {"algo-1": "h9"}


# -- uploading, stopping --------------------------------------------------------------------------------------------------------


def test_results_that_cannot_be_stored_fail_the_job() -> None:
    uploading = decide(training(), replace(SEEN, runs={"algo-1": ended(0)}), NOW).record
    seen = replace(SEEN, work={"upload": Work("failed", message="The specified bucket does not exist")})
    assert settle(uploading, seen).document["failure"] == "ClientError: The specified bucket does not exist"


def test_a_failed_upload_does_not_hide_why_the_job_failed() -> None:
    seen = replace(SEEN, runs={"algo-1": ended(2)}, failures={"algo-1": ("boom", ())})
    uploading = decide(training(), seen, NOW).record
    final = settle(uploading, replace(SEEN, work={"upload": Work("failed", message="no bucket")}))
    assert final.document["failure"] == "AlgorithmError: boom, exit code: 2"


@pytest.mark.parametrize("phase", ["starting", "downloading"])
def test_stopped_before_it_ran_it_is_over_at_once(phase: str) -> None:
    record = job()
    if phase == "downloading":
        record = decide(record, SEEN, NOW).record
    final = settle(jobs.stop_asked(record, NOW))
    assert (final.status, jobs.secondary(final.document)) == ("Stopped", "Stopped")
    assert [t["Status"] for t in final.document["transitions"]][-2:] == ["Stopping", "Stopped"]


def test_an_ended_job_cannot_be_stopped() -> None:
    with pytest.raises(IllegalTransition):
        jobs.stop_asked(job("Completed"), NOW)


def test_documents_are_json_and_statuses_are_aws_own() -> None:
    known = set(botocore.session.get_session().get_service_model("sagemaker").shape_for("SecondaryStatus").enum)
    uploading = decide(training(), replace(SEEN, runs={"algo-1": ended(0)}), NOW).record
    final = settle(uploading, replace(SEEN, work={"upload": Work("done")}))
    assert json.loads(json.dumps(final.document)) == final.document
    assert {t["Status"] for t in final.document["transitions"]} <= known
    assert all(set(t) == {"Status", "StartTime", "EndTime", "StatusMessage"} for t in final.document["transitions"])


def test_a_job_that_gives_way_to_endpoints_says_so_where_users_look() -> None:
    """In the message of its secondary status, as long as it does and a little longer: demand comes and goes."""

    def look(record: Record, now: float, giving_way: bool) -> Record:
        run = Observation(RunState.RUNNING, started_at=1.0, giving_way=giving_way)
        return decide(record, replace(SEEN, runs={"algo-1": run}), now).record

    def told(record: Record) -> str:
        return str(record.document["transitions"][-1]["StatusMessage"])

    begun = training()
    begun = replace(begun, document=jobs.entered(begun.document, "Training", ROW.running, NOW - 8))
    assert look(begun, NOW, False) == begun
    slowed = look(begun, NOW, True)
    assert jobs.secondary(slowed.document) == "Training"
    assert told(slowed) == ROW.running + life.SLOWED
    assert len(slowed.document["transitions"]) == len(begun.document["transitions"]), "no entry of its own"
    assert look(slowed, NOW + 1, True) == slowed, "nothing is saved each second"
    later = look(slowed, NOW + 20, True)
    assert told(look(later, NOW + 20 + life.SLOWED_SECONDS, False)) == ROW.running + life.SLOWED
    assert told(look(later, NOW + 21 + life.SLOWED_SECONDS, False)) == ROW.running
    stopping = replace(jobs.stop_asked(slowed, NOW), document=jobs.stop_asked(slowed, NOW).document)
    assert jobs.secondary(look(stopping, NOW + 99, True).document) == "Stopping"


def test_a_job_looks_the_sooner_again_the_nearer_it_is_to_its_place() -> None:
    """Thousands may wait, and the first alone may start."""
    again = [decide(job(), replace(SEEN, ahead=ahead), NOW).again for ahead in (1, 10, 10_000)]
    assert again == [2.0, 5.0, 300.0]
