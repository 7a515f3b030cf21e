"""A job that ran out of memory starts again one size larger, from what it checkpointed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.domain.jobs.test_life import BOOK, NOW, SEEN, ended, kinds, request, settle, training

from clary.domain.costs.jobs import of_job
from clary.domain.errors import Invalid
from clary.domain.jobs import growth
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import spec_of
from clary.domain.jobs.life import decide
from clary.domain.jobs.record import Say, SeenJob, Work
from clary.domain.machine.capacity import Book, Machine
from clary.domain.machine.instances import GIB
from clary.domain.resources import Record

LARGE = Machine(cpus=8, memory=64 * GIB, available=60 * GIB)
KILLED = SeenJob(Book(LARGE, "fit", NOW), runs={"algo-1": ended(137, oom_killed=True)})
STORED = replace(SEEN, book=KILLED.book, work={"upload": Work("done", {"stored": 7})})
SCRIPT = request(HyperParameters={"sagemaker_program": "train.py"})


def tagged(value: str) -> dict[str, Any]:
    return {"tags": [{"Key": growth.TAG, "Value": value}]}


def again(record: Record) -> Record:
    """Its checkpoints are stored first."""
    dead = decide(record, KILLED, NOW)
    assert dead.record.document["phase"] == "uploading"
    assert kinds(dead.commands)[-1] == "Begin:upload"
    return decide(dead.record, STORED, NOW + 1).record


def test_a_built_in_algorithm_starts_again_one_size_larger() -> None:
    record = again(training())
    document = record.document
    assert (record.status, document["phase"], document["attempt"]) == ("InProgress", "starting", 1)
    assert [host.instance_type for host in spec_of(record).hosts] == ["ml.m5.xlarge"]
    last = document["transitions"][-1]
    assert last["Status"] == "Restarting"
    assert "algo-1 ran out of memory at 8192 MiB (ml.m5.large); starting again on ml.m5.xlarge" in last["StatusMessage"]
    assert document["request"]["ResourceConfig"]["InstanceType"] == "ml.m5.large"
    assert "outcome" not in document
    placed = decide(record, replace(SEEN, book=KILLED.book), NOW + 2)
    assert placed.record.document["fits"]["ml.m5.xlarge"]["memory"] == 16 * GIB


def test_each_size_is_tried_once_and_the_cost_of_each_is_known() -> None:
    record = again(training())
    fits = {"ml.m5.xlarge": {"cpu": 4.0, "memory": 16 * GIB, "gpus": 0, "notes": []}}
    changed = {"phase": "training", "run_started": NOW + 5, "handles": {"algo-1": "h2"}, "fits": fits}
    second = again(replace(record, document={**record.document, **changed}))
    assert [host.instance_type for host in spec_of(second).hosts] == ["ml.m5.2xlarge"]
    assert second.document["grown"] == 2
    over = replace(
        second,
        status="Completed",
        document={**second.document, **changed, "fits": {"ml.m5.2xlarge": fits["ml.m5.xlarge"]}},
    )
    row = of_job(replace(over, document={**over.document, "ended": NOW + 11}), NOW + 50)
    assert row is not None
    assert row.use.seconds == 20  # from NOW - 9
    assert row.use.vcpu_seconds == pytest.approx(2 * 10 + 4 * 10)


def test_a_script_fails_unless_its_tag_says_that_it_may_be_repeated() -> None:
    dead = settle(decide(training(request_=SCRIPT), KILLED, NOW).record, STORED)
    assert dead.status == "Failed"
    assert "use an instance type with more memory" in dead.document["failure"]
    assert again(training(request_=SCRIPT, **tagged("true"))).document["phase"] == "starting"


def test_the_tag_keeps_a_built_in_algorithm_as_it_is() -> None:
    assert settle(decide(training(**tagged("false")), KILLED, NOW).record, STORED).status == "Failed"


def test_where_there_is_no_more_memory_the_log_says_so() -> None:
    small = Machine(cpus=2, memory=8 * GIB, available=7 * GIB)
    decision = decide(training(), replace(KILLED, book=replace(BOOK, machine=small)), NOW)
    [said] = [command for command in decision.commands if isinstance(command, Say)]
    assert "this machine has no more memory for ml.m5.xlarge" in said.lines[0]
    assert settle(decision.record, STORED).status == "Failed"


def test_a_failure_that_is_none_of_memory_ends_the_job() -> None:
    seen = replace(KILLED, runs={"algo-1": ended(1)})
    assert "growth" not in decide(training(), seen, NOW).record.document


def test_who_stops_it_meanwhile_stops_it() -> None:
    dead = decide(training(), KILLED, NOW).record
    stopped = settle(jobs.stop_asked(dead, NOW), STORED)
    assert stopped.status in ("Stopped", "Failed")
    assert stopped.document["phase"] == "final"


def test_the_tag_is_true_or_false() -> None:
    with pytest.raises(Invalid, match="takes true or false, not 'often'"):
        growth.check(tagged("often")["tags"])
