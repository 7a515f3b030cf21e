"""`clary demo`: starts a Clary of its own (or uses a running one), runs the demo with plain boto3, shows what came out."""

from __future__ import annotations

import fcntl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clary.app import up as running
from clary.app.cli import runtimes
from clary.app.cli.history import one_line
from clary.app.cli.output import CommandRefused, plain, say, say_json
from clary.app.cli.site import Site, find
from clary.app.settings import load
from clary.domain.access.roles import default_role_arn


def demo(directory: str | None, *, as_json: bool) -> None:
    with _clary(directory, as_json) as site:
        if not as_json:
            say(f"Clary is at {site.settings.endpoint}")
        result = _run(site, quiet=as_json)
    if as_json:
        say_json(result)
        return
    say()
    for step, seconds in result["seconds"].items():
        say(f"{seconds:8.2f} s  {step}")
    left = "nothing is left running" if directory is None else "what it made is deleted"
    say(f"accuracy {result['accuracy']:.3f}; {left}")


@contextmanager
def _clary(directory: str | None, quiet: bool) -> Iterator[Site]:
    """The Clary of that folder; without one, a fresh one on a free port that forgets everything at the end."""
    if directory is not None:
        site = find(directory)
        site.require()
        yield site
        return
    # Built runtimes are kept where a `clary up` without --dir keeps them: the second demo is quick.
    environments = load().environments_folder
    runtimes.writable(environments)
    with tempfile.TemporaryDirectory(prefix="clary-demo-") as folder, open(Path(folder) / ".held", "wb") as held:
        settings = load({"dir": folder, "port": 0, "environments": str(environments), "ephemeral": True})
        if not quiet:
            say("starting Clary")
        fcntl.flock(held, fcntl.LOCK_SH)  # however this process ends, its Clary ends with it, and forgets everything
        try:
            running.detached(settings, Path(held.name))
            yield find(folder)
        finally:
            running.down(settings)


def _run(site: Site, *, quiet: bool) -> dict[str, Any]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from clary.app.demo import Demo

    credential, settings = site.credential(), site.settings
    session = boto3.Session(
        aws_access_key_id=credential.access_key_id,
        aws_secret_access_key=credential.secret,
        region_name=settings.region,
    )
    options = Config(proxies={}, retries={"max_attempts": 3})
    verify: Any = settings.tls_cert or None

    def client(name: str) -> Any:
        return session.client(name, endpoint_url=settings.endpoint, config=options, verify=verify)

    say_step: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: say(f"   {plain(text)}"))
    shown = Demo(
        client, settings.region, settings.default_bucket, default_role_arn(settings.account, settings.region), say_step
    )
    seconds = _prepared(site, shown.image, say_step, quiet=quiet)
    try:
        result = dict(shown.run())
    except (BotoCoreError, ClientError) as error:
        raise CommandRefused(f"the demo failed: {_why(error)}") from error
    return {**result, "seconds": {**seconds, **result["seconds"]}}


def _why(error: Exception) -> str:
    """A waiter knows only that it waited in vain; the last answer that it got has the reason."""
    seen = getattr(error, "last_response", {})
    return one_line(str(seen.get("FailureReason") or error), 1024)


def _prepared(site: Site, image: str, say_step: Callable[[str], None], *, quiet: bool) -> dict[str, float]:
    """See that the image's runtime is built, so that training and serving are timed without it: {step: seconds} where it was not."""
    known = runtimes.runtimes_of(site)
    runtime = known.resolve(image)
    missing = [each.runtime for each in known.variants(runtime) if known.built(each.runtime) is None] if runtime else []
    if runtime is None or not missing:
        return {}
    say_step(f"the runtime {runtime.name} is built once, and kept for the next time")
    began = time.perf_counter()
    for each in missing:
        runtimes.ensure(known, each, quiet=quiet)
    return {f"build the runtime {runtime.name}": time.perf_counter() - began}
