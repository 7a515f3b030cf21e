"""`clary status`, `ps` and `config`: what is, from the lock file, the supervisor's notes and the public API."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clary.app.cli.capacity import asked
from clary.app.cli.client import SOON, ApiFailure, Client
from clary.app.cli.output import (
    NOT_FOUND,
    NOT_RUNNING,
    CommandRefused,
    age,
    counted,
    plain,
    say,
    say_json,
    size,
    table,
    words,
)
from clary.app.cli.site import Site, find, here
from clary.app.settings import NAMES, describe, load
from clary.backends.shim.proc import started_ticks
from clary.domain.jobs.datasets import shown
from clary.domain.machine.capacity_view import summary

SECRET = frozenset({"s3_secret_key", "database"})
ACTIVE = ("InProgress", "Stopping")


def status(directory: str | None, *, as_json: bool) -> None:
    site = here(directory)
    if not site.running:
        if as_json:
            say_json({"running": False, "dir": site.settings.dir})
            raise SystemExit(NOT_RUNNING)
        site.require()
    facts = _facts(site)
    if as_json:
        say_json(facts)
        return
    say(f"Clary runs at {facts['endpoint']} (pid {facts['pid']}, up {age(facts['started'], time.time())})")
    say(f"state folder {facts['dir']}, {size(facts['free'])} free")
    for name, row in facts["processes"].items():
        if not row["ready"] or row["restarts"]:
            again = f", restarted {counted(row['restarts'], 'time')}" if row["restarts"] else ""
            say(f"{name}: {'ready' if row['ready'] else 'not ready'}{again}; see {site.settings.log(name)}")
    if "error" in facts:
        raise CommandRefused(facts["error"])
    endpoints = ", ".join(f"{count} {state}" for state, count in sorted(facts["endpoints"].items())) or "none"
    say(
        f"account {site.settings.account}, {site.settings.region}: endpoints: {endpoints}; jobs in progress: {facts['jobs']}"
    )
    say(f"machine: {summary(facts['capacity'])}")
    for row in facts["capacity"]["waiting"]:
        say(f"{row['kind']} {row['name']} waits for room (`{site.typed('capacity')}` tells why)")
    if "Failed" in facts["endpoints"]:
        say(f"`{site.typed('ps')}` tells why an endpoint failed")


def _facts(site: Site) -> dict[str, Any]:
    assert site.facts is not None
    space = os.statvfs(site.settings.dir)
    facts: dict[str, Any] = {
        "running": True,
        **site.facts,
        "account": site.settings.account,
        "region": site.settings.region,
        "started": time.time() - _seconds_up(int(str(site.facts["pid"]))),
        "free": space.f_bavail * space.f_frsize,
        "processes": processes_of(site),
    }
    try:
        client = site.client(SOON)
        states: dict[str, int] = {}
        for endpoint in client.pages("sagemaker", "ListEndpoints", "Endpoints", {"MaxResults": 100}):
            states[endpoint["EndpointStatus"]] = states.get(endpoint["EndpointStatus"], 0) + 1
        facts |= {"endpoints": states, "jobs": len(_jobs(client, everything=False)), "capacity": asked(client)}
    except CommandRefused as error:
        facts["error"] = error.message
    return facts


def _seconds_up(pid: int) -> float:
    """How long a process has run. (The times of its folder in /proc are those of the first look at it.)"""
    ticks = started_ticks(pid)
    if ticks is None:
        raise CommandRefused("Clary has just stopped", NOT_RUNNING)
    return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def processes_of(site: Site) -> dict[str, dict[str, Any]]:
    """The supervisor's notes: name -> pid, ready, restarts."""
    with suppress(OSError, ValueError):
        return dict(json.loads((site.settings.run / "processes.json").read_text()))
    return {}


