"""Registers new versions of a server's registered models in SageMaker's registry: MLflow is asked, the API's own handlers make the rest."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from clary import unix_http
from clary.domain.errors import AlreadyExists, ClaryError, Invalid, Unavailable
from clary.domain.mlflow import registration, servers
from clary.domain.mlflow.registration import MlflowVersion
from clary.domain.resources import Record
from clary.ports import Operations

log = logging.getLogger(__name__)

PAGE = 200
_SECONDS = 30.0
_LONGEST = 4 << 20  # bytes of an answer


async def register(record: Record, socket: str, operations: Operations) -> tuple[int, list[str]] | None:
    """Make the model packages of versions that are new. Answers the time of the newest and the keys of those made then; None where
    nothing is new. Unavailable when MLflow does not answer: nothing is lost, the next look finds them."""
    since, known = int(record.document.get("registered", 0)), list(record.document.get("registered_keys") or ())
    fresh = registration.new(await _newest(record, socket, since), since, known)
    for each in fresh:
        await _make(record, await _located(record, socket, each), operations)
        known = [*(known if each.made == since else ()), each.key]
        since = each.made
    return (since, known) if fresh else None


async def _newest(record: Record, socket: str, since: int) -> list[MlflowVersion]:
    """All versions that were made at that time or later."""
    found: list[MlflowVersion] = []
    token = ""
    while True:
        asked = {"max_results": PAGE, "order_by": "creation_timestamp DESC", **({"page_token": token} if token else {})}
        answer = await _ask(record, socket, "model-versions/search", asked)
        page = registration.versions(answer)
        found += [each for each in page if each.made >= since]
        token = str(answer.get("next_page_token") or "")
        if not token or any(each.made < since for each in page):
            return found


async def _located(record: Record, socket: str, version: MlflowVersion) -> MlflowVersion:
    """With where its files lie: a version may come from a logged model, whose URI is MLflow's own."""
    asked = {"name": version.name, "version": version.number}
    answer = await _ask(record, socket, "model-versions/get-download-uri", asked)
    return replace(version, source=str(answer.get("artifact_uri") or version.source))


async def _make(record: Record, version: MlflowVersion, operations: Operations) -> None:
    """Once, whatever died in between. What the registry refuses is said in the log, and keeps no other from being registered."""
    group, package = registration.group_params(version, record), registration.package_params(version, record)
    try:
        try:
            await operations.call(
                "sagemaker", "CreateModelPackageGroup", group, parent=record, key=group["ModelPackageGroupName"]
            )
        except AlreadyExists:
            log.debug("%s: the group %s is there", record.arn, group["ModelPackageGroupName"])
        await operations.call("sagemaker", "CreateModelPackage", package, parent=record, key=version.key)
    except (Unavailable, TimeoutError):
        raise
    except ClaryError as error:
        log.warning("%s: %s is not registered: %s", record.arn, version.key, error.message)


async def _ask(record: Record, socket: str, what: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    target = f"{servers.prefix(record)}/api/2.0/mlflow/{what}?{urlencode(asked)}"
    body = bytearray()
    async with unix_http.exchange(socket, "GET", target, ((b"host", b"localhost"),), seconds=_SECONDS) as answer:
        async for piece in answer.pieces():
            body += piece
            if len(body) > _LONGEST:
                raise Unavailable(f"MLflow's answer to {what} is larger than {_LONGEST} bytes")
        if answer.status != 200:
            raise Unavailable(f"MLflow answered {answer.status} to {what}: {bytes(body[:200])!r}")
    try:
        found = json.loads(body)
    except ValueError as error:
        raise Invalid(f"MLflow's answer to {what} is no JSON") from error
    return dict(found)
