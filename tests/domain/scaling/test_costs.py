"""What a worker costs in CPU, and whether the machine has any idle."""

from __future__ import annotations

import pytest

from clary.domain.machine.usage import Used
from clary.domain.scaling.costs import ENOUGH, Cost, busy_seconds, is_full, learn, undisturbed
from clary.domain.scaling.signals import Sample


def sample(time: float, completions: int, service: float, in_flight: int = 0) -> Sample:
    return Sample(time, completions, completions, in_flight, 0, 0, service, 0.0)


@pytest.mark.parametrize(
    ("used", "waited", "cost"),
    [
        pytest.param(10.0, 0.0, 1.0, id="computes, with CPUs to spare"),
        pytest.param(2.5, 7.5, 1.0, id="computes, four on each CPU"),
        pytest.param(0.1, 0.0, 0.01, id="sleeps"),
        pytest.param(0.1, 0.3, 0.04, id="sleeps beside others that compute"),
        pytest.param(20.0, 0.0, 2.0, id="computes with two threads"),
        pytest.param(20.0, 30.0, 2.0, id="computes with two threads, on a full machine"),
        pytest.param(2.0, 30.0, 1.0, id="waits longer than it can have been busy"),
    ],
)
def test_a_worker_costs_what_it_would_use(used: float, waited: float, cost: float) -> None:
    known = Cost()
    for _ in range(10):
        known = learn(known, Used(5.0, used, waited), 10.0)
    assert known.worker == pytest.approx(cost)


def test_nothing_is_known_of_a_worker_that_has_hardly_worked() -> None:
    assert Cost().worker == 0.0
    assert learn(Cost(), Used(5.0, 0.1), ENOUGH / 2).worker == 0.0


def test_a_pause_changes_no_cost() -> None:
    known = learn(Cost(), Used(5.0, 5.0, 5.0), 10.0)
    assert learn(known, Used(5.0, 0.01), 0.0) == known


def test_nobody_waits_all_the_time() -> None:
    known = learn(Cost(), Used(5.0, 1.0, 9.0), 2.0)  # requests that began before, or more processes than workers
    assert known.waits == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("used", "waited", "starved"),
    [
        pytest.param(5.0, 5.0, True, id="computes, two on each CPU"),
        pytest.param(10.0, 0.1, False, id="computes, alone"),
        pytest.param(0.5, 2.5, False, id="sleeps mostly: another one would sleep beside"),
    ],
)
def test_who_computes_and_waits_gains_nothing_by_more_workers(used: float, waited: float, starved: bool) -> None:
    assert learn(Cost(), Used(5.0, used, waited), 10.0).starved is starved


def test_a_model_that_changed_costs_what_it_costs_now() -> None:
    known = Cost()
    for used in [10.0] * 20 + [1.0] * 20:
        known = learn(known, Used(5.0, used), 10.0)
    assert known.worker == pytest.approx(0.1, abs=0.02)


def test_workers_are_busy_for_what_was_done_and_long_requests_count_while_they_run() -> None:
    short = [sample(float(at), 4, 0.1, 9) for at in range(1, 11)]
    assert busy_seconds(short, 5.0, 8) == pytest.approx(5 * 4 * 0.1)
    long = [sample(float(at), 0, 60.0, 9) for at in range(1, 11)]
    assert busy_seconds(long, 5.0, 8) == 5 * 8


def test_replicas_add_up() -> None:
    both = Used(5.0, 1.0, 0.5).plus(Used(4.9, 2.0, 0.25))
    assert both == (5.0, 3.0, 0.75)
    assert both.cpus == pytest.approx(0.6)
    assert Used(0.0, 0.0).cpus == 0.0


@pytest.mark.parametrize(
    ("idle", "used", "full"),
    [
        pytest.param(9.0, 0.5, False, id="idle"),
        pytest.param(0.2, 8.0, True, id="no CPU is idle"),
        pytest.param(40.0, 9.9, True, id="what this container may use is used, whatever the host does"),
        pytest.param(0.6, 8.0, False, id="a little is idle"),
    ],
)
def test_the_machine_is_full_when_no_cpu_is_idle(idle: float, used: float, full: bool) -> None:
    assert is_full(2, 5.0, idle, used) is full


def test_no_time_tells_nothing() -> None:
    assert not is_full(2, 0.0, 0.0, 0.0)


def test_a_service_time_that_others_stretch_is_taken_for_what_it_is_alone() -> None:
    [seen] = undisturbed([sample(1.0, 4, 0.4)], 0.75)
    assert seen.service == pytest.approx(0.1)
    assert undisturbed([sample(1.0, 4, 0.4)], 0.0) == (sample(1.0, 4, 0.4),)
