"""Detects replicas that do worse than the others of their variant, and gives them less work or none until they recover.

Owns the judgement, over plain numbers and a given `now`, so that a simulation judges as production does. Does not know queues,
sockets and clocks. Only siblings are compared: when all of them fail or are slow, the fault is in what is asked, and nobody is out.

**Slow**: a prediction costs a replica more than `SLOW` times the median of its siblings. One queue alone does not help: a replica
ten times as slow as two others still takes a twentieth of the requests, which is their p99. So a slow one gets work only when
waiting for a quick one would take longer, and a request as a *probe* now and then: it is slow no more when `PROBES` answers in a
row cost less than `QUICK` times the median (or `MARGIN` more).

**Out**: it failed (5xx, death, deadline) `STREAK` times in a row, or more than half of its last answers, and its siblings less than
half as often. It gets nothing for a second, twice as long each time up to a minute; then single probes, of which `PROBES` good ones
in a row bring it back and a bad one ends the probation.

At most half of the replicas are slow or out at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Protocol, TypeVar

SLOW, QUICK = 3.0, 2.0
MARGIN = 0.002  # seconds that a slow one must cost more, too: below, noise would decide
STREAK = 5
FEWEST = 20  # answers before a share means anything
HALF_LIFE = 10.0  # seconds after which an answer counts half
PROBES = 3
PROBE_OUT = 0.3  # seconds between probes of one that is out
PROBE_EVERY = 1.0  # seconds between probes of a slow one, and
PROBE_AMONG = 200  # requests of the variant; or
PROBE_AT_LAST = 30.0  # seconds, where there are fewer
OUT_FIRST, OUT_MOST = 1.0, 60.0
FORGIVEN = 60.0  # seconds in good order after which earlier times out do not count


class Health:
    """What is known of one replica. `answers` and `failures` are counted by its workers, `sample` by its measurer."""

    __slots__ = (
        "_good",
        "_level",
        "_samples",
        "_since",
        "answers",
        "failed",
        "failures",
        "out_until",
        "probed",
        "seen",
        "slow",
        "streak",
    )

    def __init__(self) -> None:
        self.answers = 0  # since the last judgement
        self.failures = 0  # of these
        self.seen = 0.0  # answers, decayed
        self.failed = 0.0
        self.streak = 0
        self.slow = False
        self.out_until = 0.0  # 0: it is in
        self.probed = (0.0, 0)  # when it was given a probe last, and how many requests the variant had had
        self._samples: list[float] = []  # costs of the last answers, while it is slow
        self._good = 0  # probes that went well since it is out
        self._level = 0
        self._since = 0.0  # when it was last let in

    @property
    def fit(self) -> bool:
        return not self.slow and not self.out_until

    def sample(self, cost: float) -> None:
        """One answer of a replica that is slow cost so many seconds."""
        self._samples = [*self._samples[1 - PROBES :], cost]

    def count(self, elapsed: float) -> None:
        """Take in what was counted since the last judgement, `elapsed` seconds ago."""
        decay = 0.5 ** (elapsed / HALF_LIFE)
        self.seen = self.seen * decay + self.answers
        self.failed = self.failed * decay + self.failures
        if self.answers:
            self.streak = self.streak + self.failures if self.failures == self.answers else 0

    def share(self) -> float:
        return self.failed / self.seen if self.seen else 0.0

    def judge_failures(self, others: float, room: bool, now: float) -> str:
        """In or out; `others` is the siblings' share of failures, `room` whether one more may be out. Answers what changed."""
        if self.out_until:
            return self._judge_probes(now)
        bad = self.streak >= STREAK or (self.seen >= FEWEST and self.share() > 0.5)
        if bad and room and others < self.share() / 2:
            if now - self._since > FORGIVEN:
                self._level = 0
            self.out(now)
            return "out"
        return ""

    def _judge_probes(self, now: float) -> str:
        if now < self.out_until or not self.answers:
            return ""
        if self.failures:
            self.out(now)
            return "out"
        self._good += self.answers
        if self._good < PROBES:
            return ""
        self.out_until, self.seen, self.failed, self.streak, self._since = 0.0, 0.0, 0.0, 0, now
        return "in"

    def out(self, now: float) -> None:
        self.out_until = now + min(OUT_MOST, OUT_FIRST * 2**self._level)
        self._level += 1
        self.streak = self._good = 0

    def judge_pace(self, cost: float, usual: float, room: bool) -> str:
        """Slow or not, by what a prediction costs it and costs its siblings."""
        if not self.slow:
            if room and cost > SLOW * usual and cost - usual > MARGIN:
                self.slow, self._samples = True, []
                return "slow"
        elif len(self._samples) == PROBES and max(self._samples) < max(QUICK * usual, usual + MARGIN):
            self.slow = False
            return "quick"
        return ""

    def recovered(self) -> float:
        """What a prediction costs it now that it is slow no more."""
        return median(self._samples)


