"""A shadow test on a live endpoint through unmodified boto3: started, copied to, promoted."""

from __future__ import annotations

from typing import Any

import pytest
from tests.live import ROLE
from tests.sdk.acts import PYTHON, User, unique, until
from tests.sdk.conftest import Server
from tests.sdk.test_serving import refused
from tests.sdk.test_shadow import compared

pytestmark = [pytest.mark.live, pytest.mark.slow]
SAYS = "def model_fn(d): return 1\ndef transform_fn(model, body, content_type, accept): return '{}', 'text/plain'\n"


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def variant(model: str, name: str) -> dict[str, Any]:
    size = {"InstanceType": "ml.m5.large", "InstanceCount": 1}
    infrastructure = {"InfrastructureType": "RealTimeInference", "RealTimeInferenceConfig": size}
    return {"ModelName": model, "VariantName": name, "InfrastructureConfig": infrastructure}


def test_a_shadow_is_tried_and_promoted(user: User) -> None:
    one, two = (user.scripted({"code/inference.py": SAYS.format(word)}, {}, PYTHON) for word in ("one", "two"))
    name, endpoint = unique("experiment"), unique("shadowed")
    shadow = [{"ShadowModelVariantName": "next", "SamplingPercentage": 100}]
    user.sm.create_inference_experiment(
        Name=name,
        Type="ShadowMode",
        RoleArn=ROLE,
        EndpointName=endpoint,
        ModelVariants=[variant(one, "now"), variant(two, "next")],
        ShadowModeConfig={"SourceModelVariantName": "now", "ShadowModelVariants": shadow},
    )

    def told() -> dict[str, Any]:
        answer: dict[str, Any] = user.sm.describe_inference_experiment(Name=name)
        return answer

    running = until(told, lambda d: d["Status"] not in ("Creating", "Created", "Starting"))
    assert running["Status"] == "Running", running
    assert {v["VariantName"]: v["Status"] for v in running["ModelVariants"]} == {
        "now": "InService",
        "next": "InService",
    }
    assert {user.ask(endpoint) for _ in range(20)} == {b"one"}
    until(lambda: compared(user, endpoint), lambda row: row["differed"] == 20)
    assert refused(user.sm.delete_inference_experiment, Name=name)["Error"]["Code"] == "ValidationException"
    actions = {"now": "Remove", "next": "Promote"}
    user.sm.stop_inference_experiment(Name=name, ModelVariantActions=actions, DesiredState="Completed", Reason="better")
    over = until(told, lambda d: d["Status"] in ("Completed", "Cancelled"))
    assert (over["Status"], over["StatusReason"]) == ("Completed", "better")
    assert user.ask(endpoint) == b"two"
    (served,) = user.sm.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    assert served["VariantName"] == "next"
    listed = user.sm.list_inference_experiments(NameContains=name)["InferenceExperiments"]
    assert [each["Status"] for each in listed] == ["Completed"]
    user.sm.delete_inference_experiment(Name=name)
    user.sm.delete_endpoint(EndpointName=endpoint)
