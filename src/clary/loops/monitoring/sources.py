"""Finds the data and the baseline of a monitoring execution: reads records and listings, writes nothing."""

from __future__ import annotations

import json
from typing import Any

from clary.domain.errors import Denied, Invalid, NotFound
from clary.domain.monitoring import record as monitoring
from clary.domain.monitoring import requests
from clary.domain.monitoring.definitions import BIAS, EXPLAINABILITY, QUALITY, Monitor
from clary.domain.monitoring.requests import Baseline, Captured
from clary.domain.monitoring.turn import Sources
from clary.domain.resources import Record, Scope
from clary.domain.s3 import Location, parse_uri
from clary.ports import Artifacts, Operations, Store

_LARGEST = 1 << 20  # bytes of an analysis configuration
_MANIFESTS = 5
_BY_HOURS = 2 * 86_400.0  # seconds of a window that is looked through by the hour; longer ones by the day
_PROCESSING = "processing-job"


class SourceFinder:
    """See the module."""

    def __init__(self, store: Store, artifacts: Artifacts, operations: Operations) -> None:
        self._store = store
        self._operations = operations
        self._artifacts = artifacts

    async def find(self, execution: Record, step: str) -> Sources:
        """What the step of an execution begins with."""
        monitor = monitoring.monitor_of(execution)
        try:
            baseline = await self._baseline(execution.scope, monitor)
            config = (
                await self._config(execution, monitor.config) if monitor.config and step == requests.ANALYSIS else None
            )
            if step == requests.ANALYSIS and monitor.truth:
                return Sources(baseline=baseline, config=config)
            captured = await self._captured(execution, monitor)
            if monitor.truth and not await self._any(execution, parse_uri(monitor.truth)):
                raise Invalid(f"NO_DATA: there are no labels under {monitor.truth} (rows: labels 0, joined 0, used 0).")
        except (Invalid, NotFound, Denied) as error:
            return Sources(failure=error.message)
        return Sources(tuple(captured), baseline, config=config)

    async def _baseline(self, scope: Scope, monitor: Monitor) -> Baseline:
        """Given URIs, else the reports of the baselining job."""
        constraints, statistics = monitor.constraints, monitor.statistics
        if monitor.baselining and not constraints:
            job = await self._store.get(_PROCESSING, scope, monitor.baselining)
            if job is None:
                raise NotFound(f"The baselining job '{monitor.baselining}' does not exist.")
            outputs = (job.document["request"].get("ProcessingOutputConfig") or {}).get("Outputs") or []
            if job.status != "Completed" or not outputs:
                raise Invalid(f"The baselining job '{monitor.baselining}' is {job.status}: it made no baseline.")
            top = str(outputs[0]["S3Output"]["S3Uri"]).rstrip("/")
            if monitor.type in (BIAS, EXPLAINABILITY):  # their baseline is an analysis
                return Baseline(f"{top}/analysis.json")
            constraints, statistics = f"{top}/constraints.json", statistics or f"{top}/statistics.json"
        return Baseline(constraints, statistics)

    async def _config(self, execution: Record, uri: str) -> dict[str, Any]:
        """The analysis configuration that a definition names."""
        place = parse_uri(uri)
        text = await self._artifacts_of(execution).read(place.bucket, place.key, _LARGEST)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Invalid(f"The analysis configuration {uri} is no JSON object.")
        return found

    async def _captured(self, execution: Record, monitor: Monitor) -> list[Captured]:
        start, end = execution.document["window"]
        if monitor.batch:
            found = await self._manifests(execution, monitor, start, end)
        else:
            found = await self._prefixes(execution, monitor, start, end)
        if not found:
            whose = monitor.endpoint or monitor.input["DataCapturedDestinationS3Uri"]
            raise Invalid(
                f"NO_DATA: nothing of {whose} was captured from {monitoring.iso(start)} to {monitoring.iso(end)} "
                "(rows: captured 0, used 0)."
            )
        return found

    async def _prefixes(self, execution: Record, monitor: Monitor, start: float, end: float) -> list[Captured]:
        endpoint = await self._endpoint(execution, monitor.endpoint)
        given = endpoint.get("DataCaptureConfig") or {}
        if not given.get("DestinationS3Uri"):
            raise Invalid(
                f"NO_DATA: the endpoint '{monitor.endpoint}' captures no data: its configuration {endpoint['EndpointConfigName']} has no "
                "DataCaptureConfig (rows: captured 0, used 0)."
            )
        top = parse_uri(given["DestinationS3Uri"]).below(monitor.endpoint)
        folders = requests.hours(start, end) if end - start <= _BY_HOURS else requests.days(start, end)
        variants = [str(each["VariantName"]) for each in endpoint.get("ProductionVariants") or ()]
        there = {
            variant: [each for each in folders if await self._any(execution, top.below(variant, each))]
            for variant in variants
        }
        there = {variant: found for variant, found in there.items() if found}
        if len(there) > requests.INPUTS:
            return [Captured(f"{top}/", monitor.endpoint)]
        each = requests.INPUTS // max(1, len(there))
        return [
            _folder(top, monitor.endpoint, variant, folder)
            for variant, found in there.items()
            for folder in requests.coarse(found, each)
        ]

    async def _manifests(self, execution: Record, monitor: Monitor, start: float, end: float) -> list[Captured]:
        """Those of a transform job's capture: of its answers where labels are compared, else of its inputs."""
        side = "output" if monitor.type in (QUALITY, BIAS) else "input"
        top = parse_uri(monitor.input["DataCapturedDestinationS3Uri"]).below(side)
        found: list[str] = []
        for folder in requests.hours(start, end):
            place = top.below(folder)
            listed = await self._artifacts_of(execution).find(place.bucket, f"{place.key}/")
            found += [f"s3://{place.bucket}/{entry.key}" for entry in listed]
        if len(found) > _MANIFESTS:
            raise Invalid(
                f"{len(found)} transform jobs were captured in the window, and a monitoring job reads {_MANIFESTS} at most: use a shorter "
                "window."
            )
        return [Captured(uri, str(number), manifest=True) for number, uri in enumerate(found)]

    async def _endpoint(self, execution: Record, name: str) -> dict[str, Any]:
        """An endpoint as the API describes it: what it captures, which variants it has."""
        try:
            return await self._operations.call(
                "sagemaker", "DescribeEndpoint", {"EndpointName": name}, parent=execution
            )
        except (Invalid, NotFound):
            raise NotFound(
                f"NO_DATA: the endpoint '{name}' does not exist: nothing is captured (rows: captured 0, used 0)."
            ) from None

    async def _any(self, execution: Record, place: Location) -> bool:
        prefix = f"{place.key.rstrip('/')}/" if place.key else ""
        return bool(await self._artifacts_of(execution).find(place.bucket, prefix, limit=1))

    def _artifacts_of(self, execution: Record) -> Artifacts:
        return self._artifacts.of(execution.scope.account)


def _folder(top: Location, endpoint: str, variant: str, folder: str) -> Captured:
    parts = [variant, *([folder] if folder else [])]
    return Captured(f"{top.below(*parts)}/", "/".join([endpoint, *parts]))
