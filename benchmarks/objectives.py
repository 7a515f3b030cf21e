"""What a latency objective costs the control plane: CPU time of one endpoint's whole turn in a second, over records on disk (goal 16).

Counts in, samples, the reading of records, the decision, and the savings that come of it. CPU time is a fair measure on a busy machine too.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.common import Row, arguments, finish
from clary.domain.autoscaling import latency
from clary.domain.autoscaling.record import ACTIVE, INSTANCES, POLICY, TARGET, new_target, target_name
from clary.domain.endpoints.fleets import READY, Plant, Replica, new_fleet
from clary.domain.metrics.counts import Count, Signals, VariantCounts
from clary.domain.models.containers import Container
from clary.domain.objectives import record
from clary.domain.objectives.commands import Command, SeenObjective
from clary.domain.resources import Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.scaling.objectives import ObjectivePorts, ObjectiveSubject
from clary.ports import Store
from clary.stores import sql
from clary.stores.logs import FileLogs
from clary.testing.clock import FakeClock

MUST = 1.0  # milliseconds
REPLICAS, WARM = 4, 10
SCOPE = Scope("000000000000", "us-east-1")


async def fill(store: Store, name: str, now: float) -> str:
    """An endpoint that serves, with a target, a policy and the objective's record; its ARN."""
    row = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": REPLICAS, "InstanceType": "ml.m5.large"}
    fleet = new_fleet("f", "c", [row], {"m": [Container("m", "image")]}, 0.0)
    replicas = tuple(Replica(f"i-{number:017x}", READY, handle=f"h{number}") for number in range(REPLICAS))
    fleet = fleet.with_variant(replace(fleet.variants[0], replicas=replicas))
    document = {"request": {}, "tags": [], "plant": Plant(seed="s", serving=fleet).to_json()}
    resource = f"endpoint/{name}/variant/v"
    target = target_name(resource, INSTANCES)
    config = {
        "TargetValue": 500.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": latency.METRIC},
    }
    request = {
        "PolicyName": "p",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": config,
    }
    policy = {"target": target, "resource": resource, "dimension": INSTANCES, "request": request, "alarms": []}
    range_ = new_target(resource, INSTANCES, "r") | {"min": 1, "max": 8}
    await store.add(Record("endpoint", SCOPE, name, f"arn:{name}", "InService", 0.0, 0.0, document))
    await store.add(Record(TARGET, SCOPE, target, f"arn:target:{name}", ACTIVE, 0.0, 0.0, range_))
    await store.add(Record(POLICY, SCOPE, f"{target}|p", f"arn:policy:{name}", "", 0.0, 0.0, policy))
    return (await store.add(record.new(SCOPE, name, "v", now))).arn


async def costs(folder: Path, endpoints: int, seconds: int) -> list[float]:
    """Milliseconds of CPU an endpoint, of each second."""
    store, clock, draws = sql.open_store(f"sqlite:///{folder}/records.db"), FakeClock(), random.Random(7)
    subject = ObjectiveSubject(ObjectivePorts(store, FileLogs(folder / "logs"), clock, lambda: 4))
    loop: Loop[Command, SeenObjective] = Loop(subject, store, clock, "bench")
    names = [f"e{number}" for number in range(endpoints)]
    arns = [await fill(store, name, clock.now()) for name in names]
    arrivals, took = dict.fromkeys(names, 0), []
    signals = Signals(service=0.1, spread=0.1, working=6, ceiling=32)
    for _ in range(WARM + seconds):
        clock.advance(1.0)
        rows = []
        for name in names:
            arrivals[name] += draws.randint(30, 60)
            row = VariantCounts(SCOPE.account, SCOPE.region, name, "v", "v", born=name, serving=REPLICAS)
            rows.append(replace(row, arrivals=arrivals[name], completed=arrivals[name], signals=signals))
        count = Count(tuple(rows))
        began = time.process_time()
        subject.hear(count, clock.now())
        for arn in arns:
            await loop.turn(arn)
        took.append((time.process_time() - began) * 1000.0 / endpoints)
    await store.close()
    return took[WARM:]


def rows(seconds: int = 60) -> list[Row]:
    found = []
    for endpoints in (1, 20):
        with tempfile.TemporaryDirectory() as folder:
            took = asyncio.run(costs(Path(folder), endpoints, seconds))
        value = sum(took) / len(took)
        what = f"latency objective, CPU an endpoint and second, {endpoints} of them"
        found.append(Row(what, value, "ms", must=f"<= {MUST:g} ms", ok=value <= MUST))
    return found


def main() -> int:
    given = arguments("objectives")
    return finish(rows(), given.json, [f"{REPLICAS} replicas each, 30 to 60 requests a second, records on disk"])


if __name__ == "__main__":
    raise SystemExit(main())
