"""The turns of an inference recommendations job, one fact after the other."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.costs.report import Prices
from clary.domain.decisions import Unable
from clary.domain.inference_recommendations import measured, turn
from clary.domain.inference_recommendations import record as recommendations
from clary.domain.inference_recommendations.record import Deploy, LoadTest, Remove, SeenTest, WriteLines
from clary.domain.inference_recommendations.request import Candidate
from clary.domain.machine.capacity import Machine
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "us-east-1")
RESULT = {"invocations": 600, "latency_ms": 12.2, "began": 5.0, "ended": 9.0, "cpu": 80.0}


def job(*candidates: Candidate, **config: Any) -> Record:
    request = {"JobName": "j", "JobType": "Advanced", "InputConfig": {"ModelName": "m", **config}}
    models = {"": {"PrimaryContainer": {"Image": "i"}, "taken": "m"}}
    document = recommendations.document(
        request, [], "by", "id", candidates, models=models, load={"limits": {}}, payload="s3://b/p"
    )
    return Record(recommendations.KIND, SCOPE, "j", "arn", "PENDING", 1.0, 1.0, document)


def thing(kind: str, status: str = "", **document: Any) -> Record:
    return Record(kind, SCOPE, "n", f"arn:{kind}", status, 1.0, 1.0, document)


class Play:
    """A job and what is there of its test; commands are carried out at once."""

    def __init__(self, record: Record) -> None:
        self.record, self.now = record, 10.0
        self.there: dict[str, Any] = {}
        self.lines: list[str] = []
        self.done: list[str] = []

    def turn(self, **outcomes: Any) -> list[Any]:
        decision = turn.decide(self.record, SeenTest(**self.there), self.now)
        commands = [each for each in decision.commands if not isinstance(each, WriteLines)]
        self.lines += [line for each in decision.commands if isinstance(each, WriteLines) for line in each.lines]
        answers = [(each, outcomes.get(type(each).__name__)) for each in decision.commands]
        self.record = recommendations.absorb(decision.record, answers)
        return commands

    def test(self, number: int = 0) -> dict[str, Any]:
        return dict(self.record.document["tests"][number])

    def measure(self, result: Any = RESULT) -> None:
        """Until the load test of the test that is under way has ended so."""
        while not isinstance(next(iter(self.turn()), None), Deploy):
            pass
        self.there["endpoint"] = thing("endpoint", "InService")
        self.there["config"] = thing("endpoint-config")
        while not isinstance(next(iter(self.turn()), None), LoadTest):
            pass
        self.there["load"] = thing("processing-job", "Completed", message=json.dumps(result))
        self.turn()

    def remove(self) -> list[str]:
        """Until nothing is there: what was asked, in order."""
        asked = []
        while commands := [each for each in self.turn() if isinstance(each, Remove)]:
            asked += [each.operation for each in commands]
            for each in commands:
                kind = {"DeleteProcessingJob": "load", "DeleteEndpoint": "endpoint"}.get(each.operation, "config")
                self.there.pop(kind, None)
        return asked


def test_a_test_is_deployed_loaded_measured_and_removed() -> None:
    play = Play(job(Candidate("ml.m5.large")))
    play.measure()
    assert play.record.status == "IN_PROGRESS"
    assert play.test()["metrics"] == {
        "CostPerHour": 0.0, "CostPerInference": 0.0, "MaxInvocations": 600, "ModelLatency": 13, "CpuUtilization": 80.0,
    }  # fmt: skip
    assert play.remove() == ["DeleteProcessingJob", "DeleteEndpoint", "DeleteEndpointConfig"]
    play.turn()
    assert play.record.status == "COMPLETED"
    told = measured.recommendation(play.record, play.test())
    assert told["RecommendationId"].startswith("j/")
    assert (told["InvocationStartTime"], told["InvocationEndTime"]) == (5.0, 9.0)
    assert any("600 invocations a minute" in line for line in play.lines)


def test_tests_run_one_after_the_other() -> None:
    play = Play(job(Candidate("ml.m5.large"), Candidate("ml.c5.large")))
    play.measure()
    assert play.test(1)["phase"] == "waiting"
    play.remove()
    play.measure({**RESULT, "invocations": 900})
    play.remove()
    play.turn()
    assert [each["candidate"]["instance_type"] for each in measured.ranked(play.record.document)] == [
        "ml.c5.large", "ml.m5.large",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "status", "words"),
    [
        ("no threshold is met", "Failed", "no threshold is met"),
        ("not json", "Completed", "without a result"),
        ('{"invocations": NaN, "latency_ms": 1, "began": 1, "ended": 2}', "Completed", "without a result"),
    ],
)
def test_a_load_test_that_measured_nothing_fails(message: str, status: str, words: str) -> None:
    play = Play(job(Candidate(endpoint="e")))
    while not isinstance(next(iter(play.turn()), None), LoadTest):
        pass
    play.there["load"] = thing("processing-job", status, message=message)
    play.turn()
    assert play.remove() == ["DeleteProcessingJob"]
    play.turn()
    assert play.record.status == "FAILED"
    assert words in play.record.document["failure"]


def test_an_endpoint_that_cannot_be_made_fails_its_test_and_is_removed() -> None:
    play = Play(job(Candidate("ml.m5.large")))
    play.turn()
    play.turn(Deploy=Unable("the model has no data"))
    play.there["config"] = thing("endpoint-config")  # what was made before
    assert play.remove() == ["DeleteEndpointConfig"]
    play.turn()
    assert (play.record.status, play.record.document["failure"]) == ("FAILED", "the model has no data")


def test_an_endpoint_that_is_being_made_is_deleted_when_it_can_be() -> None:
    play = Play(job(Candidate("ml.m5.large"), Candidate("ml.c5.large")))
    play.turn()
    play.turn()
    play.there["endpoint"] = thing("endpoint", "Creating")
    play.record = recommendations.stop_asked(play.record, 11.0)
    assert play.turn() == []
    assert play.test()["phase"] == "removing"
    assert play.turn() == []  # it comes up
    play.there["endpoint"] = thing("endpoint", "InService")
    assert play.remove() == ["DeleteEndpoint"]
    play.turn()
    assert play.record.status == "STOPPED"
    assert {test["status"] for test in play.record.document["tests"]} == {"STOPPED"}


def test_the_time_of_the_job_is_over() -> None:
    play = Play(job(Candidate("ml.m5.large"), Candidate("ml.c5.large"), JobDurationInSeconds=60))
    play.measure()
    play.remove()
    play.now += 61
    play.turn()
    assert play.record.status == "COMPLETED"  # one measured something
    assert play.test(1)["failure"] == "JobDurationInSeconds is over."


def test_a_turn_that_sees_the_same_asks_the_same() -> None:
    """As after a crash between the commands and the save."""
    play = Play(job(Candidate("ml.m5.large")))
    play.turn()
    first, again = (turn.decide(play.record, SeenTest(), 10.0).commands for _ in range(2))
    assert first == again == (Deploy(0),)


def test_names_differ_by_test_and_by_job() -> None:
    names = {recommendations.test_name("j" * 64, job_id, at) for job_id in ("a", "b") for at in (0, 1)}
    assert len(names) == 4
    assert max(map(len, names)) <= 63


def test_a_model_of_its_own_only_where_one_is_needed() -> None:
    record = job(Candidate("ml.m5.large"), Candidate("ml.m5.large", environment={"A": "1"}))
    plain, changed = record.document["tests"]
    assert recommendations.own_model(record.document, plain) is None
    assert recommendations.model_of(record.document, plain) == "m"
    own = recommendations.own_model(record.document, changed)
    assert own == {"ModelName": changed["name"], "PrimaryContainer": {"Image": "i", "Environment": {"A": "1"}}}


def test_costs_are_those_of_what_the_machine_gives() -> None:
    machine, prices = Machine(2, 8 << 30, 8 << 30), Prices(vcpu_hour=0.5, gb_hour=0.0)
    assert measured.hour(Candidate("ml.m5.large"), machine, "fit", prices) == 1.0
    assert measured.hour(Candidate("ml.m5.4xlarge"), machine, "fit", prices) == 1.0  # it has two vCPU here
    assert measured.hour(Candidate("ml.m5.large"), machine, "fit", None) == 0.0
    assert measured.hour(Candidate(endpoint="e"), machine, "fit", prices) == 0.0
    told = measured.metrics(RESULT, 1.2)
    assert told["CostPerInference"] == pytest.approx(1.2 / 60 / 600)
    few = {"metrics": told}
    assert [measured.instances_for(few, {"most": most}) for most in (None, 600, 601)] == [1, 1, 2]


def test_a_test_that_waits_shows_no_figures() -> None:
    record = job(Candidate("ml.m5.large"))
    step = measured.step(record, record.document["tests"][0])
    assert step["Status"] == "PENDING"
    assert "Metrics" not in step["InferenceBenchmark"]
    assert replace(record, status="STOPPED").status in recommendations.ENDED
