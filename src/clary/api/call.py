"""The argument of a handler: the caller, account and region, the time, and the ports. Independent of HTTP.

A handler is `async def create_endpoint(call: Call, params: Params) -> Params`: it reads and writes records and answers, and
never starts anything (loops do).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from clary.api.followers import Followers
from clary.api.functions import FunctionsDoor
from clary.domain.endpoints.topics import Allowed
from clary.domain.ids import arn as make_arn
from clary.domain.ids import code, uuid7, written
from clary.domain.machine.capacity import Machine
from clary.domain.resources import KINDS, Scope
from clary.feature_ports import FeatureRecords
from clary.ports import Artifacts, Clock, Datapoints, Fronts, Keys, Logs, Runtimes, Store, Topics

Params = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What of the settings handlers may know.

    `page_key` seals NextTokens (the same in every control plane of one installation). `hold_seconds` is how long a Describe
    from a waiting client is held at most (0 turns holding off)."""

    page_key: bytes = b"clary"
    hold_seconds: float = 20.0
    strict_fields: bool = False  # refuse fields that are only recorded
    capacity: str = "fit"  # fit | strict
    deadline: str = "model"  # model | aws: a prediction's 60 s stand, whatever the model's environment says
    machine: Machine | None = None  # what `strict` may reserve
    rollback_on_regression: float = (
        0.0  # false alarm rate of the comparison of an update's fleets; 0: they are not compared
    )
    latency_objective: float = 0.0  # seconds that real-time endpoints scale by where nobody asks otherwise; 0: none
    scaling_timing: str = "fast"  # fast | aws: which datapoints target tracking decides from
    address: str = "http://127.0.0.1:4600"  # where clients reach Clary: what URLs of queues begin with
    longest_poll: float = 20.0  # seconds that a receiver waits for a message at most
    sources: tuple[str, ...] = ()  # names of databases that processing jobs may ask
    subscribers: Allowed = field(default_factory=Allowed)  # where topics may deliver to


@dataclass(frozen=True, slots=True)
class Ports:
    """The world as handlers see it: one bundle per process, made in app/wiring."""

    store: Store
    artifacts: Artifacts
    runtimes: Runtimes
    logs: Logs
    datapoints: Datapoints
    keys: Keys
    fronts: Fronts
    clock: Clock
    topics: Topics
    features: FeatureRecords
    settings: ApiSettings = field(default_factory=ApiSettings)
    followers: Followers = field(default_factory=Followers)
    functions: FunctionsDoor = field(default_factory=FunctionsDoor)


@dataclass(frozen=True, slots=True)
class Call:
    """One request for one operation. `now` is wall time (epoch seconds), read once when the call arrived."""

    ports: Ports
    service: str
    operation: str
    scope: Scope
    principal: str  # ARN of the caller
    request_id: str = ""
    user_agent: str = ""
    retry_token: str = ""  # amz-sdk-invocation-id: the same in every attempt of a client at one call
    attempt: int = 0  # which attempt of the client this is, from 1; 0: it does not say
    parent: str = ""  # ARN of the record whose loop makes this call; "" for a client's
    made_by: str = ""  # what the record that this call makes is found by when the client asks again (`retries.py`)
    now: float = 0.0

    @property
    def store(self) -> Store:
        return self.ports.store

    @property
    def settings(self) -> ApiSettings:
        return self.ports.settings

    def scope_of(self, kind: str) -> Scope:
        """Where records of that kind live for this caller: the account's region, or region '' for global kinds."""
        return Scope(self.scope.account, "") if KINDS[kind].global_ else self.scope

    def arn(self, kind: str, name: str) -> str:
        """The ARN that a record of that kind and name has (or would have) in the caller's account and region."""
        row = KINDS[kind]
        return make_arn(row.service, self.scope_of(kind).region, self.scope.account, f"{row.tail}{row.separator}{name}")

    def shown(self, arn: str) -> str:
        """The ARN of a thing of all regions, as it is written in the caller's."""
        return written(arn, self.scope.region)

    def new_id(self) -> str:
        """A fresh UUIDv7, as text."""
        return str(uuid7(int(self.now * 1000), os.urandom(10)))

    def new_code(self, length: int) -> str:
        """Fresh lower-case letters and digits."""
        return code(os.urandom(length))
