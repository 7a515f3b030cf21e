"""Admission control: how many requests may wait so that each is expected to get a worker in time.

Owns the estimate of how quickly a queue drains, and the number that follows. Does not know queues and clocks: `now` is given.

A queue that holds more than what is served before its deadlines serves nobody: a request that gets a turn has waited so long that it is
late (at twice the capacity, goodput falls to what happens to be quick). So a request is refused at once when it would wait longer
than `SHARE` of its deadline. Half of it, because the other half is for the prediction itself and for the error of the estimate; and
no less, because AWS's clients repeat what is refused only a few times, while waiting costs them nothing and more workers may come.

The estimate counts answers while requests wait all the time. It is never older than the wait: who was quick before may hang now.
"""

from __future__ import annotations

from typing import NamedTuple

SHARE = 0.5
ENOUGH = 20.0  # answers that an estimate rests on
HALF_LIFE = 2.0  # seconds after which an answer counts half, while there are enough of them
SETTLED = 0.5  # seconds that requests must wait before anything is concluded
PRIOR = 2.0  # answers that what is known of the workers counts for at least, and
PRIOR_SECONDS, PRIOR_SHARE = (
    1.0,
    0.05,
)  # seconds, or of the deadline, that it counts for: a stall of a moment proves nothing
RECENT = 1.0  # seconds in which a sudden recovery is believed


TELL_AGAIN = 10.0  # seconds between two lines about refusals


class TurnedAway(NamedTuple):
    """Why a variant takes no more: HTTP status, AWS's code, and what its endpoint `...` (a sentence's end)."""

    status: int
    code: str
    reason: str


class Refusals:
    """When it is worth a line that requests are refused: at once, then every so often as long as it goes on."""

    __slots__ = ("_number", "_told")

    def __init__(self) -> None:
        self._told: float | None = None
        self._number = 0

    def due(self, now: float) -> int:
        """One more was refused: how many there were since the last line, or 0 while that is too young."""
        self._number += 1
        if self._told is not None and now - self._told < TELL_AGAIN:
            return 0
        self._told = now
        number, self._number = self._number, 0
        return number


class Drain:
    """How many answers a second a variant gives while requests wait."""

    __slots__ = ("_answered", "_answers", "_at", "_recent", "_seconds", "_since")

    def __init__(self) -> None:
        self._since: float | None = None  # when requests began to wait
        self._at = 0.0
        self._answered = 0
        self._answers = 0.0
        self._seconds = 0.0
        self._recent: list[tuple[float, int]] = []

    def look(self, now: float, answered: int, waiting: int, known: float | None, timeout: float) -> None:
        """Once every so often: `answered` requests so far, `waiting` now. `known`: answers a second that the workers should give;
        `timeout`: seconds that a request has."""
        if not waiting:
            self._since = None
            return
        if self._since is None:
            self._since = self._at = now
            self._answered = answered
            self._answers = max(PRIOR, known * max(PRIOR_SECONDS, PRIOR_SHARE * timeout)) if known else 0.0
            self._seconds = self._answers / known if known else 0.0
            self._recent = [(now, answered)]
            return
        elapsed, new = now - self._at, answered - self._answered
        if self._answers > ENOUGH:
            decay = 0.5 ** (elapsed / HALF_LIFE)
            self._answers *= decay
            self._seconds *= decay
        self._answers += new
        self._seconds += elapsed
        self._at, self._answered = now, answered
        self._recent.append((now, answered))
        while len(self._recent) > 2 and self._recent[1][0] <= now - RECENT:
            del self._recent[0]

    def rate(self) -> float | None:
        """Answers a second; None while too little is known."""
        if self._since is None or self._at - self._since < SETTLED or not self._answers:
            return None
        began, before = self._recent[0]
        recent = (self._answered - before) / max(RECENT, self._at - began)
        return max(recent, self._answers / self._seconds)

    def sure(self) -> bool:
        """Whether it rests on more than what was known before and the first answers: the first prediction of all may be slow."""
        return self._answers >= 2 * PRIOR


def most_waiting(rate: float | None, timeout: float, cap: int) -> int:
    """How many may wait at this rate, where a prediction is due after `timeout` seconds; never more than `cap`."""
    if rate is None:
        return cap
    return min(cap, max(1, int(rate * timeout * SHARE)))


def surplus(rate: float | None, waiting: int, left: float) -> int:
    """How many of those that wait, from the last one on, cannot get their turn: the last one's deadline is `left` seconds away."""
    if rate is None or rate <= 0:
        return 0
    return max(0, waiting - max(1, int(rate * left)))
