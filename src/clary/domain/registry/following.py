"""Endpoints that follow an alias: which of them move now, and how. Pure.

A group's record has what was done for each endpoint (`followed`): the version and, once the update was asked for, the config. An endpoint
that turned an update back serves another config then, and is left alone until the alias moves again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.endpoints import regression
from clary.domain.models.containers import definitions
from clary.domain.models.packages import APPROVED
from clary.domain.registry import aliases
from clary.domain.resources import Record

FOLLOWERS = "aws:clary:followers"
IN_SERVICE = "InService"
RATE = "0.01"  # of the guard `clary:rollback-on-regression`, where a config has none
AGAIN = 30.0  # seconds until what was refused is tried again
CANARY: Mapping[str, Any] = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
            "WaitIntervalInSeconds": 30,
        },
        "TerminationWaitInSeconds": 0,
    }
}
"""How an endpoint moves that has no DeploymentConfig of its own."""
MOST_ALARMS = 10  # AWS's, of a DeploymentConfig


def guard_name(endpoint: str, variant: str) -> str:
    """The alarm that guards the moves of an endpoint, where there is one of that name: on the rolling accuracy of a variant."""
    return f"clary-accuracy-{endpoint}-{variant}"


@dataclass(frozen=True, slots=True)
class Follower:
    """An endpoint that follows an alias of the group. `models` are those of its config's variants, by variant; `config` is their config's
    record (None: it is gone). `packages`: model -> ARN of the package that it was made of, "" for none. `guards`: alarms of its own that
    are there (`guard_name`)."""

    endpoint: Record
    alias: str
    config: Record | None
    models: Mapping[str, Record] = field(default_factory=dict)
    guards: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.endpoint.name


@dataclass(frozen=True, slots=True)
class Seen:
    """`versions`: package records of the group by number, those that aliases name."""

    followers: tuple[Follower, ...] = ()
    versions: Mapping[int, Record] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Move:
    """Make models of the version, a config with them, and update the endpoint to it. Each request with the key that makes it once."""

    endpoint: str
    version: int
    config: str
    models: tuple[tuple[str, Mapping[str, Any]], ...]  # key -> CreateModel's parameters
    request: Mapping[str, Any]  # CreateEndpointConfig's
    update: Mapping[str, Any]  # UpdateEndpoint's


def packages_of(model: Record) -> frozenset[str]:
    """ARNs of the packages that a model was made of."""
    return frozenset(model.document.get("made_of", {}).values())


def decide(group: Record, seen: Seen) -> Decision[Move]:
    """Moves of the endpoints that serve another version of the group than the one that their alias names."""
    notes: dict[str, Any] = {
        name: note
        for name, note in group.document.get("followed", {}).items()
        if name in {each.name for each in seen.followers}
    }
    moves = []
    for follower in seen.followers:
        found = _wanted(group, seen, follower, notes.get(follower.name, {}))
        if isinstance(found, Move):
            moves.append(found)
        elif found is not None:
            notes[follower.name] = found
    again = AGAIN if any(note.get("why") for note in notes.values()) else None
    if notes == group.document.get("followed", {}):
        return Decision(group, tuple(moves), again=again)
    return Decision(_noted(group, notes), tuple(moves), again=again)


def _wanted(group: Record, seen: Seen, follower: Follower, note: Mapping[str, Any]) -> Move | Mapping[str, Any] | None:
    """The endpoint's move; or what is noted of it; None for nothing new."""
    number = aliases.version_of(group, follower.alias)
    package = seen.versions.get(number) if number is not None else None
    if number is None or package is None:
        return {"waits": f"alias {follower.alias} names no version"}
    if package.document["approval"] != APPROVED:
        return {"waits": f"version {number} is not approved"}
    if follower.endpoint.status != IN_SERVICE:
        return None  # its next change wakes the group
    if follower.config is None:
        return {"waits": "its endpoint config was deleted: update the endpoint to another one"}
    ours = {variant: model for variant, model in follower.models.items() if _of_group(group, model)}
    if not ours:
        return {"waits": f"no variant has a model of {group.name}: make one with CreateModel from a version"}
    if all(packages_of(model) == {package.arn} for model in ours.values()):
        known = note.get("version") == number and note.get("config") == follower.config.name
        return None if known else {"version": number, "config": follower.config.name}
    if note.get("version") == number and note.get("config"):
        return {**note, "back": True}  # the update was turned back
    return _move(group, follower, follower.config, ours, package)


