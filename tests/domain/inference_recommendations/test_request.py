"""What an inference recommendations job asks for, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.inference_recommendations import request as asked
from clary.domain.inference_recommendations.request import Candidate


def request(kind: str = "Advanced", stop: Any = None, **config: Any) -> dict[str, Any]:
    given = {"JobName": "j", "JobType": kind, "RoleArn": "r", "InputConfig": {"ModelName": "m", **config}}
    return given | ({"StoppingConditions": stop} if stop else {})


def phases(*rows: tuple[int, int, int]) -> dict[str, Any]:
    names = ("InitialNumberOfUsers", "SpawnRate", "DurationInSeconds")
    return {"TrafficType": "PHASES", "Phases": [dict(zip(names, row, strict=True)) for row in rows]}


def stairs(seconds: int, steps: int, users: int) -> dict[str, Any]:
    given = {"DurationInSeconds": seconds, "NumberOfSteps": steps, "UsersPerStep": users}
    return {"TrafficType": "STAIRS", "Stairs": given}


def test_every_combination_of_the_environment_is_a_candidate() -> None:
    ranges = [{"Name": "A", "Value": ["1", "2"]}, {"Name": "B", "Value": ["x"]}]
    given = [
        {"InstanceType": "ml.m5.large", "EnvironmentParameterRanges": {"CategoricalParameterRanges": ranges}},
        {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2}},
    ]
    found = asked.candidates(request(EndpointConfigurations=given), ())
    assert found == [
        Candidate("ml.m5.large", environment={"A": "1", "B": "x"}),
        Candidate("ml.m5.large", environment={"A": "2", "B": "x"}),
        Candidate(serverless={"MemorySizeInMB": 1024, "MaxConcurrency": 2}),
    ]
    few = request(EndpointConfigurations=given, ResourceLimit={"MaxNumberOfTests": 1})
    assert asked.candidates(few, ()) == found[:1]


def test_types_come_from_the_request_then_from_the_package_then_from_us() -> None:
    named = request("Default", ContainerConfig={"SupportedInstanceTypes": ["ml.c5.large"]})
    assert asked.candidates(named, ["ml.m5.xlarge"]) == [Candidate("ml.c5.large")]
    assert asked.candidates(request("Default"), ["ml.m5.xlarge"]) == [Candidate("ml.m5.xlarge")]
    assert [each.instance_type for each in asked.candidates(request("Default"), ())] == list(asked.DEFAULT_TYPES)
    serverless = asked.candidates(request("Default", ContainerConfig={"SupportedEndpointType": "Serverless"}), ())
    assert [each.serverless["MemorySizeInMB"] for each in serverless] == list(asked.DEFAULT_SERVERLESS)
    there = asked.candidates(request(Endpoints=[{"EndpointName": "e"}], ModelName=""), ())
    assert there == [Candidate(endpoint="e")]


def test_patterns() -> None:
    assert asked.pattern(request()) == list(asked.RAMP)
    assert asked.pattern(request(TrafficPattern=phases((1, 2, 120), (3, 0, 60)))) == [(1, 2, 120), (3, 0, 60)]
    assert asked.pattern(request(TrafficPattern=stairs(60, 3, 2))) == [(2, 0, 60), (4, 0, 60), (6, 0, 60)]


def test_limits() -> None:
    assert asked.limits(request()) == {"flat": True}
    stop = {
        "MaxInvocations": 300,
        "FlatInvocations": "Continue",
        "ModelLatencyThresholds": [{"Percentile": "P99.9", "ValueInMilliseconds": 20}],
    }
    assert asked.limits(request(stop=stop)) == {"flat": False, "most": 300, "latency": [99.9, 20]}


def test_the_payload_is_the_requests_or_the_packages() -> None:
    package = {"SamplePayloadUrl": "s3://b/p", "InferenceSpecification": {"SupportedContentTypes": ["text/csv"]}}
    assert asked.payload(request(), package) == ("s3://b/p", ["text/csv"])
    own = {"PayloadConfig": {"SamplePayloadUrl": "s3://b/own", "SupportedContentTypes": ["application/json"]}}
    assert asked.payload(request(ContainerConfig=own), package) == ("s3://b/own", ["application/json"])
    with pytest.raises(Invalid, match="SamplePayloadUrl"):
        asked.payload(request(), None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (request(ModelPackageVersionArn="arn"), "not both"),
        (request(ModelName=""), "one of them is required"),
        (request(ModelName="", Endpoints=[{"EndpointName": "e"}], EndpointConfigurations=[{}]), "need a ModelPackage"),
        (request("Default", TrafficPattern=phases((1, 0, 60))), "type Default"),
        (request("Default", stop={"MaxInvocations": 1}), "StoppingConditions cannot"),
        (request(EndpointConfigurations=[{}]), r"EndpointConfigurations\[0\] needs either"),
        (request(EndpointConfigurations=[{"InstanceType": "t", "InferenceSpecificationName": "x"}]), "is for a Model"),
        (request(TrafficPattern={"TrafficType": "PHASES"}), "needs Phases"),
        (request(TrafficPattern={"TrafficType": "STAIRS", "Stairs": {"NumberOfSteps": 1}}), "DurationInSeconds, Users"),
        (request(TrafficPattern=phases((1, 600, 3600))), "users at once"),
        (request(TrafficPattern=phases((1, 0, 7000), (1, 0, 7000))), "7200 seconds"),
        (request(stop={"MaxInvocations": 0}), "MaxInvocations is 0"),
        (request(stop={"ModelLatencyThresholds": [{"Percentile": "best", "ValueInMilliseconds": 1}]}), "write P95"),
        (request(stop={"ModelLatencyThresholds": [{"Percentile": "P95"}]}), "1 or more"),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        asked.check(given)


def test_an_instance_type_that_nobody_knows() -> None:
    with pytest.raises(Invalid, match=r"ml\.no\.such"):
        asked.candidates(request(EndpointConfigurations=[{"InstanceType": "ml.no.such"}]), ())
