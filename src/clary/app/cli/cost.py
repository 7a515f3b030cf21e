"""`clary cost`: what jobs and endpoints used, grouped, and priced where the setting `prices` has prices. Reads `GET /costs`."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

from clary.app.cli.logs import begin_of
from clary.app.cli.output import USAGE, CommandRefused, say, say_json, size, table
from clary.app.cli.site import Site, here
from clary.app.keys import open_keys
from clary.domain.costs.report import PATH, check_group
from clary.domain.errors import Invalid


def cost(directory: str | None, by: str, since: str, *, as_json: bool) -> None:
    try:
        check_group(by)
    except Invalid as error:
        raise CommandRefused(f"--by: {error.message}", USAGE) from error
    start = begin_of(since, time.time()) / 1000
    site = here(directory)
    shown = every_account(site, start) if by == "account" else asked(site, by, start)
    if as_json:
        say_json(shown)
    else:
        say(text(shown))


def asked(site: Site, by: str, since: float) -> dict[str, Any]:
    """The costs of the site's account."""
    client = site.client()
    try:
        return client.page(f"{PATH}?{urlencode({'by': by, 'since': since})}")
    finally:
        client.close()


def every_account(site: Site, since: float) -> dict[str, Any]:
    """The totals of all accounts that have a key pair here."""
    site.require()
    keys = open_keys(site.settings)
    found = [asked(site.of(account), "account", since) for account in sorted({key.account for key in keys.all()})]
    whole = {name: sum(each["total"][name] for each in found) for name in found[0]["total"]}
    groups = [group for each in found for group in each["groups"]]
    groups.sort(key=lambda group: -group.get("cost", group["vcpu_seconds"]))
    return {"by": "account", "since": since, "groups": groups, "total": whole}


def text(shown: dict[str, Any]) -> str:
    """For a terminal: a row for each group, and their total."""
    if not shown["groups"]:
        return "nothing was used"
    heads = ["kind", "name"] if shown["by"] == "name" else [shown["by"]]
    total = {**shown["total"], **dict.fromkeys(heads, ""), heads[0]: "total"}
    gpus, priced = shown["total"]["gpu_seconds"] > 0, "cost" in total
    columns = [
        *heads,
        "vcpu seconds",
        "gb seconds",
        *(["gpu seconds"] if gpus else []),
        "data",
        *(["cost"] if priced else []),
    ]
    rows = (_cells(row, heads, gpus=gpus) for row in (*shown["groups"], total))
    return table(columns, rows, ("data",))


def _cells(row: dict[str, Any], heads: list[str], *, gpus: bool) -> list[str]:
    used = [f"{row['vcpu_seconds']:.0f}", f"{row['gb_seconds']:.0f}"]
    used += [f"{row['gpu_seconds']:.0f}"] if gpus else []
    priced = [f"{row['cost']:.4f}"] if "cost" in row else []
    return [*(str(row[head]) for head in heads), *used, size(row["bytes"]), *priced]
