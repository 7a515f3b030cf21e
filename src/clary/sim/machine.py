"""Several endpoints on one finite machine: their runs side by side, each with its own policy, all with the same CPU.

Owns how free CPU is handed out. First come, first served while there is any; where the policy is ours, by `domain.scaling.sharing` when
there is not. A replica that finds no room for its start waits; what is running is never taken away, only not given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clary.domain.scaling.sharing import claim, shares
from clary.domain.scaling.signals import Desired, Policy
from clary.sim import events
from clary.sim.run import Run, RunResult, World
from clary.sim.traces import Requests

STEP = 0.1  # seconds between two looks at what is free


@dataclass
class Tenant:
    """One endpoint's run and its policy."""

    policy: Policy
    run: Run
    due: float = 0.0
    grant: int = events.WORKERS
    desired: Desired | None = None

    @property
    def held(self) -> int:
        """Workers that are reserved."""
        counts = self.run.state["counts"]
        return int(max(counts[events.ALLOWED], counts[events.BUSY]))

    @property
    def starting(self) -> float:
        """Workers that starting replicas hold."""
        state = self.run.state
        return float(state["counts"][events.STARTING] * state["order"][events.READY_COST])


def machine(
    policies: Sequence[Policy], requests: Sequence[Requests], workers: int, world: World, sharing: bool
) -> list[RunResult]:
    """All of them together, as long as the longest. With `sharing` a full machine is shared out by marginal late requests each second."""
    tenants = [Tenant(policy, Run(asked, world)) for policy, asked in zip(policies, requests, strict=True)]
    for tenant in tenants:
        tenant.due = tenant.run.next(0.0)
    for step in range(1, round(max(tenant.run.end for tenant in tenants) / STEP) + 1):
        now = round(step * STEP, 6)
        turn = step % len(tenants)
        free = workers - sum(tenant.held + tenant.starting for tenant in tenants)
        for tenant in (*tenants[turn:], *tenants[:turn]):
            if now > tenant.run.end:
                continue
            held = tenant.held
            tenant.run.state["order"][events.HOST] = max(0.0, min(tenant.grant, held + max(0.0, free)))
            tenant.run.advance(now)
            free -= tenant.held - held
            if now >= tenant.due:
                free -= _decide(tenant, now, free)
        if sharing and step % round(1 / STEP) == 0:
            _share(tenants, workers)
    return [tenant.run.result() for tenant in tenants]


def _decide(tenant: Tenant, now: float, free: float) -> float:
    """One decision; how many more workers its starts hold."""
    before = tenant.starting
    cost = max(1.0, tenant.run.state["order"][events.READY_COST])
    tenant.desired = tenant.run.decide(tenant.policy, now, max(0, int(free // cost)))
    tenant.due = tenant.run.next(now)
    return tenant.starting - before


def _share(tenants: Sequence[Tenant], workers: int) -> None:
    claims = [
        claim(tenant.desired, last, tenant.run.requests.objective, last.in_flight - last.queued)
        for tenant in tenants
        if tenant.desired is not None and (last := tenant.run.samples[-1])
    ]
    starting = sum(tenant.starting for tenant in tenants)
    granted = shares(claims, int(workers - starting)) if len(claims) == len(tenants) else None
    for place, tenant in enumerate(tenants):
        tenant.grant = events.WORKERS if granted is None else granted[place]
