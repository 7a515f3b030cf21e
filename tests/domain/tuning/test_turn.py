from __future__ import annotations

import re
from typing import Any

import pytest
from tests.domain.tuning.made import NOW, Tuned, child, record, request

from clary.domain.decisions import Unable
from clary.domain.tuning import record as tuning
from clary.domain.tuning.record import Halt, Proposal, Suggest, Tell, Train


def halted(job: Tuned) -> list[str]:
    return [command.name for command in job.commands if isinstance(command, Halt)]


def lines(job: Tuned) -> list[str]:
    return [line for command in job.commands if isinstance(command, Tell) for line in command.lines]


def test_one_job_after_the_other_until_all_are_done() -> None:
    job = Tuned()
    job.settle()
    for number in range(4):
        assert len(job.trials) == number + 1
        assert job.record.status == "InProgress"
        job.end(number, value=float(number))
    assert job.record.status == "Completed"
    assert job.document["ended"] == NOW
    best = tuning.best(job.document, maximize=False)
    assert best is not None
    assert best["value"] == 0.0
    assert tuning.job_counters(job.document)["Completed"] == 4
    assert tuning.objective_counters(job.document) == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    assert job.document["events"] == [[kind, number] for number in range(4) for kind in ("ask", "tell")]


def test_as_many_at_once_as_are_allowed() -> None:
    job = Tuned(request(limits={"MaxParallelTrainingJobs": 3}))
    job.settle()
    assert len(tuning.open_trials(job.document)) == 3
    job.end(1)
    assert len(tuning.open_trials(job.document)) == 3
    assert len(job.trials) == 4


def test_names_follow_from_the_record() -> None:
    one, other = Tuned(), Tuned(id="id-2")
    one.settle()
    other.settle()
    assert re.fullmatch("t-001-[0-9a-f]{8}", one.trials[0]["name"])
    assert one.trials[0]["name"] != other.trials[0]["name"], "a job of the same name that was created anew"
    assert tuning.child_name(one.record, 749).startswith("t-750-")


def test_what_a_training_job_is_created_with() -> None:
    job = Tuned()
    job.settle()
    train = next(command for command in job.commands if isinstance(command, Train))
    assert train.params["HyperParameters"] == {"a": "1", "x": "0.01", "_tuning_objective_metric": "loss"}
    assert train.params["TrainingJobName"] == train.name


def test_a_trial_is_saved_before_its_job_is_created() -> None:
    job = Tuned()
    key = next(command.key for command in job.turn() if isinstance(command, Suggest))
    proposal = Proposal(key, {"x": 0.5})
    assert not any(isinstance(command, Train) for command in job.turn(proposal))
    assert [trial["made"] for trial in job.trials] == [False]
    # The process dies between the creation and the save: the next one finds the job, and makes no other.
    assert [type(command) for command in job.turn(save=False)] == [Train]
    assert len(job.children) == 1
    job.turn()
    job.settle()
    assert job.trials[0]["made"]
    assert len(job.children) == 1


def test_a_suggestion_for_another_point_of_the_study_is_not_taken() -> None:
    job = Tuned()
    key = next(command.key for command in job.turn() if isinstance(command, Suggest))
    job.turn(Proposal("9:9", {"x": 0.5}))
    assert job.trials == []
    job.turn(Proposal(key, {"x": 0.5}))
    assert [trial["params"] for trial in job.trials] == [{"x": "0.5"}]


def test_the_study_tells_all_that_happened_in_order() -> None:
    job = Tuned(request(Strategy="Bayesian", limits={"MaxParallelTrainingJobs": 2}))
    job.settle()
    job.end(1, value=0.5)
    job.end(0, "Failed")
    study = [command.study for command in job.commands if isinstance(command, Suggest)][-1]
    assert study["sampler"] == "tpe"
    assert study["seed"] == 7
    assert study["direction"] == "minimize"
    assert study["events"] == [
        ["ask", {"x": 0.01}],
        ["ask", {"x": 0.02}],
        ["tell", 1, "complete", 0.5, []],
        ["ask", {"x": 0.03}],
        ["tell", 0, "failed", None, []],
    ]


def test_random_draws_are_told_no_values() -> None:
    job = Tuned()
    job.settle()
    job.end(0)
    study = [command.study for command in job.commands if isinstance(command, Suggest)][-1]
    assert study["events"] == [["ask", {"x": 0.01}]]


def test_a_sampler_that_fails_ends_the_job_with_its_words() -> None:
    job = Tuned()
    job.turn(Unable("no room for its environment"))
    job.settle()
    assert job.record.status == "Failed"
    assert job.document["failure"].endswith("no room for its environment")


# -- ends -----------------------------------------------------------------------------------------------------------------------


