"""The conformance classes of the ports `Days` and `Replays`, and their fakes in memory."""

from __future__ import annotations

from collections.abc import Sequence

from clary.domain.errors import Unavailable
from clary.domain.scaling.candidates import CONTROL, SHIPPED, Setup, names
from clary.domain.scaling.day import MINUTE, MINUTES, UNKNOWN, Day, Minute
from clary.domain.scaling.replay import play_all
from clary.domain.scaling.tournament import Score
from clary.replay_ports import Days, Replayed, Replays

NOON = 1_800_000_000 // MINUTE  # minutes
SETUP = Setup(0.5, 1, 8, 2, 8, 1200.0, False, 64, (8.0,), 8.0)


def minute(number: int, count: int = 3, service: float = 0.125) -> Minute:
    return Minute(number, (count,) * MINUTE, service, 0.0)


class MemoryDays:
    """`replay_ports.Days` in dictionaries: of minutes by their place in the day, by key."""

    def __init__(self) -> None:
        self.held: dict[str, dict[int, Minute]] = {}

    def keep(self, key: str, minutes: Sequence[Minute]) -> None:
        kept = self.held.setdefault(key, {})
        for each in minutes:
            kept[each.number % MINUTES] = each

    def minutes(self, key: str, since: int) -> list[Minute]:
        return sorted(each for each in self.held.get(key, {}).values() if each.number >= since)

    def sweep(self, now: float) -> None:
        oldest = int(now // MINUTE) - MINUTES
        self.held = {
            key: kept for key, kept in self.held.items() if any(each.number >= oldest for each in kept.values())
        }


class DaysConformance:
    """Inherit it, and answer the port from `days`, twice the same content."""

    def days(self) -> Days:
        raise NotImplementedError

    def test_minutes_come_back_in_order_and_of_their_key_alone(self) -> None:
        days = self.days()
        days.keep("a", [minute(NOON + 1), minute(NOON)])
        days.keep("b/c", [minute(NOON, 7)])
        assert days.minutes("a", NOON) == [minute(NOON), minute(NOON + 1)]
        assert days.minutes("a", NOON + 1) == [minute(NOON + 1)]
        assert days.minutes("b/c", 0) == [minute(NOON, 7)]
        assert days.minutes("unheard of", 0) == []

    def test_a_minute_is_replaced_and_what_is_unknown_stays_so(self) -> None:
        days = self.days()
        days.keep("a", [minute(NOON)])
        partly = Minute(NOON, (UNKNOWN, 65_534, *(0,) * 58), 0.0, 0.0)
        days.keep("a", [partly])
        assert days.minutes("a", 0) == [partly]

    def test_a_day_is_all_that_is_kept(self) -> None:
        days = self.days()
        days.keep("a", [minute(NOON + number) for number in range(2 * MINUTES)])
        assert [each.number for each in days.minutes("a", 0)] == list(range(NOON + MINUTES, NOON + 2 * MINUTES))

    def test_a_key_without_a_minute_in_the_last_day_is_forgotten(self) -> None:
        days = self.days()
        days.keep("old", [minute(NOON - MINUTES - 1)])
        days.keep("new", [minute(NOON - MINUTES + 1)])
        days.sweep(float(NOON * MINUTE))
        assert (days.minutes("old", 0), len(days.minutes("new", 0))) == ([], 1)


class MemoryReplays:
    """`replay_ports.Replays` that answers what it is told to, or fails by it; without any, it plays in this process."""

    def __init__(self) -> None:
        self.scores: dict[str, Score] = {}
        self.failure = ""
        self.cpu = 0.0
        self.played: list[tuple[Day, Setup]] = []

    async def play(self, day: Day, setup: Setup) -> Replayed:
        self.played.append((day, setup))
        if self.failure:
            raise Unavailable(self.failure)
        return Replayed(self.scores or play_all(day, setup), self.cpu)


class ReplaysConformance:
    """Inherit it, and answer the port from `replays`."""

    def replays(self) -> Replays:
        raise NotImplementedError

    async def test_every_candidate_and_the_control_have_a_score(self) -> None:
        day = Day(NOON * MINUTE, (4,) * 600, ((0.1, 0.1),) * 10)
        replayed = await self.replays().play(day, SETUP)
        assert set(replayed.scores) == {*names(False), CONTROL}
        assert 0.99 < replayed.scores[SHIPPED].cost < replayed.scores[CONTROL].cost
        assert replayed.scores == play_all(day, SETUP)

    async def test_without_a_request_nothing_is_scored(self) -> None:
        day = Day(NOON * MINUTE, (0,) * 60 + (UNKNOWN,) * 60, ((0.0, 0.0),) * 2)
        assert (await self.replays().play(day, SETUP)).scores == {}
