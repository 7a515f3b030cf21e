"""`clary export`: the calls that make a resource again, as a boto3 script, as AWS CLI commands, or as Terraform blocks."""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Sequence

from clary.app.cli import recreate
from clary.app.cli.output import USAGE, CommandRefused, say, say_json
from clary.app.cli.recreate import CreateCall, snake
from clary.app.cli.site import here
from clary.app.cli.terraform import terraform

FORMS = ("boto3", "cli", "terraform")
_HEAD = "# Made by `clary export {resource}`. The data that it names in S3 is not part of it."


def export(directory: str | None, resource: str, form: str, role: str, *, as_json: bool) -> None:
    if form not in FORMS:
        raise CommandRefused(f"--as is one of {', '.join(FORMS)}, not {form!r}", USAGE)
    site = here(directory)
    client = site.client()
    try:
        steps = [recreate.with_role(step, role) for step in recreate.steps(client, resource)]
    finally:
        client.close()
    if as_json:
        say_json([{"operation": step.operation, "request": step.request} for step in steps])
        return
    head = _HEAD.format(resource=resource)
    text = {"boto3": boto3, "cli": cli, "terraform": terraform}[form](steps)
    say(f"#!/bin/sh\n{head}\nset -e\n\n{text}" if form == "cli" else f"{head}\n\n{text}")


def boto3(steps: Sequence[CreateCall]) -> str:
    """A Python script. Credentials, region and endpoint are the environment's."""
    parts = ['import boto3\n\nsagemaker = boto3.client("sagemaker")\n']
    waited: set[str] = set()
    for step in steps:
        if (endpoint := recreate.waits_for(step)) not in ("", *waited):
            waited.add(endpoint)
            parts.append(f'sagemaker.get_waiter("endpoint_in_service").wait(EndpointName={endpoint!r})')
        arguments = ",\n".join(
            f"    {name}={_indented(pprint.pformat(value, width=110, sort_dicts=False))}"
            for name, value in step.request.items()
        )
        parts.append(f"sagemaker.{snake(step.operation)}(\n{arguments},\n)")
    return "\n".join(parts)


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def cli(steps: Sequence[CreateCall]) -> str:
    """Commands of a shell, each with its whole request."""
    lines, waited = [], set[str]()
    for step in steps:
        if (endpoint := recreate.waits_for(step)) not in ("", *waited):
            waited.add(endpoint)
            lines.append(f"aws sagemaker wait endpoint-in-service --endpoint-name {shlex.quote(endpoint)}")
        verb, request = snake(step.operation).replace("_", "-"), shlex.quote(json.dumps(step.request))
        lines.append(f"aws sagemaker {verb} --cli-input-json {request}")
    return "\n".join(lines)
