"""The shadow tournament's loop over fakes: what is written down, when a day is played, and what a switch changes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.loops.scaling.test_objectives import House, run
from tests.loops.scaling.test_targets import NAME, SCOPE, until

from clary.domain.autoscaling.record import POLICY
from clary.domain.scaling.candidates import BUDGET, CONTROL, SHARE, SHIPPED
from clary.domain.scaling.day import MINUTES, Minute
from clary.domain.scaling.decisions import TOURNAMENT, Event
from clary.domain.scaling.tournament import EVERY, RUNNING, Score
from clary.loops.scaling.tournament import Tournament
from clary.testing.replays import MemoryDays, MemoryReplays, minute

BETTER = {SHIPPED: Score(1.3, 0.0), "surge=2": Score(1.1, 0.0), CONTROL: Score(2.0, 0.01)}


class Full(MemoryDays):
    """A disk that takes nothing while it is `full`."""

    full = False

    def keep(self, key: str, minutes: object) -> None:
        if self.full:
            raise OSError("no space left on device")
        super().keep(key, minutes)  # type: ignore[arg-type]


class Played(House):
    """The objectives' loop with the tournament beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.days, self.replays = Full(), MemoryReplays()
        self.tournament = self.again()

    def again(self) -> Tournament:
        """As a control plane begins."""
        return Tournament(self.objective.watched, self.objective.tell, self.days, self.replays, self.clock)

    async def second(self, arrivals: int) -> None:
        await super().second(arrivals)
        self.tournament.hear(self.objective.watched())

    async def later(self, seconds: float) -> None:
        """So much later; then two looks, since the first after a pause makes no sample."""
        self.clock.advance(seconds)
        await self.second(4)
        await self.second(4)

    async def replay(self) -> None:
        """Ten minutes later, with a whole day behind: the tournament's turn, and the objective's."""
        await self.later(EVERY)
        [watched] = self.objective.watched().values()
        last = int(self.clock.now() // 60)
        self.days.keep(watched.key, [minute(last - n) for n in range(1, MINUTES + 1)])
        await self.tournament.turn()
        await self.second(4)

    async def words(self) -> list[Event]:
        return [event for event in await self.told() if event.level == TOURNAMENT]

    async def serving(self) -> str:
        record = await self.objective_of()
        assert record is not None
        kept = record.document["tournament"]
        return kept["serving"] if kept is not None else ""


@pytest.fixture
async def house() -> AsyncIterator[Played]:
    made = Played()
    await made.add_endpoint()
    await made.put_target()
    await made.put_policy()
    async for _ in run(made):
        await until(made.boosted, True)
        await made.second(4)
        await made.second(4)
        yield made


async def test_without_a_whole_day_nothing_is_played_and_that_is_told_once(house: Played) -> None:
    await house.tournament.turn()
    assert await house.words() == []
    for _ in range(3):
        await house.later(EVERY)
        await house.tournament.turn()
        await house.second(4)
    [word] = await house.words()
    assert word.why.startswith("Other settings are not tried yet: that takes a whole day of counted seconds")
    assert (house.replays.played, await house.serving()) == ([], SHIPPED)


async def test_a_challenger_that_wins_six_replays_running_serves_and_is_told(house: Played) -> None:
    house.replays.scores = BETTER
    for _ in range(RUNNING - 1):
        await house.replay()
    assert await house.serving() == SHIPPED
    await house.replay()
    assert await house.serving() == "surge=2"
    switch = (await house.words())[-1]
    assert "surge=2 takes over from shipped: 1.100 against 1.300" in switch.why
    assert (switch.applied, [term.name for term in switch.candidates]) == (True, list(BETTER))
    day, setup = house.replays.played[-1]
    assert (len(day.arrivals), setup.objective, setup.most) == (MINUTES * 60, 0.5, 4)


async def test_the_standing_outlives_the_control_plane(house: Played) -> None:
    house.replays.scores = BETTER
    for _ in range(RUNNING - 1):
        await house.replay()
    house.tournament = house.again()
    await house.later(0.0)
    await house.replay()
    assert await house.serving() == "surge=2"


async def test_a_replay_that_dies_changes_nothing_and_is_told_once(house: Played) -> None:
    house.replays.scores = BETTER
    for _ in range(RUNNING - 1):
        await house.replay()
    house.replays.failure = "the replay failed with status 1"
    before = len(await house.words())
    for _ in range(3):
        await house.replay()
    words = await house.words()
    assert [word.why for word in words[before:]] == [
        "The shadow tournament stands still: the replay failed with status 1."
    ]
    assert await house.serving() == SHIPPED
    house.replays.failure = ""
    await house.replay()
    assert await house.serving() == "surge=2"


async def test_the_seconds_of_a_variant_are_written_by_the_minute(house: Played) -> None:
    for _ in range(125):
        await house.second(7)
    await house.tournament.turn()
    [kept] = house.days.held.values()
    whole: Minute = max(kept.values())
    assert (whole.arrivals, whole.service) == ((7,) * 60, 0.1)


async def test_a_disk_that_is_full_is_tried_again(house: Played) -> None:
    house.days.full = True
    for _ in range(125):
        await house.second(7)
    await house.tournament.turn()
    assert house.days.held == {}
    house.days.full = False
    await house.tournament.turn()
    [kept] = house.days.held.values()
    assert len(kept) >= 2


async def test_replays_wait_for_as_long_as_their_share_of_a_core_says(house: Played) -> None:
    house.replays.scores, house.replays.cpu = BETTER, float(2 * BUDGET)
    await house.replay()
    await house.replay()
    assert len(house.replays.played) == 1
    await house.later(2 * BUDGET / SHARE - EVERY)
    await house.replay()
    assert len(house.replays.played) == 2


async def test_a_variant_that_is_gone_is_followed_no_more(house: Played) -> None:
    house.replays.scores = BETTER
    await house.replay()
    policy = await house.store.get(POLICY, SCOPE, f"{NAME}|p99")
    assert policy is not None
    await house.store.remove(policy)
    await until(house.objective_of, None)
    house.clock.advance(10 * EVERY)
    await house.tournament.turn()
    assert len(house.replays.played) == 1
