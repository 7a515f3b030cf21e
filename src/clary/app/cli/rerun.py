"""`clary rerun JOB --set max_depth=5`: a new training job from the request of another one, with changes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from clary.app.cli import recreate
from clary.app.cli.client import Client
from clary.app.cli.history import one_line
from clary.app.cli.output import FAILED, USAGE, CommandRefused, say, say_json
from clary.app.cli.site import here

LONGEST = 63  # characters of a job's name
ENDED = ("Completed", "Failed", "Stopped")
LOOK = 0.5  # seconds between looks at a job that is waited for
Request = dict[str, Any]


def rerun(
    directory: str | None, job: str, changes: Sequence[str], name: str | None, *, wait: bool, as_json: bool
) -> None:
    site = here(directory)
    client = site.client()
    try:
        kind, called, seen = recreate.find(
            client, job if job.startswith("arn:") or "/" in job else f"training-job/{job}"
        )
        if kind.noun != "training-job":
            raise CommandRefused(f"{job} is of kind {kind.noun}; training jobs can be run again", USAGE)
        shape = recreate.members_of()("CreateTrainingJob")
        request = {**recreate.request_of(kind, seen, shape), **recreate.tags_of(client, kind, seen)}
        request = changed(request, changes, shape)
        request["TrainingJobName"] = name or named(called, time.time())
        client.call("sagemaker", "CreateTrainingJob", request)
        end = _wait(client, request["TrainingJobName"]) if wait else {}
    finally:
        client.close()
    answer = {"TrainingJobName": request["TrainingJobName"], **end}
    if as_json:
        say_json(answer)
    else:
        say(" ".join(answer[name] for name in ("TrainingJobName", "TrainingJobStatus") if name in answer))
    if end.get("TrainingJobStatus", "Completed") != "Completed":
        why = one_line(end.get("FailureReason", ""), 1024)
        raise CommandRefused(f"{answer['TrainingJobName']} {end['TrainingJobStatus']}: {why}".rstrip(": "), FAILED)


def _wait(client: Client, job: str) -> dict[str, str]:
    while True:
        seen = client.call("sagemaker", "DescribeTrainingJob", {"TrainingJobName": job})
        if seen["TrainingJobStatus"] in ENDED:
            return {name: seen[name] for name in ("TrainingJobStatus", "FailureReason") if name in seen}
        time.sleep(LOOK)


def named(job: str, now: float) -> str:
    """Another job's name with the time after it, where an earlier rerun's time gives way: `xgb-2026-11-27-09-15-02`."""
    stamp = time.strftime("-%Y%m%d-%H%M%S", time.gmtime(now))
    base, _, day = job.rpartition("-")[0].rpartition("-")
    if base and len(day) == 8 and day.isdigit():
        job = base
    return job[: LONGEST - len(stamp)].rstrip("-") + stamp


def changed(request: Request, changes: Sequence[str], shape: Any) -> Request:
    """The request with `KEY=VALUE` changes: KEY is a member of CreateTrainingJob's request (`ResourceConfig.InstanceType`), else a
    hyperparameter. Refused where a member does not take the value."""
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise CommandRefused(f"--set takes KEY=VALUE, not {change!r}", USAGE)
        path = key.split(".")
        if path[0] in shape.members and path[0] != "HyperParameters":
            request = _put(request, path, value, shape, key)
        else:
            name = key.removeprefix("HyperParameters.")
            known = dict(request.get("HyperParameters") or {})
            request = {**request, "HyperParameters": {**known, name: encoded(known, name, value)}}
    return request


def encoded(known: Mapping[str, str], name: str, value: str) -> str:
    """A hyperparameter as the SDK would send it: in script mode values are JSON, so that text has quotes."""
    if "sagemaker_program" not in known and "sagemaker_submit_directory" not in known:
        return value
    old = known.get(name, "")
    if not old.startswith('"'):
        try:
            json.loads(value)
            return value
        except ValueError:
            pass
    return json.dumps(value)


def _put(request: Mapping[str, Any], path: Sequence[str], value: str, shape: Any, key: str) -> Request:
    member = shape.members.get(path[0]) if shape.type_name == "structure" else None
    if member is None:
        raise CommandRefused(f"--set {key}: there is no {path[0]} in {shape.name}", USAGE)
    if len(path) > 1:
        if member.type_name not in ("structure", "map"):
            raise CommandRefused(f"--set {key}: {path[0]} has no members", USAGE)
        inner = request.get(path[0]) or {}
        new = {**inner, path[1]: value} if member.type_name == "map" else _put(inner, path[1:], value, member, key)
        return {**request, path[0]: new}
    return {**request, path[0]: _typed(value, member, key)}


def _typed(value: str, shape: Any, key: str) -> Any:
    if shape.type_name == "string":
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise CommandRefused(f"--set {key}: {shape.type_name} is given as JSON, and {value!r} is not", USAGE) from None
