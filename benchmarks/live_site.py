"""What the parts of `scaling_live` share: a Clary with a model that works for as long as its request says, changes of size by
unmodified boto3, what the front says of an endpoint many times a second, and whether the machine is quiet.

The model tells when it began and ended by the clock that all processes of a machine share, so a request's way can be cut into pieces.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.checks import TICKS, spent
from benchmarks.common import say, tree
from benchmarks.serve import signed
from benchmarks.start import BUCKET, ROLE, Bench, archive, name, remove
from clary.domain.endpoints.routes import VariantView
from clary.serving.client import FrontClient
from clary.stores.keys import FileKeys

PYTHON = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:latest"
INSTANCES = "sagemaker:variant:DesiredInstanceCount"
MILLICPU = "clary:variant:DesiredMillicpuPerInstance"
WORKS = b"""
import time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    began = time.perf_counter()
    kind, _, seconds = (body.decode() if isinstance(body, bytes) else body).partition(":")
    seconds = float(seconds)
    if kind == "sleep":
        time.sleep(seconds)
    elif kind == "burn":
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
    return "%r %r" % (began, time.perf_counter())
"""
PATIENCE = 120.0
SETTLED = ("InService", "Failed", "UpdateRollbackFailed")
LOOK = 2.0  # seconds of one look at what others use


class Site:
    """A Clary with one endpoint of the model above."""

    def __init__(
        self,
        bench: Bench,
        folder: str,
        workers: int = 0,
        count: int = 1,
        stem: str = "works",
        serverless: dict[str, int] | None = None,
    ) -> None:
        self.bench, self.folder, self.serverless = bench, Path(folder), serverless
        self.scaling = bench.client("application-autoscaling")
        self.endpoint = name(stem)
        if BUCKET not in {bucket["Name"] for bucket in bench.s3.list_buckets()["Buckets"]}:
            bench.s3.create_bucket(Bucket=BUCKET)
        key = f"{self.endpoint}/model.tar.gz"
        bench.s3.put_object(Bucket=BUCKET, Key=key, Body=archive({"code/inference.py": WORKS}))
        environment = {"SAGEMAKER_PROGRAM": "inference.py"}
        if workers:
            environment["SAGEMAKER_MODEL_SERVER_WORKERS"] = str(workers)
        container = {"Image": PYTHON, "ModelDataUrl": f"s3://{BUCKET}/{key}", "Environment": environment}
        bench.sagemaker.create_model(ModelName=self.endpoint, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        bench.sagemaker.create_endpoint(EndpointName=self.endpoint, EndpointConfigName=self.config(count))
        self.settled()

    def config(self, count: int, kind: str = "ml.m5.large") -> str:
        made = name("config")
        size = (
            {"ServerlessConfig": self.serverless}
            if self.serverless
            else {"InitialInstanceCount": count, "InstanceType": kind}
        )
        variant = {"VariantName": "main", "ModelName": self.endpoint, **size}
        self.bench.sagemaker.create_endpoint_config(EndpointConfigName=made, ProductionVariants=[variant])
        return made

    def signed(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Raw requests, signed now: good for five minutes."""
        return signed(self.bench, self.endpoint, bodies, "text/plain")

    def remove(self) -> None:
        """Delete the endpoint, and wait until it is gone."""
        remove(self.bench, self.endpoint)

    def settled(self) -> None:
        """Return once the endpoint is in service. RuntimeError says what became of it instead."""

        def status() -> bool:
            found = self.bench.sagemaker.describe_endpoint(EndpointName=self.endpoint)
            if found["EndpointStatus"] not in SETTLED:
                return False
            if found["EndpointStatus"] != "InService":
                raise RuntimeError(f"{self.endpoint} is {found['EndpointStatus']}: {found.get('FailureReason')}")
            return True

        until(status, f"{self.endpoint} in service")

    def count(self, wanted: int) -> None:
        """Ask for so many replicas."""
        rows = [{"VariantName": "main", "DesiredInstanceCount": wanted}]
        self.bench.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=self.endpoint, DesiredWeightsAndCapacities=rows
        )

    def target(self, dimension: str) -> dict[str, str]:
        resource = f"endpoint/{self.endpoint}/variant/main"
        return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": dimension}

    def register(self, dimension: str, least: int, most: int) -> None:
        """A range; a variant that is outside is pulled into it at once."""
        self.scaling.register_scalable_target(**self.target(dimension), MinCapacity=least, MaxCapacity=most)

    def objective(self, milliseconds: float, least: int, most: int) -> None:
        """Clary's own policy decides the number of replicas, and how many of their workers are parked."""
        self.register(INSTANCES, least, most)
        predefined = {"PredefinedMetricType": "ClaryLatencyObjective"}
        self.scaling.put_scaling_policy(
            **self.target(INSTANCES),
            PolicyName="objective",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": milliseconds,
                "PredefinedMetricSpecification": predefined,
            },
        )


