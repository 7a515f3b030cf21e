"""Who holds a place on this machine and who waits: a projection of the training jobs' records and of replicas, kept in memory.

Filled from the store at first use and by `Store.watch` from then on, so a successor of a killed control plane sees the same places.
"""

from __future__ import annotations

from collections.abc import Sequence

from clary.domain import training
from clary.domain.capacity import Claim, Fit
from clary.domain.jobs import ACTIVE, KIND
from clary.domain.resources import Record


class Ledger:
    """Claims of jobs that were granted a place, and the order of those that wait. One event loop's thread only."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._waiting: dict[str, tuple[float, str]] = {}
        self._replicas: dict[str, Claim] = {}

    def note(self, record: Record) -> None:
        """Take in a record as stored."""
        if record.kind != KIND:
            return
        if record.status not in ACTIVE:
            self.release(record.arn)
        elif record.document["phase"] == "starting":
            self._waiting[record.arn] = (record.created, record.arn)
            self._claims.pop(record.arn, None)
        else:
            self._waiting.pop(record.arn, None)
            if record.arn not in self._claims and "fits" in record.document:
                self._claims[record.arn] = _claim(record)

    def reserve(self, claim: Claim) -> None:
        self._waiting.pop(claim.key, None)
        self._claims[claim.key] = claim

    def release(self, arn: str) -> None:
        self._claims.pop(arn, None)
        self._waiting.pop(arn, None)

    def claims(self, but: str) -> tuple[Claim, ...]:
        """Places held by others than `but`."""
        return tuple(claim for arn, claim in self._claims.items() if arn != but)

    def hold(self, replica: str, fit: Fit, since: float) -> None:
        """A replica takes its place."""
        self._replicas.setdefault(replica, Claim(replica, (fit,), since))

    def drop(self, replica: str) -> None:
        self._replicas.pop(replica, None)

    def reserved(self, but: str) -> tuple[Claim, ...]:
        """Places of jobs and replicas: what the policy `strict` counts. (`fit` counts replicas by the memory they use.)"""
        return (*self.claims(but), *(claim for replica, claim in self._replicas.items() if replica != but))

    def ahead(self, record: Record) -> int:
        """How many waiting jobs came before this one."""
        mine = (record.created, record.arn)
        return sum(1 for place in self._waiting.values() if place < mine)

    def waiting(self) -> Sequence[str]:
        """ARNs of those that wait, first come first."""
        return [arn for _, arn in sorted(self._waiting.values())]


def _claim(record: Record) -> Claim:
    by_type = {
        kind: Fit(float(fit["cpu"]), int(fit["memory"]), int(fit["gpus"]))
        for kind, fit in record.document["fits"].items()
    }
    fits = tuple(by_type[host.instance_type] for host in training.hosts(record.document["request"]))
    since = float(record.document.get("run_started") or record.document.get("started") or record.created)
    return Claim(record.arn, fits, since)