def test_stop_stops_what_runs_and_what_was_never_made() -> None:
    job = Tuned(request(limits={"MaxParallelTrainingJobs": 2}))
    job.settle()
    job.record = tuning.stop_asked(job.record, NOW)
    job.settle()
    assert job.record.status == "Stopping"
    assert sorted(halted(job)) == sorted(job.children)
    job.end(0, "Stopped", None)
    job.end(1, "Stopped", 3.0)
    assert job.record.status == "Stopped"
    assert [trial["objective"] for trial in job.trials] == ["Failed", "Succeeded"]


def test_a_trial_without_a_job_is_dropped_when_the_tuning_job_is_stopped() -> None:
    job = Tuned()
    key = next(command.key for command in job.turn() if isinstance(command, Suggest))
    job.turn(Proposal(key, {"x": 0.5}))
    job.record = tuning.stop_asked(job.record, NOW)
    assert not any(isinstance(command, Train) for command in job.turn())
    assert job.record.status == "Stopped"
    assert job.trials[0]["status"] == "Stopped"


def test_five_failures_and_no_success_end_the_job() -> None:
    job = Tuned(request(limits={"MaxNumberOfTrainingJobs": 20}))
    job.settle()
    for number in range(5):
        assert job.record.status == "InProgress"
        job.end(number, "Failed")
    assert job.record.status == "Failed"
    assert job.document["failure"].startswith("No training job succeeded after 5 attempts.")
    assert len(job.trials) == 5


def test_five_failures_after_a_success_do_not() -> None:
    job = Tuned(request(limits={"MaxNumberOfTrainingJobs": 20}))
    job.settle()
    job.end(0)
    for number in range(1, 7):
        job.end(number, "Failed")
    assert job.record.status == "InProgress"


def test_all_of_fewer_than_five_failed() -> None:
    job = Tuned(request(limits={"MaxNumberOfTrainingJobs": 2}))
    job.settle()
    job.end(0, "Failed")
    job.end(1, "Failed")
    assert job.record.status == "Failed"
    assert job.document["failure"].startswith("No training job succeeded after 2 attempts.")


