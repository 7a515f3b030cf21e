"""A decision of scaling as it is written down: one JSON event each in the log group `/clary/Scaling/ENDPOINT`, stream VARIANT.

Owns the format, when a decision is worth an event, and its words. Does not know policies and log files. An event:

    {"at": epoch seconds, "policy": name, "level": staffing | size | fleet | hold | range,
     "saw": {"rate", "service_ms", "in_flight", "queued", "late", "count", "starting", "size", "cut", "waits", ...}: what is known,
     "candidates": [{"name", "wanted", figures ...}], "won": name, "why": a sentence,
     "from": {"count", "millicpu", "allowance"}, "to": the same, "applied": bool, "refused": why it could not be done}

`level` is the dearest thing that it changes: `fleet` replicas, `size` a replica's CPU, `staffing` the workers that stay ready. `hold`
changes nothing because something is missing; `range` is a range or a schedule, not a policy. In `from` and `to`, 0 is not known
or as the instance type has it. A decision that is applied later, or not at all, has a second event.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clary.domain.scaling.signals import Reason, Term

STAFFING, SIZE, FLEET, HOLD, RANGE = "staffing", "size", "fleet", "hold", "range"
KEEP_DAYS = 14
COPIES_STREAM = "copies"  # of an inference component, which has no variant
AGAIN = 60.0  # seconds after which an unchanged decision is told again, while requests come
CALM = 5.0
ENDED = "ended"  # what won: nobody decides any more
CUT = "cut"  # what was seen: on a machine whose CPUs are all wanted no more workers may be busy
MUCH = 0.05  # of their time that workers wait for a CPU: less is no word worth
FIGURES = ("psi",)  # terms that are figures of the decision, not candidates


@dataclass(frozen=True, slots=True)
class State:
    """The current or the wanted capacity of a variant."""

    count: int = 0
    millicpu: int = 0
    allowance: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """See the module. `saw` and a candidate's figures are numbers by name."""

    at: float
    policy: str
    level: str
    won: str
    why: str
    before: State
    after: State
    saw: Mapping[str, float] = field(default_factory=dict)
    candidates: tuple[Term, ...] = ()
    applied: bool = False
    refused: str = ""

    @property
    def outcome(self) -> tuple[Any, ...]:
        """What makes it another decision than the one before; what may change each second comes last: what won, whether it is cut,
        whether its objective is out of reach."""
        mark = self.won if self.level == HOLD else ""
        objective = self.saw.get("objective_ms", math.inf)
        beyond = self.saw.get("service_p95_ms", 0.0) > objective
        return self.policy, mark, self.after, self.refused, objective, (self.won, CUT in self.saw, beyond)


def group_of(endpoint: str) -> str:
    """The log group of an endpoint's decisions."""
    return f"/clary/Scaling/{endpoint}"


def worth(event: Event, last: tuple[Any, ...] | None, told: float, busy: bool) -> bool:
    """Whether the event is to be written, after one of outcome `last` at `told`: when it is another decision, or an `AGAIN` has passed in
    which requests came. One that is another by what comes last alone waits `CALM`: two candidates may change places each second."""
    since = event.at - told
    if last is None or event.outcome[:-1] != last[:-1]:
        return True
    if event.outcome != last and not 0 <= since < CALM:
        return True
    return busy and not 0 <= since < AGAIN


def candidates_of(reason: Reason) -> tuple[tuple[Term, ...], dict[str, float]]:
    """A reason's candidates, and its figures."""
    figures: dict[str, float] = {}
    for term in reason.terms:
        if term.name in FIGURES:
            figures |= {term.name: term.wanted, **dict(term.of)}
    return tuple(term for term in reason.terms if term.name not in FIGURES), figures


def line(event: Event) -> str:
    """The event as its log line."""
    document = {
        "at": round(event.at, 3),
        "policy": event.policy,
        "level": event.level,
        "saw": _numbers(event.saw.items()),
        "candidates": [
            {"name": term.name, "wanted": _number(term.wanted), **_numbers(term.of)} for term in event.candidates
        ],
        "won": event.won,
        "why": event.why,
        "from": _state(event.before),
        "to": _state(event.after),
        "applied": event.applied,
        **({"refused": event.refused} if event.refused else {}),
    }
    return json.dumps(document, separators=(",", ":"))


