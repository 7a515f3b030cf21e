"""What it takes to create and to change an endpoint, and how many requests fail meanwhile: 64 connections, built-in XGBoost.

The load runs from before each change until after it, and until at least `LEAST` requests were answered. Times leave out the waits that
the change itself asks for (bakes and termination waits).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import Row, say
from benchmarks.load import during, save
from benchmarks.serve import signed
from benchmarks.start import ROLE, XGBOOST, Bench, name, put_data, running, train
from clary.app import demo

LEAST = 20_000
CONNECTIONS = 64
PATIENCE = 120.0
PERCENT = "CAPACITY_PERCENT"
ALARM = "bench"
SETTLED = ("InService", "Failed", "UpdateRollbackFailed")


def _blue_green(kind: str, **more: Any) -> dict[str, Any]:
    shift = {"Type": kind, "WaitIntervalInSeconds": 1, **more}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": shift}}


class Site:
    """An endpoint of two replicas, and models that differ in a variable of their environment only."""

    def __init__(self, bench: Bench, folder: str) -> None:
        self.bench = bench
        self.folder = Path(folder)
        put_data(bench)
        _, job = train(bench, XGBOOST, {"num_round": "20", "objective": "binary:logistic"})
        self.artifact = job["ModelArtifacts"]["S3ModelArtifacts"]
        self.body = demo.split()[1][0].partition(",")[2].encode()
        self.endpoint = name("changing")
        self.model = self.made(self.artifact)
        self.created = self.create()

    def made(self, artifact: str) -> str:
        model = name("model")
        container = {"Image": XGBOOST, "ModelDataUrl": artifact, "Environment": {"WHICH": model}}
        self.bench.sagemaker.create_model(ModelName=model, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        return model

    def config(self, model: str, count: int = 2, kind: str = "ml.m5.large") -> str:
        config = name("config")
        variant = {"VariantName": "main", "ModelName": model, "InitialInstanceCount": count, "InstanceType": kind}
        self.bench.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
        return config

    def create(self) -> float:
        config = self.config(self.model)
        began = time.perf_counter()
        self.bench.sagemaker.create_endpoint(EndpointName=self.endpoint, EndpointConfigName=config)
        self.settled()
        return time.perf_counter() - began

    def settled(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while True:
            found: dict[str, Any] = self.bench.sagemaker.describe_endpoint(EndpointName=self.endpoint)
            if found["EndpointStatus"] in SETTLED:
                return found
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.endpoint} is still {found['EndpointStatus']}")
            time.sleep(0.01)

    def guard(self, state: str) -> None:
        """The alarm, in that state: no metric moves it."""
        alarm = {"MetricName": "Bad", "Namespace": "Bench", "Statistic": "Sum", "Period": 3600, "EvaluationPeriods": 1}
        beyond = {"Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "ignore"}
        watcher = self.bench.client("cloudwatch")
        watcher.put_metric_alarm(AlarmName=ALARM, **alarm, **beyond)
        watcher.set_alarm_state(AlarmName=ALARM, StateValue=state, StateReason="a benchmark")

    def alarm_in_the_bake(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = self.bench.sagemaker.describe_endpoint(EndpointName=self.endpoint)
            for variant in found.get("PendingDeploymentSummary", {}).get("ProductionVariants", []):
                if variant["VariantStatus"][0]["Status"] == "Baking":
                    return self.guard("ALARM")
            time.sleep(0.01)
        raise RuntimeError(f"the canary of {self.endpoint} never baked")

    def update(
        self,
        config: str,
        policy: dict[str, Any] | None = None,
        good: bool = True,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        more = {"DeploymentConfig": policy} if policy else {}
        self.bench.sagemaker.update_endpoint(EndpointName=self.endpoint, EndpointConfigName=config, **more)
        meanwhile()
        found = self.settled()
        if found["EndpointStatus"] != "InService" or (found["EndpointConfigName"] == config) is not good:
            raise RuntimeError(f"{found['EndpointStatus']}: {found.get('FailureReason')}")

    def under_load(self, change: Callable[[], None]) -> tuple[float, int, int]:
        """Seconds of the change, requests, and how many of them failed."""
        requests = save(
            self.folder / "requests", signed(self.bench, self.endpoint, [self.body])
        )  # signed anew: 5 minutes
        return during(self.bench.settings.port, requests, change, LEAST, CONNECTIONS)


def rows(environments: str) -> list[Row]:
    """The rows of `scripts/bench deploy` about creating and changing."""
    with running(environments) as (bench, _), tempfile.TemporaryDirectory(prefix="clary-bench-deploy-") as folder:
        site = Site(bench, folder)
        found = [Row("CreateEndpoint to InService, 2 replicas", site.created, "s")]
        for what, waits, must, change in _changes(site):
            say(f"  {what} ...")
            seconds, total, failed = site.under_load(change)
            took = seconds - waits
            bound = {"must": f"<= {must:g} s", "ok": took <= must} if must else {}
            found.append(Row(what, took, "s", **bound))
            found.append(Row(f"{what}: failed of {total:,}", failed, "", must="0", ok=failed == 0 and total >= LEAST))
    return found


def _changes(site: Site) -> list[tuple[str, float, float, Callable[[], None]]]:
    """What, the seconds that it waits by itself, the most that it may take beyond them (0: reported only, for it starts replicas beside
    a load that takes the whole machine), and how it is done."""

    def fresh(policy: dict[str, Any] | None = None) -> Callable[[], None]:
        def change() -> None:
            site.model = site.made(site.artifact)
            site.update(site.config(site.model), policy)

        return change

    def sized(count: int, kind: str) -> Callable[[], None]:
        return lambda: site.update(site.config(site.model, count, kind))

    def broken() -> None:
        site.bench.s3.put_object(Bucket="bench", Key="broken/model.tar.gz", Body=b"this is no archive")
        site.update(site.config(site.made("s3://bench/broken/model.tar.gz")), good=False)

    def alarmed() -> None:
        site.guard("OK")
        site.model = site.made(site.artifact)
        canary = _blue_green("CANARY", WaitIntervalInSeconds=60, CanarySize={"Type": "INSTANCE_COUNT", "Value": 1})
        guarded = {**canary, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": ALARM}]}}
        site.update(site.config(site.model), guarded, good=False, meanwhile=site.alarm_in_the_bake)

    rolling = {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 1}
    return [
        ("update, all at once", 0, 0, fresh()),
        ("update, canary", 2, 0, fresh(_blue_green("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}))),
        ("update, linear", 3, 0, fresh(_blue_green("LINEAR", LinearStepSize={"Type": PERCENT, "Value": 34}))),
        ("update, rolling", 2, 0, fresh({"RollingUpdatePolicy": rolling})),
        ("another instance type, in place", 0, 1, sized(2, "ml.m5.xlarge")),
        ("one replica more, in place", 0, 0, sized(3, "ml.m5.xlarge")),
        ("one replica less, in place", 0, 1, sized(2, "ml.m5.xlarge")),
        ("roll back from a broken model", 0, 0, broken),
        ("roll back on an alarm, half of the traffic moved", 0, 0, alarmed),
    ]
