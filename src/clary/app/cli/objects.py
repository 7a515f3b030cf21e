"""`clary objects`: what can be done to the object store's files while no Clary runs on them."""

from __future__ import annotations

import os
from dataclasses import asdict

from clary.app import folders
from clary.app.cli.output import CommandRefused, counted, plain, say, say_json, warn
from clary.app.cli.site import Site, find
from clary.app.settings import Settings
from clary.stores.index_rebuild import Rebuilt

SHOWN = 20  # names of objects that are listed for people; --json has all


def rebuild(directory: str | None, *, damaged: bool, as_json: bool) -> None:
    from clary.app.rebuild import remake

    site = find(directory)
    _must_be_down(site)
    settings = site.settings
    lock = folders.Lock(settings)
    lock.take({"pid": os.getpid(), "endpoint": "`clary objects rebuild`", "dir": settings.dir})
    try:
        done = remake(settings.root, settings.database, damaged=damaged)
    finally:
        lock.drop()
    if as_json:
        say_json(asdict(done))
    else:
        _tell(done, settings)


def _must_be_down(site: Site) -> None:
    if site.settings.s3_endpoint:
        raise CommandRefused(f"objects are kept at {site.settings.s3_endpoint} (s3_endpoint): there is no index here")
    if not (site.settings.root / "objects").is_dir():
        raise CommandRefused(f"{site.settings.dir} has no objects: --dir names the state folder")
    if site.running:
        raise CommandRefused(f"Clary runs on {site.settings.dir} and has its index open: `{site.typed('down')}` first")


def _tell(done: Rebuilt, settings: Settings) -> None:
    say(
        f"The object index of {settings.dir} is made again: {counted(done.buckets, 'bucket')}, {counted(done.objects, 'object')}, "
        f"{counted(done.versions, 'older version')} (delete markers among them)."
    )
    for sentence in done.damage[:SHOWN]:
        warn(f"the journal is damaged, its objects may be older or missing: {sentence}")
    for names, what in (
        (done.missing, "left out, since their content is not here"),
        (done.torn, "kept, with content of another size than was stored"),
    ):
        if names:
            more = f" and {len(names) - SHOWN} more (--json lists all)" if len(names) > SHOWN else ""
            warn(f"{counted(len(names), 'object')} {what}: {', '.join(plain(name) for name in names[:SHOWN])}{more}")
