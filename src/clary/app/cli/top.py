"""`clary top`: what endpoints and workloads are doing. Asks the fronts and the backend of this machine themselves, because the
public API has no such figures by the second."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from clary.app.cli.capacity import asked
from clary.app.cli.client import SOON, Client
from clary.app.cli.logs import COMPONENTS, ENDPOINTS, JOBS
from clary.app.cli.output import NOT_RUNNING, CommandRefused, drive, lines, say_json, size, table
from clary.app.cli.site import Site, here
from clary.app.keys import open_keys
from clary.app.workloads import backend
from clary.domain.endpoints.routes import VariantView
from clary.domain.machine.capacity_view import summary
from clary.domain.machine.workload import RunState
from clary.serving.client import FrontClient

_JOB_GROUPS = [f"/aws/sagemaker/{noun}Jobs" for noun in JOBS.values()]
ANSWER_WITHIN = 10.0
_SPARE = ("config", "workers", "4xx", "queued", "busy", "p50 ms", "variant")  # what a narrow terminal does without
FIRST = 0.5  # seconds between the two looks that the first figures need


@dataclass(frozen=True, slots=True)
class Look:
    """Counters at one moment: (endpoint, variant) -> view, run -> (CPU seconds, bytes), run -> whose it is."""

    at: float
    variants: dict[tuple[str, str], VariantView]
    runs: dict[str, tuple[float, int]]
    names: dict[str, str] = field(default_factory=dict)
    capacity: dict[str, Any] = field(default_factory=dict)  # as `GET /capacity` tells it


def top(directory: str | None, interval: float, *, once: bool, as_json: bool) -> None:
    site = here(directory)
    site.require()
    try:
        asyncio.run(_watch(site, interval, once, as_json))
    except TimeoutError as error:
        raise CommandRefused("a front does not answer (`clary doctor` looks for the reason)", NOT_RUNNING) from error


async def _watch(site: Site, interval: float, once: bool, as_json: bool) -> None:
    settings = site.settings
    sockets = [str(settings.front_ctl(index)) for index in range(settings.front_count)]
    fronts = FrontClient(sockets, open_keys(settings))
    await fronts.start()
    try:
        async with asyncio.timeout(SOON):
            await fronts.connected()
        async with asyncio.timeout(ANSWER_WITHIN):
            before = await _look(site, fronts)
        await asyncio.sleep(min(FIRST, interval))
        while True:
            async with asyncio.timeout(ANSWER_WITHIN):
                now = await _look(site, fronts)
            figures = {**compare(before, now), "capacity": now.capacity}
            if as_json:
                say_json(figures)
            else:
                drive(lines(_words(figures)) if once else _again(lines(_words(figures))))
            if once:
                return
            before = now
            await asyncio.sleep(interval)
    finally:
        await fronts.close()


def _again(text: str) -> str:
    """On a terminal in place of what it showed; in a pipe or a file after it."""
    return f"\x1b[H\x1b[2J{text}" if sys.stdout.isatty() else f"{text}\n"


async def _look(site: Site, fronts: FrontClient) -> Look:
    client = site.client(SOON)
    found, account = await asyncio.to_thread(lambda: (routes(client), asked(client)))
    client.close()
    variants: dict[tuple[str, str], VariantView] = {}
    for name in found:
        view = await fronts.observe(site.settings.account, site.settings.region, name)
        for variant in view.variants if view else ():
            variants[name, variant.key] = variant
    runs: dict[str, tuple[float, int]] = {}
    workloads = backend(site.settings)
    for handle in await workloads.handles():
        seen = await workloads.observe(handle)
        if seen is not None and seen.state is RunState.RUNNING:
            runs[handle] = (seen.cpu_seconds, seen.memory_bytes)
    names = {handle: name_of(workloads.log_path(handle)) for handle in runs}
    workloads.close()
    return Look(time.monotonic(), variants, runs, names, account)


def routes(client: Client) -> list[str]:
    """What the fronts may know: endpoints, and inference components as ENDPOINT/COMPONENT."""
    page = {"MaxResults": 100}
    endpoints = client.pages("sagemaker", "ListEndpoints", "Endpoints", page)
    components = client.pages("sagemaker", "ListInferenceComponents", "InferenceComponents", page)
    return [
        *(e["EndpointName"] for e in endpoints),
        *(f"{c['EndpointName']}/{c['InferenceComponentName']}" for c in components),
    ]


def compare(before: Look, now: Look) -> dict[str, Any]:
    """Rates between two looks. Latencies in milliseconds, CPU in percent of one core, memory in bytes."""
    seconds = max(1e-6, now.at - before.at)
    endpoints = []
    for (endpoint, key), variant in sorted(now.variants.items()):
        earlier = before.variants.get((endpoint, key))
        done = _done(variant) - _done(earlier) if earlier else 0
        endpoints.append(
            {
                "endpoint": endpoint,
                "variant": variant.name,
                "container": variant.container,
                "config": variant.fleet,
                "rps": round(max(0, done) / seconds, 1),
                "p50": round(variant.p50 * 1000, 2) if variant.completed else None,
                "p99": round(variant.p99 * 1000, 2) if variant.completed else None,
                "queued": variant.queued,
                "in_flight": variant.in_flight,
                "replicas": sum(replica.state == "ready" for replica in variant.replicas),
                "wanted": len(variant.replicas),
                "workers": sum(replica.workers for replica in variant.replicas),
                "errors_4xx": variant.errors_4xx,
                "errors_5xx": variant.errors_5xx,
            }
        )
    workloads = []
    for handle, (cpu, memory) in sorted(now.runs.items()):
        used = cpu - before.runs[handle][0] if handle in before.runs else 0.0
        row = {"workload": handle, "of": now.names.get(handle, ""), "cpu": round(100 * max(0.0, used) / seconds)}
        workloads.append({**row, "memory": memory})
    return {"endpoints": endpoints, "workloads": workloads}


def _words(figures: dict[str, Any]) -> str:
    shown = figures.get("capacity")
    waits = [f"{row['kind']} {row['name']} waits: {row['why']}" for row in shown["waiting"]] if shown else []
    machine = [summary(shown), *waits] if shown else []
    if not figures["endpoints"] and not figures["workloads"]:
        return "\n".join([*machine, "no endpoints and no jobs"])
    headings = (
        "endpoint",
        "variant",
        "config",
        "rps",
        "p50 ms",
        "p99 ms",
        "queued",
        "busy",
        "ready",
        "workers",
        "4xx",
        "5xx",
    )
    rows = (
        (
            *(row["endpoint"], _of_container(row), row["config"], row["rps"]),
            *("-" if row[key] is None else row[key] for key in ("p50", "p99")),
            *(row["queued"], row["in_flight"], f"{row['replicas']}/{row['wanted']}", row["workers"]),
            *(row["errors_4xx"], row["errors_5xx"]),
        )
        for row in figures["endpoints"]
    )
    runs = ((row["of"] or row["workload"], f"{row['cpu']}%", size(row["memory"])) for row in figures["workloads"])
    tables = (table(headings, rows, _SPARE), table(("workload", "cpu", "memory"), sorted(runs)))
    return "\n\n".join(["\n".join(machine), *tables] if machine else tables)


def _done(variant: VariantView) -> int:
    """What left it: answers to clients, and those that went on to the next container."""
    return variant.completed + variant.passed


def _of_container(row: dict[str, Any]) -> str:
    return f"{row['variant']}/{row['container']}" if row["container"] != "primary" else str(row["variant"])


def name_of(log: str) -> str:
    """Whose output goes into this file: `endpoint/variant/replica` or `job/host`; empty when it is neither's."""
    group, stream = (unquote(part.removesuffix(".log")) for part in log.split("/")[-2:]) if "/" in log else ("", "")
    for prefix in (ENDPOINTS, COMPONENTS):
        if group.startswith(prefix):
            return f"{group.removeprefix(prefix)}/{stream}"
    return stream.rpartition("-")[0] if group in _JOB_GROUPS else ""
