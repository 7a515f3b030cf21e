"""How long the beginnings take: `clary up`, an endpoint's first answer, a job's overhead, the CLI; and what idling costs in memory.

Every duration is the best of `--rounds` on a server of its own; environments are built before the clock starts. Jobs are held
against the same program run bare with the same interpreter.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from benchmarks import start_warm
from benchmarks.common import Row, arguments, finish, pss, say, tree
from benchmarks.start_channels import rows_of_channels, started
from benchmarks.start_processing import rows_of_processing
from benchmarks.start_tuning import rows_of_transform, rows_of_tuning
from clary.app import demo, up
from clary.app.settings import Settings, load
from clary.backends.runtimes import create
from clary.stores.keys import FileKeys

REPO = Path(__file__).resolve().parent.parent
ROLE = "arn:aws:iam::000000000000:role/Bench"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
PYTHON = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:latest"
BUCKET = "bench"
CLARY = str(Path(sys.executable).parent / "clary")


class Bench:
    """A running Clary and clients of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.key = FileKeys(settings.root / "keys").all()[0]
        self.s3, self.sagemaker, self.runtime = (self.client(n) for n in ("s3", "sagemaker", "sagemaker-runtime"))
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_"))},
            "AWS_ENDPOINT_URL": settings.endpoint,
            "AWS_ACCESS_KEY_ID": self.key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.key.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self, service: str, config: Any = None) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.settings.endpoint,
            aws_access_key_id=self.key.access_key_id,
            aws_secret_access_key=self.key.secret,
            config=config,
        )

    def processes(self) -> list[int]:
        """Everything of this Clary: the supervisor's tree and every shim's tree."""
        lock = json.loads((self.settings.root / "clary.lock").read_text())
        found = set(tree(int(lock["pid"])))
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    if self.settings.dir in Path(f"/proc/{entry}/cmdline").read_text():
                        found |= set(tree(int(entry)))
        return sorted(found)


@contextlib.contextmanager
def running(environments: str, **flags: Any) -> Iterator[tuple[Bench, float]]:
    """A fresh Clary and how long it took until ready."""
    folder = tempfile.mkdtemp(prefix="clary-bench-")
    settings = load({"dir": folder, "port": 0, "environments": environments, **flags})
    began = time.perf_counter()
    settings = up.detached(settings)
    took = time.perf_counter() - began
    try:
        yield Bench(settings), took
    finally:
        up.down(settings)
        shutil.rmtree(folder, ignore_errors=True)


def name(stem: str) -> str:
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def put_data(bench: Bench) -> str:
    with contextlib.suppress(bench.s3.exceptions.BucketAlreadyOwnedByYou):
        bench.s3.create_bucket(Bucket=BUCKET)
    rows, _ = demo.split()
    bench.s3.put_object(Bucket=BUCKET, Key="data/train.csv", Body="".join(rows).encode())
    return f"s3://{BUCKET}/data"


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, body in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def train(bench: Bench, image: str, parameters: dict[str, str]) -> tuple[float, dict[str, Any]]:
    """Seconds from CreateTrainingJob until Describe says that it ended, and the description."""
    job = name("job")
    began = time.perf_counter()
    bench.sagemaker.create_training_job(
        TrainingJobName=job,
        RoleArn=ROLE,
        HyperParameters=parameters,
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
        InputDataConfig=[
            {
                "ChannelName": "train",
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/data"}},
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    while True:
        seen: dict[str, Any] = bench.sagemaker.describe_training_job(TrainingJobName=job)
        if seen["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"):
            took = time.perf_counter() - began
            if seen["TrainingJobStatus"] != "Completed":
                raise SystemExit(f"{job}: {seen.get('FailureReason')}")
            return took, seen
        time.sleep(0.01)


def deploy(bench: Bench, image: str, model: str, body: bytes, environment: dict[str, str]) -> tuple[str, float]:
    """Seconds from CreateEndpoint to the first 200."""
    endpoint = configured(bench, image, model, environment)
    began = time.perf_counter()
    bench.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)
    while True:
        status = bench.sagemaker.describe_endpoint(EndpointName=endpoint)
        if status["EndpointStatus"] == "Failed":
            raise SystemExit(status["FailureReason"])
        if status["EndpointStatus"] == "InService":
            bench.runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=body)
            return endpoint, time.perf_counter() - began
        time.sleep(0.01)


def configured(bench: Bench, image: str, model: str, environment: dict[str, str]) -> str:
    """A name that a model and an endpoint config have."""
    endpoint = name("endpoint")
    bench.sagemaker.create_model(
        ModelName=endpoint,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": image, "ModelDataUrl": model, "Environment": environment},
    )
    bench.sagemaker.create_endpoint_config(
        EndpointConfigName=endpoint,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": endpoint,
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
            }
        ],
    )
    return endpoint


