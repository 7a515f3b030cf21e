"""/metrics as Prometheus scrapes it: through the edge, with what `clary prometheus` prints."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
from tests.sdk import acts
from tests.sdk.acts import PYTHON, User
from tests.sdk.conftest import Server

pytestmark = pytest.mark.live

MODEL = """
def model_fn(model_dir):
    return None

def predict_fn(body, model):
    if body == [0.0]:
        raise RuntimeError("broken")
    return body
"""


def clary(server: Server, *words: str) -> str:
    done = server.run([sys.executable, "-m", "clary.app.cli", *words, "--dir", server.settings.dir])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def job(server: Server) -> dict[str, Any]:
    """The scrape configuration."""
    (found,) = json.loads(clary(server, "prometheus", "--json"))["scrape_configs"]
    return dict(found)


def scrape(job: dict[str, Any], authorization: str | None = None, method: str = "GET") -> tuple[int, str, str]:
    ((target,),) = (each["targets"] for each in job["static_configs"])
    given = job["authorization"]
    header = f"{given['type']} {given['credentials']}" if authorization is None else authorization
    request = urllib.request.Request(f"{job['scheme']}://{target}/metrics", method=method)
    if header:
        request.add_header("Authorization", header)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def values(job: dict[str, Any], name: str, **labels: str) -> list[float]:
    status, kind, text = scrape(job)
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"), text
    samples = [sample for family in read(text) for sample in family.samples if sample.name == name]
    return [sample.value for sample in samples if labels.items() <= sample.labels.items()]


def test_the_printed_configuration_is_yaml(server: Server, job: dict[str, Any]) -> None:
    lines = clary(server, "prometheus").splitlines()
    assert lines[0] == "scrape_configs:"
    assert lines[1] == '  - job_name: "clary"'
    pairs = [line[4:].split(": ", 1) for line in lines[1:]]
    assert {name: json.loads(value) for name, value in pairs} == job


def test_strangers_learn_nothing(server: Server, job: dict[str, Any]) -> None:
    token = job["authorization"]["credentials"]
    key = server.key
    for bad in ("", f"Bearer {token}0", f"Bearer {key.access_key_id}", "Bearer x", "Basic eDp5"):
        status, _, text = scrape(job, bad)
        assert status == 401, (bad, text)
        assert "clary_" not in text
    assert scrape(job, method="POST")[0] == 405


@pytest.mark.waits  # until the minute of its datapoint is over
def test_a_metric_that_is_put_is_scraped(server: Server, job: dict[str, Any]) -> None:
    name = acts.unique("Orders")
    where = [{"Name": "Shop", "Value": 'a "quoted" one'}]
    data = [{"MetricName": name, "Dimensions": where, "Value": 3.0, "Unit": "Count"}]
    server.client("cloudwatch", "eu-west-1").put_metric_data(Namespace="Tests/Prometheus", MetricData=data)
    labels = {
        "region": "eu-west-1",
        "namespace": "Tests/Prometheus",
        "unit": "Count",
        "dimension_Shop": 'a "quoted" one',
    }
    acts.until(lambda: values(job, "clary_metric_sum", metric=name, **labels) == [3.0], seconds=90)


@pytest.mark.slow
def test_an_endpoints_counters_and_latencies(server: Server, job: dict[str, Any]) -> None:
    user = User(server)
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": MODEL, "weights": "w"}, {}, PYTHON)})
    runtime = server.client("sagemaker-runtime")
    for _ in range(5):
        runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=b"[1.0]")
    with pytest.raises(runtime.exceptions.ModelError):
        runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=b"[0.0]")
    who = {"endpoint": name, "region": "us-east-1", "variant": "v1"}
    assert values(job, "clary_invocations_total", **who) == [6]
    assert values(job, "clary_invocation_errors_total", status="5XX", **who) == [1]
    assert values(job, "clary_replicas", **who) == [1]
    (answered,) = values(job, "clary_model_latency_seconds_count", **who)
    assert answered >= 5
    (seconds,) = values(job, "clary_model_latency_seconds_sum", **who)
    assert 0 < seconds < 60
    server.client("sagemaker").delete_endpoint(EndpointName=name)
    acts.until(lambda: values(job, "clary_invocations_total", **who) == [], seconds=60)
