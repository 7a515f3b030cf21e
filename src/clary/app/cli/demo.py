"""`clary demo`: starts a Clary of its own (or uses a running one), runs the demo with plain boto3, shows what came out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from clary.app import up as running
from clary.app.cli.output import plain, say, say_json
from clary.app.cli.site import Site, find
from clary.app.settings import load
from clary.domain.roles import default_role_arn


def demo(directory: str | None, *, as_json: bool) -> None:
    with _clary(directory, as_json) as site:
        if not as_json:
            say(f"Clary is at {site.settings.endpoint}")
        result = _run(site, (lambda text: None) if as_json else (lambda text: say(f"   {plain(text)}")))
    if as_json:
        say_json(result)
        return
    say()
    for step, seconds in result["seconds"].items():
        say(f"{seconds:8.2f} s  {step}")
    say(f"accuracy {result['accuracy']:.3f}; nothing is left running")


@contextmanager
def _clary(directory: str | None, quiet: bool) -> Iterator[Site]:
    """The Clary of that folder; without one, a fresh one on a free port that forgets everything at the end."""
    if directory is not None:
        site = find(directory)
        site.require()
        yield site
        return
    with tempfile.TemporaryDirectory(prefix="clary-demo-") as folder:
        # Built runtimes are kept where a `clary up` without --dir keeps them: the second demo is quick.
        settings = load({"dir": folder, "port": 0, "environments": str(load().environments_folder)})
        if not quiet:
            say("starting Clary")
        running.detached(settings)
        try:
            yield find(folder)
        finally:
            running.down(settings)


def _run(site: Site, say_step: Callable[[str], None]) -> dict[str, Any]:
    import boto3
    from botocore.config import Config

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

    bucket = settings.default_bucket
    shown = Demo(client, settings.region, bucket, default_role_arn(settings.account), say_step)
    return dict(shown.run())
