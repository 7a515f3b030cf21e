"""`clary capacity`: the machine, who holds what of it, what is free, who waits and why. Reads `GET /capacity`."""

from __future__ import annotations

import time
from typing import Any

from clary.app.cli.client import SOON, Client
from clary.app.cli.output import age, say, say_json, size, table
from clary.app.cli.site import find
from clary.domain.machine.capacity_view import PATH, summary


def capacity(directory: str | None, *, as_json: bool) -> None:
    site = find(directory)
    site.require()
    client = site.client(SOON)
    shown = asked(client)
    client.close()
    if as_json:
        say_json(shown)
    else:
        say(text(shown, time.time()))


def asked(client: Client) -> dict[str, Any]:
    """The account as the control plane has it now."""
    return client.page(PATH)


def text(shown: dict[str, Any], now: float) -> str:
    """For a terminal: one line of the machine, tables of all machines (where there are several), of holders, of those that wait."""
    parts = [summary(shown)]
    if len(shown.get("machines", ())) > 1:
        machines = (
            (
                row["name"],
                row["state"],
                row["zone"],
                row["cpus"],
                size(row["memory"]),
                row["gpus"],
                age(row["heard"], now),
            )
            for row in shown["machines"]
        )
        parts.append(
            table(
                ("machine", "state", "zone", "vcpu", "memory", "gpus", "heard"), machines, ("machine", "state", "zone")
            )
        )
    if shown["holders"]:
        rows = (
            (
                row["kind"],
                row["name"],
                row["places"],
                row["cpu"],
                size(row["memory"]),
                size(row["used"]),
                age(row["since"], now),
            )
            for row in shown["holders"]
        )
        parts.append(table(("kind", "name", "places", "vcpu", "memory", "used", "for"), rows, ("kind", "used")))
    if shown["waiting"]:
        waiting = ((row["kind"], row["name"], age(row["since"], now), row["why"]) for row in shown["waiting"])
        parts.append(table(("waits", "name", "for", "why"), waiting))
    if shown.get("cut"):
        cut = ((row["kind"], row["name"], row["variant"], row["workers"], row["wanted"]) for row in shown["cut"])
        parts.append(table(("shares cpu", "name", "variant", "busy workers", "wants"), cut))
    return "\n\n".join(parts)
