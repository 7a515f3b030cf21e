"""Clary's own policy: staffing and fleet, levels 1 and 2 of the scaling reference (2.3, 2.5). Level 0 is the front's.

Owns the decision and its reasons. Does not know clocks, stores and machines: it is called alike by the scaling loop and by the
simulator. One setting serves all traffic; what differs follows from how fast a worker can be given work, compared with the objective.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clary.domain.scaling.rate import Rate, estimate, remember, spread, trend, variability
from clary.domain.scaling.signals import STALE, Current, Desired, Memory, Reason, Sample, Term
from clary.domain.scaling.staffing import staffing, tail

IN_EVERY = 10.0  # seconds between two replicas that are given up
MINUTE = 60
LEAST_DELTA = 0.3
PUT_OFF = 0.25  # of what a request may wait, that a queue may take at least
SHORT, LEAST_HOLD = 0.17, 0.05  # seconds: see _parks
SPARE = 1.1  # a replica that this much more load would bring back stays
MOST_WORKERS = 4096  # beyond this an absurd sample asks, not a user


class Regime(NamedTuple):
    """Which share of requests may have to wait too long by staffing alone (`share` of the fleet's, `base` of the workers that stay ready;
    0: as many as the load keeps busy), how long an idle worker keeps its place at most, the least and the most of the objective that a
    queue may take, and which part of the room that a slow request leaves in the objective is used up by waiting."""

    share: float
    base: float
    hold: float
    least: float
    delta: float
    lean: float


QUICK = Regime(
    0.5, 0.0, 0.3, 0.0, 1.0, 0.6
)  # a worker that is given work now still comes in time: the boost carries the load
EACH = Regime(2e-3, 0.1, 0.5, 0.0, 0.3, 0.0)  # it does for the request that waits, not for the next: few may have to
SLOW = Regime(2e-3, 2e-3, 0.5, LEAST_DELTA, LEAST_DELTA, 0.0)  # not even for that one: staffing carries the load
FIXED = Regime(2e-4, 0.0, 30.0, LEAST_DELTA, LEAST_DELTA, 0.0)  # there is no boost


class Load(NamedTuple):
    """What the samples come to. `spread` is the rate where arrivals are put off as they may wait: for `patience` services."""

    rate: Rate
    spread: float
    slope: float
    service: float
    variation: float
    patience: float
    psi: float
    queued: int

    @property
    def erlang(self) -> float:
        return self.rate.now * self.service


@dataclass(frozen=True, slots=True)
class ClaryPolicy:
    """Keeps `objective` (the latency in seconds that nearly all requests must meet) at least cost, between `least` and `most`
    replicas. `ready` workers of a replica count in the fleet's size (0: the allowance over `surge`); `surge` is how many times the
    recent load the fleet must be able to carry at its ceiling; `keep` is for how many seconds a replica outlives the need for it, and
    `idle` after how many without a request the last one goes, where `least` is 0. `boost` is whether parked workers may be used."""

    objective: float
    least: int = 1
    most: int = 64
    ready: int = 0
    surge: float = 3.0
    z: float = 3.0
    keep: float = 1200.0
    idle: float = 3600.0
    boost: bool = True
    floor: int = 0

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        if not samples or now - samples[-1].time > STALE:
            age = now - samples[-1].time if samples else math.inf
            return self._hold(current, Reason("stale", (Term("stale", current.count, (("age", age),)),)))
        memory = remember(current.memory, samples)
        load = self._load(samples, memory, current)
        if load is None:
            return self._hold(
                current, Reason("unmeasured", (Term("unmeasured", current.count),)), memory, now, samples[-1]
            )
        regime = self._regime(load, current)
        need, queue = self._need(load, regime)
        ahead = need
        if load.slope > 0.0:
            later = min((load.spread + load.slope * (current.start + 1.0)) * load.service, MOST_WORKERS)
            ahead = max(need, staffing(later, load.patience, load.variation, regime.share))
        memory, peak = self._remember_need(memory, ahead, now)
        if samples[-1].arrivals or samples[-1].in_flight:
            memory = memory._replace(busy=samples[-1].time)
        elif memory.busy == 0.0:
            memory = memory._replace(busy=now)
        return self._fleet(load, regime, (need, queue, peak), samples[-1], current, memory, now)

    def _regime(self, load: Load, current: Current) -> Regime:
        """By what a worker that is given work now comes in time for."""
        if not self.boost:
            return FIXED
        if load.psi >= 1.0:
            return QUICK
        return EACH if load.patience * load.service >= current.wake else SLOW

    def _load(self, samples: Sequence[Sample], memory: Memory, current: Current) -> Load | None:
        """None while no request has been done: then nothing is known of its work."""
        last = samples[-1]
        if not (last.service > 0.0 and math.isfinite(last.service)):
            return None
        counts = [sample.arrivals for sample in samples[-MINUTE:]]
        varied = variability(memory)
        rate = estimate(counts, varied, self.z)
        wait = self.objective - tail(last.service, last.spread)
        return Load(
            rate,
            min(rate.now, spread(counts, max(wait, 0.0))) if self.boost else rate.now,
            trend(counts, varied),
            last.service,
            (varied + last.spread) / 2,
            wait / last.service,
            wait / (current.wake + last.service),
            last.queued,
        )

    def _need(self, load: Load, regime: Regime) -> tuple[int, int]:
        """Workers that the rate needs, and that rate and queue together need."""
        erlang = min(load.erlang, MOST_WORKERS)
        need = staffing(min(load.spread * load.service, MOST_WORKERS), load.patience, load.variation, regime.share)
        queue = math.ceil(erlang + min(load.queued * load.service / (regime.delta * self.objective), MOST_WORKERS))
        return need, queue

    def _remember_need(self, memory: Memory, need: int, now: float) -> tuple[Memory, int]:
        """The most workers that were needed within `keep` (or the regime's hold where there is no boost), by minutes or seconds."""
        span, grain = (self.keep, min(MINUTE, max(1, int(self.keep / 15)))) if self.boost else (FIXED.hold, 1)
        slot = int(now // grain)
        peaks = memory.peaks
        if peaks and peaks[-1][0] == slot:
            if need > peaks[-1][1]:
                peaks = (*peaks[:-1], (slot, need))
        else:
            oldest = slot - int(span // grain)
            peaks = (*(peak for peak in peaks if oldest < peak[0] < slot and peak[1] > need), (slot, need))
        if peaks is not memory.peaks:
            memory = memory._replace(peaks=peaks)
        return memory, int(max(peak[1] for peak in peaks))

    def _fleet(
        self,
        load: Load,
        regime: Regime,
        needs: tuple[int, int, int],
        last: Sample,
        current: Current,
        memory: Memory,
        now: float,
    ) -> Desired:
        need, queue, peak = needs
        allowance = current.allowance if self.boost else self.ready or current.allowance
        ready = self.ready or max(1.0, allowance / self.surge)
        wanted = max(need, queue)
        there = (current.count + current.starting) * allowance
        # Without a boost all workers are ready ones: the peak has counted already what the rate needs.
        short = max(0, wanted - (there if self.boost else max(there, peak)))
        terms = [
            Term(
                "load",
                math.ceil((peak + short) / ready),
                (("rate", load.rate.now), ("service", load.service), ("need", need), ("peak", peak), ("short", short)),
            ),
            Term("surge", math.ceil(self.surge * peak / allowance) if self.boost else 0, (("surge", self.surge),)),
            Term("forecast", self.floor),
            Term("least", max(self.least, 1 if now - memory.busy < self.idle or last.in_flight else 0)),
        ]
        best = max(terms, key=lambda term: term.wanted)
        count, won = int(best.wanted), best.name
        have = current.count + current.starting
        if max(count, have) > self.most:
            count, won = self.most, "most"
            terms.append(Term("most", self.most, (("asked", best.wanted),)))
        if count < have <= self.most:  # a range that was changed waits for no calm
            early = 0 <= now - memory.shrunk < IN_EVERY
            if math.ceil(SPARE * peak / ready) >= have:
                terms.append(Term("spare", have, (("spare", SPARE), ("peak", peak))))
                count, won = have, "spare"
            elif (self.boost and current.boosting) or last.queued or early:
                terms.append(Term("calm", have, (("queued", last.queued), ("since", now - memory.shrunk))))
                count, won = have, "calm"
            else:
                count, memory = have - 1, memory._replace(shrunk=now)
        elif current.failing:
            terms.append(Term("failing", count))
        base = self._base(load, regime, count * allowance)
        terms.append(Term("psi", load.psi, (("share", regime.share), ("variation", load.variation), ("queue", queue))))
        delta = self._delta(load, last, regime)
        rate = max(0.0, load.rate.now - self._left(load, last, regime, delta) / load.service)
        reason = Reason(won, tuple(terms))
        return Desired(count, allowance, base, rate, reason, self._parks(load, regime), delta, memory)

    def _base(self, load: Load, regime: Regime, ceiling: int) -> int:
        """Workers that stay ready. Without a boost nothing is parked; with a quick one a parked worker is as good as an idle one."""
        if not self.boost:
            return ceiling
        erlang = min(load.erlang, MOST_WORKERS)
        return staffing(erlang, load.patience, load.variation, regime.base) if regime.base else int(load.erlang)

    def _parks(self, load: Load, regime: Regime) -> float:
        """After how many idle seconds a worker is parked. Short requests want it soon: many come while it is held, and one of them always
        finds something to do for it. But each time turns the number of workers twice, of which goal 11 allows one a second: so it falls
        with the root of the service only (`tests/sim/test_run_turns.py`). Few workers change from idle to busy more often than many do.
        Where each that waits asks for a worker, they change often as it is."""
        if regime in (EACH, FIXED):
            return regime.hold
        share = math.sqrt(load.service / SHORT) * (1.0 + 1.0 / max(load.erlang, 1.0))
        return max(LEAST_HOLD, regime.hold * min(1.0, share))

    def _delta(self, load: Load, last: Sample, regime: Regime) -> float:
        """The part of the objective that a queue may take: what a slow request and half of a running one leave of it, or a part of what
        a request may wait where that is more."""
        left = self.objective - tail(load.service, last.spread, 0.99) - load.service / 2
        share = max(left, PUT_OFF * load.patience * load.service) / self.objective
        return min(max(share, regime.least), regime.delta)

    def _left(self, load: Load, last: Sample, regime: Regime, delta: float) -> float:
        """Workers of the load that the queue is left to ask for: a share of the load lets requests wait for as much of what the queue
        may take. A single worker always is: a request asks for it at once, and between requests it is parked."""
        if regime.lean <= 0.0 or load.erlang <= 1.0:
            return load.erlang if regime.lean else 0.0
        room = max(0.0, self.objective - tail(load.service, last.spread, 0.999))
        return load.erlang * min(1.0, regime.lean * room / (delta * self.objective))

    def _hold(
        self,
        current: Current,
        reason: Reason,
        memory: Memory | None = None,
        now: float = 0.0,
        last: Sample | None = None,
    ) -> Desired:
        """What there is, within the bounds; a worker for each request that waits, up to the allowance."""
        kept = current.memory if memory is None else memory
        if last is not None and (last.in_flight or last.arrivals or kept.busy == 0.0):
            kept = kept._replace(busy=now)
        least = max(self.least, self.floor, 1 if last is not None and last.in_flight else 0)
        count = min(max(current.count + current.starting, least), self.most)
        allowance = current.allowance if self.boost else self.ready or current.allowance
        return Desired(count, allowance, min(1, count), 0.0, reason, memory=kept)
