"""Which settings of Clary's policy are tried against the one that serves, and for what variant (scaling reference 2.6).

Owns the candidates, and the control that never serves. Each differs from what is shipped in one thing, so that a win says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from clary.domain.scaling.policy import ClaryPolicy
from clary.domain.scaling.shape import IDLE

BUDGET = 12  # seconds of CPU for one replay of all
SHARE = 0.02  # of one core, that replays may take in the long run
SHIPPED = "shipped"
CONTROL = "target tracking"
KEEP = "keep"

CANDIDATES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        SHIPPED: {},
        "surge=2": {"surge": 2.0},
        "surge=4.5": {"surge": 4.5},
        "keep=600": {KEEP: 600.0},
        "keep=2400": {KEEP: 2400.0},
        "z=2": {"z": 2.0},
        "z=4": {"z": 4.0},
    }
)


class Setup(NamedTuple):
    """A variant as its policy knows it: seconds of `objective`, `keep` and of its last `starts`; `ready` workers of a replica count in the
    fleet's size, `allowance` may be busy; the machine has CPUs for `cpus` busy workers of it. `kept`: the user has set `keep`, and no
    candidate changes it."""

    objective: float
    least: int
    most: int
    ready: int
    allowance: int
    keep: float
    kept: bool
    cpus: int
    starts: tuple[float, ...]
    start: float

    @property
    def policy(self) -> ClaryPolicy:
        """As it is shipped. A floor of the usual days is the same for all, and left out."""
        idle = IDLE * self.keep
        return ClaryPolicy(self.objective, self.least, self.most, self.ready, keep=self.keep, idle=idle)


def names(kept: bool) -> tuple[str, ...]:
    """Those that can serve."""
    return tuple(name for name, fields in CANDIDATES.items() if not (kept and KEEP in fields))


def alike(setup: Setup, name: str) -> bool:
    """Whether a candidate decides as what is shipped does, whatever comes: its surge asks for replicas only where ready workers are many
    against the ceiling. (The ceiling itself is the same for all: to change it costs a fork of workers.)"""
    surge = CANDIDATES[name].get("surge")
    most = max(surge or 0.0, setup.policy.surge)
    return name != SHIPPED and surge is not None and most * setup.ready <= setup.allowance


def set_as(policy: ClaryPolicy, name: str) -> ClaryPolicy:
    """The policy with the settings of a candidate."""
    fields = dict(CANDIDATES[name])
    return replace(
        policy,
        surge=fields.get("surge", policy.surge),
        z=fields.get("z", policy.z),
        keep=fields.get(KEEP, policy.keep),
        idle=IDLE * fields[KEEP] if KEEP in fields else policy.idle,
    )
