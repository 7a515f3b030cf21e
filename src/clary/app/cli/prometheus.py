"""`clary prometheus`: the scrape configuration with which Prometheus reads this Clary's /metrics."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from clary.app import reach
from clary.app.cli.output import say, say_json, warn
from clary.app.cli.site import Site, find
from clary.domain.access.scrape_tokens import token_of


def prometheus(directory: str | None, account: str | None, *, as_json: bool) -> None:
    site = find(directory)
    if account is not None and account != site.settings.account:
        site = site.of(account)
    wanted = configuration(site)
    if not site.running:
        warn(
            f"no Clary runs on {site.settings.dir} now: this is for one that listens at {site.settings.client_endpoint}"
        )
    if as_json:
        say_json({"scrape_configs": [wanted]})
        return
    say("scrape_configs:")
    for number, (name, value) in enumerate(wanted.items()):
        # JSON is YAML: what is quoted so needs no other care.
        say(f"  {'- ' if number == 0 else '  '}{name}: {json.dumps(value)}")


def configuration(site: Site) -> dict[str, Any]:
    """One entry of Prometheus' `scrape_configs`."""
    settings, credential = site.settings, site.credential()
    place = urlsplit(settings.client_endpoint)
    token = token_of(credential.access_key_id, credential.secret)
    bundle = reach.bundle(settings, settings.client_endpoint)
    tls = {"tls_config": {"ca_file": bundle}} if bundle else {}
    return {
        "job_name": "clary",
        "scheme": place.scheme,
        "scrape_interval": "10s",
        "authorization": {"type": "Bearer", "credentials": token},
        **tls,
        "static_configs": [{"targets": [place.netloc]}],
    }