def parse(text: str) -> Event | None:
    """The event of a log line; None for one that is none."""
    try:
        read = json.loads(text)
        terms = tuple(
            Term(
                str(row["name"]),
                _read(row["wanted"]),
                tuple((name, _read(value)) for name, value in row.items() if name not in ("name", "wanted")),
            )
            for row in read["candidates"]
        )
        states = [State(*(int(read[side][name]) for name in ("count", "millicpu", "allowance"))) for side in _SIDES]
        return Event(
            at=float(read["at"]),
            policy=str(read["policy"]),
            level=str(read["level"]),
            won=str(read["won"]),
            why=str(read["why"]),
            before=states[0],
            after=states[1],
            saw={name: _read(value) for name, value in read["saw"].items()},
            candidates=terms,
            applied=bool(read["applied"]),
            refused=str(read.get("refused", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


_SIDES = ("from", "to")


def _state(state: State) -> dict[str, int]:
    return {"count": state.count, "millicpu": state.millicpu, "allowance": state.allowance}


def _numbers(rows: Iterable[tuple[str, float]]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in rows}


def _number(value: float) -> float | None:
    """As JSON has numbers: what is not finite is null."""
    if not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")


def _read(value: float | None) -> float:
    return math.nan if value is None else float(value)


# -- words ------------------------------------------------------------------------------------------------------------------------


def seen(event: Event) -> str:
    """What was seen, as far as the event says."""
    saw = event.saw
    parts = []
    if "rate" in saw:
        cost = f" of {short(saw['service_ms'])} ms" if saw.get("service_ms") else ""
        rate = short(saw["rate"])
        parts.append(f"{rate} request{'' if rate == '1' else 's'} a second{cost}")
    if "p99_ms" in saw and math.isfinite(saw["p99_ms"]):
        parts.append(f"p99 {short(saw['p99_ms'])} ms{_against(saw)}")
    if "value" in saw:
        parts.append(f"a metric of {saw['value']:.4g} against {saw.get('threshold', math.nan):.4g}")
    if "in_flight" in saw:
        parts.append(f"{saw['in_flight']:.0f} in work and {saw.get('queued', 0):.0f} waiting")
    if saw.get("late"):
        parts.append(f"{saw['late']:.0f} late in the last minute")
    if saw.get("waits", 0.0) >= MUCH:
        parts.append(f"workers that wait for a CPU {100 * saw['waits']:.0f} % of their time")
    parts.append(_have(event))
    return ", ".join(parts)


def short(value: float) -> str:
    """Three figures, and never a power of ten: 0.136, 12.3, 1840."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _against(saw: Mapping[str, float]) -> str:
    return f" (objective {short(saw['objective_ms'])} ms)" if "objective_ms" in saw else ""


def _have(event: Event) -> str:
    if "count" not in event.saw and "size" in event.saw:  # a decision about sizes alone
        return f"replicas of {event.before.millicpu} millicpu"
    text = f"{event.before.count} replica{'' if event.before.count == 1 else 's'}"
    if event.saw.get("starting"):
        text += f" ({event.saw['starting']:.0f} starting)"
    if event.before.millicpu:
        text += f" of {event.before.millicpu} millicpu"
    if event.before.allowance:
        text += f", {event.before.allowance} workers each at most"
    return text


def wanted(event: Event) -> str:
    """What each candidate wanted, the one that won first; "" without candidates."""
    ordered = sorted(event.candidates, key=lambda term: term.name != event.won)
    return ", ".join(f"{term.name} {term.wanted:.4g}" for term in ordered)


def done(event: Event) -> str:
    """What was done, held or refused."""
    changes = []
    for name, unit in (("count", "replicas"), ("millicpu", "millicpu each"), ("allowance", "workers each at most")):
        old, new = getattr(event.before, name), getattr(event.after, name)
        if old != new and new:
            changes.append(f"{old} to {new} {unit}" if old or name == "count" else f"{new} {unit}")
        elif old != new and name == "count":
            changes.append(f"{old} to {new} {unit}")
    what = ", ".join(changes)
    if event.refused:
        return f"not done{f' ({what})' if what else ''}: {event.refused}"
    if event.level == HOLD:
        return "held" if event.won != ENDED else "nothing to change"
    return what if what and event.applied else f"not done: {what}" if what else "nothing to change"