def test_a_metric_that_is_not_found_is_told_after_the_first_job_and_tried_once_more() -> None:
    job = Tuned(request(limits={"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 3}))
    job.settle()
    assert len(job.trials) == 3
    job.end(0, "Completed", None)
    assert "loss=(.*)" in job.document["warning"]
    assert job.document["warning"] in lines(job)
    assert len(job.trials) == 3, "no further job while two run that may tell"
    job.end(1, "Stopped", None)
    assert len(job.trials) == 3
    job.end(2, "Completed", None)
    assert job.record.status == "Failed"
    assert "loss=(.*)" in job.document["failure"]


def test_a_metric_that_is_found_after_all_lets_the_job_go_on() -> None:
    job = Tuned(request(limits={"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 2}))
    job.settle()
    job.end(0, "Completed", None)
    job.end(1, "Completed", 1.0)
    assert job.record.status == "InProgress"
    assert len(tuning.open_trials(job.document)) == 2


def test_a_job_that_cannot_be_created_counts_as_failed() -> None:
    job = record()
    trial = {"name": "t-001-aaaaaaaa", "definition": 0, "params": {}, "raw": {}, "made": False, "status": "InProgress",
             "created": NOW, "objective": "Pending"}  # fmt: skip
    held = tuning.absorb(
        record(trials=[trial], events=[["ask", 0]]), [(Train(0, trial["name"], {}), Unable("no such bucket"))]
    )
    assert job.document["trials"] == []
    assert held.document["trials"][0]["failure"] == "no such bucket"
    assert held.document["trials"][0]["status"] == "Failed"
    assert held.document["events"] == [["ask", 0], ["tell", 0]]


def test_a_deleted_job_counts_as_stopped() -> None:
    job = Tuned()
    job.settle()
    job.children.clear()
    job.settle()
    assert job.trials[0]["status"] == "Stopped"
    assert job.trials[0]["objective"] == "Failed"


@pytest.mark.parametrize(("kind", "target", "ends"), [("Minimize", 0.5, True), ("Maximize", 0.7, False)])
def test_the_target_ends_the_job(kind: str, target: float, ends: bool) -> None:
    job = Tuned(
        request(
            HyperParameterTuningJobObjective={"Type": kind, "MetricName": "loss"},
            TuningJobCompletionCriteria={"TargetObjectiveMetricValue": target},
            limits={"MaxParallelTrainingJobs": 2},
        )
    )
    job.settle()
    job.end(0, value=0.5)
    assert bool(halted(job)) == ends
    if ends:
        assert job.record.status == "InProgress", "its other job is still being stopped"
        job.end(1, "Stopped", None)
        assert job.record.status == "Completed"


def test_no_improvement_for_so_many_jobs() -> None:
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    job = Tuned(request(TuningJobCompletionCriteria=criteria, limits={"MaxNumberOfTrainingJobs": 50}))
    job.settle()
    for number, value in enumerate([10.0, 9.95, 9.85, 12.0, 9.8]):  # 9.85 is 1.5 % better, the others too little
        assert job.record.status == "InProgress"
        job.end(number, value=value)
    assert job.record.status == "InProgress"
    job.end(5, "Failed")
    assert job.record.status == "Completed"


def test_convergence_is_detected_where_it_is_asked_for() -> None:
    criteria = {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}
    job = Tuned(request(TuningJobCompletionCriteria=criteria, limits={"MaxNumberOfTrainingJobs": 50}))
    job.settle()
    for number in range(11):
        assert job.record.status == "InProgress"
        job.end(number)
    assert job.record.status == "Completed"
    assert job.document["converged"] == NOW


def test_its_time_is_over() -> None:
    job = Tuned(request(limits={"MaxRuntimeInSeconds": 120}))
    job.settle()
    job.end(0)
    job.now = NOW + 121
    job.settle()
    assert halted(job) == [job.trials[1]["name"]]
    job.end(1, "Stopped", None)
    assert job.record.status == "Completed"


# -- strategies -----------------------------------------------------------------------------------------------------------------


def test_a_grid_needs_no_sampler() -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": "x", "Values": ["a", "b"]}, {"Name": "y", "Values": ["1", "2"]}]}
    job = Tuned(
        request(
            Strategy="Grid",
            ParameterRanges=ranges,
            limits={"MaxNumberOfTrainingJobs": None, "MaxParallelTrainingJobs": 4},
        )
    )
    job.settle()
    assert [trial["params"] for trial in job.trials] == [{"x": x, "y": y} for x in ("a", "b") for y in ("1", "2")]
    assert not any(isinstance(command, Suggest) for command in job.commands)
    for number in range(4):
        job.end(number)
    assert job.record.status == "Completed"


def test_definitions_take_turns_and_have_studies_of_their_own() -> None:
    base: dict[str, Any] = request()["TrainingJobDefinition"]
    objective = {"Type": "Minimize", "MetricName": "loss"}
    of = [
        {**base, "DefinitionName": name, "TuningObjective": objective, "HyperParameterRanges": {
            "ContinuousParameterRanges": [{"Name": name, "MinValue": "0", "MaxValue": "1"}]}}
        for name in ("p", "q")
    ]  # fmt: skip
    asked = request(Strategy="Bayesian", request={"TrainingJobDefinition": None, "TrainingJobDefinitions": of})
    job = Tuned(asked)
    job.settle()
    for number in range(3):
        job.end(number, value=float(number))
    assert [list(trial["params"]) for trial in job.trials] == [["p"], ["q"], ["p"], ["q"]]
    studies = [command.study for command in job.commands if isinstance(command, Suggest)]
    assert [study["seed"] for study in studies] == [7, 8, 7, 8]
    assert studies[-1]["events"] == [["ask", {"q": 0.01}], ["tell", 0, "complete", 1.0, []]]


def running(job: Tuned, number: int, values: list[float]) -> None:
    name = job.trials[number]["name"]
    job.children[name] = child(name, "InProgress", None, values)
    job.settle()


def test_early_stopping_compares_with_earlier_jobs() -> None:
    job = Tuned(
        request(TrainingJobEarlyStoppingType="Auto", Strategy="Bayesian", limits={"MaxNumberOfTrainingJobs": 9})
    )
    job.settle()
    for number in range(3):
        job.end(number, values=[1.0, 0.5])
    running(job, 3, [0.9])
    assert halted(job) == []
    running(job, 3, [0.9, 2.0, 3.0])
    assert halted(job) == [job.trials[3]["name"]]
    running(job, 3, [0.9, 2.0, 3.0, 4.0])
    assert len(halted(job)) == 1, "once"
    job.end(3, "Stopped", values=[0.9, 2.0, 3.0, 4.0])
    assert job.trials[3]["objective"] == "Succeeded"
    assert job.trials[3]["value"] == 4.0
    study = [command.study for command in job.commands if isinstance(command, Suggest)][-1]
    assert study["events"][-1] == ["tell", 3, "pruned", 2.0, [0.9, 2.0]], "up to the comparison, however far it ran on"


def test_hyperband_ends_jobs_at_their_last_epoch() -> None:
    config = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 3}}
    job = Tuned(request(Strategy="Hyperband", StrategyConfig=config, limits={"MaxParallelTrainingJobs": 3}))
    job.settle()
    running(job, 0, [1.0])
    running(job, 1, [2.0])
    assert halted(job) == []
    running(job, 2, [3.0])
    assert halted(job) == [job.trials[2]["name"]]
    running(job, 0, [1.0, 0.9, 0.8])
    assert halted(job) == [job.trials[2]["name"], job.trials[0]["name"]]
    job.end(0, "Stopped", values=[1.0, 0.9, 0.8, 0.7])
    study = [command.study for command in job.commands if isinstance(command, Suggest)][-1]
    assert study["events"][-1] == ["tell", 0, "complete", 0.7, []]
