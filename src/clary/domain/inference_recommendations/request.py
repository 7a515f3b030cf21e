"""What a CreateInferenceRecommendationsJob request asks for: which endpoints are tried, under which load. Pure.

Source: CreateInferenceRecommendationsJob (API reference), "Inference Recommender" (developer guide). Two limits of AWS are not kept,
because they are those of its fleet: a phase may last less than two minutes, and begin with more than three users.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.machine import instances

MOST_TESTS = 10  # as many as Describe shows
MOST_USERS = 200  # at once: threads of the load test
MOST_SECONDS = 7200  # of a traffic pattern, as on AWS
DEFAULT_TYPES = ("ml.c5.large", "ml.m5.large", "ml.c5.xlarge", "ml.m5.xlarge")
DEFAULT_SERVERLESS = (1024, 2048, 4096)  # MB
DEFAULT_CONCURRENCY = 10
RAMP = tuple((users, 0, 6) for users in (1, 2, 4, 8, 16, 32))  # until more users bring no more answers
VARIANT = "AllTraffic"
_PERCENTILE = re.compile(r"[pP](\d{1,2}(?:\.\d+)?)")

Request = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is tried: an instance type, a serverless size, or an endpoint that is there (`endpoint`)."""

    instance_type: str = ""
    serverless: Mapping[str, int] = field(default_factory=dict)
    specification: str = ""  # InferenceSpecificationName
    environment: Mapping[str, str] = field(default_factory=dict)
    endpoint: str = ""

    def __str__(self) -> str:
        size = self.endpoint or self.instance_type or f"serverless {self.serverless.get('MemorySizeInMB')} MB"
        return " ".join((size, *(f"{name}={value}" for name, value in self.environment.items())))


def config(request: Request) -> Mapping[str, Any]:
    found: Mapping[str, Any] = request["InputConfig"]
    return found


def check(request: Request) -> None:
    """Invalid for a request that contradicts itself."""
    given = config(request)
    named = [member for member in ("ModelPackageVersionArn", "ModelName") if given.get(member)]
    if len(named) == 2:
        raise Invalid("Provide either ModelPackageVersionArn or ModelName in InputConfig, not both.")
    if not named and not given.get("Endpoints"):
        raise Invalid("Provide ModelPackageVersionArn or ModelName in InputConfig: one of them is required.")
    if not named and given.get("EndpointConfigurations"):
        raise Invalid("EndpointConfigurations need a ModelPackageVersionArn or a ModelName in InputConfig.")
    if request["JobType"] == "Default":
        wrong = [member for member in ("TrafficPattern", "ResourceLimit") if given.get(member)]
        wrong += ["StoppingConditions"] if request.get("StoppingConditions") else []
        if wrong:
            raise Invalid(
                f"{' and '.join(wrong)} cannot be specified for a job of type Default: use the type Advanced."
            )
    for at, each in enumerate(given.get("EndpointConfigurations") or ()):
        _check_configuration(
            each, f"InputConfig.EndpointConfigurations[{at}]", bool(given.get("ModelPackageVersionArn"))
        )
    pattern(request)
    limits(request)


def _check_configuration(given: Mapping[str, Any], where: str, package: bool) -> None:
    if bool(given.get("InstanceType")) == bool(given.get("ServerlessConfig")):
        raise Invalid(f"{where} needs either an InstanceType or a ServerlessConfig.")
    if given.get("InferenceSpecificationName") and not package:
        raise Invalid(f"{where}: InferenceSpecificationName is for a ModelPackageVersionArn.")
    names = [each["Name"] for each in _ranges(given)]
    if len(set(names)) < len(names):
        raise Invalid(f"{where}: the names of CategoricalParameterRanges must be unique.")


