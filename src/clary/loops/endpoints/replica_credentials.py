"""A replica's AWS credentials: short-lived keys of its model's role, in a file that its AWS clients read again before they end.

Owns the files `aws-config` and `aws-credentials.json` among what a replica reads, and when the keys in them are renewed: they are a secret
beside its workload, and later a text that the backend writes. On AWS the instance renews them. Here AWS's own configuration names a
`credential_process`, which every SDK knows: it prints the file. A real image gets its keys in the environment: it may have nothing that
could print a file. Does not know policies: a key may do what its account may.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clary.domain.access.roles import assumed_arn, parse_role
from clary.domain.endpoints.fleets import PLANNED, STOPPING, Plant, Replica
from clary.domain.machine.workload import Observation, RunState
from clary.domain.models.containers import Container
from clary.domain.resources import Record
from clary.loops.endpoints.replica_places import SPEC, SPEC_FILES
from clary.ports import Backend, Clock, Credential, Keys

LIFE = 12 * 3600.0  # of the keys in a file
RENEWED = LIFE / 2  # as old they get there, while a control plane runs
LIFE_IN_ENVIRONMENT = 30 * 86400.0  # of those that nothing renews

KEYS = "aws-credentials.json"
CONFIG = f"[default]\ncredential_process = /bin/cat {SPEC}/{KEYS}\n"


@dataclass(frozen=True, slots=True)
class ReplicaKeys:
    """What a replica's workload gets of credentials: of its environment; texts among what it reads; which of that are secrets (path ->
    name); and the secrets, of which those that no path names are variables."""

    environment: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class ReplicaCredentials:
    """Those of all replicas of one loop."""

    def __init__(self, keys: Keys, clock: Clock, backend: Backend[Any]) -> None:
        self._keys = keys
        self._clock = clock
        self._backend = backend
        self._written: dict[str, float] = {}  # replica's id -> when its keys were made

    def first(self, record: Record, id_: str, container: Container, image: bool) -> ReplicaKeys:
        """Those that it starts with. Nothing for a model without a role or a network."""
        if not _entitled(container):
            return ReplicaKeys()
        if image:
            issued = self._issue(record, container, LIFE_IN_ENVIRONMENT)
            names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
            values = (issued.access_key_id, issued.secret, issued.session_token)
            return ReplicaKeys(secrets=dict(zip(names, values, strict=True)))
        keys = self._document(record, id_, container)
        config = {"aws-config": CONFIG}
        return ReplicaKeys({"AWS_CONFIG_FILE": f"{SPEC}/aws-config"}, config, {KEYS: KEYS}, {KEYS: keys})

    def due(self, plant: Plant, runs: Mapping[str, Observation | None]) -> tuple[str, ...]:
        """Replicas that run, of which the keys have half of their time left, or were made before this process."""
        now = self._clock.now()
        return tuple(
            replica.id
            for replica, _ in _with_files(plant)
            if (run := runs.get(replica.id)) is not None
            and run.state is RunState.RUNNING
            and now - self._written.get(replica.id, float("-inf")) >= RENEWED
        )

    async def renew(self, record: Record, plant: Plant, replicas: Collection[str]) -> None:
        """New keys for these, as far as the plant has them."""
        for replica, container in _with_files(plant):
            if replica.id in replicas:
                keys = {KEYS: self._document(record, replica.id, container)}
                await self._backend.write(replica.handle, SPEC_FILES, keys)

    def forget(self, id_: str) -> None:
        self._written.pop(id_, None)

    def _document(self, record: Record, id_: str, container: Container) -> str:
        """What the file of keys says, with keys that are made now."""
        issued = self._issue(record, container, LIFE)
        assert issued.expires is not None
        document = {
            "Version": 1,
            "AccessKeyId": issued.access_key_id,
            "SecretAccessKey": issued.secret,
            "SessionToken": issued.session_token,
            "Expiration": datetime.fromtimestamp(issued.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        self._written[id_] = self._clock.now()
        return json.dumps(document)

    def _issue(self, record: Record, container: Container, seconds: float) -> Credential:
        parsed = parse_role(container.role)
        assert parsed is not None
        principal = assumed_arn(record.scope.account, parsed[2], "SageMaker")
        return self._keys.issue(record.scope.account, principal, seconds, self._clock.now())


def _with_files(plant: Plant) -> Iterator[tuple[Replica, Container]]:
    """The replicas that run and have keys in a file, each with its container."""
    for fleet in plant.fleets:
        for variant in fleet.variants:
            if not _entitled(variant.container) or not variant.prepared or variant.prepared.get("image"):
                continue
            for replica in variant.replicas:
                if replica.handle and replica.phase not in (PLANNED, STOPPING):
                    yield replica, variant.container


def _entitled(container: Container) -> bool:
    return parse_role(container.role) is not None and not container.isolated
