"""What the shadow tournament comes to in an objective's record: which setting of the policy serves, and the decisions about it. Pure.

The record's `tournament` (None before the first word of it): `serving`, `wins` by challenger, the `objective` that they were won for,
and `told`, so that each thing is told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.domain.objectives.commands import Played
from clary.domain.objectives.record import KEEP, Asked
from clary.domain.scaling.candidates import CONTROL, SHIPPED, Setup, names
from clary.domain.scaling.decisions import TOURNAMENT, Event, State
from clary.domain.scaling.shape import Bounds
from clary.domain.scaling.signals import Term
from clary.domain.scaling.tournament import Score, Standing, judge

CHEAPEST = 1 / 64  # CPUs of a busy worker, at least: what is less is not measured so exactly


def setup_of(
    asked: Asked, bounds: Bounds, ready: int, allowance: int, starts: list[float], start: float, cost: float = 0.0
) -> Setup:
    """The variant, as a day is to be played for it. `cost`: CPUs that a busy worker uses (0: unknown, as if it were one). Where it waits
    for others more than it computes, the machine keeps more workers busy than it has CPUs."""
    cpus = max(1, int(bounds.machine / 1000 / (min(1.0, max(cost, CHEAPEST)) if cost else 1.0)))
    kept = asked.keep != KEEP
    return Setup(
        asked.objective, bounds.least, bounds.most, ready, allowance, asked.keep, kept, cpus, tuple(starts), start
    )


def serving(document: Mapping[str, Any], asked: Asked) -> str:
    """The setting that serves. What was won for another objective, or in what the user has set since, does not count."""
    return _standing(document.get("tournament"), asked).serving


def _standing(kept: Mapping[str, Any] | None, asked: Asked) -> Standing:
    if kept is None or kept["objective"] != asked.objective or kept["serving"] not in names(asked.keep != KEEP):
        return Standing(SHIPPED)
    return Standing(kept["serving"], tuple(sorted(kept["wins"].items())))


def judged(
    document: Mapping[str, Any], played: Played, asked: Asked, state: State, now: float
) -> tuple[dict[str, Any], Event | None]:
    """The record's `tournament` after a replay, or after word that there is none, and the decision that tells of it (None: no news)."""
    kept = document.get("tournament")
    standing = _standing(kept, asked)
    before = kept["told"] if kept is not None else ""
    if played.why:
        why, told, switched = f"{played.why[0].upper()}{played.why[1:]}.", played.why, False
    else:
        able = {name: score for name, score in played.scores.items() if name in names(asked.keep != KEEP)}
        verdict = judge(standing, able)
        standing, switched = verdict.standing, verdict.switched
        leader = max(standing.wins, key=lambda each: each[1], default=("", 0))[0]
        why = f"The last day was played again: {verdict.reason}.{_compared(played.scores.get(CONTROL))}"
        told = f"{standing.serving}, then {leader}" if leader else standing.serving
    news = {
        "serving": standing.serving,
        "wins": dict(standing.wins),
        "objective": asked.objective,
        "told": told,
    }
    if told == before and not switched:
        return news, None
    terms = tuple(
        Term(name, score.total, (("cost", score.cost), ("late", score.late))) for name, score in played.scores.items()
    )
    return news, Event(
        now, asked.policy, TOURNAMENT, standing.serving, why, state, state, candidates=terms, applied=switched
    )


def _compared(control: Score | None) -> str:
    return f" AWS's target tracking would have come to {control.total:.3f}." if control is not None else ""
