"""Runs inference recommendations jobs: `loop.Subject`. The job is the parent of the models, configs, endpoints and load tests it makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from clary.domain.costs.report import Prices
from clary.domain.decisions import Decision, Unable
from clary.domain.errors import (
    AlreadyExists,
    ClaryError,
    IllegalTransition,
    InUse,
    Invalid,
    NotFound,
    Stale,
    Unavailable,
)
from clary.domain.inference_recommendations import measured, turn
from clary.domain.inference_recommendations import record as recommendations
from clary.domain.inference_recommendations.record import Command, Deploy, LoadTest, Remove, SeenTest, WriteLines
from clary.domain.inference_recommendations.request import VARIANT
from clary.domain.jobs import processing
from clary.domain.resources import Record
from clary.loops.core.loop import Loop
from clary.ports import ParentPorts, Store

IMAGE = "clary-load-test"
SIZE = {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}
_MORE = 900  # seconds that a load test may take beside its pattern
_PATH = "/opt/ml/processing/input/payload"


class RecommendationsSubject:
    """See `domain/inference_recommendations/turn.py`."""

    kind = recommendations.KIND
    statuses = recommendations.ACTIVE

    def __init__(self, ports: ParentPorts, policy: str, prices: Prices | None) -> None:
        """`policy`: how sizes fit on the machine (`domain/machine/capacity.py`)."""
        self._ports, self._policy, self._prices = ports, policy, prices

    async def observe(self, record: Record) -> SeenTest:
        number = recommendations.current(record.document)
        if number is None:
            return SeenTest()
        test = record.document["tests"][number]
        name = test["name"]
        cost = measured.hour(recommendations.candidate(test), self._ports.measure(), self._policy, self._prices)
        return SeenTest(
            await self._own(record, "endpoint", name),
            await self._own(record, "endpoint-config", name),
            await self._own(record, "model", name),
            await self._own(record, processing.KIND, name),
            cost,
        )

    async def _own(self, record: Record, kind: str, name: str) -> Record | None:
        """What this job made of that name."""
        found = await self._ports.store.get(kind, record.scope, name)
        return found if found is not None and found.document.get("parent") == record.arn else None

    def decide(self, record: Record, observation: SeenTest, now: float) -> Decision[Command]:
        return turn.decide(record, observation, now)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return recommendations.absorb(record, outcomes)

    async def run(self, command: Command, record: Record) -> Unable | None:
        match command:
            case Deploy(number):
                return await self._made(record, self._creations(record, record.document["tests"][number]))
            case LoadTest(number):
                request = self._load_test(record, record.document["tests"][number])
                return await self._made(record, [("CreateProcessingJob", request)])
            case Remove(_, operation, params):
                await self._remove(record, operation, params)
            case WriteLines(lines):
                self._tell(record, lines)
        return None

    async def _made(self, record: Record, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> Unable | None:
        """Make all of them, each once. Unable with the API's words; what is only away for now is an exception, and tried again."""
        for operation, request in requests:
            name = next(iter(request.values()))
            try:
                await self._ports.operations.call(
                    "sagemaker", operation, request, parent=record, key=f"{operation} {name}"
                )
            except (Unavailable, Stale):
                raise
            except AlreadyExists as error:
                return Unable(f"The name {name} is taken: {error.message}")
            except ClaryError as error:
                return Unable(error.message)
        return None

    def _creations(self, record: Record, test: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """The requests that make the test's endpoint, in order; each has the name first."""
        name, tried = test["name"], recommendations.candidate(test)
        own = recommendations.own_model(record.document, test)
        variant: dict[str, Any] = {
            "VariantName": VARIANT,
            "ModelName": recommendations.model_of(record.document, test),
        }
        if tried.serverless:
            variant["ServerlessConfig"] = dict(tried.serverless)
        else:
            variant |= {"InstanceType": tried.instance_type, "InitialInstanceCount": 1}
        tags = [{"Key": "clary:recommendations-job", "Value": record.name}]
        config = {"EndpointConfigName": name, "ProductionVariants": [variant], "Tags": tags}
        made: list[tuple[str, Mapping[str, Any]]] = []
        if own is not None:
            made.append(("CreateModel", {"ModelName": own["ModelName"], **own}))
        endpoint = {"EndpointName": name, "EndpointConfigName": name, "Tags": tags}
        return [*made, ("CreateEndpointConfig", config), ("CreateEndpoint", endpoint)]

    def _load_test(self, record: Record, test: Mapping[str, Any]) -> Mapping[str, Any]:
        load = record.document["load"]
        seconds = sum(each for _, _, each in load["phases"]) + _MORE
        spec = {
            **load,
            "endpoint": recommendations.endpoint_of(test),
            "variant": VARIANT if test["candidate"]["instance_type"] else "",
        }
        source = {
            "S3Uri": record.document["payload"],
            "LocalPath": _PATH,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        }
        return {
            "ProcessingJobName": test["name"],
            "RoleArn": record.document["request"]["RoleArn"],
            "AppSpecification": {"ImageUri": IMAGE},
            "Environment": {"LOAD_TEST": orjson.dumps(spec).decode()},
            "ProcessingInputs": [{"InputName": "payload", "S3Input": source}],
            "ProcessingResources": {"ClusterConfig": SIZE},
            "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
        }

    async def _remove(self, record: Record, operation: str, params: Mapping[str, Any]) -> None:
        """What changed meanwhile is looked at again by the next turn."""
        try:
            await self._ports.operations.call("sagemaker", operation, params, parent=record)
        except (NotFound, Invalid, InUse, IllegalTransition):
            return

    def _tell(self, record: Record, lines: Sequence[str]) -> None:
        now, stream = self._ports.clock.now(), f"{record.name}/execution"
        self._ports.logs.open(record.scope, recommendations.LOG_GROUP, stream, now)
        self._ports.logs.append(
            record.scope, recommendations.LOG_GROUP, stream, [(int(now * 1000), line) for line in lines]
        )


def attach(loop: Loop[Command, SeenTest], store: Store) -> Callable[[], None]:
    """Wake a job when something that it made changed, or is gone. The way to stop."""

    def changed(record: Record) -> None:
        parent = str(record.document.get("parent") or "")
        if f":{recommendations.KIND}/" in parent:
            loop.wake(parent)

    return store.watch(changed)
