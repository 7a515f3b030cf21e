"""`clary rollout`: how far a change of an endpoint has come, live. Reads the public API for what is decided and the endpoint's front
for what it sees of each fleet."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from clary.app.cli.client import SOON, ApiFailure, Client
from clary.app.cli.history import ENDS, one_line, steps_of, when
from clary.app.cli.output import NOT_FOUND, NOT_RUNNING, CommandRefused, plain, say, say_json, table
from clary.app.cli.site import Site, endpoint_name, here
from clary.app.keys import open_keys
from clary.domain.endpoints.routes import EndpointView, VariantView
from clary.serving.client import FrontClient

EVERY = 0.5
CHANGING = ("Creating", "Updating", "RollingBack", "Deleting")


def rollout(directory: str | None, endpoint: str, *, once: bool, as_json: bool) -> None:
    site, endpoint = here(directory), endpoint_name(endpoint)
    site.require()
    try:
        asyncio.run(_watch(site, endpoint, once or as_json, as_json))
    except ApiFailure as error:
        raise (site.no_endpoint(endpoint) if error.code == NOT_FOUND else error) from error
    except TimeoutError as error:
        raise CommandRefused("a front does not answer (`clary doctor` looks for the reason)", NOT_RUNNING) from error


async def _watch(site: Site, endpoint: str, once: bool, as_json: bool) -> None:
    """Until the endpoint is settled; where nobody looks on (a pipe), one block for each change of what is shown."""
    settings = site.settings
    sockets = [str(settings.front_ctl(index)) for index in range(settings.front_count)]
    fronts = FrontClient(sockets, open_keys(settings))
    client = site.client(SOON)
    await fronts.start()
    try:
        async with asyncio.timeout(SOON):
            await fronts.connected()
        with _Screen(as_json) as screen:
            while True:
                found = await _look(client, fronts, settings.account, settings.region, endpoint)
                screen.show(found)
                if once or found["status"] not in CHANGING:
                    return
                await asyncio.sleep(EVERY)
    finally:
        client.close()
        await fronts.close()


async def _look(client: Client, fronts: FrontClient, account: str, region: str, endpoint: str) -> dict[str, Any]:
    described = await asyncio.to_thread(client.call, "sagemaker", "DescribeEndpoint", {"EndpointName": endpoint})
    steps = await asyncio.to_thread(steps_of, client, endpoint)
    async with asyncio.timeout(SOON):
        view = await fronts.observe(account, region, described["EndpointName"])
    return state(described, steps, view)


def state(described: dict[str, Any], steps: list[dict[str, Any]], view: EndpointView | None) -> dict[str, Any]:
    """All that is shown, as one document. Latencies in milliseconds."""
    pending = described.get("PendingDeploymentSummary")
    fleets = [_fleet("serving", described["EndpointConfigName"], described.get("ProductionVariants", []), view)]
    if pending:
        fleets.append(_fleet("coming", pending["EndpointConfigName"], pending["ProductionVariants"], view))
    found = {
        "endpoint": described["EndpointName"],
        "status": described["EndpointStatus"],
        "deployment": described.get("LastDeploymentConfig", {}),
        "fleets": fleets,
        "steps": last_change(steps),
    }
    return {**found, "reason": described["FailureReason"]} if "FailureReason" in described else found


def last_change(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps since the last change was asked for."""
    begins = [number for number, step in enumerate(steps) if step["what"].endswith("asked")]
    return steps[begins[-1] :] if begins else steps


def _fleet(role: str, config: str, variants: list[dict[str, Any]], view: EndpointView | None) -> dict[str, Any]:
    seen = [v for v in view.variants if v.fleet == config] if view is not None else []
    return {"role": role, "config": config, "variants": [_variant(row, seen) for row in variants]}


def _variant(row: dict[str, Any], seen: list[VariantView]) -> dict[str, Any]:
    mine = [v for v in seen if v.name == row["VariantName"]]
    status = (row.get("VariantStatus") or [{}])[0]
    done = sum(v.completed for v in mine)
    return {
        "variant": row["VariantName"],
        "ready": row.get("CurrentInstanceCount"),
        "wanted": row.get("DesiredInstanceCount"),
        "weight": row.get("CurrentWeight"),
        "state": status.get("Status", ""),
        "message": status.get("StatusMessage", ""),
        "answered": done,
        "errors_5xx": sum(v.errors_5xx for v in mine),
        "p50": round(1000 * max((v.p50 for v in mine), default=0.0), 2) if done else None,
        "p99": round(1000 * max((v.p99 for v in mine), default=0.0), 2) if done else None,
    }


def words(found: dict[str, Any]) -> str:
    """The same for people."""
    rows = [
        (
            f"{fleet['role']} {fleet['config']}",
            row["variant"],
            "-" if row["wanted"] is None else f"{row['ready']}/{row['wanted']}",
            "-" if row["weight"] is None else f"{row['weight']:.4g}",
            row["answered"],
            row["errors_5xx"],
            *("-" if row[key] is None else row[key] for key in ("p50", "p99")),
            f"{row['state']}: {row['message']}" if row["message"] else row["state"],
        )
        for fleet in found["fleets"]
        for row in fleet["variants"]
    ]
    parts = [f"{plain(found['endpoint'])} {found['status']}"]
    parts.append(
        table(
            ("fleet", "variant", "ready", "weight", "answered", "5xx", "p50 ms", "p99 ms", "state"),
            rows,
            ("p50 ms", "answered"),
        )
    )
    if found["steps"]:
        lines = ((when(s["at"]), s["what"], one_line(s["why"])) for s in found["steps"])
        parts.append(table(("when", "step", "why"), lines))
    ended = not found["steps"] or found["steps"][-1]["what"] in ENDS
    if found.get("reason") and ended:
        parts.append(f"reason: {plain(one_line(found['reason'], 400))}")
    return "\n\n".join(parts)


class _Screen:
    """A block that is redrawn on a terminal; elsewhere plain text, whenever something other than the clock changed."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._live: Any = None
        self._said = ""

    def __enter__(self) -> _Screen:
        if sys.stdout.isatty() and not self._as_json:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(highlight=False), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, found: dict[str, Any]) -> None:
        if self._as_json:
            say_json(found)
        elif self._live is not None:
            from rich.text import Text

            clock = time.strftime("%H:%M:%S")
            self._live.update(Text(f"{clock}  {words(found)}"), refresh=True)
        else:
            mark = repr((found["status"], [s["n"] for s in found["steps"]]))
            if mark != self._said:
                self._said = mark
                say(words(found) + "\n")
