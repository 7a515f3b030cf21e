"""How long a sleeping serverless endpoint needs to its first byte: parked, from its zygote, and from nothing. An XGBoost model.

Each request is signed before its clock starts and goes over a connection that is open; sleep is made short by settings, and before
every measurement the server is asked whether the endpoint really sleeps as deep as meant.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.common import Row, percentile, say
from benchmarks.start import CLARY, ROLE, SKLEARN, XGBOOST, Bench, name, put_data, running, sklearn_artifact, train
from clary.app import demo

PARKED, FORKED, COLD, FROM_DISK = 200, 20, 5, 10
PATIENCE = 60.0  # seconds until it must have fallen asleep


def rows(environments: str) -> list[Row]:
    """The rows of `scripts/bench deploy` about waking up."""
    with running(environments, serverless_rest=1, serverless_stop=5) as (bench, _):
        put_data(bench)
        _, job = train(bench, XGBOOST, {"num_round": "20", "objective": "binary:logistic"})
        endpoint, body = _deploy(bench, XGBOOST, job["ModelArtifacts"]["S3ModelArtifacts"], {})
        say("  parked ...")
        parked = [_ask(bench, endpoint, body) for _ in range(PARKED)]
        say("  zygote only ...")
        forked = [_after(bench, endpoint, body, workers=0) for _ in range(FORKED)]
        say("  away ...")
        cold = [_after(bench, endpoint, body, wanted=0) for _ in range(COLD)]
    return [
        _row("first byte, parked, p50", percentile(parked, 0.5), 0.005),
        _row("first byte, parked, p99", percentile(parked, 0.99), 0.02),
        _row("first byte, zygote only, p50", percentile(forked, 0.5), 0.05),
        _row(f"first byte, zygote only, slowest of {FORKED}", max(forked), 0.2),
        _row(f"first byte, no replica, slowest of {COLD}", max(cold), 2.5),
    ]


def from_disk(environments: str) -> list[Row]:
    """A scikit-learn model of which there is nothing but files."""
    with running(environments, serverless_rest=1, serverless_stop=1) as (bench, _):
        put_data(bench)
        artifact = sklearn_artifact(bench, environments)
        endpoint, body = _deploy(bench, SKLEARN, artifact, {"SAGEMAKER_PROGRAM": "inference.py"})
        cold = [_after(bench, endpoint, body, wanted=0) for _ in range(FROM_DISK)]
    return [_row(f"first byte, no replica, scikit-learn, slowest of {FROM_DISK}", max(cold), 2.5)]


def _row(what: str, seconds: float, must: float) -> Row:
    return Row(what, seconds * 1000, "ms", must=f"<= {must * 1000:g} ms", ok=seconds <= must)


def _deploy(bench: Bench, image: str, artifact: str, environment: dict[str, str]) -> tuple[str, bytes]:
    endpoint = name("sleeper")
    model = {"Image": image, "ModelDataUrl": artifact, "Environment": environment}
    bench.sagemaker.create_model(ModelName=endpoint, ExecutionRoleArn=ROLE, PrimaryContainer=model)
    asked = {"MemorySizeInMB": 1024, "MaxConcurrency": 4}
    variant = {"VariantName": "main", "ModelName": endpoint, "ServerlessConfig": asked}
    bench.sagemaker.create_endpoint_config(EndpointConfigName=endpoint, ProductionVariants=[variant])
    bench.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)
    bench.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=endpoint)
    _, rows = demo.split()
    return endpoint, rows[0].partition(",")[2].encode()


def _ask(bench: Bench, endpoint: str, body: bytes) -> float:
    """Seconds from the first byte of a request to the first byte of its answer, which must be a prediction."""
    site = urlsplit(bench.settings.endpoint)
    path = f"/endpoints/{endpoint}/invocations"
    request = AWSRequest("POST", f"{bench.settings.endpoint}{path}", data=body, headers={"Content-Type": "text/csv"})
    SigV4Auth(Credentials(bench.key.access_key_id, bench.key.secret), "sagemaker", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(str(site.hostname), site.port, timeout=30)
    connection.connect()
    try:
        began = time.perf_counter()
        connection.request("POST", path, body, dict(request.headers.items()))
        answer = connection.getresponse()
        took = time.perf_counter() - began
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"HTTP {answer.status}: {text[:300]!r}")
    return took


def _after(bench: Bench, endpoint: str, body: bytes, **asleep: int) -> float:
    """One request after the endpoint has come to this (figures of `clary top`)."""
    deadline = time.monotonic() + PATIENCE
    while any(_figures(bench, endpoint)[what] != figure for what, figure in asleep.items()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the endpoint did not fall asleep ({asleep}) within {PATIENCE:g} s")
    return _ask(bench, endpoint, body)


def _figures(bench: Bench, endpoint: str) -> dict[str, int]:
    argv = [CLARY, "top", "--once", "--json", "--dir", bench.settings.dir]
    figures = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return next(row for row in figures["endpoints"] if row["endpoint"] == endpoint)  # type: ignore[no-any-return]
