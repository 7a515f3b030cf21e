"""A multi-model endpoint of 1,000 XGBoost models of 1 MB: what a model costs that is loaded, and one that is not.

Hits are pairs: one request to an endpoint with that model alone, one to a model of the thousand picked at random, in turn, over
connections that are open, signed before their clock starts. A cold load is a model's first request.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.common import Row, percentile, pss, say
from benchmarks.start import BUCKET, ROLE, XGBOOST, Bench, algorithm_python, archive, name, running

MODELS = int(os.environ.get("BENCH_MODELS", "1000"))
SIZE = 1_000_000
PAIRS = 3000
FEATURES = 30
BODY = ",".join(str(i / 7) for i in range(FEATURES)).encode()
TRAIN = """
import numpy, xgboost
random = numpy.random.default_rng(0)
rows = random.normal(size=(2000, {features}))
labels = (rows[:, :3].sum(axis=1) + random.normal(size=2000) > 0).astype(float)
booster = None
matrix = xgboost.DMatrix(rows, labels)
while booster is None or len(booster.save_raw("ubj")) < {size}:
    booster = xgboost.train(
        {{"objective": "binary:logistic", "max_depth": 6, "eta": 0.05}}, matrix, 20, xgb_model=booster
    )
open("xgboost-model", "wb").write(booster.save_raw("ubj"))
"""


class Line:
    """One open connection to an endpoint."""

    def __init__(self, bench: Bench, endpoint: str) -> None:
        site = urlsplit(bench.settings.endpoint)
        self._url, self._path = bench.settings.endpoint, f"/endpoints/{endpoint}/invocations"
        self._credentials = Credentials(bench.key.access_key_id, bench.key.secret)
        self._connection = http.client.HTTPConnection(str(site.hostname), site.port, timeout=60)
        self._connection.connect()

    def ask(self, model: str = "") -> float:
        """Seconds until the whole answer was read."""
        headers = {"Content-Type": "text/csv", **({"X-Amzn-SageMaker-Target-Model": model} if model else {})}
        request = AWSRequest("POST", self._url + self._path, data=BODY, headers=headers)
        SigV4Auth(self._credentials, "sagemaker", "us-east-1").add_auth(request)
        signed = dict(request.headers.items())
        began = time.perf_counter()
        self._connection.request("POST", self._path, BODY, signed)
        answer = self._connection.getresponse()
        text = answer.read()
        took = time.perf_counter() - began
        if answer.status != 200:
            raise RuntimeError(f"HTTP {answer.status}: {text[:300]!r}")
        return took


def rows(environments: str) -> list[Row]:
    """The rows of `scripts/bench deploy` about multi-model endpoints."""
    with running(environments) as (bench, _):
        model = _model(environments)
        say(f"  {MODELS} archives of a model of {len(model) / 1e6:.2f} MB ...")
        data = archive({"xgboost-model": model})
        names = [f"model-{number}.tar.gz" for number in range(MODELS)]
        bench.s3.create_bucket(Bucket=BUCKET)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: bench.s3.put_object(Bucket=BUCKET, Key=f"models/{key}", Body=data), names))
        single = _deploy(bench, {"ModelDataUrl": f"s3://{BUCKET}/models/{names[0]}"})
        many = _deploy(bench, {"ModelDataUrl": f"s3://{BUCKET}/models/", "Mode": "MultiModel"})
        other = Line(bench, many)
        base = pss(bench.processes())
        say("  the first request for each ...")
        cold = [other.ask(key) for key in names]
        each = (pss(bench.processes()) - base) / MODELS
        say("  hits ...")
        hits = _pairs(Line(bench, single), other, names)
    return [
        Row(f"hit at {MODELS:,} models, single model", percentile([h[0] for h in hits], 0.5) * 1000, "ms p50"),
        Row(f"hit at {MODELS:,} models, multi-model", percentile([h[1] for h in hits], 0.5) * 1000, "ms p50"),
        _bound("hit: more than a single model, median of pairs", percentile([b - a for a, b in hits], 0.5), 0.0003),
        _bound("cold load of 1 MB, p50", percentile(cold, 0.5), 0.15),
        _bound("cold load of 1 MB, p95", percentile(cold, 0.95), 0.15),
        Row("cold load of 1 MB, slowest", max(cold) * 1000, "ms"),
        Row("memory of a loaded model", each / 2**20, "MiB PSS"),
    ]


def _bound(what: str, seconds: float, most: float) -> Row:
    return Row(what, seconds * 1000, "ms", must=f"<= {most * 1000:g} ms", ok=seconds <= most)


def _pairs(one: Line, other: Line, names: list[str]) -> list[tuple[float, float]]:
    chosen = random.Random(0)
    for _ in range(100):
        one.ask()
        other.ask(chosen.choice(names))
    return [(one.ask(), other.ask(chosen.choice(names))) for _ in range(PAIRS)]


def _model(environments: str) -> bytes:
    """A booster whose file is as large as wanted, made with the runtime's own interpreter."""
    python = algorithm_python(environments, serving=False)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-c", TRAIN.format(features=FEATURES, size=SIZE)], cwd=folder, check=True)
        return (Path(folder) / "xgboost-model").read_bytes()


def _deploy(bench: Bench, container: dict[str, str]) -> str:
    endpoint = name("models")
    primary = {"Image": XGBOOST, **container}
    bench.sagemaker.create_model(ModelName=endpoint, ExecutionRoleArn=ROLE, PrimaryContainer=primary)
    variant = {
        "VariantName": "main",
        "ModelName": endpoint,
        "InstanceType": "ml.m5.4xlarge",
        "InitialInstanceCount": 1,
    }
    bench.sagemaker.create_endpoint_config(EndpointConfigName=endpoint, ProductionVariants=[variant])
    bench.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)
    bench.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=endpoint)
    return endpoint
