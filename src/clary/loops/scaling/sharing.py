"""Each second, after the endpoints on Clary's own policy have decided: shares out the CPUs of a full machine.

Owns what each of them claims, what its workers were measured to cost, and the ceilings that its front was told. `domain/scaling/sharing`
shares out, as in the simulator. While all of them fit nobody is told anything. A ceiling lapses by itself when this process is gone, so
it is told again every few seconds, and nothing of it is in a record. Of several control planes on one machine each shares out what the
endpoints of the others leave.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from clary.domain.endpoints.routes import Ceiling
from clary.domain.machine.capacity import Book, Part
from clary.domain.machine.usage import Used
from clary.domain.scaling.costs import Cost, Strain, busy_seconds, is_full, learn
from clary.domain.scaling.samples import Key, Recent
from clary.domain.scaling.shared_cpu import cpus_left, owner_of, parts
from clary.domain.scaling.sharing import Claim, ceilings
from clary.domain.scaling.signals import STALE
from clary.ports import Clock, Fronts

LASTS, RENEWED = 10.0, 3.0  # seconds that a front keeps to a ceiling, and after which it is told again
LATELY = 10.0  # seconds after a cut in which nothing grows: ceilings come and go with the load's bursts
SECOND = 0.5  # the least that says whether CPUs are idle
FORGOTTEN = 30.0  # seconds after which what others use is not known any more


@dataclass(frozen=True, slots=True)
class SharingPorts:
    """`cpus` of the machine, `idle` the seconds that they were idle, together and ever; `book` is the account of the machine (None: there
    is none), `tell` writes into it what was cut."""

    fronts: Fronts
    clock: Clock
    cpus: Callable[[], int]
    idle: Callable[[], float]
    book: Callable[[], Book | None]
    tell: Callable[[tuple[Part, ...]], None]


@dataclass(slots=True)
class _Tenant:
    key: Key
    claim: Claim | None
    recent: Recent | None
    decided: float


class Sharing:
    """`hear` of a second, then `decided` for each that is told of; `run` shares out when all have. `use` now and then."""

    def __init__(self, ports: SharingPorts) -> None:
        self._ports = ports
        self._tenants: dict[str, _Tenant] = {}
        self._open: set[str] = set()  # of which the decision of this second is not there yet
        self._all = asyncio.Event()
        self._costs: dict[Key, Cost] = {}
        self._others: dict[Key, float] = {}  # CPUs that each variant uses
        self._used_at, self._idle = -math.inf, 0.0
        self._full = False  # by the last look at what is used
        self._scarce = False  # by the last second
        self._second = -math.inf, 0.0  # when that was, and what was idle until then
        self._told: dict[Key, int] = {}  # ceilings in force
        self._wanted: dict[Key, int] = {}
        self._renewed = -math.inf
        self._parts: tuple[Part, ...] = ()
        self._cut: dict[Key, float] = {}  # when each was cut last

    # -- what is known ------------------------------------------------------------------------------------------------------------

    def hear(self, arns: Iterable[str]) -> None:
        """A second was counted: these are going to decide by it. Who has not decided by the last one claims what it did."""
        left, self._open = self._open, set(arns)
        if left or not self._open:
            self._all.set()

    def decided(self, arn: str, key: Key, claim: Claim | None, recent: Recent | None) -> None:
        """A variant's decision of this second. `claim` None: it claims nothing."""
        self._tenants[arn] = _Tenant(key, claim, recent, self._ports.clock.monotonic())
        if arn in self._open:
            self._open.discard(arn)
            if not self._open:
                self._all.set()

    def gone(self, arn: str) -> None:
        """It has no objective any more, or another control plane looks after it."""
        self._tenants.pop(arn, None)
        self._open.discard(arn)

    def use(self, used: Mapping[Key, Used]) -> None:
        """What the replicas of every variant used since the last look."""
        now, idle = self._ports.clock.monotonic(), self._ports.idle()
        seconds = now - self._used_at
        if seconds < FORGOTTEN:
            together = sum(each.used for each in used.values())
            self._full = is_full(self._ports.cpus(), seconds, idle - self._idle, together)
            for tenant in self._tenants.values():
                spent, recent = used.get(tenant.key), tenant.recent
                # where the kernel does not tell who waits nothing is learnt of a full machine
                blind = self._full and spent is not None and not spent.waited
                if spent is not None and not blind and recent is not None and recent.samples:
                    since = recent.samples[-1].time - seconds
                    busy = busy_seconds(recent.samples, since, recent.working)
                    self._costs[tenant.key] = learn(self._costs.get(tenant.key, Cost()), spent, busy)
        self._used_at, self._idle = now, idle
        self._others = {key: each.cpus for key, each in used.items()}
        ours = {tenant.key for tenant in self._tenants.values()}
        self._costs = {key: cost for key, cost in self._costs.items() if key in ours}
        self._cut = {key: at for key, at in self._cut.items() if key in ours}

    def strain(self, key: Key) -> Strain:
        """What the machine's fullness means for a variant."""
        cost = self._costs.get(key, Cost())
        waits = cost.waits if self._full else 0.0
        cut = self._ports.clock.monotonic() - self._cut.get(key, -math.inf) < LATELY
        # what a worker costs is known some seconds after the first ones work: until then nothing grows
        full = cut or (self._full and cost.starved) or (self._scarce and not cost.worker)
        return Strain(cost.worker, self._told.get(key, 0), self._wanted.get(key, 0), waits, full)

    # -- sharing out --------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        while True:
            await self._all.wait()
            self._all.clear()
            await self.share()

    async def share(self) -> None:
        """Share out by what is claimed now, and tell the fronts what is new of it."""
        now = self._ports.clock.monotonic()
        self._look(now)
        claims = {
            tenant.key: tenant.claim
            for tenant in self._tenants.values()
            if tenant.claim is not None and now - tenant.decided <= STALE
        }
        cuts = self._cuts(claims, now)
        due = now - self._renewed >= RENEWED
        rows = [Ceiling(*key, cut) for key, cut in cuts.items() if due or self._told.get(key) != cut]
        rows += [Ceiling(*key, 0) for key in self._told if key not in cuts]
        if due and cuts:
            self._renewed = now
        self._told = cuts
        self._wanted = {key: claims[key].wanted for key in cuts}
        self._cut |= dict.fromkeys(cuts, now)
        made = parts(claims, cuts)
        if made != self._parts:
            self._parts = made
            self._ports.tell(made)
        if rows:
            await self._ports.fronts.bound(rows, LASTS)

    def _look(self, now: float) -> None:
        """Whether any CPU was idle in the last second or so."""
        (before, was), idle = self._second, self._ports.idle()
        if now - before >= SECOND:
            self._scarce = now - before < FORGOTTEN and is_full(self._ports.cpus(), now - before, idle - was, 0.0)
            self._second = now, idle

    def _cuts(self, claims: Mapping[Key, Claim], now: float) -> dict[Key, int]:
        if sum(claim.cpus for claim in claims.values()) <= 1.0:
            return {}  # any machine has that
        book = self._ports.book()
        if book is None:
            left = float(self._ports.cpus())
        else:
            fresh = now - self._used_at < FORGOTTEN
            others = sum(cpus for key, cpus in self._others.items() if fresh and key not in claims)
            left = cpus_left(book, {owner_of(key) for key in claims}, others)
        granted = ceilings(tuple(claims.values()), left)
        return {key: most for key, most in zip(claims, granted, strict=True) if most}
