"""Shares out the workers of a full machine: level 0 of scaling across endpoints (scaling reference 2.4).

Owns one pure function. While there is room, fronts take what they want, first come first served, and nobody asks. When all endpoints
together want more than the machine has, each gets a part of what is its due by load, so that none starves, and the rest goes where a
worker saves the most requests from being late (after FaRO, EuroSys 2025). Does not know machines: the scaling loop and the simulator
give it claims and hand its answer to the fronts as ceilings. In the simulator a worker keeps one CPU busy; in production each claim says
what is measured (`costs.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from clary.domain.scaling.signals import Desired, Sample
from clary.domain.scaling.staffing import tail

HORIZON = 3.0  # seconds that a grant is judged by: the next one comes in a second, and a burst lasts for some
DUE = 0.5  # the part of its due by load that an endpoint has in any case
MOST = 512  # workers of one claim that are looked at
TINY = 1e-9


class Claim(NamedTuple):
    """What one endpoint would do with workers. `patience` and `service` are seconds: how long a request may wait, and how long it takes.
    `variation` is the mean of the squared coefficients of variation of arrivals and services; `wanted` the workers it would use, and
    `cost` the CPUs that each of them keeps busy (0: nobody knows yet; what is unknown is neither cut nor counted)."""

    rate: float
    service: float
    patience: float
    variation: float
    queued: int
    wanted: int
    cost: float = 1.0

    @property
    def cpus(self) -> float:
        """What it would use."""
        return self.wanted * self.cost

    @property
    def load(self) -> float:
        return self.rate * self.service

    @property
    def due(self) -> float:
        """Workers that would keep up with what comes and serve what waits within the horizon."""
        return (self.rate + self.queued / HORIZON) * self.service


def claim(desired: Desired, last: Sample, objective: float, busy: int) -> Claim:
    """The claim of an endpoint with this decision and this newest sample, of which so many workers are `busy`."""
    if all(term.name != "load" for term in desired.reason.terms):  # it holds what there is
        return Claim(0.0, 0.0, 0.0, 1.0, 0, max(desired.base, busy + last.queued))
    load, psi = dict(desired.reason.term("load").of), dict(desired.reason.term("psi").of)
    patience = max(0.0, objective - tail(last.service, last.spread))
    wanted = min(int(max(load["need"], psi["queue"], busy)), desired.count * desired.allowance)
    return Claim(load["rate"], last.service, patience, psi["variation"], last.queued, wanted)


def shares(claims: Sequence[Claim], workers: int) -> tuple[int, ...] | None:
    """A ceiling for each claim; None while all of them fit and there is nothing to share out. One that gets all that it wants has the
    machine as its ceiling: what comes within the next second is served first come, first served."""
    granted = grants(claims, workers)
    if granted is None:
        return None
    return tuple(have if have < claim.wanted else workers for have, claim in zip(granted, claims, strict=True))


def ceilings(claims: Sequence[Claim], cpus: float) -> tuple[int, ...]:
    """The same as fronts are told: 0 is no ceiling. One worker is left to each that wants any: where there are more endpoints than CPUs
    they take turns on them."""
    granted = grants(claims, cpus)
    if granted is None:
        return (0,) * len(claims)
    left = [max(1, have) for have in granted]
    return tuple(have if have < claim.wanted else 0 for have, claim in zip(left, claims, strict=True))


def grants(claims: Sequence[Claim], cpus: float) -> list[int] | None:
    """Workers for each claim; None while all of them fit."""
    wanted = [min(claim.wanted, MOST) for claim in claims]
    if sum(claim.cpus for claim in claims) <= cpus + TINY:
        return None
    granted = _due(claims, wanted, cpus)
    left = cpus - sum(have * claim.cost for have, claim in zip(granted, claims, strict=True))
    curves = [lateness(claim, most) for claim, most in zip(claims, wanted, strict=True)]
    steps = [_step(claims[i], curve, granted[i], left) for i, curve in enumerate(curves)]
    while left > TINY:
        place = max(range(len(claims)), key=lambda i: steps[i][0])
        gain, more = steps[place]
        if more == 0 or gain <= 0.0:
            break
        granted[place] += more
        left -= more * claims[place].cost
        for i, curve in enumerate(curves):
            if i == place or steps[i][1] * claims[i].cost > left + TINY:
                steps[i] = _step(claims[i], curve, granted[i], left)
    return _rest(claims, granted, wanted, left)


def lateness(claim: Claim, most: int) -> list[float]:
    """Requests that are late within the horizon, by number of workers from 0 to `most`: those of the queue that are too far back, those
    that arrive while it is too long, and those that even staffing leaves to wait."""
    load, patience = claim.load, claim.patience
    steep = patience / max(claim.service, 1e-9) / max(claim.variation, 1e-9)
    found, blocked = [claim.queued + claim.rate * HORIZON], 1.0
    for k in range(1, most + 1):
        blocked = load * blocked / (k + load * blocked)
        wait = claim.queued * claim.service / k
        behind = max(0.0, claim.queued - patience * k / max(claim.service, 1e-9))
        if k <= load:
            fine = (patience - wait) * k / (load - k) if k < load else math.inf
            late = claim.rate * min(HORIZON, max(0.0, HORIZON - max(0.0, fine)))
        else:
            late = claim.rate * min(HORIZON, max(0.0, (wait - patience) * k / (k - load)))
            waits = k * blocked / (k - load * (1.0 - blocked))
            late += claim.rate * HORIZON * waits * math.exp(-(k - load) * steep)
        found.append(min(found[-1], behind + late))
    return found


def _due(claims: Sequence[Claim], wanted: Sequence[int], cpus: float) -> list[int]:
    """What each has in any case: one worker where it wants any, and a part of what is its due by load."""
    total = sum(claim.due * claim.cost for claim in claims)
    granted = []
    for claim, most in zip(claims, wanted, strict=True):
        part = DUE * cpus * claim.due / total if total > 0.0 else 0.0
        granted.append(most if claim.cost <= 0.0 else min(most, max(1, math.floor(part))))
    held = [have * claim.cost for have, claim in zip(granted, claims, strict=True)]
    while sum(held) > cpus + TINY and max(held) > 0.0:  # more endpoints than workers: the largest gives way
        place = max(range(len(held)), key=lambda i: held[i])
        granted[place] -= 1
        held[place] = granted[place] * claims[place].cost
    return granted


def _step(claim: Claim, curve: Sequence[float], have: int, left: float) -> tuple[float, int]:
    """The number of further workers that saves the most requests for each CPU, and how many that is. Lateness falls late where a queue is
    long: a few workers save nobody, some more save all; so steps of any size are compared."""
    best, more = 0.0, 0
    if claim.cost <= 0.0:
        return best, more
    for k in range(have + 1, min(len(curve) - 1, have + int(max(0.0, left) / claim.cost + TINY)) + 1):
        gain = (curve[have] - curve[k]) / ((k - have) * claim.cost)
        if gain > best:
            best, more = gain, k - have
    return best, more


def _rest(claims: Sequence[Claim], granted: list[int], wanted: Sequence[int], left: float) -> list[int]:
    """Workers that save nobody in time still shorten queues: by turns to those that want more, the longest wait first."""
    while left > TINY:
        open_ = [i for i in range(len(claims)) if granted[i] < wanted[i] and claims[i].cost <= left + TINY]
        if not open_:
            break
        place = max(open_, key=lambda i: claims[i].queued * claims[i].service / (granted[i] + 1))
        granted[place] += 1
        left -= claims[place].cost
    return granted
