"""From what fits on a machine to the grants that are stored of it, and back to the claims of its account. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from clary.domain.grants import HOST, REPLICA, Grant
from clary.domain.machine.capacity import Claim, Fit, Owner, owner_of
from clary.domain.resources import Record


def of_replica(machine: str, record: Record, replica: str, fit: Fit, since: float) -> Grant:
    """That of a replica of an endpoint or component."""
    return _grant(machine, record, replica, REPLICA, fit, since)


def of_hosts(machine: str, record: Record, fits: Sequence[tuple[str, Fit]], since: float) -> tuple[Grant, ...]:
    """Those of a job: one for each host, by the host's name."""
    return tuple(_grant(machine, record, host_key(record.arn, host), HOST, fit, since) for host, fit in fits)


def host_key(arn: str, host: str) -> str:
    """The key of the grant of a job's host."""
    return f"{arn}#{host}"


def fit_of(grant: Grant) -> Fit:
    """What it gives. Neither notes nor burst: they are taken from nobody."""
    return Fit(grant.cpu, grant.memory, grant.gpus, kept=grant.kept)


def same(grant: Grant, fit: Fit) -> bool:
    """Whether it gives just that."""
    return fit_of(grant) == Fit(fit.cpu, fit.memory, fit.gpus, kept=fit.kept)


def claims(grants: Iterable[Grant]) -> tuple[tuple[Claim, ...], tuple[Claim, ...]]:
    """(jobs, replicas) as an account has them: the hosts of a job are one claim, under its ARN."""
    jobs: dict[str, Claim] = {}
    replicas: list[Claim] = []
    for grant in grants:
        fit, owner = fit_of(grant), Owner(grant.kind, grant.name, grant.account, grant.region)
        if grant.use == REPLICA:
            replicas.append(Claim(grant.key, (fit,), grant.since, 0, owner))
        elif grant.arn in jobs:
            jobs[grant.arn] = replace(jobs[grant.arn], fits=(*jobs[grant.arn].fits, fit))
        else:
            jobs[grant.arn] = Claim(grant.arn, (fit,), grant.since, 0, owner)
    return tuple(jobs.values()), tuple(replicas)


def _grant(machine: str, record: Record, key: str, use: str, fit: Fit, since: float) -> Grant:
    whose = owner_of(record)
    owner = (whose.kind, whose.name, whose.account, whose.region)
    return Grant(key, machine, use, record.arn, *owner, fit.cpu, fit.memory, fit.gpus, fit.kept, since)
