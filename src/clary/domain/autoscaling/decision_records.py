"""What AWS's policies, ranges and schedules decide, as decision records in the form of Clary's own policy. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from clary.domain.autoscaling.activity import TargetTurn, Write, state_of
from clary.domain.autoscaling.policies import Heard, Wanted
from clary.domain.autoscaling.record import MILLICPU, words_of
from clary.domain.scaling.decisions import FLEET, HOLD, RANGE, SIZE, Event
from clary.domain.scaling.signals import Term


def term(policy: str, wanted: Wanted, heard: Heard | None, current: int) -> Term:
    """A policy as a candidate: the value that it went by and what it compared it with, and what it wants. One that went by none tells the
    newest; one without an opinion wants what there is."""
    figures: list[tuple[str, float]] = []
    if heard is not None:
        newest = heard.points[-1].value if heard.points else None
        value = newest if wanted.value is None else wanted.value
        figures = [("value", value)] if value is not None else []
        figures.append(("threshold", heard.threshold if wanted.against is None else wanted.against))
    return Term(policy, current if wanted.capacity is None else wanted.capacity, tuple(figures))


def decided(turn: TargetTurn, policy: str, to: int, why: str, candidates: Iterable[Term], refused: str = "") -> Write:
    """A policy's decision: to change capacity, or to leave it where something keeps it (`refused`)."""
    terms = tuple(candidates)
    current, words = turn.capacity.desired, words_of(turn.document["dimension"])
    change = f"Set {words} to {to}" if to != current else f"Keep {words} at {current}"
    level = HOLD if refused and to == current else SIZE if turn.document["dimension"] == MILLICPU else FLEET
    figures = next((dict(each.of) for each in terms if each.name == policy), {})
    saw = _has(turn) | figures
    return _write(turn, policy, level, policy, f"{change}: {why}.", to, saw, terms, refused)


def ranged(turn: TargetTurn, cause: str, to: int) -> Write:
    """A range, or a schedule that set it. `to` is what capacity follows it."""
    words, current = words_of(turn.document["dimension"]), turn.capacity.desired
    what = f"Set {words} to {to}" if to != current else f"Keep {words} at {current}"
    low, high = turn.document["min"], turn.document["max"]
    why = f"{what}: {cause}; it may be {low} to {high} now."
    saw = {**_has(turn), "least": float(low), "most": float(high)}
    return _write(turn, "range", RANGE, "range", why, to, saw, (), "")


def _write(
    turn: TargetTurn,
    policy: str,
    level: str,
    won: str,
    why: str,
    to: int,
    saw: dict[str, float],
    candidates: tuple[Term, ...],
    refused: str,
) -> Write:
    current = turn.capacity.desired
    applied = to != current and not refused
    return Write(
        Event(
            turn.now,
            policy,
            level,
            won,
            why,
            state_of(turn, current),
            state_of(turn, to),
            saw,
            candidates,
            applied,
            refused,
        )
    )


def _has(turn: TargetTurn) -> dict[str, float]:
    capacity = turn.capacity
    if turn.document["dimension"] == MILLICPU:
        return {"count": float(capacity.count), "size": float(capacity.running)}
    return {"count": float(capacity.running), **({"size": float(capacity.millicpu)} if capacity.millicpu else {})}