def remove(bench: Bench, endpoint: str) -> None:
    bench.sagemaker.delete_endpoint(EndpointName=endpoint)
    bench.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=endpoint)


def bare_training(environments: str, parameters: dict[str, str]) -> float:
    """The same import and training without Clary, with the runtime's own interpreter."""
    rows, _ = demo.split()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.csv"
        data.write_text("".join(rows))
        code = textwrap.dedent(f"""
            import numpy, xgboost
            table = numpy.loadtxt({str(data)!r}, delimiter=",")
            params = {{k: v for k, v in {parameters!r}.items() if k != "num_round"}}
            matrix = xgboost.DMatrix(table[:, 1:], table[:, 0])
            xgboost.train(params, matrix, int({parameters!r}["num_round"]), evals=[(matrix, "train")], verbose_eval=False)
        """)
        python = algorithm_python(environments, serving=False)
        return min(timed([python, "-c", code]) for _ in range(3))


def algorithm_python(environments: str, *, serving: bool) -> str:
    """The interpreter of the built-in algorithm's environment, for serving (which may be a newer Python's) or training: found as Clary
    finds it, so that both sides of a comparison have the same."""
    nothing: Any = None  # what only looks runs no builds
    given = load({"environments": environments}).build_environment()
    made = create(environments, nothing, environment=given)
    runtime = made.resolve(XGBOOST)
    assert runtime is not None
    found = made.built(replace(runtime, serving=serving))
    if found is None:
        raise SystemExit(f"{environments} has no environment of {runtime.name}: `clary runtime build` makes it")
    return made.place(found).python


