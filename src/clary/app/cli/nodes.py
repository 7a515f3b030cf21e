"""`clary node`: make join tokens, list nodes, drain one, let one go; be one. Reads and asks `/nodes`."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from clary.app.cli.client import SOON
from clary.app.cli.output import FAILED, CommandRefused, say, say_json, size, table
from clary.app.cli.site import Site, find
from clary.app.keys import open_keys
from clary.app.nodes import PATH, PURPOSE
from clary.app.settings import load
from clary.domain.machine.nodes import TOKEN_SECONDS, new_token, parse_place
from clary.stores.authority import open_authority


def token(directory: str | None, *, as_json: bool) -> None:
    """A new join token, and the command that uses it."""
    site = _head(directory)
    keys = site.settings.root / "keys"
    authority = open_authority(keys, time.time())
    made = str(
        new_token(authority.digest, secrets.token_hex(16), open_keys(site.settings).derive(PURPOSE), time.time())
    )
    host, port = parse_place(site.settings.node_listen)
    shown = os.uname().nodename if host in ("0.0.0.0", "::") else host
    if as_json:
        say_json({"token": made, "seconds": TOKEN_SECONDS, "address": f"{shown}:{port}"})
        return
    say(f"clary node join {shown}:{port} --token {made}")
    print("It holds for 15 minutes, for one machine.", file=sys.stderr)


def show(directory: str | None, *, as_json: bool) -> None:
    site = _head(directory)
    _tell(_asked(site, ""), as_json)


def drain(directory: str | None, name: str, *, undo: bool, as_json: bool) -> None:
    site = _head(directory)
    _tell(_asked(site, urlencode({"name": name, "do": "drain", **({"undo": "1"} if undo else {})})), as_json)


def leave(directory: str | None, name: str, *, force: bool, as_json: bool) -> None:
    site = _head(directory)
    _tell(_asked(site, urlencode({"name": name, "do": "leave", **({"force": "1"} if force else {})})), as_json)


def join(directory: str | None, address: str, token: str, name: str) -> None:
    """Be a node until SIGTERM."""
    from clary.app import node

    settings = load({"dir": directory or str(Path.home() / ".local" / "share" / "clary-node")})
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s node %(name)s: %(message)s",
    )

    def told(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    asyncio.run(node.run(settings, address, token, name or os.uname().nodename.lower(), told))


def _head(directory: str | None) -> Site:
    site = find(directory)
    site.require()
    if site.settings.backend != "cluster":
        raise CommandRefused('this Clary has no nodes: start it with the setting backend = "cluster"', FAILED)
    return site


def _asked(site: Site, query: str) -> dict[str, Any]:
    client = site.client(SOON)
    try:
        return client.act(f"{PATH}?{query}") if query else client.page(PATH)
    finally:
        client.close()


def _tell(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(shown)
        return
    rows = [
        (
            each["name"],
            each["state"],
            each["zone"],
            each["cpus"],
            size(each["memory"]),
            "" if each["available"] is None else size(each["available"]),
            each["gpus"],
            ", ".join(each["jobs"]),
        )
        for each in shown["nodes"]
    ]
    say(table(("node", "state", "zone", "vcpu", "memory", "free", "gpus", "jobs"), rows, ("node", "state")))
