"""What hosts of jobs use: shares of what they were given, by host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clary.domain.jobs.hosts import Host
from clary.domain.jobs.spec import JobSpec
from clary.domain.jobs.usage import YOUNG, HostUsage, datapoints, observed
from clary.domain.machine.usage import Usage
from clary.domain.machine.workload import Observation, RunState
from clary.domain.metrics.datapoints import Datapoint
from clary.domain.resources import Record, Scope
from clary.domain.stored import dumped

LOGS = "/aws/sagemaker/TrainingJobs"
HOSTS = tuple(Host(f"algo-{number}", "ml.m5.large") for number in (1, 2, 3))
DOCUMENT: dict[str, Any] = {
    "spec": dumped(JobSpec("image", "role", LOGS, HOSTS, 60)),
    "fits": {"ml.m5.large": {"cpu": 2.0, "memory": 1000}},
}
JOB = Record("training-job", Scope("0", "r"), "job", "arn", "InProgress", 0, 0, DOCUMENT)
NOW = HostUsage("job/algo-1", LOGS, Usage(100.0, 110.0, 15.0, 250, 1000), 40, 200)


def told(points: list[Datapoint]) -> dict[str, float]:
    for point in points:
        assert (point.series.namespace, point.series.unit) == (LOGS, "Percent")
        assert (point.series.dimensions, point.at, point.fine) == ((("Host", "job/algo-1"),), 110.0, True)
    return {point.series.metric: point.summary.total for point in points}


def test_hosts_that_run_are_observed() -> None:
    running = Observation(RunState.RUNNING, 5.0, cpu_seconds=2.0, memory_bytes=10, disk_bytes=7)
    runs = {"algo-1": running, "algo-2": Observation(RunState.EXITED, 5.0, 6.0, 0), "algo-3": None}
    (found,) = observed(JOB, runs, 70, 9.0)
    assert found == HostUsage("job/algo-1", LOGS, Usage(5.0, 9.0, 2.0, 10, 1000), 7, 70)


def test_shares_of_what_was_given() -> None:
    before = replace(NOW, usage=Usage(100.0, 105.0, 6.0, 0, 1000))
    assert told(datapoints(before, NOW)) == {
        "CPUUtilization": 180.0,
        "MemoryUtilization": 25.0,
        "DiskUtilization": 20.0,
    }


def test_a_young_run_is_told_from_its_begin_and_an_old_one_is_not() -> None:
    assert told(datapoints(None, NOW))["CPUUtilization"] == 150.0
    old = replace(NOW, usage=replace(NOW.usage, started=109.9 - YOUNG))
    assert "CPUUtilization" not in told(datapoints(None, old))


def test_another_run_of_the_same_name_begins_anew() -> None:
    before = replace(NOW, usage=Usage(50.0, 60.0, 900.0, 0, 1000))
    assert told(datapoints(before, NOW))["CPUUtilization"] == 150.0


def test_what_nobody_measures_is_not_told() -> None:
    assert "DiskUtilization" not in told(datapoints(None, replace(NOW, disk=None)))
    assert "DiskUtilization" not in told(datapoints(None, replace(NOW, volume=None)))