def _ranges(given: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (given.get("EnvironmentParameterRanges") or {}).get("CategoricalParameterRanges") or ()


def candidates(request: Request, supported: Sequence[str]) -> list[Candidate]:
    """What is tried, in order: what EndpointConfigurations say, else the types that the request names, else those `supported` by the model
    package, else small ones. At most ResourceLimit.MaxNumberOfTests. Invalid for a type that nobody knows."""
    given = config(request)
    found = [
        Candidate(endpoint=each["EndpointName"]) for each in given.get("Endpoints") or () if each.get("EndpointName")
    ]
    if given.get("ModelName") or given.get("ModelPackageVersionArn"):
        found += [each for row in given.get("EndpointConfigurations") or () for each in _expanded(row)] or _default(
            given, supported
        )
    for each in found:
        if each.instance_type and instances.find(each.instance_type) is None:
            raise Invalid(f"The instance type {each.instance_type} is not known: name one of AWS's for hosting.")
    most = (given.get("ResourceLimit") or {}).get("MaxNumberOfTests") or MOST_TESTS
    return found[: min(most, MOST_TESTS)]


def _default(given: Mapping[str, Any], supported: Sequence[str]) -> list[Candidate]:
    container = given.get("ContainerConfig") or {}
    if container.get("SupportedEndpointType") == "Serverless":
        sizes = ({"MemorySizeInMB": memory, "MaxConcurrency": DEFAULT_CONCURRENCY} for memory in DEFAULT_SERVERLESS)
        return [Candidate(serverless=size) for size in sizes]
    return [Candidate(name) for name in container.get("SupportedInstanceTypes") or supported or DEFAULT_TYPES]


def _expanded(given: Mapping[str, Any]) -> list[Candidate]:
    """One for each combination of the environment's values."""
    ranges = _ranges(given)
    return [
        Candidate(
            given.get("InstanceType", ""),
            dict(given.get("ServerlessConfig") or {}),
            given.get("InferenceSpecificationName", ""),
            dict(zip((each["Name"] for each in ranges), values, strict=True)),
        )
        for values in itertools.product(*(each["Value"] for each in ranges))
    ]


# -- load -------------------------------------------------------------------------------------------------------------------------


def pattern(request: Request) -> list[tuple[int, int, int]]:
    """Phases: users at the beginning, users that come in a minute, seconds."""
    given = config(request).get("TrafficPattern") or {}
    phases, stairs = given.get("Phases"), given.get("Stairs")
    if not given:
        return list(RAMP)
    if given.get("TrafficType", "PHASES") == "STAIRS":
        if not stairs or phases:
            raise Invalid("A TrafficPattern of the type STAIRS needs Stairs, and no Phases.")
        missing = [name for name in ("DurationInSeconds", "NumberOfSteps", "UsersPerStep") if not stairs.get(name)]
        if missing:
            raise Invalid(f"TrafficPattern.Stairs needs {', '.join(missing)}.")
        steps, each, seconds = stairs["NumberOfSteps"], stairs["UsersPerStep"], stairs["DurationInSeconds"]
        return _bounded(((at + 1) * each, 0, seconds) for at in range(min(steps, MOST_USERS + 1)))
    if not phases or stairs:
        raise Invalid("A TrafficPattern of the type PHASES needs Phases, and no Stairs.")
    for at, phase in enumerate(phases):
        missing = [name for name in ("InitialNumberOfUsers", "DurationInSeconds") if not phase.get(name)]
        if missing:
            raise Invalid(f"TrafficPattern.Phases[{at}] needs {' and '.join(missing)}.")
    return _bounded(
        (each["InitialNumberOfUsers"], each.get("SpawnRate") or 0, each["DurationInSeconds"]) for each in phases
    )


def _bounded(phases: Any) -> list[tuple[int, int, int]]:
    found = list(phases)
    most = max(int(users + spawn * seconds / 60) for users, spawn, seconds in found)
    if most > MOST_USERS:
        raise Invalid(f"The TrafficPattern has up to {most} users at once; a load test has at most {MOST_USERS}.")
    if sum(seconds for _, _, seconds in found) > MOST_SECONDS:
        raise Invalid(f"The durations of the TrafficPattern are more than {MOST_SECONDS} seconds together.")
    return found


def limits(request: Request) -> dict[str, Any]:
    """When a test ends before its pattern: `most` invocations a minute, `latency` as [percentile, milliseconds], `flat` (as soon as more
    users bring no more invocations)."""
    given = request.get("StoppingConditions") or {}
    found: dict[str, Any] = {"flat": given.get("FlatInvocations", "Stop") == "Stop"}
    most = given.get("MaxInvocations")
    if most is not None:
        if most < 1:
            raise Invalid(
                f"StoppingConditions.MaxInvocations is {most}: it is a number of invocations a minute, 1 or more."
            )
        found["most"] = most
    for each in given.get("ModelLatencyThresholds") or ():
        percentile = _PERCENTILE.fullmatch(str(each.get("Percentile", "P95")))
        value = each.get("ValueInMilliseconds") or 0
        if percentile is None or not 0 < float(percentile[1]) < 100:
            raise Invalid(
                f"ModelLatencyThresholds: the Percentile {each.get('Percentile')} is none; write P95, for example."
            )
        if value < 1:
            raise Invalid("ModelLatencyThresholds: ValueInMilliseconds must be 1 or more.")
        found["latency"] = [float(percentile[1]), value]
    return found


def payload(request: Request, package: Request | None) -> tuple[str, list[str]]:
    """The archive of sample payloads, and the content types they may have, of the request or of the model package. Invalid without one."""
    container = config(request).get("ContainerConfig") or {}
    given = container.get("PayloadConfig") or {}
    uri = given.get("SamplePayloadUrl") or (package or {}).get("SamplePayloadUrl") or ""
    if not uri:
        raise Invalid(
            "Provide InputConfig.ContainerConfig.PayloadConfig.SamplePayloadUrl: a .tar.gz in S3 with sample payloads is needed to make "
            "load."
        )
    of_package = ((package or {}).get("InferenceSpecification") or {}).get("SupportedContentTypes")
    types = given.get("SupportedContentTypes") or of_package or []
    return str(uri), [str(each) for each in types]


def accepted(request: Request) -> str:
    """The content type that answers are asked for in; "" for the model's own."""
    types = (config(request).get("ContainerConfig") or {}).get("SupportedResponseMIMETypes") or [""]
    return str(types[0])
