"""`clary shadow`: how a shadow variant's answers compare with the clients'. Asks the endpoint's front, which counts them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from clary.app.cli.client import SOON
from clary.app.cli.output import NOT_FOUND, NOT_RUNNING, CommandRefused, say, say_json, table
from clary.app.cli.site import Site, endpoint_name, here
from clary.app.keys import open_keys
from clary.domain.endpoints.routes import EndpointView, VariantView
from clary.serving.client import FrontClient


def shadow(directory: str | None, endpoint: str, *, as_json: bool) -> None:
    site, endpoint = here(directory), endpoint_name(endpoint)
    site.require()
    try:
        view = asyncio.run(_view(site, endpoint))
    except TimeoutError as error:
        raise CommandRefused("a front does not answer (`clary doctor` looks for the reason)", NOT_RUNNING) from error
    if view is None:
        raise site.no_endpoint(endpoint)
    rows = figures(view)
    if not rows:
        raise CommandRefused(
            f"endpoint {endpoint} has no shadow variant: ShadowProductionVariants of its config names one", NOT_FOUND
        )
    if as_json:
        say_json(rows)
    else:
        say(words(rows))


async def _view(site: Site, endpoint: str) -> EndpointView | None:
    settings = site.settings
    sockets = [str(settings.front_ctl(index)) for index in range(settings.front_count)]
    fronts = FrontClient(sockets, open_keys(settings))
    await fronts.start()
    try:
        async with asyncio.timeout(SOON):
            await fronts.connected()
            return await fronts.observe(settings.account, settings.region, endpoint)
    finally:
        await fronts.close()


def figures(view: EndpointView) -> list[dict[str, Any]]:
    """One row for each shadow (of containers that clients name, for each of these)."""
    return [_row(variant) for variant in view.variants if variant.shadow is not None]


def _row(variant: VariantView) -> dict[str, Any]:
    found = variant.shadow
    assert found is not None
    compared = found.agreed + found.differed
    return {
        "variant": variant.name,
        "container": variant.container,
        "config": variant.fleet,
        "share": found.share,
        "mirrored": found.mirrored,
        "skipped": found.skipped,
        "agreed": found.agreed,
        "differed": found.differed,
        "failed": found.failed,
        "later_ms": round(found.later_seconds / compared * 1000, 3) if compared else None,
        "p50": round(variant.p50 * 1000, 2) if variant.completed else None,
        "p99": round(variant.p99 * 1000, 2) if variant.completed else None,
        "samples": [asdict(sample) for sample in found.samples],
    }


def words(rows: list[dict[str, Any]]) -> str:
    headings = (
        "variant",
        "config",
        "share",
        "copied",
        "skipped",
        "agreed",
        "differed",
        "failed",
        "later ms",
        "p50 ms",
        "p99 ms",
    )
    members = (
        "variant",
        "config",
        "share",
        "mirrored",
        "skipped",
        "agreed",
        "differed",
        "failed",
        "later_ms",
        "p50",
        "p99",
    )
    parts = [table(headings, [["-" if row[m] is None else row[m] for m in members] for row in rows])]
    for row in rows:
        for sample in row["samples"]:
            parts.append(
                f"{sample['request']!r}\n"
                f"  production {sample['status']} {sample['answer']!r}\n"
                f"  shadow     {sample['shadow_status']} {sample['shadow_answer']!r}"
            )
    return "\n\n".join(parts)
