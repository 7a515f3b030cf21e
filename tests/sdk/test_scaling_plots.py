"""`clary scaling` against an endpoint that has load and changes its size."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.sdk.acts import PYTHON, User, targz, until
from tests.sdk.conftest import Server
from tests.sdk.test_autoscaling import BURNS, ONE, count, drop, load, target_of
from tests.sdk.test_cli import clary
from tests.sdk.test_components import host, place

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def endpoint(user: User, server: Server) -> str:
    """Served under load by one replica, then by two."""
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": BURNS}, ONE, PYTHON)})
    scaling = server.client("application-autoscaling")
    with load(user, name, "0.01", 1) as failed:
        until(lambda: len(points(server, name, "p99")) > 2)
        scaling.register_scalable_target(**target_of(name), MinCapacity=2, MaxCapacity=3)
        until(lambda: count(user, name) == 2, seconds=60)
        until(lambda: points(server, name, "replicas")[-1][1] == 2)
    assert failed == []
    return name


def points(server: Server, endpoint: str, key: str) -> list[list[float]]:
    told = clary(server, "scaling", endpoint, "--since", "5m", "--json")
    assert told.returncode == 0, told.stderr
    (variant,) = json.loads(told.stdout)
    return list(variant["series"][key]["points"])


def most(server: Server, endpoint: str, key: str) -> float:
    return max((value for _, value in points(server, endpoint, key)), default=0.0)


def test_load_and_capacity_are_those_of_the_fronts(server: Server, user: User, endpoint: str) -> None:
    told = json.loads(clary(server, "scaling", endpoint, "--since", "10m", "--json").stdout)[0]
    series = {key: [value for _, value in row["points"]] for key, row in told["series"].items()}
    assert told["variant"] == "v1"
    assert max(series["arrivals"]) > 1
    assert 10 <= max(series["p99"]) < 60_000  # each request takes 10 ms of CPU
    assert 1 <= min(series["replicas"]) < 2  # a point is the mean of its seconds
    until(lambda: most(server, endpoint, "replicas") == 2)
    until(lambda: most(server, endpoint, "desired") == 2)
    until(lambda: most(server, endpoint, "given") == 4)  # of 2 vCPU each
    until(lambda: most(server, endpoint, "cpu") > 0)
    moves = [(row["from"]["count"], row["to"]["count"]) for row in told["decisions"]]
    asked = [row["Description"] for row in told["activities"]]
    assert (1, 2) in moves or "Setting desired instance count to 2." in asked


def test_the_terminal_shows_charts_and_what_was_decided(server: Server, endpoint: str) -> None:
    shown = clary(server, "scaling", endpoint, "--variant", "v1", "--since", "10m")
    assert shown.returncode == 0, shown.stderr
    for said in (
        f"Scaling of {endpoint}, variant v1",
        "Load, requests/s",
        "arrivals",
        "Latency p99, ms",
        "decided",
        " 1. ",
    ):
        assert said in shown.stdout


def test_pictures(server: Server, endpoint: str, tmp_path: Path) -> None:
    drawn, pixels = tmp_path / "a.svg", tmp_path / "a.png"
    until(lambda: most(server, endpoint, "cpu") > 0)  # it is told less often than load
    assert clary(server, "scaling", endpoint, "--out", str(drawn)).returncode == 0
    texts = [text.text for text in ET.fromstring(drawn.read_text()).iter("{http://www.w3.org/2000/svg}text")]
    assert {"CPU, vCPU", "used", "given"} <= set(texts)
    told = clary(server, "scaling", endpoint, "--out", str(pixels))
    assert told.returncode == 0, told.stderr
    assert pixels.read_bytes().startswith(b"\x89PNG")


def test_png_without_the_extra_says_how(server: Server, endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "resvg_py.py").write_text("raise ImportError('not installed')\n")
    argv = [sys.executable, "-m", "clary.app.cli", "scaling", endpoint, "--out", str(tmp_path / "a.png")]
    told = server.run([*argv, "--dir", server.settings.dir], PYTHONPATH=str(tmp_path))
    assert (told.returncode, "pip install 'clary[plots]'" in told.stderr) == (1, True), told.stderr


TRACKING = {
    "PolicyType": "TargetTrackingScaling",
    "MinCapacity": 1,
    "MaxCapacity": 3,
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 1.0,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
        },
    },
}


@pytest.mark.parametrize(
    "policy", [{"LatencyObjective": 250, "MinCapacity": 1, "MaxCapacity": 2}, TRACKING], ids=["objective", "tracking"]
)
def test_what_another_policy_would_have_done_with_the_load_that_was(
    server: Server, endpoint: str, tmp_path: Path, policy: dict[str, object]
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    asked = ("scaling", endpoint, "--what-if", str(file), "--since", "10m")
    told = clary(server, *asked, "--json")
    assert told.returncode == 0, told.stderr
    played = json.loads(told.stdout)
    recorded = json.loads(clary(server, "scaling", endpoint, "--since", "10m", "--json").stdout)[0]
    sent = sum(value * recorded["period"] for _, value in recorded["series"]["arrivals"]["points"])
    assert played["requests"] == pytest.approx(sent, rel=0.02)
    assert played["requests"] > 20
    assert played["was"]["replicas_most"] == 2
    assert played["what_if"]["replicas_most"] <= 3
    assert 0 < played["was"]["instance_hours"] < 1
    assert played["was"]["worker_seconds"] > 0
    assert played["what_if"]["worker_seconds"] > 0
    shown = clary(server, *asked)
    assert shown.returncode == 0, shown.stderr
    for said in ("instance-hours", "WHAT WAS", "WHAT-IF", "Left out: ", "Replicas, count", "what-if"):
        assert said in shown.stdout
    picture = tmp_path / "a.svg"
    assert clary(server, *asked, "--out", str(picture)).returncode == 0
    assert "what-if" in picture.read_text()


def test_a_policy_that_is_none_is_told_by_its_place(server: Server, endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({**TRACKING, "TargetTrackingScalingPolicyConfiguration": {"TargetValue": "much"}}))
    told = clary(server, "scaling", endpoint, "--what-if", str(file))
    assert told.returncode == 2
    assert f"{file}: $.TargetTrackingScalingPolicyConfiguration.TargetValue: must be a number" in told.stderr


def test_what_is_not_there(server: Server, endpoint: str) -> None:
    assert clary(server, "scaling", "nobody").returncode == 4
    told = clary(server, "scaling", endpoint, "--variant", "x")
    assert (told.returncode, "there is v1" in told.stderr) == (4, True)
    assert clary(server, "scaling", endpoint, "--since", "yesterday").returncode == 2


def test_what_a_deleted_endpoint_told_stays(server: Server, user: User, endpoint: str) -> None:
    drop(user, endpoint)
    user.sm.get_waiter("endpoint_deleted").wait(EndpointName=endpoint, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    told = clary(server, "scaling", endpoint, "--json")
    assert 1 < max(value for _, value in json.loads(told.stdout)[0]["series"]["replicas"]["points"]) <= 2


def test_an_inference_component(server: Server, user: User) -> None:
    hosting = host(user)
    artifact = user.put(f"components/{hosting}.tar.gz", targz({"code/inference.py": BURNS}))
    component = place(user, hosting, artifact)
    user.ask(hosting, "0.01", ContentType="text/plain", InferenceComponentName=component)
    until(lambda: points(server, f"{hosting}/{component}", "p99"))
    shown = clary(server, "scaling", f"{hosting}/{component}", "--since", "5m")
    assert f"Scaling of {hosting}, component {component}" in shown.stdout, shown.stderr
    assert most(server, f"{hosting}/{component}", "replicas") == 1
    told = clary(server, "scaling", f"nobody/{component}")
    assert (told.returncode, f"`clary scaling {hosting}/{component}`" in told.stderr) == (4, True)
