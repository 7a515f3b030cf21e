"""Grants: what jobs and replicas were given of a machine, as stored. Values only; `ports.Grants` keeps them, `machine/grants.py` makes and
reads them.

A grant is one row: a host of a job, or a replica, has so much of one machine. All grants of a machine share its version, which each write
of them raises, so that what was decided by an older version is refused: two control planes never give the same memory twice. Measured use
is not stored, nor what waits.
"""

from __future__ import annotations

from dataclasses import dataclass

HOST, REPLICA = "host", "replica"


@dataclass(frozen=True, slots=True)
class Grant:
    """`key` names the host of a job or the replica. `arn` is that of the record that it belongs to, then come its kind and name as users
    know them, and its namespace. vCPU, bytes, GPUs; `kept`: bytes of its memory that it is sure to use. `since`: epoch seconds. `version`
    counts the writes of this row (0: not stored yet)."""

    key: str
    machine: str
    use: str  # HOST | REPLICA
    arn: str
    kind: str
    name: str
    account: str
    region: str
    cpu: float
    memory: int
    gpus: int
    kept: int
    since: float
    version: int = 0


@dataclass(frozen=True, slots=True)
class Granted:
    """All grants of a machine, as they were when it had this version (0: none was ever written)."""

    machine: str
    version: int
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class GrantChange:
    """One guarded write. `take` adds or replaces grants, and is refused (Stale) unless the machine still has `version`; `release` removes
    those of these keys whatever the version is: nobody decided anything by what is free again."""

    machine: str = ""
    version: int = 0
    take: tuple[Grant, ...] = ()
    release: tuple[str, ...] = ()