def ps(directory: str | None, *, everything: bool, as_json: bool) -> None:
    site = here(directory)
    client = site.client(SOON)
    processes = processes_of(site)
    endpoints = list(described(client))
    jobs, processing = (_jobs(client, everything, noun) for noun in ("Training", "Processing"))
    if as_json:
        say_json({"processes": processes, "endpoints": endpoints, "jobs": jobs, "processing_jobs": processing})
        return
    now = time.time()
    say(table(("process", "pid", "state", "restarts"), ([n, *_process(row)] for n, row in processes.items())))
    if endpoints:
        say()
        say(table(("endpoint", "status", "variants", "age"), (_endpoint(found, now) for found in endpoints)))
        for found in endpoints:
            if found.get("FailureReason"):
                say(f"\n{found['EndpointName']} {found['EndpointStatus']}: {words(found['FailureReason'])}")
            for variant, why in _waits(found):
                say(f"\n{found['EndpointName']} {variant}: {words(why)}")
    if jobs:
        say()
        rows = ((j["TrainingJobName"], j["TrainingJobStatus"], age(j["CreationTime"], now)) for j in jobs)
        say(table(("training job", "status", "age"), rows))
        for name, why in _paces(client, jobs):
            say(f"\n{name}: {words(why)}")
    if processing:
        say()
        rows = ((j["ProcessingJobName"], j["ProcessingJobStatus"], age(j["CreationTime"], now)) for j in processing)
        say(table(("processing job", "status", "age"), rows))
    if not endpoints and not jobs and not processing:
        say("\nno endpoints; no jobs" + ("" if everything else " in progress (--all lists ended ones)"))


def described(client: Client) -> Iterator[dict[str, Any]]:
    """Every endpoint; one that was deleted since it was listed is none any more."""
    for found in client.pages("sagemaker", "ListEndpoints", "Endpoints", {"MaxResults": 100}):
        try:
            yield client.call("sagemaker", "DescribeEndpoint", {"EndpointName": found["EndpointName"]})
        except ApiFailure as error:
            if error.code != NOT_FOUND:
                raise


def _process(row: dict[str, Any]) -> tuple[object, ...]:
    return row["pid"] or "-", "ready" if row["ready"] else "starting", row["restarts"]


def _endpoint(found: dict[str, Any], now: float) -> tuple[object, ...]:
    variants = ", ".join(
        f"{v['VariantName']} {v.get('CurrentInstanceCount', 0)}/{v.get('DesiredInstanceCount', 0)}"
        for v in found.get("ProductionVariants", [])
    )
    return found["EndpointName"], found["EndpointStatus"], variants or "-", age(found["CreationTime"], now)


def _waits(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Variants that do not have what they want yet: name and why."""
    for variant in found.get("ProductionVariants", []):
        for status in variant.get("VariantStatus", []):
            if status.get("StatusMessage"):
                yield variant["VariantName"], status["StatusMessage"]


def _paces(client: Client, jobs: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Jobs that wait or are slowed: name and why."""
    for job in jobs:
        if job["TrainingJobStatus"] not in ACTIVE:
            continue
        try:
            found = client.call("sagemaker", "DescribeTrainingJob", {"TrainingJobName": job["TrainingJobName"]})
        except ApiFailure as error:
            if error.code != NOT_FOUND:
                raise
            continue  # it was deleted meanwhile
        told = (found.get("SecondaryStatusTransitions") or [{}])[-1]
        message = str(told.get("StatusMessage", ""))
        if told.get("Status") == "Pending" or "slowed" in message:
            yield job["TrainingJobName"], message


_NEWEST = {"MaxResults": 100, "SortOrder": "Descending"}


def _jobs(client: Client, everything: bool, noun: str = "Training") -> list[dict[str, Any]]:
    """`noun`: Training or Processing."""
    if everything:
        return list(client.pages("sagemaker", f"List{noun}Jobs", f"{noun}JobSummaries", _NEWEST))
    found: list[dict[str, Any]] = []
    for state in ACTIVE:
        asked = {**_NEWEST, "StatusEquals": state}
        found += client.pages("sagemaker", f"List{noun}Jobs", f"{noun}JobSummaries", asked)
    return found


def config(directory: str | None, *, as_json: bool) -> None:
    """The settings that the running Clary has, and where the next start would have others; without one, those of the next start."""
    site, coming = find(directory), load({"dir": directory})
    rows = []
    for name in NAMES:
        value, following = getattr(site.settings, name), getattr(coming, name)
        row = {"name": name, "value": _shown(name, value), "source": site.settings.origins[name], "is": describe(name)}
        if following != value:
            row["next"] = _shown(name, following)
        rows.append(row)
    if as_json:
        say_json(rows)
        return
    for row in rows:
        after = f" (at the next start {json.dumps(row['next'])})" if "next" in row else ""
        say(plain(f"{row['name']} = {json.dumps(row['value'])}".ljust(32) + f"  # {row['source']}{after}; {row['is']}"))


def _shown(name: str, value: object) -> object:
    """A setting's value as it may be printed."""
    if name == "sources" and isinstance(value, Mapping):
        return {each: {"url": shown(source["url"])} for each, source in value.items()}
    return "(set)" if name in SECRET and value else value
