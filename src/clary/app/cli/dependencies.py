"""What `clary doctor` looks at beside the machine: database, object store, certificate, clock, open files, and how the last run went.

Changes nothing: a database is opened as it is, an object store is only asked.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clary.app import bindings, crashes, folders, reach
from clary.app.cli.checks import Check
from clary.app.cli.client import SOON
from clary.app.cli.output import age, size
from clary.app.cli.site import Site
from clary.app.keys import open_keys
from clary.app.settings import Settings
from clary.domain.errors import ClaryError

FILES = 8192  # open files below which many clients at once are not served
SKEW, BAD_SKEW = 5.0, 300.0  # seconds; AWS's clients are refused beyond 900 s
EXPIRES_SOON = 14.0  # days
RECENT = 86_400.0  # seconds in which a crash is worth a look
DAY = 86_400.0
Source = tuple[str, float]  # whose clock it is, and by how many seconds it is ahead of ours


def examine(site: Site) -> Iterator[Check]:
    """Every check of this module."""
    clocks: list[Source] = []
    yield from _bound(site.settings)
    yield _database(site.settings, clocks)
    yield _objects(site, clocks)
    yield from _certificate(site.settings, time.time())
    yield _clock(site.settings, clocks)
    yield _files()
    yield from _last(site)


def _bound(settings: Settings) -> Iterator[Check]:
    try:
        bindings.check(settings)
    except ClaryError as error:
        yield Check("bindings", "fault", error.message)


def _database(settings: Settings, clocks: list[Source]) -> Check:
    from clary.stores.database import Database  # SQLAlchemy takes its time

    file = settings.root / "records.db"
    if not settings.database and not file.exists():
        return Check("database", "ok", f"{file} is made at the first start")
    began = time.time()
    try:
        seen = Database(settings.database_url).look()
    except ClaryError as error:
        return Check("database", "fault", error.message)
    took = time.time() - began
    if seen.now:
        clocks.append(("the database server", seen.now - (began + took / 2)))
    where = bindings.Bindings.of(settings).database if settings.database else str(file)
    state = f"schema {seen.version}" if seen.version else "no tables yet: the first start makes them"
    return Check("database", "ok", f"{where} answers in {took * 1000:.0f} ms ({state})")


def _objects(site: Site, clocks: list[Source]) -> Check:
    settings = site.settings
    if settings.s3_endpoint:
        return _other_s3(settings, clocks)
    if not site.running:
        return Check("object store", "ok", "Clary's own; it is asked while Clary runs")
    from clary.objects.client import OwnArtifacts

    own = OwnArtifacts(str(settings.objects_socket), open_keys(settings).derive(b"objects"), settings.account)
    began = time.perf_counter()
    try:
        stats = asyncio.run(asyncio.wait_for(own.stats(), SOON))
    except (ClaryError, TimeoutError, OSError) as error:
        why = getattr(error, "message", "") or str(error) or f"no answer within {SOON:g} s"
        return Check("object store", "fault", f"does not answer: {why}", f"see {settings.log('objects')}")
    took = time.perf_counter() - began
    return Check("object store", "ok", f"answers in {took * 1000:.0f} ms, {size(stats['free'])} free")


def _other_s3(settings: Settings, clocks: list[Source]) -> Check:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(
        connect_timeout=SOON, read_timeout=SOON, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
    )
    client: Any = boto3.Session(settings.s3_access_key, settings.s3_secret_key, region_name=settings.s3_region).client(
        "s3", endpoint_url=settings.s3_endpoint, config=config
    )
    began = time.time()
    try:
        answer = client.list_buckets()
    except ClientError as error:
        said = error.response["Error"]
        fix = "'s3_access_key', 's3_secret_key' and 's3_region' must be that server's"
        return Check("object store", "fault", f"{settings.s3_endpoint}: {said.get('Message') or said.get('Code')}", fix)
    except BotoCoreError as error:
        return Check(
            "object store", "fault", f"{settings.s3_endpoint} does not answer: {error}", "is 's3_endpoint' right?"
        )
    took = time.time() - began
    told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if told:
        clocks.append(
            ("the object store", email.utils.parsedate_to_datetime(told).timestamp() + 0.5 - (began + took / 2))
        )
    return Check("object store", "ok", f"{settings.s3_endpoint} answers in {took * 1000:.0f} ms")


def _certificate(settings: Settings, now: float) -> Iterator[Check]:
    for sentence in reach.cautions(settings, now):
        if "plain HTTP" in sentence:
            yield Check("transport", "note", sentence)
    if not settings.tls_cert:
        return
    try:
        reach.check(settings)
        found = reach.certificate(settings)
    except ClaryError as error:
        yield Check("certificate", "fault", error.message)
        return
    left = (found.expires - now) / DAY
    until = time.strftime("%Y-%m-%d", time.gmtime(found.expires))
    names = ", ".join(found.names) or "no host"
    host = urlsplit(settings.client_endpoint).hostname or ""
    if left < 0:
        yield Check("certificate", "fault", f"{settings.tls_cert} expired on {until}", _RENEW)
    elif not reach.matches(settings, host):
        fix = "name the host that it is for with public_url, or get one that names this host too"
        yield Check("certificate", "note", f"{settings.tls_cert} is for {names}, and clients ask for {host}", fix)
    else:
        soon = left < EXPIRES_SOON
        told = f"for {names}, expires on {until} (in {left:.0f} days)"
        yield Check("certificate", "note" if soon else "ok", told, _RENEW if soon else "")


_RENEW = "replace the files and send `kill -HUP` to the pid of `clary status`: it is read again without a restart"


def _clock(settings: Settings, clocks: list[Source]) -> Check:
    """Against the file system (another machine's, on a network disk), the servers that were asked, and what this one wrote before."""
    place = next(path for path in (settings.root, *settings.root.parents) if path.exists())
    if os.access(place, os.W_OK):
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(b"x")
            file.flush()
            clocks.append(("the file system of the state folder", os.fstat(file.fileno()).st_mtime - time.time()))
    newest = max((path.stat().st_mtime for path in Path(settings.log("x").parent).glob("*.log")), default=0.0)
    if newest > time.time() + SKEW:
        clocks.append(("Clary's own last log line", newest - time.time()))
    whose, ahead = max(clocks, key=lambda each: abs(each[1]), default=("", 0.0))
    if abs(ahead) <= SKEW:
        others = " and ".join(name for name, _ in clocks)
        return Check("clock", "ok", f"agrees with {others}" if others else "nothing to compare it with")
    said = f"{abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} {whose}"
    fix = "set it by NTP: signatures that are 900 s off are refused, and leases and schedules go by it"
    return Check("clock", "fault" if abs(ahead) > BAD_SKEW else "note", said, fix)


def _files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = hard != resource.RLIM_INFINITY and hard < FILES
    shown = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    fix = (
        f"each connection takes one or two: allow {FILES} or more (LimitNOFILE= of the unit, or `ulimit -Hn`)"
        if few
        else ""
    )
    return Check("open files", "note" if few else "ok", f"at most {shown} for a process (now {soft})", fix)


def _last(site: Site) -> Iterator[Check]:
    settings, now = site.settings, time.time()
    left = settings.root / "clary.lock"
    if not site.running and folders.holding(left) is None and left.exists() and left.stat().st_size:
        fix = "nothing is lost: `clary up` goes on where it was; was the machine short of memory, or switched off?"
        yield Check("last run", "note", "was not stopped, but killed", fix)
    crash = crashes.last(settings)
    if crash is None:
        yield Check("last crash", "ok", "none")
        return
    recent = now - crash.at < RECENT
    told = f"{age(crash.at, now)} ago: {crash.process} {crash.how}"
    yield Check("last crash", "note" if recent else "ok", told, f"see {settings.log(crash.process)}" if recent else "")