def until(probe: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.02) -> Any:
    """The first answer that is true. RuntimeError when the time is up."""
    deadline = time.monotonic() + patience
    while not (seen := probe()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {patience:g} s: {what}")
        time.sleep(pause)
    return seen


class Watch(threading.Thread):
    """Asks the front of this machine what it sees of an endpoint's variant, every `pause` seconds: `seen` is (clock, view)."""

    def __init__(self, site: Site, pause: float = 0.02) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[float, VariantView]] = []
        self._site, self._pause, self._end = site, pause, threading.Event()
        self._error: BaseException | None = None

    def __enter__(self) -> Watch:
        self.start()
        until(lambda: self.seen or self._error, "a front that answers")
        return self

    def __exit__(self, *of: object) -> None:
        self._end.set()
        self.join()
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        try:
            asyncio.run(self._look())
        except Exception as error:  # noqa: BLE001  it is raised where the watch ends
            self._error = error

    async def _look(self) -> None:
        settings = self._site.bench.settings
        sockets = [str(settings.front_ctl(index)) for index in range(settings.front_count)]
        fronts = FrontClient(sockets, FileKeys(settings.root / "keys"))
        await fronts.start()
        try:
            async with asyncio.timeout(10):
                await fronts.connected()
            while not self._end.is_set():
                view = await fronts.observe(settings.account, settings.region, self._site.endpoint)
                now = time.perf_counter()
                for variant in view.variants if view is not None else ():
                    self.seen.append((now, variant))
                await asyncio.sleep(self._pause)
        finally:
            await fronts.close()

    @property
    def last(self) -> VariantView:
        if self._error is not None:
            raise self._error
        return self.seen[-1][1]


def await_replicas(watch: Watch, wanted: int) -> None:
    """Return once the front sees so many replicas, all of them ready."""
    until(lambda: [replica.state for replica in watch.last.replicas] == ["ready"] * wanted, f"{wanted} replicas")


def capacity(view: VariantView) -> int:
    """Workers that may be given work."""
    return sum(min(replica.workers, replica.allowed) for replica in view.replicas if replica.state == "ready")


def changes(seen: list[tuple[float, VariantView]]) -> list[tuple[float, int]]:
    """When the capacity changed, and to what."""
    found: list[tuple[float, int]] = []
    for at, view in seen:
        now = capacity(view)
        if not found or found[-1][1] != now:
            found.append((at, now))
    return found


class Machine(threading.Thread):
    """The cores that others used, second after second: processes of the benchmark and of its Clary do not count."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(daemon=True)
        self.others: list[float] = []
        self._bench, self._end = bench, threading.Event()

    def run(self) -> None:
        before = self._look()
        while not self._end.wait(LOOK):
            now = self._look()
            span, whole, own = (b - a for a, b in zip(before, now, strict=True))
            self.others.append(max(0.0, whole - own) / span)
            before = now

    def _look(self) -> tuple[float, float, float]:
        fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        pids = sorted({*tree(os.getpid()), *self._bench.processes()})
        return time.monotonic(), (sum(fields) - fields[3] - fields[4]) / TICKS, spent(pids)

    @property
    def mean(self) -> float:
        return sum(self.others) / len(self.others) if self.others else 0.0


@contextmanager
def looked_at(bench: Bench) -> Iterator[Machine]:
    """What others use of the machine meanwhile."""
    machine = Machine(bench)
    machine.start()
    try:
        yield machine
    finally:
        machine._end.set()
        machine.join()
        say(f"    others used {machine.mean:.2f} cores meanwhile")