class Rated(Protocol):
    """A replica as far as it is judged."""

    health: Health
    busy: int
    allowed: int
    draining: bool

    def cost(self) -> float:
        """Seconds that a prediction takes of one worker; infinite while nobody knows."""
        ...

    def restart(self, cost: float) -> None:
        """What was known of its cost is out of date: it is this now."""
        ...

    def spare(self, waiting: int = 0) -> int: ...
    def alive(self) -> bool:
        """Whether it has workers."""
        ...


R = TypeVar("R", bound=Rated)


def judge(replicas: Sequence[R], elapsed: float, now: float) -> list[tuple[R, str]]:
    """Judge the replicas of a variant, `elapsed` seconds after the last time: who changed, and to what (slow, quick, out, in)."""
    changed: list[tuple[R, str]] = []
    for replica in replicas:
        replica.health.count(elapsed)
    serving = [replica for replica in replicas if replica.alive() and not replica.draining]
    for replica in serving:
        health = replica.health
        others = [other for other in serving if other is not replica]
        unfit = sum(not other.health.fit for other in others)
        room = 2 * (unfit + 1) <= len(serving)
        seen = sum(other.health.seen for other in others)
        share = sum(other.health.failed for other in others) / seen if seen else 0.0
        what = health.judge_failures(share, room, now)
        known = [c for c in (other.cost() for other in others if other.health.fit) if c != float("inf")]
        if not what and known and replica.cost() != float("inf") and not health.out_until:
            what = health.judge_pace(replica.cost(), median(known), room)
            if what == "quick":
                replica.restart(health.recovered())
        if what:
            changed.append((replica, what))
    for replica in replicas:
        replica.health.answers = replica.health.failures = 0
    return changed


def pick(replicas: Iterable[R], waiting: int, kept: int, asked: int, now: float) -> R | None:
    """Who gets the next of `waiting` requests, where some replicas are not fit. `asked` requests came to the variant so far."""
    serving = [replica for replica in replicas if replica.alive()]
    fit = [replica for replica in serving if replica.health.fit and not replica.draining]
    if not fit:
        return _least(serving, kept)
    unfit = [replica for replica in serving if not replica.health.fit and replica.spare(kept) > 0]
    for replica in unfit:
        if _probes(replica, asked, now):
            replica.health.probed = (now, asked)
            return replica
    best = _least(fit, kept)
    if best is not None:
        return best
    costs = [replica.cost() for replica in fit]
    rate = sum(replica.allowed / cost for replica, cost in zip(fit, costs, strict=True) if cost > 0)
    wait = waiting / rate if rate > 0 else float("inf")
    slow = [replica for replica in unfit if not replica.health.out_until and wait + min(costs) > replica.cost()]
    return min(slow, key=lambda replica: replica.cost(), default=None)


def _probes(replica: Rated, asked: int, now: float) -> bool:
    health = replica.health
    if replica.busy:
        return False
    when, count = health.probed
    if health.out_until:  # no second one before the first is judged
        return now >= health.out_until and now - when >= PROBE_OUT
    return now - when >= PROBE_AT_LAST or (now - when >= PROBE_EVERY and asked - count >= PROBE_AMONG)


def _least(replicas: Iterable[R], kept: int) -> R | None:
    """The one with the smallest busy share that has a worker to spare."""
    free = [replica for replica in replicas if replica.spare(kept) > 0]
    return min(free, key=lambda replica: replica.busy / replica.allowed, default=None)