def _of_group(group: Record, model: Record) -> bool:
    return any(arn.startswith(_beginning(group)) for arn in packages_of(model))


def _beginning(group: Record) -> str:
    """How ARNs of the group's versions begin."""
    return f"{group.arn.replace(':model-package-group/', ':model-package/', 1)}/"


def _move(group: Record, follower: Follower, config: Record, ours: Mapping[str, Record], package: Record) -> Move:
    number = package.document["version"]
    base = f"{follower.name[:36]}-v{number}"
    models: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for model in ours.values():
        name = f"{base}-{_short(model.arn, package.arn)}"
        models[model.name] = (name, _model(group, model, name, package.arn))
    request = dict(config.document["request"])
    for member in ("ProductionVariants", "ShadowProductionVariants"):
        if request.get(member):
            request[member] = [
                {**row, "ModelName": models[row["ModelName"]][0]} if row.get("ModelName") in models else row
                for row in request[member]
            ]
    request["EndpointConfigName"] = f"{base}-{_short(config.arn, package.arn)}"
    tags = {tag["Key"]: tag["Value"] for tag in config.document.get("tags", ())}
    tags.setdefault(regression.TAG, RATE)
    request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    own = follower.endpoint.document["plant"].get("deployment")
    guard: Mapping[str, Any] = {"RetainDeploymentConfig": True} if own else {"DeploymentConfig": CANARY}
    if follower.guards:
        guard = {"DeploymentConfig": _guarded(own or CANARY, follower.guards)}
    update = {
        "EndpointName": follower.name,
        "EndpointConfigName": request["EndpointConfigName"],
        "RetainAllVariantProperties": True,
        **guard,
    }
    made = tuple((f"follow {params['ModelName']}", params) for _, params in models.values())
    return Move(follower.name, number, request["EndpointConfigName"], made, request, update)


def _guarded(deployment: Mapping[str, Any], guards: tuple[str, ...]) -> Mapping[str, Any]:
    """The DeploymentConfig with these alarms beside its own."""
    back = deployment.get("AutoRollbackConfiguration") or {}
    names = [*(row["AlarmName"] for row in back.get("Alarms") or ()), *guards]
    alarms = [{"AlarmName": name} for name in list(dict.fromkeys(names))[:MOST_ALARMS]]
    return {**deployment, "AutoRollbackConfiguration": {**back, "Alarms": alarms}}


def _model(group: Record, model: Record, name: str, arn: str) -> Mapping[str, Any]:
    """CreateModel's parameters: those of the model before, of another version."""
    request = {**model.document["request"], "ModelName": name}
    made_of: Mapping[str, str] = model.document["made_of"]
    given = []
    for definition in definitions(request):
        before = made_of.get(definition.get("ModelPackageName", ""), "")
        given.append({**definition, "ModelPackageName": arn} if before.startswith(_beginning(group)) else definition)
    if request.get("PrimaryContainer"):
        request["PrimaryContainer"] = given[0]
    else:
        request["Containers"] = given
    return request


def _short(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8]


def moved(group: Record, move: Move, outcome: Unable | None, now: float) -> Record:
    """The group with what came of a move."""
    note: dict[str, Any] = {"version": move.version, "at": now}
    note |= {"why": outcome.why} if outcome is not None else {"config": move.config}
    return _noted(group, {**group.document.get("followed", {}), move.endpoint: note})


def _noted(group: Record, notes: Mapping[str, Any]) -> Record:
    """The group with these notes, and with a tag of Clary's own that tells them."""
    told = "; ".join(f"{name}: {_said(note)}" for name, note in sorted(notes.items()))
    system = {name: text for name, text in group.document.get("system_tags", {}).items() if name != FOLLOWERS}
    if told:
        system[FOLLOWERS] = told
    return replace(group, document={**group.document, "followed": dict(notes), "system_tags": system})


def _said(note: Mapping[str, Any]) -> str:
    if note.get("why"):
        return f"cannot move to version {note['version']}: {note['why']}"
    if note.get("back"):
        return f"turned the update to version {note['version']} back; it is tried again when the alias has moved"
    return f"waits: {note['waits']}" if note.get("waits") else f"version {note['version']} by config {note['config']}"
