"""The next step of an inference recommendations job: `decide(record, seen, now)`, pure.

One test after the other: tests beside each other on one machine would measure each other. Each deploys an endpoint, asks it under load,
and removes all that it made before the next one begins; also after a failure, a stop, or when the job's time is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import Invalid
from clary.domain.inference_recommendations import measured
from clary.domain.inference_recommendations.record import (
    DEPLOYING,
    DONE,
    LOADING,
    REMOVING,
    WAITING,
    Command,
    Deploy,
    LoadTest,
    Remove,
    SeenTest,
    WriteLines,
    candidate,
    current,
)
from clary.domain.lifecycle import ENDPOINT, RECOMMENDATIONS, EndpointFact, EndpointStatus, admits, advance
from clary.domain.lifecycle import RecommendationsFact as Fact
from clary.domain.lifecycle import RecommendationsStatus as Status
from clary.domain.resources import Record

_RUNNING = ("InProgress", "Stopping")  # statuses of a load test's job
_TIME_OVER = "JobDurationInSeconds is over."
_STOPPED = "The job was stopped."

Test = dict[str, Any]


def decide(record: Record, seen: SeenTest, now: float) -> Decision[Command]:
    """What happens next to a job that has not ended."""
    tests: list[Test] = [dict(test) for test in record.document["tests"]]
    document = {**record.document, "tests": tests}
    document.setdefault("started", now)
    _close(record, document, now)
    number = current(document)
    if number is None:
        return _over(record, document, now)
    status = record.status if record.status == Status.STOPPING else Status.IN_PROGRESS.value
    before = tests[number]["phase"]
    commands: list[Command] = list(_STEPS[before](tests[number], number, seen, now))
    lines = _told(tests[number], before)
    if lines:
        commands.append(WriteLines(lines))
    return Decision(_with(record, document, status, now), tuple(commands), again=_left(record, document, now))


def _with(record: Record, document: Mapping[str, Any], status: str, now: float) -> Record:
    if document == record.document and status == record.status:
        return record
    if status != record.status:
        status = advance(RECOMMENDATIONS, record.status, Fact.STARTED)
    return replace(record, status=status, modified=now, document=document)


def _left(record: Record, document: Mapping[str, Any], now: float) -> float | None:
    seconds = record.document["request"]["InputConfig"].get("JobDurationInSeconds")
    return None if not seconds or document.get("closing") else max(0.1, document["started"] + seconds - now)


def _close(record: Record, document: dict[str, Any], now: float) -> None:
    """When a stop was asked or the time is over: what waits does not begin, what runs is removed."""
    seconds = record.document["request"]["InputConfig"].get("JobDurationInSeconds")
    why = document.get("closing", "")
    if not why and record.status == Status.STOPPING:
        why = _STOPPED
    elif not why and seconds and now >= document["started"] + seconds:
        why = _TIME_OVER
    if not why:
        return
    document["closing"] = why
    for test in document["tests"]:
        if test["phase"] == WAITING:
            test |= {"phase": DONE, "status": Status.STOPPED.value, "failure": why}
        elif test["phase"] in (DEPLOYING, LOADING):
            test |= {"phase": REMOVING, "outcome": Status.STOPPED.value, "failure": why}


def _over(record: Record, document: dict[str, Any], now: float) -> Decision[Command]:
    """Everything is removed: the job ends."""
    done = any(test["status"] == Status.COMPLETED for test in document["tests"])
    fact = Fact.SUCCEEDED if done else Fact.GAVE_UP
    started = (
        record.status if record.status != Status.PENDING else advance(RECOMMENDATIONS, record.status, Fact.STARTED)
    )
    status = advance(RECOMMENDATIONS, started, Fact.ENDED if started == Status.STOPPING else fact)
    document["ended"] = now
    if status == Status.FAILED:
        document["failure"] = next((test["failure"] for test in document["tests"] if test.get("failure")), "")[:1024]
    lines = [f"{status}. {document.get('failure', '')}".strip()]
    best = measured.ranked(document)
    lines += [f"Recommended: {candidate(best[0])}, {_figures(best[0])}"] if best and status == Status.COMPLETED else []
    return Decision(replace(record, status=status, modified=now, document=document), (WriteLines(tuple(lines)),))


# -- one test -------------------------------------------------------------------------------------------------------------------------


def _wait(test: Test, number: int, seen: SeenTest, now: float) -> Sequence[Command]:
    test |= {"phase": LOADING if test["candidate"]["endpoint"] else DEPLOYING, "status": Status.IN_PROGRESS.value}
    return ()


def _deploy(test: Test, number: int, seen: SeenTest, now: float) -> Sequence[Command]:
    endpoint = seen.endpoint
    if endpoint is None and not test.get("made"):
        return (Deploy(number),)
    if endpoint is None:
        _failed(test, f"The endpoint {test['name']} was deleted.")
    elif endpoint.status == EndpointStatus.IN_SERVICE:
        test["phase"] = LOADING
    elif endpoint.status != EndpointStatus.CREATING:
        why = endpoint.document.get("failure") or f"it is {endpoint.status}"
        _failed(test, f"The endpoint {test['name']} cannot serve: {why}")
    return ()


def _load(test: Test, number: int, seen: SeenTest, now: float) -> Sequence[Command]:
    job = seen.load
    if job is None and not test.get("loading"):
        return (LoadTest(number),)
    if job is None:
        _failed(test, f"The load test {test['name']} was deleted.")
    elif job.status not in _RUNNING:
        _ended(test, job, seen)
    return ()


def _ended(test: Test, job: Record, seen: SeenTest) -> None:
    """Take in what the load test told."""
    message = str(job.document.get("message") or "")
    if job.status != "Completed":
        why = message or job.document.get("failure") or f"it is {job.status}"
        _failed(test, f"The load test failed: {why}")
        return
    try:
        test["result"] = measured.result(message)
    except Invalid as error:
        _failed(test, error.message)
        return
    test |= {"phase": REMOVING, "outcome": Status.COMPLETED.value}
    test["metrics"] = measured.metrics(test["result"], seen.cost)


def _failed(test: Test, why: str) -> None:
    test |= {"phase": REMOVING, "outcome": Status.FAILED.value, "failure": why[:1024]}


def _remove(test: Test, number: int, seen: SeenTest, now: float) -> Sequence[Command]:
    """The load test first: it asks the endpoint. An endpoint that comes up cannot be deleted before it has."""
    if seen.load is not None:
        stop = "StopProcessingJob" if seen.load.status in _RUNNING else "DeleteProcessingJob"
        return () if seen.load.status == "Stopping" else (Remove(number, stop, {"ProcessingJobName": test["name"]}),)
    if test["candidate"]["endpoint"]:
        _done(test)
        return ()
    if seen.endpoint is not None:
        if not admits(ENDPOINT, seen.endpoint.status, EndpointFact.DELETE_ASKED):
            return ()
        return (Remove(number, "DeleteEndpoint", {"EndpointName": test["name"]}),)
    gone: list[Command] = []
    if seen.config is not None:
        gone.append(Remove(number, "DeleteEndpointConfig", {"EndpointConfigName": test["name"]}))
    if seen.model is not None:
        gone.append(Remove(number, "DeleteModel", {"ModelName": test["name"]}))
    if not gone:
        _done(test)
    return gone


def _done(test: Test) -> None:
    test |= {"phase": DONE, "status": test["outcome"]}


_STEPS = {WAITING: _wait, DEPLOYING: _deploy, LOADING: _load, REMOVING: _remove}


# -- the log --------------------------------------------------------------------------------------------------------------------------


def _told(test: Test, before: str) -> tuple[str, ...]:
    """A line where the test came to its next phase."""
    name = f"{test['name']} ({candidate(test)})"
    if test["phase"] == before:
        return ()
    if test["phase"] in (DEPLOYING, LOADING):
        return (
            f"{name}: {'creating the endpoint' if test['phase'] == DEPLOYING else 'testing the endpoint under load'}",
        )
    if test["phase"] == REMOVING and test["outcome"] == Status.COMPLETED:
        return (f"{name}: {_figures(test)}",)
    if test["phase"] == DONE:
        return (f"{name}: {test['status']}" + (f", {test['failure']}" if test.get("failure") else ""),)
    return ()


def _figures(test: Mapping[str, Any]) -> str:
    told = test["metrics"]
    return f"{told['MaxInvocations']} invocations a minute, latency {told['ModelLatency']} ms"
