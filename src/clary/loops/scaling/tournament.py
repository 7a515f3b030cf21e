"""The shadow tournament's loop: writes down the seconds of each variant that has an objective, and now and then has a day of one played
again, in a process of its own. What comes of it is decided in the objective's turn (`domain/objectives/tournament.py`).

Owns when that is done: each variant every ten minutes at most, one at a time, and all together `candidates.SHARE` of a core in the long
run, so that many variants take turns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from clary.domain.errors import Unavailable
from clary.domain.objectives.commands import Played, Watched
from clary.domain.scaling.candidates import BUDGET, SHARE
from clary.domain.scaling.day import MINUTE, MINUTES, WHOLE, Minute, Seconds, day_of, known
from clary.domain.scaling.tournament import EVERY
from clary.ports import Clock
from clary.replay_ports import Days, Replays

log = logging.getLogger(__name__)
TURN = 10.0  # seconds between two looks
_UNWRITTEN = 15  # minutes of a variant that wait for a disk that takes none


@dataclass(slots=True)
class _Followed:
    """Of one variant. `due`: when its day is to be played."""

    key: str
    due: float
    seconds: Seconds = field(default_factory=Seconds)
    minutes: list[Minute] = field(default_factory=list)


class Tournament:
    """`watched` answers the variants that are looked after here by their records' ARNs, `tell` takes what came of one."""

    def __init__(
        self,
        watched: Callable[[], Mapping[str, Watched]],
        tell: Callable[[str, Played], None],
        days: Days,
        replays: Replays,
        clock: Clock,
    ) -> None:
        self._watched, self._tell = watched, tell
        self._days, self._replays, self._clock = days, replays, clock
        self._followed: dict[str, _Followed] = {}
        self._free = clock.monotonic()  # when replays have waited long enough for what they took
        self._swept = -EVERY

    def hear(self, arns: Iterable[str]) -> None:
        """There are new samples of these."""
        watched = self._watched()
        for arn in arns:
            one = watched.get(arn)
            if one is not None and one.recent is not None:
                followed = self._follow(arn, one)
                followed.minutes = (followed.minutes + followed.seconds.take(one.recent.samples))[-_UNWRITTEN:]

    def _follow(self, arn: str, one: Watched) -> _Followed:
        followed = self._followed.get(arn)
        if followed is None or followed.key != one.key:
            followed = self._followed[arn] = _Followed(one.key, self._clock.monotonic() + EVERY)
        return followed

    async def run(self) -> None:
        """For as long as the process lives. Cancel it to end it."""
        while True:
            await self.turn()
            await asyncio.sleep(TURN)

    async def turn(self) -> None:
        """Write what is over; play the day that has waited longest, if one is due. A failing disk is tried again at the next turn."""
        watched = self._watched()
        self._followed = {arn: each for arn, each in self._followed.items() if arn in watched}
        try:
            await self._write()
        except OSError as error:
            log.warning("cannot keep the seconds of variants: %s", error)
        now = self._clock.monotonic()
        due = min(self._followed.items(), key=lambda each: each[1].due, default=None)
        if due is None or now < max(due[1].due, self._free):
            return
        arn, followed = due
        followed.due = now + EVERY
        try:
            played = await self._play(watched[arn])
        except (Unavailable, OSError) as error:
            log.warning("no replay for %s: %s", arn, error)
            played = Played({}, f"the shadow tournament stands still: {error}")
        if played is not None:
            self._tell(arn, played)

    async def _write(self) -> None:
        for followed in list(self._followed.values()):
            if followed.minutes:
                written = list(followed.minutes)
                await asyncio.to_thread(self._days.keep, followed.key, written)
                followed.minutes = [each for each in followed.minutes if each not in written]
        if self._clock.monotonic() - self._swept >= EVERY:
            self._swept = self._clock.monotonic()
            await asyncio.to_thread(self._days.sweep, self._clock.now())

    async def _play(self, one: Watched) -> Played | None:
        """None: there is nothing to tell. Unavailable, OSError."""
        now = self._clock.now()
        if one.setup is None:
            return None
        minutes = await asyncio.to_thread(self._days.minutes, one.key, int(now // MINUTE) - MINUTES)
        if known(minutes, now) < WHOLE:
            why = "other settings are not tried yet: that takes a whole day of counted seconds, which is not there"
            return Played({}, why)
        day = await asyncio.to_thread(day_of, minutes, now)
        cpu = float(BUDGET)
        try:
            replayed = await self._replays.play(day, one.setup)
            cpu = replayed.cpu
        finally:
            self._free = self._clock.monotonic() + cpu / SHARE
        return Played(replayed.scores) if replayed.scores else None
