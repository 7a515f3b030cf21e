"""The conformance class of the `Fronts` port, and the fake in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from clary.domain.endpoints.routes import (
    Boost,
    Ceiling,
    EndpointRoute,
    EndpointView,
    ReplicaRoute,
    ReplicaView,
    VariantRoute,
    VariantView,
)
from clary.domain.metrics.counts import Count, Signals, VariantCounts
from clary.ports import Fronts

WAIT_SECONDS = 10.0
ACCOUNT, REGION = "000000000000", "us-east-1"

EndpointKey = tuple[str, str, str]


class MemoryFronts:
    """`ports.Fronts` that serves nobody: `become` says what a replica's state is now. `away` makes it unreachable."""

    def __init__(self) -> None:
        self.routes: dict[EndpointKey, EndpointRoute] = {}
        self.revoked: list[str] = []
        self.away = False
        self.counted: dict[tuple[str, str, str, str], VariantCounts] = {}  # what tests say that a variant has counted
        self.ceilings: dict[tuple[str, str, str, str], int] = {}  # that are in force
        self.bounds: list[tuple[Ceiling, ...]] = []  # all that was told
        self._replicas: dict[str, ReplicaView] = {}
        self._listeners: list[Callable[[str, str, str], None]] = []

    async def put(self, route: EndpointRoute) -> None:
        key = (route.account, route.region, route.name)
        known = self.routes.get(key)
        if known is None or known.revision <= route.revision:
            self.routes[key] = route

    async def drop(self, account: str, region: str, name: str) -> None:
        self.routes.pop((account, region, name), None)

    async def observe(self, account: str, region: str, name: str) -> EndpointView | None:
        route = self.routes.get((account, region, name))
        if route is None or self.away:
            return None
        variants = tuple(
            VariantView(
                variant.name,
                tuple(self._replicas.get(r.id, ReplicaView(r.id, "absent")) for r in variant.replicas),
                in_flight=sum(self._replicas[r.id].in_flight for r in variant.replicas if r.id in self._replicas),
                key=variant.key,
                fleet=variant.fleet,
            )
            for variant in route.variants
        )
        return EndpointView(account, region, name, route.revision, variants)

    async def counts(self) -> Count:
        if self.away:
            return Count((), False)
        found = [
            self.counted.get(
                (*key, variant.key),
                VariantCounts(
                    *key, variant.name, variant.key, variant.fleet, "born", signals=self._signals(key, variant)
                ),
            )
            for key, route in self.routes.items()
            for variant in route.variants
        ]
        return Count(tuple(found))

    def _signals(self, key: EndpointKey, variant: VariantRoute) -> Signals | None:
        if variant.boost is None:
            return None
        seen = {r.id: self._replicas.get(r.id) for r in variant.replicas}
        supply = sum(r.allowance for r in variant.replicas if (view := seen[r.id]) is not None and view.workers)
        return Signals(ceiling=max(1, min(supply, self.ceilings.get((*key, variant.name)) or supply)))

    async def bound(self, ceilings: Sequence[Ceiling], seconds: float) -> None:
        self.bounds.append(tuple(ceilings))
        for ceiling in ceilings:
            self.ceilings.pop(ceiling[:4], None)
            if ceiling.workers and ceiling[:3] in self.routes:
                self.ceilings[ceiling[:4]] = ceiling.workers
                asyncio.get_running_loop().call_later(seconds, self._lapse, ceiling)

    def _lapse(self, ceiling: Ceiling) -> None:
        if self.ceilings.get(ceiling[:4]) == ceiling.workers:
            del self.ceilings[ceiling[:4]]

    async def revoke(self, access_key_id: str) -> None:
        self.revoked.append(access_key_id)

    def watch(self, listener: Callable[[str, str, str], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def become(self, replica: str, state: str, failure: str = "", workers: int = 1, in_flight: int = 0) -> None:
        """The replica of this id is now absent, loading, ready or failed."""
        workers = workers if state == "ready" else 0
        self._replicas[replica] = ReplicaView(replica, state, workers, failure=failure, in_flight=in_flight)
        for key, route in self.routes.items():
            if any(r.id == replica for variant in route.variants for r in variant.replicas):
                for listener in list(self._listeners):
                    listener(*key)


def token(replica: str) -> str:
    """The token with which the conformance class's replicas dial."""
    return f"token-of-{replica}"


def route(*replicas: str, revision: int = 1, name: str = "iris") -> EndpointRoute:
    """A route of one variant with these replicas."""
    made = tuple(ReplicaRoute(r, hashlib.sha256(token(r).encode()).hexdigest()) for r in replicas)
    return EndpointRoute(ACCOUNT, REGION, name, revision, (VariantRoute("AllTraffic", 1.0, made),))


class FrontsConformance:
    """What every implementation of the `Fronts` port does. A test class inherits it and says how to make one, and how a replica of
    it becomes ready or fails."""

    async def fronts(self) -> Fronts:
        raise NotImplementedError

    async def ready(self, replica: str) -> None:
        raise NotImplementedError

    async def fail(self, replica: str, message: str) -> None:
        raise NotImplementedError

    async def test_what_nobody_put_is_not_there(self) -> None:
        fronts = await self.fronts()
        assert await fronts.observe(ACCOUNT, REGION, "iris") is None

    async def test_a_route_is_seen_with_its_replicas_absent(self) -> None:
        fronts = await self.fronts()
        await fronts.put(route("r1", "r2", revision=3))
        view = await fronts.observe(ACCOUNT, REGION, "iris")
        assert view is not None
        assert view.revision == 3
        assert [(r.id, r.state) for r in view.variants[0].replicas] == [("r1", "absent"), ("r2", "absent")]

    async def test_put_again_changes_nothing_and_an_older_revision_is_ignored(self) -> None:
        fronts = await self.fronts()
        for wanted in (route("r1", revision=2), route("r1", revision=2), route("r0", revision=1)):
            await fronts.put(wanted)
        view = await fronts.observe(ACCOUNT, REGION, "iris")
        assert view is not None
        assert (view.revision, [r.id for r in view.variants[0].replicas]) == (2, ["r1"])

    async def test_a_replica_becomes_ready_and_whoever_watches_hears_of_it(self) -> None:
        fronts = await self.fronts()
        heard: list[tuple[str, str, str]] = []
        fronts.watch(lambda *key: heard.append(key))
        await fronts.put(route("r1"))
        await self.ready("r1")
        await self._until(fronts, "r1", "ready")
        assert (ACCOUNT, REGION, "iris") in heard

    async def test_a_replica_fails_with_the_models_own_words(self) -> None:
        fronts = await self.fronts()
        await fronts.put(route("r1"))
        await self.fail("r1", "ValueError: no model")
        seen = await self._until(fronts, "r1", "failed")
        assert "ValueError: no model" in seen.failure

    async def test_a_route_that_is_replaced_keeps_what_is_ready(self) -> None:
        fronts = await self.fronts()
        await fronts.put(route("r1"))
        await self.ready("r1")
        await self._until(fronts, "r1", "ready")
        both = route("r1", "r2", revision=2)
        [variant] = both.variants
        drained = tuple(replace(r, draining=r.id == "r2") for r in variant.replicas)
        await fronts.put(replace(both, variants=(replace(variant, replicas=drained),)))
        view = await fronts.observe(ACCOUNT, REGION, "iris")
        assert view is not None
        assert [(r.id, r.state) for r in view.variants[0].replicas] == [("r1", "ready"), ("r2", "absent")]

    async def test_drop_is_the_end_and_may_be_said_twice(self) -> None:
        fronts = await self.fronts()
        await fronts.put(route("r1"))
        await fronts.drop(ACCOUNT, REGION, "iris")
        await fronts.drop(ACCOUNT, REGION, "iris")
        assert await fronts.observe(ACCOUNT, REGION, "iris") is None
        await fronts.put(route("r1", revision=1))
        assert await fronts.observe(ACCOUNT, REGION, "iris") is not None

    async def test_every_variant_has_counts_until_it_is_dropped(self) -> None:
        fronts = await self.fronts()
        assert (await fronts.counts()).variants == ()
        await fronts.put(route("r1"))
        await fronts.put(route("r2", name="rose"))
        count = await fronts.counts()
        seen = {(c.account, c.region, c.endpoint, c.variant, c.key, c.invocations) for c in count.variants}
        assert seen == {(ACCOUNT, REGION, name, "AllTraffic", "AllTraffic", 0) for name in ("iris", "rose")}
        assert count.complete
        assert all(c.born for c in count.variants)
        await fronts.drop(ACCOUNT, REGION, "rose")
        await fronts.counts()  # what was dropped may tell its last counts once more
        assert [c.endpoint for c in (await fronts.counts()).variants] == ["iris"]

    async def test_a_ceiling_holds_until_it_is_another_or_lapses(self) -> None:
        fronts = await self.fronts()
        plain = route("r1")
        [variant] = plain.variants
        one = replace(variant.replicas[0], allowance=4)
        await fronts.put(replace(plain, variants=(replace(variant, replicas=(one,), boost=Boost(0.5)),)))
        await self.ready("r1")
        await self._until(fronts, "r1", "ready")
        nobody = Ceiling(ACCOUNT, REGION, "nobody", "AllTraffic", 1)
        iris = Ceiling(ACCOUNT, REGION, "iris", "AllTraffic", 2)
        assert await self._ceiling(fronts) == 4
        await fronts.bound([iris, nobody], 60.0)
        assert await self._ceiling(fronts) == 2
        await fronts.bound([iris._replace(workers=9)], 60.0)
        assert await self._ceiling(fronts) == 4  # it is never more than the replicas allow
        await fronts.bound([iris], 60.0)
        await fronts.bound([iris._replace(workers=0)], 60.0)
        assert await self._ceiling(fronts) == 4
        await fronts.bound([iris._replace(workers=3)], 0.05)
        async with asyncio.timeout(WAIT_SECONDS):
            while await self._ceiling(fronts) != 4:
                await asyncio.sleep(0.005)

    async def _ceiling(self, fronts: Fronts) -> int:
        [counted] = [c for c in (await fronts.counts()).variants if c.endpoint == "iris"]
        assert counted.signals is not None
        return counted.signals.ceiling

    async def test_who_stopped_watching_hears_nothing(self) -> None:
        fronts = await self.fronts()
        heard: list[str] = []
        stop = fronts.watch(lambda account, region, name: heard.append(name))
        stop()
        stop()
        await fronts.put(route("r1"))
        await self.ready("r1")
        await self._until(fronts, "r1", "ready")
        assert heard == []

    async def test_a_key_that_nobody_uses_may_be_revoked(self) -> None:
        fronts = await self.fronts()
        await fronts.revoke("AKIANOBODY")

    async def _until(self, fronts: Fronts, replica: str, state: str) -> ReplicaView:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                view = await fronts.observe(ACCOUNT, REGION, "iris")
                for seen in view.variants[0].replicas if view is not None else ():
                    if seen.id == replica and seen.state == state:
                        return seen
                await asyncio.sleep(0.005)