def timed(argv: list[str], environment: dict[str, str] | None = None) -> float:
    began = time.perf_counter()
    subprocess.run(argv, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


SKLEARN_MODEL = """
import joblib, os
from sklearn.linear_model import LogisticRegression
import numpy as np
x = np.random.default_rng(0).normal(size=(200, 30))
joblib.dump(LogisticRegression().fit(x, x[:, 0] > 0), "model.joblib")
"""
SKLEARN_CODE = b"""
import joblib, os
def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))
"""


CODE = b"""
def model_fn(model_dir):
    return 1
def predict_fn(data, model):
    return data
"""


def sklearn_artifact(bench: Bench, environments: str) -> str:
    pythons = [
        p for p in Path(environments).glob("*/bin/python")
        if any((p.parent.parent / "lib").glob("python3*/site-packages/sklearn"))
        and any((p.parent.parent / "lib").glob("python3*/site-packages/joblib"))
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([str(pythons[0]), "-c", SKLEARN_MODEL], cwd=folder, check=True)
        body = archive(
            {"model.joblib": (Path(folder) / "model.joblib").read_bytes(), "code/inference.py": SKLEARN_CODE}
        )
    bench.s3.put_object(Bucket=BUCKET, Key="sklearn/model.tar.gz", Body=body)
    return f"s3://{BUCKET}/sklearn/model.tar.gz"


def rows_of_jobs_and_endpoints(bench: Bench, environments: str, rounds: int) -> list[Row]:
    put_data(bench)
    parameters = {"objective": "binary:logistic", "num_round": "40", "max_depth": "4"}
    subprocess.run(
        [CLARY, "runtime", "build", "xgboost", "--dir", bench.settings.dir], check=True, stdout=subprocess.DEVNULL
    )
    _, first = train(bench, XGBOOST, parameters)
    model = first["ModelArtifacts"]["S3ModelArtifacts"]
    bare = bare_training(environments, parameters)
    best = min(train(bench, XGBOOST, parameters)[0] for _ in range(rounds))
    rows = [bound("training job beyond import and training", best - bare, 1.5, f"bare run {bare:.2f} s")]
    body = demo.split()[1][0].partition(",")[2].encode()
    times, replicas = [], []
    for _ in range(rounds):
        endpoint, took = deploy(bench, XGBOOST, model, body, {})
        times.append(took)
        remove(bench, endpoint)
    rows.append(bound("CreateEndpoint to first 200, built-in XGBoost", min(times), 1.5))
    base = pss(bench.processes())
    rows.append(Row("idle memory, no endpoint", base / 2**20, "MiB PSS", "bound", None, "<= 300", base <= 300 * 2**20))
    for _ in range(2):
        replicas.append(deploy(bench, XGBOOST, model, body, {})[0])
    each = (pss(bench.processes()) - base) / len(replicas)
    rows.append(Row("each idle XGBoost replica", each / 2**20, "MiB PSS", "bound", None, "<= 120", each <= 120 * 2**20))
    for endpoint in replicas:
        remove(bench, endpoint)
    subprocess.run(
        [CLARY, "runtime", "build", "sklearn", "--dir", bench.settings.dir], check=True, stdout=subprocess.DEVNULL
    )
    artifact = sklearn_artifact(bench, environments)
    times = []
    for _ in range(rounds):
        endpoint, took = deploy(bench, SKLEARN, artifact, body, {"SAGEMAKER_PROGRAM": "inference.py"})
        times.append(took)
        remove(bench, endpoint)
    rows.append(bound("CreateEndpoint to first 200, scikit-learn", min(times), 2.5))
    return rows


def rows_of_data(bench: Bench, rounds: int) -> list[Row]:
    job = {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": PYTHON,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["true"],
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    started(bench.sagemaker, {**job, "TrainingJobName": name("warm")})  # builds the environment
    return rows_of_channels(bench.sagemaker, bench.s3, BUCKET, job, name, bench.settings.dir, rounds)


def rows_of_pools(bench: Bench, rounds: int) -> list[Row]:
    with contextlib.suppress(bench.s3.exceptions.BucketAlreadyOwnedByYou):
        bench.s3.create_bucket(Bucket=BUCKET)
    source = f"s3://{BUCKET}/warm/sourcedir.tar.gz"
    bench.s3.put_object(Bucket=BUCKET, Key="warm/sourcedir.tar.gz", Body=archive({"train.py": start_warm.SCRIPT}))
    job = {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": SKLEARN, "TrainingInputMode": "File"},
        "HyperParameters": {
            "sagemaker_program": json.dumps("train.py"),
            "sagemaker_submit_directory": json.dumps(source),
        },
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }

    def report(called: str) -> dict[str, Any]:
        body = bench.s3.get_object(Bucket=BUCKET, Key=f"out/{called}/output/model.tar.gz")["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            file = tar.extractfile("report.json")
            assert file is not None
            found: dict[str, Any] = json.loads(file.read())
            return found

    return start_warm.rows_of_warm_pools(bench.sagemaker, job, name, report, rounds)


def rows_of_waits(bench: Bench) -> list[Row]:
    """What the clients' own waiting makes of a six second job, and of an endpoint."""
    python, aws = (REPO / f".venv-{client}" / "bin" / program for client, program in (("v2", "python"), ("cli", "aws")))
    for program in (python, aws):
        if not program.exists():
            raise SystemExit(f"{program} is not there: scripts/bench start makes it")
    script = REPO / "benchmarks" / "clients" / "six_seconds.py"
    variables = {**bench.environment, "BUCKET": BUCKET, "ROLE": ROLE}
    done = subprocess.run([str(python), str(script)], env=variables, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    bench.s3.put_object(Bucket=BUCKET, Key="code.tar.gz", Body=archive({"code/inference.py": CODE}))
    endpoint = configured(bench, PYTHON, f"s3://{BUCKET}/code.tar.gz", {})
    bench.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)
    waited = timed([str(aws), "sagemaker", "wait", "endpoint-in-service", "--endpoint-name", endpoint], variables)
    remove(bench, endpoint)
    return [
        bound("v2 fit() of a job that trains for 6 s", float(done.stdout.split()[-2]), 12.0),
        bound("boto3's training waiter on the same", float(done.stdout.split()[-1]), 8.0),
        bound("aws sagemaker wait endpoint-in-service", waited, 3.0),
    ]


def bound(what: str, seconds: float, limit: float, against: str = "bound") -> Row:
    return Row(what, seconds, "s", against, seconds / limit, f"<= {limit:g}", seconds <= limit)


def rows_of_cli(bench: Bench, rounds: int) -> list[Row]:
    help_time = min(timed([CLARY, "--help"]) for _ in range(rounds))
    status = min(timed([CLARY, "status", "--dir", bench.settings.dir]) for _ in range(rounds))
    return [bound("clary --help", help_time, 0.3), bound("clary status", status, 0.5)]


def rows_of_install() -> list[Row]:
    """A base install into a fresh environment: packages, size, time (packages come from uv's cache or the index)."""
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    with tempfile.TemporaryDirectory(prefix="clary-install-") as folder:
        venv = Path(folder) / "venv"
        began = time.perf_counter()
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
        files = ["-r", str(REPO / "requirements" / "base.txt")]
        subprocess.run([uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(venv), *files], check=True)
        took = time.perf_counter() - began
        packages = len(list((venv / "lib").glob("python3*/site-packages/*.dist-info"))) + 1
        size = sum(f.lstat().st_size for f in venv.rglob("*") if f.is_file() and not f.is_symlink()) / 1e6
    return [
        Row("base install: packages", packages, "", "bound", packages / 40, "<= 40", packages <= 40),
        Row("base install: size", size, "MB", "bound", size / 250, "<= 250", size <= 250),
        bound("base install: time", took, 20.0),
    ]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)


def main() -> int:
    given = arguments("start", options)
    environments = tempfile.mkdtemp(prefix="clary-bench-env-")
    rows: list[Row] = []

    def part(what: str, make: Callable[[], list[Row]]) -> None:
        say(f"{what} ...")
        rows.extend(make())

    try:
        ups = []
        for _ in range(given.rounds - 1):
            with running(environments) as (_, took):
                ups.append(took)
        with running(environments) as (bench, took):
            ups.append(took)
            rows.append(bound("clary up to ready", min(ups), 3.0))
            part("jobs and endpoints", lambda: rows_of_jobs_and_endpoints(bench, environments, given.rounds))
            part(
                "processing",
                lambda: rows_of_processing(bench.sagemaker, bench.s3, BUCKET, PYTHON, ROLE, name, given.rounds),
            )
            for what, rows_of in (("tuning", rows_of_tuning), ("transform", rows_of_transform)):
                made = partial(rows_of, bench.sagemaker, bench.s3, BUCKET, PYTHON, ROLE, name, archive, given.rounds)
                part(what, made)
            part("data", lambda: rows_of_data(bench, given.rounds))
            part("warm pools", lambda: rows_of_pools(bench, given.rounds))
            part("waits", lambda: rows_of_waits(bench))
            part("command line", lambda: rows_of_cli(bench, given.rounds))
        part("install", rows_of_install)
    finally:
        shutil.rmtree(environments, ignore_errors=True)
    return finish(rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
