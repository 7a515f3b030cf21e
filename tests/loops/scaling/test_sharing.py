"""Sharing a full machine over fakes: what decisions claim becomes ceilings of the fronts, and no word more than that."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from clary.domain.endpoints.routes import Ceiling
from clary.domain.machine.capacity import Book, Machine, Part
from clary.domain.machine.instances import GIB
from clary.domain.machine.usage import Used
from clary.domain.scaling.costs import EASY
from clary.domain.scaling.samples import Key, Recent
from clary.domain.scaling.sharing import Claim
from clary.domain.scaling.signals import Sample
from clary.loops.scaling.sharing import LASTS, LATELY, RENEWED, Sharing, SharingPorts
from clary.testing.clock import FakeClock
from clary.testing.fronts import MemoryFronts

ONE, TWO, PLAIN = (("0", "r", name, "v") for name in ("one", "two", "plain"))
BUSY = Claim(rate=40.0, service=0.1, patience=0.3, variation=0.6, queued=20, wanted=8)


class House:
    """A machine of four CPUs, of which tests say how long they were idle."""

    def __init__(self) -> None:
        self.fronts, self.clock, self.idle = MemoryFronts(), FakeClock(), 0.0
        self.parts: list[tuple[Part, ...]] = []
        self.recent = Recent()
        book = Book(Machine(4, GIB, GIB), "fit", 0.0)
        ports = SharingPorts(self.fronts, self.clock, lambda: 4, lambda: self.idle, lambda: book, self.parts.append)
        self.sharing = Sharing(ports)

    def decided(self, *claims: tuple[Key, Claim | None]) -> None:
        for key, claim in claims:
            self.sharing.decided("arn:" + key[2], key, claim, self.recent)

    async def second(self, *claims: tuple[Key, Claim | None], idle: float = 3.0) -> tuple[Ceiling, ...]:
        """A second in which these decide; what fronts are told."""
        self.clock.advance(1.0)
        self.idle += idle
        before = len(self.fronts.bounds)
        self.decided(*claims)
        await self.sharing.share()
        return sum(self.fronts.bounds[before:], ())

    def look(self, used: dict[Key, Used], idle: float, busy: float = 10.0) -> None:
        """Five seconds in which workers of `one` were busy for `busy` seconds together."""
        for _ in range(5):
            self.clock.advance(1.0)
            now = self.clock.now()
            self.recent.samples.append(Sample(now, 0, round(busy * 2), 0, 0, 0, 0.1, 0.0))
        self.idle += idle
        self.sharing.use(used)


async def test_while_all_fit_nobody_is_told_anything() -> None:
    house = House()
    for _ in range(20):
        assert await house.second((ONE, BUSY._replace(wanted=2)), (TWO, BUSY._replace(wanted=2))) == ()
    assert (house.fronts.bounds, house.parts) == ([], [])
    assert house.sharing.strain(ONE) == EASY


async def test_a_full_machine_is_shared_out_and_told_again_only_when_it_changes_or_would_lapse() -> None:
    house = House()
    told = await house.second((ONE, BUSY), (TWO, BUSY))
    assert told == (Ceiling(*ONE, 3), Ceiling(*TWO, 1))
    assert [(part.owner.name, part.workers, part.wanted) for part in house.parts[-1]] == [("one", 3, 8), ("two", 1, 8)]
    assert (house.sharing.strain(ONE).ceiling, house.sharing.strain(ONE).wanted) == (3, 8)
    assert house.sharing.strain(ONE).full
    words = [await house.second((ONE, BUSY), (TWO, BUSY)) for _ in range(int(2 * RENEWED))]
    assert [len(each) for each in words] == [0, 0, 2, 0, 0, 2]
    changed = await house.second((ONE, BUSY), (TWO, BUSY._replace(rate=10.0, queued=0, wanted=1)))
    assert changed == (Ceiling(*TWO, 0),)
    assert len(house.parts) == 2


async def test_what_fits_again_is_let_go_and_grows_a_while_later() -> None:
    house = House()
    await house.second((ONE, BUSY), (TWO, BUSY))
    assert await house.second((ONE, BUSY._replace(wanted=1)), (TWO, None)) == (Ceiling(*ONE, 0), Ceiling(*TWO, 0))
    assert house.parts[-1] == ()
    assert house.sharing.strain(ONE)[1:3] == (0, 0)
    assert house.sharing.strain(ONE).full
    house.clock.advance(LATELY)
    assert not house.sharing.strain(ONE).full


async def test_one_that_has_gone_or_says_nothing_claims_nothing() -> None:
    house = House()
    await house.second((ONE, BUSY), (TWO, BUSY))
    house.sharing.gone("arn:two")
    assert await house.second((ONE, BUSY._replace(wanted=4))) == (Ceiling(*ONE, 0), Ceiling(*TWO, 0))
    await house.second((ONE, BUSY), (TWO, BUSY))
    house.clock.advance(4.0)
    assert await house.second() == (Ceiling(*ONE, 0), Ceiling(*TWO, 0))


async def test_what_others_use_is_theirs() -> None:
    house = House()
    house.sharing.use({})
    house.look({PLAIN: Used(5.0, 10.0)}, idle=5.0)
    assert [row.workers for row in await house.second((ONE, BUSY), (TWO, BUSY))] == [1, 1]


async def test_workers_that_hardly_use_a_cpu_are_learnt_not_to() -> None:
    house = House()
    house.decided((ONE, BUSY))
    house.sharing.use({})
    assert house.sharing.strain(ONE).cost == 0.0
    house.look({ONE: Used(5.0, 0.1)}, idle=15.0)
    assert house.sharing.strain(ONE).cost == pytest.approx(0.01, rel=0.1)
    assert not house.sharing.strain(ONE).full


async def test_on_a_full_machine_nothing_is_learnt_where_the_kernel_does_not_tell_who_waits() -> None:
    house = House()
    house.decided((ONE, BUSY))
    house.sharing.use({})
    house.look({ONE: Used(5.0, 10.0)}, idle=10.0)
    for _ in range(5):
        house.look({ONE: Used(5.0, 2.5)}, idle=0.0)
    assert house.sharing.strain(ONE).cost == pytest.approx(1.0, abs=0.1)


async def test_workers_that_wait_for_each_other_gain_nothing_by_more_of_them() -> None:
    house = House()
    house.decided((ONE, BUSY))
    house.sharing.use({})
    house.look({ONE: Used(5.0, 2.5, 7.0)}, idle=0.1)
    strain = house.sharing.strain(ONE)
    assert strain.cost == pytest.approx(0.95, abs=0.1)
    assert strain.waits == pytest.approx(0.7, abs=0.1)
    assert strain.full
    house.look(
        {ONE: Used(5.0, 2.5, 7.0)}, idle=10.0
    )  # now they wait for their own ceiling: the machine has CPUs to give
    assert (house.sharing.strain(ONE).waits, house.sharing.strain(ONE).full) == (0.0, False)


async def test_until_the_cost_is_known_nothing_grows_in_a_second_without_idle_cpu() -> None:
    house = House()
    for idle, full in ((0.0, False), (4.0, False), (0.0, True), (0.1, True), (1.0, False)):
        await house.second((ONE, BUSY._replace(cost=0.0)), idle=idle)
        assert house.sharing.strain(ONE).full is full
    house.sharing.use({})
    house.look({ONE: Used(5.0, 1.0)}, idle=15.0)
    await house.second((ONE, None))
    await house.second((ONE, None))
    assert not house.sharing.strain(ONE).full  # it hardly uses any: more of it may come


async def test_it_is_shared_out_once_all_have_decided_and_late_ones_are_not_waited_for_twice() -> None:
    house = House()
    task = asyncio.create_task(house.sharing.run())
    try:
        house.sharing.hear(["arn:one", "arn:two"])
        house.decided((ONE, BUSY))
        await settled()
        assert house.fronts.bounds == []
        house.decided((TWO, BUSY))
        await settled()
        assert [len(rows) for rows in house.fronts.bounds] == [2]
        house.clock.advance(1.0)
        house.sharing.hear(["arn:one", "arn:two"])
        house.decided((ONE, BUSY._replace(wanted=1)))
        house.clock.advance(1.0)
        house.sharing.hear(["arn:one", "arn:two"])
        await settled()
        assert house.fronts.bounds[1:] == [(Ceiling(*TWO, 3), Ceiling(*ONE, 0))]
        house.clock.advance(1.0)
        house.sharing.hear([])  # all are gone
        house.sharing.gone("arn:one")
        house.sharing.gone("arn:two")
        await settled()
        assert house.fronts.bounds[2:] == [(Ceiling(*TWO, 0),)]
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_ceiling_outlives_two_words_that_are_lost() -> None:
    assert LASTS > 3 * RENEWED


async def settled() -> None:
    """Whoever can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)
