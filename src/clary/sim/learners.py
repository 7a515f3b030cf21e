"""Reinforcement learning of replicas and their size: F. Rossi, M. Nardelli, V. Cardellini, "Horizontal and Vertical Scaling of
Container-based Applications using Reinforcement Learning", IEEE CLOUD 2019.

Owns the three learners of that paper. State: replicas, utilization in tenths, workers a replica. Actions: one replica more or less, one
worker a replica more or less, nothing. Cost of a step: `performance` where requests were late, `resources` for the share of the most
workers held, `adaptation` for a change. The model-based learner counts how utilization moves and backs up all states each step;
Q-learning learns from each step alone; Dyna-Q replays remembered steps too. They learn on the traffic that they serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from clary.domain.scaling.signals import Current, Desired, Reason, Sample
from clary.sim.peers import ALL, busy

TENTHS, SIZES = 11, 4
ACTIONS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
DISCOUNT = 0.99
FORBIDDEN = 1e6


@dataclass
class Learner:
    """`kind` is model, q or dyna; `most` the most replicas; `start` how many workers a replica has first."""

    kind: str = "model"
    most: int = 16
    performance: float = 0.9
    resources: float = 0.09
    interval: float = 10.0
    start: int = 2
    explore: float = 0.05
    seed: int = 5
    values: Any = field(init=False, repr=False)
    moves: Any = field(init=False, repr=False)
    late: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.values = numpy.zeros((self.most, TENTHS, SIZES, len(ACTIONS)))
        self.moves = numpy.eye(TENTHS) * 0.5 + 0.5 / TENTHS
        busy_share = numpy.arange(TENTHS) / (TENTHS - 1)
        # What is known before: the fuller, the likelier late.
        self.late = numpy.broadcast_to(busy_share[None, :, None] ** 4, (self.most, TENTHS, SIZES)).copy()
        self.draws = numpy.random.default_rng(self.seed)
        self.remembered: list[tuple[Any, ...]] = []
        self.before: tuple[tuple[int, int, int], int] | None = None
        self.size = self.start
        self.count = 0
        replicas = numpy.arange(1, self.most + 1)[:, None, None] * numpy.arange(1, SIZES + 1)[None, None, :]
        self.held = self.resources * replicas / (self.most * SIZES)
        adaptation = max(0.0, 1.0 - self.performance - self.resources)
        self.ways = self._ways()
        self.price = numpy.array([0.0] + [adaptation] * (len(ACTIONS) - 1))

    def decide(self, samples: Sequence[Sample], current: Current, last_change: float, now: float) -> Desired:
        count = min(max(current.count + current.starting, 1), self.most)
        span = max(1, int(self.interval))
        tenth = min(TENTHS - 1, int(10 * busy(samples, span) / max(1, current.count * self.size)))
        state = (count - 1, tenth, self.size - 1)
        recent = samples[-span:]
        done, late = sum(s.completions for s in recent), sum(s.late for s in recent)
        missed = 1.0 if late > 0.001 * max(done, 1) or samples[-1].queued > done + 1 else 0.0
        if self.before is not None:
            self._learn(*self.before, state, missed)
        action = self._choose(state)
        self.before = (state, action)
        more, larger = ACTIONS[action]
        self.size += larger
        return Desired(count + more, self.size, ALL, 0.0, Reason(f"Rossi {self.kind}"))

    def _allowed(self, state: tuple[int, int, int]) -> list[int]:
        count, _, size = state
        return [
            i
            for i, (more, larger) in enumerate(ACTIONS)
            if 0 <= count + more < self.most and 0 <= size + larger < SIZES
        ]

    def _choose(self, state: tuple[int, int, int]) -> int:
        choices = self._allowed(state)
        if self.kind != "model" and self.draws.random() < self.explore:
            return int(self.draws.choice(choices))
        return min(choices, key=lambda action: self.values[(*state, action)])

    def _learn(self, state: tuple[int, int, int], action: int, after: tuple[int, int, int], missed: float) -> None:
        if self.kind == "model":
            self.moves[state[1]] *= 0.98
            self.moves[state[1], after[1]] += 0.02
            self.late[after] += 0.2 * (missed - self.late[after])
            self._back_up()
            return
        cost = self.performance * missed + float(self.held[after[0], 0, after[2]]) + float(self.price[action])
        self._update(state, action, after, cost)
        if self.kind == "dyna":
            self.remembered.append((state, action, after, cost))
            for place in self.draws.integers(len(self.remembered), size=10):
                self._update(*self.remembered[place])

    def _update(self, state: tuple[int, int, int], action: int, after: tuple[int, int, int], cost: float) -> None:
        best = min(self.values[(*after, choice)] for choice in self._allowed(after))
        self.values[(*state, action)] += 0.1 * (cost + DISCOUNT * best - self.values[(*state, action)])

    def _back_up(self) -> None:
        """One sweep over all states and actions."""
        best = self.values.min(axis=3)
        ahead = self.performance * self.late + self.held + DISCOUNT * best
        for action, (to, of, tenths, valid) in enumerate(self.ways):
            after = ahead[to, :, of]
            expected = numpy.einsum("csut,cst->csu", self.moves[tenths], after) + self.price[action]
            expected[~valid] = FORBIDDEN
            self.values[..., action] = expected.transpose(0, 2, 1)

    def _ways(self) -> list[tuple[Any, Any, Any, Any]]:
        """Of each action, by replicas and size: where it leads, and what becomes of each tenth of utilization: the same work on other
        workers."""
        counts, sizes = numpy.meshgrid(numpy.arange(self.most), numpy.arange(SIZES), indexing="ij")
        ways = []
        for more, larger in ACTIONS:
            to, of = counts + more, sizes + larger
            valid = (to >= 0) & (to < self.most) & (of >= 0) & (of < SIZES)
            to, of = to.clip(0, self.most - 1), of.clip(0, SIZES - 1)
            share = (counts + 1) * (sizes + 1) / ((to + 1) * (of + 1))
            tenths = (numpy.arange(TENTHS) * share[..., None] + 0.5).astype(int).clip(0, TENTHS - 1)
            ways.append((to, of, tenths, valid))
        return ways
