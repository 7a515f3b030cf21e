"""Grants: what jobs and replicas were given of a machine, as stored. Pure values; `ports.Grants` keeps them.

A grant is one row: a host of a job, or a replica, has so much of one machine. All grants of a machine share its version, which each write
of them raises, so that what was decided by an older version is refused: two control planes never give the same memory twice. Measured use
is not stored, nor what waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from clary.domain.machine.capacity import Claim, Fit, Owner

HOST, REPLICA = "host", "replica"


@dataclass(frozen=True, slots=True)
class Grant:
    """`key` names the host of a job or the replica, `arn` and `owner` the record that it belongs to. `fit` has neither notes nor burst:
    they are not taken from anybody. `since`: epoch seconds. `version` counts the writes of this row (0: not stored yet)."""

    key: str
    machine: str
    use: str  # HOST | REPLICA
    arn: str
    owner: Owner
    fit: Fit
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

    machine: str
    version: int
    take: tuple[Grant, ...] = ()
    release: tuple[str, ...] = ()


def taken(fit: Fit) -> Fit:
    """What of a fit is taken from others."""
    return Fit(fit.cpu, fit.memory, fit.gpus, kept=fit.kept)


def host_key(arn: str, host: str) -> str:
    """The key of the grant of a job's host."""
    return f"{arn}#{host}"


def of_replica(machine: str, replica: str, arn: str, owner: Owner, fit: Fit, since: float) -> Grant:
    return Grant(replica, machine, REPLICA, arn, owner, taken(fit), since)


def of_hosts(machine: str, arn: str, owner: Owner, fits: Sequence[tuple[str, Fit]], since: float) -> tuple[Grant, ...]:
    """Those of a job: one for each host, by name."""
    return tuple(Grant(host_key(arn, host), machine, HOST, arn, owner, taken(fit), since) for host, fit in fits)


def claims(grants: Iterable[Grant]) -> tuple[tuple[Claim, ...], tuple[Claim, ...]]:
    """(jobs, replicas) as an account has them: the hosts of a job are one claim, under its ARN."""
    jobs: dict[str, Claim] = {}
    replicas: list[Claim] = []
    for grant in grants:
        if grant.use == REPLICA:
            replicas.append(Claim(grant.key, (grant.fit,), grant.since, 0, grant.owner))
        elif grant.arn in jobs:
            before = jobs[grant.arn]
            jobs[grant.arn] = replace(before, fits=(*before.fits, grant.fit), since=max(before.since, grant.since))
        else:
            jobs[grant.arn] = Claim(grant.arn, (grant.fit,), grant.since, 0, grant.owner)
    return tuple(jobs.values()), tuple(replicas)
