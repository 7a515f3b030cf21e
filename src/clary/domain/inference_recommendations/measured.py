"""What a load test measured, as the service shows it: a test's metrics, and which tests are recommended first. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from clary.domain.costs.report import Prices
from clary.domain.costs.use import Use
from clary.domain.errors import Invalid, LimitExceeded
from clary.domain.inference_recommendations.record import Document, Test, candidate
from clary.domain.inference_recommendations.request import VARIANT, Candidate
from clary.domain.machine import capacity, instances
from clary.domain.machine.capacity import Machine
from clary.domain.machine.instances import GIB
from clary.domain.resources import Record

_NUMBERS = ("invocations", "latency_ms", "began", "ended")


def result(message: str) -> dict[str, Any]:
    """The load test's own words, a JSON object: `invocations` a minute, `latency_ms` at these, `users`, `began`, `ended`, `cpu` and
    `memory` in percent where they are known, `why` it ended. Invalid for anything else."""
    try:
        found = json.loads(message)
        if isinstance(found, dict) and all(math.isfinite(float(found[name])) for name in _NUMBERS):
            return found
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise Invalid("The load test ended without a result.")


def hour(tried: Candidate, machine: Machine, policy: str, prices: Prices | None) -> float:
    """What an hour of one instance costs, by what this machine gives it; 0 where nothing has a price."""
    if prices is None or tried.endpoint:
        return 0.0
    if tried.serverless:
        name = instances.serverless(tried.serverless["MemorySizeInMB"], tried.serverless["MaxConcurrency"])
    else:
        name = tried.instance_type
    size = instances.find(name)
    if size is None:
        return 0.0
    try:
        given = capacity.fit(size, machine, policy, "endpoint")
    except LimitExceeded:
        return 0.0
    return prices.of(Use(3600, given.cpu * 3600, given.memory / GIB * 3600, given.gpus * 3600))


def metrics(found: Mapping[str, Any], cost: float) -> dict[str, Any]:
    """RecommendationMetrics: invocations a minute of one instance, latency in milliseconds, utilization in percent."""
    most = max(1, int(found["invocations"]))
    told: dict[str, Any] = {
        "CostPerHour": cost,
        "CostPerInference": cost / 60 / most,
        "MaxInvocations": most,
        "ModelLatency": max(1, math.ceil(float(found["latency_ms"]))),
    }
    known = {"CpuUtilization": "cpu", "MemoryUtilization": "memory"}
    return told | {member: float(found[name]) for member, name in known.items() if found.get(name) is not None}


def instances_for(test: Test, limits: Mapping[str, Any]) -> int:
    """As many as answer the invocations that were asked for."""
    return max(1, math.ceil(int(limits.get("most") or 0) / int(test["metrics"]["MaxInvocations"])))


def ranked(document: Document) -> list[Test]:
    """The tests of new endpoints that measured something: the cheapest for an inference first; without prices the one that answers most."""
    found = [test for test in document["tests"] if test.get("metrics") and not test["candidate"]["endpoint"]]
    return sorted(found, key=lambda test: (test["metrics"]["CostPerInference"], -test["metrics"]["MaxInvocations"]))


def recommendation(record: Record, test: Test) -> dict[str, Any]:
    """InferenceRecommendation. Its id begins with the job's name: SDKs find the job by it."""
    digits = str(test["name"]).rpartition("-")[2]
    return {"RecommendationId": f"{record.name}/{digits}", **_benchmark(record.document, test), **_times(test)}


def performance(test: Test) -> dict[str, Any]:
    """EndpointPerformance, of an endpoint that was there before."""
    return {"Metrics": _endpoint_metrics(test), "EndpointInfo": {"EndpointName": test["candidate"]["endpoint"]}}


def step(record: Record, test: Test) -> dict[str, Any]:
    """InferenceRecommendationsJobStep."""
    told = {**_benchmark(record.document, test), **_times(test)}
    if test["candidate"]["endpoint"] and test.get("metrics"):
        told["EndpointMetrics"] = _endpoint_metrics(test)
    if test.get("failure"):
        told["FailureReason"] = test["failure"]
    return {"StepType": "BENCHMARK", "JobName": record.name, "Status": test["status"], "InferenceBenchmark": told}


def _endpoint_metrics(test: Test) -> dict[str, Any]:
    return {name: test["metrics"][name] for name in ("MaxInvocations", "ModelLatency")}


def _times(test: Test) -> dict[str, Any]:
    found = test.get("result") or {}
    return {"InvocationStartTime": found["began"], "InvocationEndTime": found["ended"]} if found else {}


def _benchmark(document: Document, test: Test) -> dict[str, Any]:
    tried = candidate(test)
    model: dict[str, Any] = {"InferenceSpecificationName": tried.specification} if tried.specification else {}
    if tried.environment:
        model["EnvironmentParameters"] = [
            {"Key": name, "ValueType": "String", "Value": value} for name, value in tried.environment.items()
        ]
    told: dict[str, Any] = {"ModelConfiguration": model}
    if tried.endpoint:
        return told
    size: dict[str, Any] = {"ServerlessConfig": dict(tried.serverless)} if tried.serverless else {}
    if tried.instance_type:
        count = instances_for(test, document["load"]["limits"]) if test.get("metrics") else 1
        size = {"InstanceType": tried.instance_type, "InitialInstanceCount": count}
    told["EndpointConfiguration"] = {"EndpointName": test["name"], "VariantName": VARIANT, **size}
    if test.get("metrics"):
        told["Metrics"] = dict(test["metrics"])
    return told
