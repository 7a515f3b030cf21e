"""`clary top`: what endpoints and workloads are doing. Asks the fronts and the backend of this machine themselves, because the
public API has no such figures by the second."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from clary.app.cli.output import say, say_json, size, table
from clary.app.cli.site import Site, find
from clary.app.workloads import backend
from clary.domain.routes import VariantView
from clary.domain.workload import RunState
from clary.serving.client import FrontClient
from clary.stores.keys import FileKeys

CONNECT_WITHIN = 2.0
FIRST = 0.5  # seconds between the two looks that the first figures need


@dataclass(frozen=True, slots=True)
class Look:
    """Counters at one moment: (endpoint, variant) -> view, run -> (CPU seconds, bytes)."""

    at: float
    variants: dict[tuple[str, str], VariantView]
    runs: dict[str, tuple[float, int]]


def top(directory: str | None, interval: float, *, once: bool, as_json: bool) -> None:
    site = find(directory)
    site.require()
    asyncio.run(_watch(site, interval, once, as_json))


async def _watch(site: Site, interval: float, once: bool, as_json: bool) -> None:
    settings = site.settings
    sockets = [str(settings.front_ctl(index)) for index in range(settings.front_count)]
    fronts = FrontClient(sockets, FileKeys(settings.root / "keys"))
    await fronts.start()
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            await fronts.connected()
        before = await _look(site, fronts)
        await asyncio.sleep(min(FIRST, interval))
        while True:
            now = await _look(site, fronts)
            figures = compare(before, now)
            if as_json:
                say_json(figures)
            else:
                say(("" if once else "\x1b[H\x1b[2J") + _words(figures))
            if once:
                return
            before = now
            await asyncio.sleep(interval)
    finally:
        await fronts.close()


async def _look(site: Site, fronts: FrontClient) -> Look:
    client = site.client()
    found = await asyncio.to_thread(
        lambda: list(client.pages("sagemaker", "ListEndpoints", "Endpoints", {"MaxResults": 100}))
    )
    client.close()
    variants: dict[tuple[str, str], VariantView] = {}
    for endpoint in found:
        name = endpoint["EndpointName"]
        view = await fronts.observe(site.settings.account, site.settings.region, name)
        for variant in view.variants if view else ():
            variants[name, variant.name] = variant
    runs: dict[str, tuple[float, int]] = {}
    workloads = backend(site.settings)
    for handle in await workloads.handles():
        seen = await workloads.observe(handle)
        if seen is not None and seen.state is RunState.RUNNING:
            runs[handle] = (seen.cpu_seconds, seen.memory_bytes)
    workloads.close()
    return Look(time.monotonic(), variants, runs)


def compare(before: Look, now: Look) -> dict[str, Any]:
    """Rates between two looks. Latencies in milliseconds, CPU in percent of one core, memory in bytes."""
    seconds = max(1e-6, now.at - before.at)
    endpoints = []
    for (endpoint, name), variant in sorted(now.variants.items()):
        earlier = before.variants.get((endpoint, name))
        done = variant.completed - earlier.completed if earlier else 0
        endpoints.append(
            {
                "endpoint": endpoint,
                "variant": name,
                "rps": round(max(0, done) / seconds, 1),
                "p50": round(variant.p50 * 1000, 2),
                "p99": round(variant.p99 * 1000, 2),
                "queued": variant.queued,
                "in_flight": variant.in_flight,
                "replicas": sum(replica.state == "ready" for replica in variant.replicas),
                "workers": sum(replica.workers for replica in variant.replicas),
                "errors": variant.errors_5xx + variant.model_errors,
            }
        )
    workloads = []
    for handle, (cpu, memory) in sorted(now.runs.items()):
        used = cpu - before.runs[handle][0] if handle in before.runs else 0.0
        workloads.append({"workload": handle, "cpu": round(100 * max(0.0, used) / seconds), "memory": memory})
    return {"endpoints": endpoints, "workloads": workloads}


def _words(figures: dict[str, Any]) -> str:
    headings = ("endpoint", "variant", "rps", "p50 ms", "p99 ms", "queued", "replicas", "workers", "errors")
    keys = ("endpoint", "variant", "rps", "p50", "p99", "queued", "replicas", "workers", "errors")
    parts = [table(headings, ([row[key] for key in keys] for row in figures["endpoints"]))]
    rows = ((row["workload"], f"{row['cpu']}%", size(row["memory"])) for row in figures["workloads"])
    return "\n\n".join([*parts, table(("workload", "cpu", "memory"), rows)])
