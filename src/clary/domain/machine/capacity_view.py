"""The machine's reservations as one AWS account sees them: names only of its own jobs and endpoints. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clary.domain.machine.capacity import Book, Claim, Owner
from clary.domain.machine.instances import GIB
from clary.domain.machine.machines import GONE, MachineRow
from clary.domain.machine.rooms import free_memory

PATH = "/capacity"  # where it is read
UNNAMED = "(another account)"


def view(book: Book, account: str, rows: Sequence[MachineRow] = ()) -> dict[str, Any]:
    """`holders` are endpoints first, as they come first; `free` is what may still be reserved (`strict`), or the measured memory that is
    free and the places for hosts of jobs (`fit`). `cut` are variants that may keep fewer `workers` busy than they want. Sizes in vCPU and
    bytes, times in epoch seconds. `machines` are the rows of the book of machines."""
    machine = book.machine
    return {
        "policy": book.policy,
        "machine": {
            "cpus": machine.cpus,
            "memory": machine.memory,
            "available": machine.available,
            "gpus": machine.gpus,
        },
        "machines": [_row(row, book) for row in rows],
        "free": _free(book),
        "holders": [*_holders(book.replicas, account), *_holders(book.jobs, account)],
        "waiting": [
            {
                **_named(waiting.owner, account),
                "since": waiting.since,
                "why": waiting.why if waiting.owner.account == account else "",
                "cpu": round(sum(fit.cpu for fit in waiting.fits), 3),
                "memory": sum(fit.memory for fit in waiting.fits),
            }
            for waiting in book.waiting
        ],
        "cut": [
            {**_named(part.owner, account), "variant": part.variant, "workers": part.workers, "wanted": part.wanted}
            for part in sorted(book.parts, key=lambda part: (part.owner.name, part.variant))
            if part.owner.account == account
        ],
    }


def _row(row: MachineRow, book: Book) -> dict[str, Any]:
    """`here`: it is the one that all else in the view is about."""
    machine = row.machine
    return {
        "name": machine.name,
        "state": row.state(book.at),
        "zone": machine.zone,
        "labels": dict(machine.labels),
        "cpus": machine.cpus,
        "memory": machine.memory,
        "gpus": machine.gpus,
        "heard": row.heard,
        "here": machine.name == book.machine.name,
    }


def _free(book: Book) -> dict[str, float]:
    machine = book.machine
    if book.policy != "strict":
        slots = (machine.slots or machine.cpus) - sum(claim.hosts for claim in book.jobs)
        return {"memory": max(0, free_memory(book)), "jobs": max(0, slots)}
    fits = [fit for claim in book.claims for fit in claim.held]
    return {
        "cpu": round(machine.cpus - sum(fit.cpu for fit in fits), 3),
        "memory": machine.memory - sum(fit.memory for fit in fits),
        "gpus": machine.gpus - sum(fit.gpus for fit in fits),
    }


def _holders(claims: Sequence[Claim], account: str) -> list[dict[str, Any]]:
    """One row for each owner; other accounts' are one row for each kind."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for claim in claims:
        named = _named(claim.owner, account)
        empty = {**named, "places": 0, "cpu": 0.0, "memory": 0, "gpus": 0, "used": 0, "since": claim.since}
        row = rows.setdefault((named["kind"], named["name"]), empty)
        row["places"] += claim.hosts
        row["cpu"] = round(row["cpu"] + sum(fit.cpu for fit in claim.held), 3)
        row["memory"] += sum(fit.memory for fit in claim.held)
        row["gpus"] += sum(fit.gpus for fit in claim.held)
        row["used"] += claim.used
        row["since"] = min(row["since"], claim.since)
    return sorted(rows.values(), key=lambda row: (-row["cpu"], row["name"]))


def _named(owner: Owner, account: str) -> dict[str, str]:
    return {"kind": owner.kind, "name": owner.name if owner.account == account else UNNAMED}


# -- in words ---------------------------------------------------------------------------------------------------------------------


def summary(shown: Mapping[str, Any]) -> str:
    """One line: `2 vCPU, 7.8 GiB (3.1 GiB free), shared; 3 running, 1 waiting`."""
    machine, holders, waiting = shown["machine"], len(shown["holders"]), len(shown["waiting"])
    how = "sizes are reserved" if shown["policy"] == "strict" else "CPU is shared"
    free = f"{shown['free']['memory'] / GIB:.3g} GiB free"
    left = f", {shown['free']['cpu']:g} vCPU and {free}" if "cpu" in shown["free"] else f", {free}"
    held = f"{holders} running"
    waits = f", {waiting} waiting" if waiting else ""
    many = [row for row in shown.get("machines", ()) if row["state"] != GONE]
    of = f"; one of {len(many)} machines" if len(many) > 1 else ""
    cut = ", all CPUs are wanted" if shown.get("cut") else ""
    return f"{machine['cpus']} vCPU, {machine['memory'] / GIB:.3g} GiB{left}; {how}{cut}; {held}{waits}{of}"
