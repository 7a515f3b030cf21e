"""Shadow variants through unmodified boto3 and the `clary` command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, User, until
from tests.sdk.conftest import Server
from tests.sdk.test_serving import refused

pytestmark = [pytest.mark.live, pytest.mark.slow]

CLARY = str(Path(sys.executable).with_name("clary"))
DOUBLES = """
def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    return str(2 * int(body)), "text/plain"
"""
ODD_ONES_BREAK = """
def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    if int(body) % 2:
        raise ValueError("odd")
    return str(2 * int(body)), "text/plain"
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def shadowed(user: User) -> str:
    own, other = (user.scripted({"code/inference.py": code}, {}, PYTHON) for code in (DOUBLES, ODD_ONES_BREAK))
    row = {"VariantName": "other", "ModelName": other, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    return user.endpoint({"ModelName": own}, ShadowProductionVariants=[{**row, "InitialVariantWeight": 0.5}])


def compared(user: User, endpoint: str) -> dict[str, Any]:
    folder = str(user.server.settings.root)
    done = user.server.run([CLARY, "shadow", endpoint, "--dir", folder, "--json"])
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    return dict(row)


def test_half_of_the_traffic_is_compared_and_no_client_notices(user: User, shadowed: str) -> None:
    for number in range(20):
        answer = user.runtime.invoke_endpoint(EndpointName=shadowed, Body=str(number))
        assert answer["InvokedProductionVariant"] == "v1"
        assert int(answer["Body"].read()) == 2 * number
    seen = until(lambda: compared(user, shadowed), lambda row: row["agreed"] + row["differed"] == 10)
    assert (seen["variant"], seen["share"], seen["mirrored"]) == ("other", 0.5, 10)
    assert (seen["agreed"], seen["differed"], seen["failed"]) == (0, 10, 10), "every second request is an odd one"
    assert seen["samples"][-1]["request"] == "19"
    assert (seen["samples"][-1]["status"], seen["samples"][-1]["shadow_status"]) == (200, 424)


def test_the_shadow_described(user: User, shadowed: str) -> None:
    seen = user.sm.describe_endpoint(EndpointName=shadowed)
    assert [v["VariantName"] for v in seen["ProductionVariants"]] == ["v1"]
    [shadow] = seen["ShadowProductionVariants"]
    assert (shadow["VariantName"], shadow["DesiredWeight"], shadow["CurrentInstanceCount"]) == ("other", 0.5, 1)
    config = user.sm.describe_endpoint_config(EndpointConfigName=seen["EndpointConfigName"])
    assert config["ShadowProductionVariants"][0]["InitialVariantWeight"] == 0.5


def test_the_shadow_cannot_be_asked(user: User, shadowed: str) -> None:
    wrong = refused(user.runtime.invoke_endpoint, EndpointName=shadowed, Body=b"1", TargetVariant="other")
    assert wrong["Error"]["Code"] == "ValidationError"
    assert "Variant other of endpoint" in wrong["Error"]["Message"]


def test_a_new_weight_changes_the_sample(user: User, shadowed: str) -> None:
    wanted = [{"VariantName": "other", "DesiredWeight": 0.0}]
    user.sm.update_endpoint_weights_and_capacities(EndpointName=shadowed, DesiredWeightsAndCapacities=wanted)
    user.settled(shadowed, "InService")
    before = compared(user, shadowed)
    for number in range(4):
        user.ask(shadowed, str(number))
    assert (before["share"], compared(user, shadowed)["mirrored"]) == (0.0, before["mirrored"])


def test_an_endpoint_without_a_shadow_says_so(user: User) -> None:
    done = user.server.run([CLARY, "shadow", "nobody", "--dir", str(user.server.settings.root)])
    folder = user.server.settings.root
    words = f"clary: there is no endpoint 'nobody': `clary ps --dir {folder}` lists endpoints"
    assert (done.returncode, done.stderr.strip()) == (4, words)
