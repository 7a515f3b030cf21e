"""Which setting of a policy serves: a shadow tournament as a guard (scaling reference 2.6).

Owns the score and the rule when a challenger takes over. Does not know how a replay is run; scores come from outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

EVERY = 600.0  # seconds between replays
BETTER = 0.03
RUNNING = 6  # replays that a challenger must win
LATE_WEIGHT = 200.0


class Score(NamedTuple):
    """Of one replay: cost over the clairvoyant's, and share of requests late (0 to 1)."""

    cost: float
    late: float

    @property
    def total(self) -> float:
        return self.cost + LATE_WEIGHT * self.late


class Standing(NamedTuple):
    """Who serves, and how many replays running each challenger has been better by enough."""

    serving: str
    wins: tuple[tuple[str, int], ...] = ()


class Verdict(NamedTuple):
    standing: Standing
    switched: bool
    reason: str


def judge(standing: Standing, scores: Mapping[str, Score]) -> Verdict:
    """After one replay of all. A challenger takes over after `RUNNING` replays in each of which it was better by `BETTER` and no worse in
    late requests; one that misses once begins again. Without a score of the one that serves nothing changes."""
    served = scores.get(standing.serving)
    if served is None:
        return Verdict(standing, False, f"{standing.serving} was not replayed: nothing is compared")
    before = dict(standing.wins)
    wins = {
        name: before.get(name, 0) + 1
        for name, score in scores.items()
        if name != standing.serving and score.late <= served.late and score.total <= served.total * (1.0 - BETTER)
    }
    ripe = sorted((scores[name].total, name) for name, count in wins.items() if count >= RUNNING)
    if not ripe:
        leader = min(scores, key=lambda name: (scores[name].total, name != standing.serving, name))
        late = f"and {100 * served.late:.2g} % late" if served.late else "and none late"
        text = f"{standing.serving} keeps serving at {served.total:.3f} (cost {served.cost:.3f}, {late})"
        if leader != standing.serving:
            text += f"; {leader} scores {scores[leader].total:.3f} and has won {wins.get(leader, 0)} of {RUNNING} replays running"
        return Verdict(Standing(standing.serving, tuple(sorted(wins.items()))), False, text)
    total, name = ripe[0]
    text = f"{name} takes over from {standing.serving}: {total:.3f} against {served.total:.3f}, the {RUNNING}th replay running"
    return Verdict(Standing(name), True, text)
