"""`clary backup`, `clary restore` and `clary migrate`."""

from __future__ import annotations

import os
import time
from dataclasses import asdict

from clary.app.backup.taking import load, prune, snapshots, take
from clary.app.backup.vaults import BucketVault, Vault, vault_at
from clary.app.cli.output import USAGE, CommandRefused, counted, say, say_json, size, warn
from clary.app.cli.site import Site, find


def backup(target: str, directory: str | None, *, keep: int | None, as_json: bool) -> None:
    site = find(directory)
    if keep is not None and keep < 1:
        raise CommandRefused("--keep takes a number from 1 on", USAGE)
    vault = _vault(target, site)
    done = take(site.settings, vault, time.time())
    removed = prune(vault, keep) if keep is not None else 0
    if as_json:
        say_json({**asdict(done), "removed": removed, "target": vault.where})
        return
    say(
        f"Backup {done.name} of {site.settings.dir} is in {vault.where}: {counted(done.objects, 'object')}, "
        f"{counted(done.files, 'other file')}, {size(done.size)} ({size(done.added)} new)."
    )
    if removed:
        say(f"{counted(removed, 'older backup')} removed.")
    if site.settings.s3_endpoint:
        warn(f"objects are kept at {site.settings.s3_endpoint} (s3_endpoint) and are not part of it")


def listed(target: str, *, as_json: bool) -> None:
    vault = vault_at(target)
    manifests = [load(vault, name) for name in snapshots(vault)]
    if as_json:
        say_json([{"name": m.name, "clary": m.clary, "size": sum(m.contents().values())} for m in manifests])
        return
    for manifest in manifests:
        say(f"{manifest.name}  {size(sum(manifest.contents().values()))}  Clary {manifest.clary}")
    if not manifests:
        say(f"{vault.where} holds no backup.")


def restore(target: str, directory: str | None, *, at: str, as_json: bool) -> None:
    from clary.app.backup.restoring import restore as made_again

    site = find(directory)
    if site.running:
        raise CommandRefused(f"Clary runs on {site.settings.dir}: --dir names a new folder")
    vault = vault_at(target)
    manifest = made_again(vault, site.settings.root, at)
    if as_json:
        say_json(
            {
                "name": manifest.name,
                "dir": site.settings.dir,
                "database": manifest.database,
                "objects": manifest.objects,
            }
        )
        return
    say(f"{site.settings.dir} is as it was at {manifest.name}. Start it: `{site.typed('up --detach')}`")
    if manifest.database:
        warn(
            f"its records were in {manifest.database} and are in records.db now: remove `database` from clary.toml, or "
            f"`{site.typed('migrate --to URL')}` puts them into a database"
        )
    if manifest.objects:
        warn(f"its objects were at {manifest.objects} (s3_endpoint) and are not part of the backup")


def migrate(to: str, directory: str | None, *, as_json: bool) -> None:
    from clary.app import folders
    from clary.app.backup.moving import move

    site = find(directory)
    if site.running:
        raise CommandRefused(f"Clary runs on {site.settings.dir}: `{site.typed('down')}` first")
    lock = folders.Lock(site.settings)
    lock.take({"pid": os.getpid(), "endpoint": "`clary migrate`", "dir": site.settings.dir})
    try:
        done = move(site.settings, to)
    finally:
        lock.drop()
    if as_json:
        say_json({"dir": site.settings.dir, "database": done.database, "rows": done.rows})
        return
    say(f"{counted(sum(done.rows.values()), 'row')} of {site.settings.dir} are in {done.shown}.")
    setting = f'set `database = "{done.shown}"`' if done.database else "remove `database`"
    say(f"Before the next start, {setting} in clary.toml, or where CLARY_DATABASE is set.")


def _vault(target: str, site: Site) -> Vault:
    """Where a backup goes; not into what it is a backup of."""
    vault = vault_at(target)
    if isinstance(vault, BucketVault) and site.is_at(vault.endpoint):
        raise CommandRefused(
            f"{target} would be in the very Clary that is backed up ({vault.endpoint}): set AWS_ENDPOINT_URL_S3 to another S3",
            USAGE,
        )
    return vault
