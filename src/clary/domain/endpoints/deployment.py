"""Rollouts: the plan of steps by which a new fleet replaces the serving one, and its progress. Pure.

`plan` reads a DeploymentConfig once, when the update is asked; the steps are kept in the endpoint's record, so what is done after a
crash is what was decided before it. `advance` moves a rollout by facts along `lifecycle.ROLLOUT`; `due` says when its wait ends.
Replicas, routes and alarms are other modules' business: a step only says how many, and which share of the traffic.

Blue/green (ALL_AT_ONCE, CANARY, LINEAR): the whole new fleet comes up first, then traffic moves in steps. ROLLING: each step brings
up one batch, moves that share of the traffic, bakes, and gives the same part of the old fleet back. IN_PLACE is no rollout yet: the
models are compared first (`endpoint_rollout`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clary.domain.errors import Invalid

from clary.domain.lifecycle import ROLLOUT, RolloutFact, RolloutPhase, advance as move  # isort: skip

IN_PLACE, ALL_AT_ONCE, CANARY, LINEAR, ROLLING = "IN_PLACE", "ALL_AT_ONCE", "CANARY", "LINEAR", "ROLLING"

Counts = Mapping[str, int]  # variant name -> replicas
Size = Mapping[str, Any]  # CapacitySize


@dataclass(frozen=True, slots=True)
class Step:
    """`wanted`: replicas of the fleet that grows, `shares`: the new fleet's part of each variant's traffic from then on, `left`:
    replicas of the fleet that shrinks once the step has baked. By variant name."""

    wanted: Counts
    shares: Mapping[str, float]
    left: Counts


@dataclass(frozen=True, slots=True)
class Rollout:
    """`step` is the last whose traffic was moved (-1: none yet), `since` when the phase began. Waits and `limit` (0: none) in seconds.

    `regression` is the false alarm rate of the comparison of the fleets (0: none), `evidence` what it knows (`regression.py`).
    `back`: it goes back, from shares `begin`; then the old fleet is the one that grows."""

    kind: str
    steps: tuple[Step, ...]
    wait: float = 0.0
    keep: float = 0.0
    limit: float = 0.0
    alarms: tuple[str, ...] = ()
    regression: float = 0.0
    step: int = -1
    phase: str = RolloutPhase.STARTING.value
    since: float = 0.0
    back: bool = False
    begin: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> bool:
        return self.step == len(self.steps) - 1

    @property
    def wanted(self) -> Counts:
        """Replicas that the growing fleet must have now."""
        ahead = self.phase == RolloutPhase.STARTING
        return self.steps[min(len(self.steps) - 1, self.step + ahead)].wanted

    @property
    def left(self) -> Counts | None:
        """Replicas that the shrinking fleet may keep; None: all that it has."""
        if self.kind != ROLLING:
            return None
        baked = self.step if self.phase == RolloutPhase.STARTING else self.step - 1
        return self.steps[baked].left if baked >= 0 else None

    def share(self, variant: str) -> float:
        """The new fleet's part of that variant's traffic. A variant that only one fleet has gets what the others have on average."""
        shares = self.steps[self.step].shares if self.step >= 0 else self.begin
        return shares.get(variant, self.overall)

    @property
    def overall(self) -> float:
        shares = self.steps[self.step].shares if self.step >= 0 else self.begin
        return sum(shares.values()) / len(shares) if shares else 0.0

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Rollout:
        steps = tuple(Step(**step) for step in data["steps"])
        return Rollout(**{**data, "steps": steps, "alarms": tuple(data["alarms"])})


# -- plans ------------------------------------------------------------------------------------------------------------------------


def alarm_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The alarms that guard what a DeploymentConfig asks for, each once. Invalid for one without a name."""
    rows = (config.get("AutoRollbackConfiguration") or {}).get("Alarms") or ()
    if any(not row.get("AlarmName") for row in rows):
        raise Invalid("DeploymentConfig.AutoRollbackConfiguration.Alarms: every alarm needs an AlarmName.")
    return tuple(dict.fromkeys(row["AlarmName"] for row in rows))


def plan(config: Mapping[str, Any], old: Counts, new: Counts, now: float, regression: float = 0.0) -> Rollout:
    """The rollout that a DeploymentConfig asks for, from a fleet of `old` to one of `new` replicas."""
    alarms = alarm_names(config)
    rolling = config.get("RollingUpdatePolicy")
    if rolling:
        return Rollout(
            ROLLING,
            _batches(rolling["MaximumBatchSize"], old, new),
            wait=float(rolling["WaitIntervalInSeconds"]),
            limit=float(rolling.get("MaximumExecutionTimeoutInSeconds", 0)),
            alarms=alarms,
            regression=regression,
            since=now,
        )
    policy = config.get("BlueGreenUpdatePolicy") or {}
    shift = policy.get("TrafficRoutingConfiguration") or {}
    kind = shift.get("Type", ALL_AT_ONCE)
    return Rollout(
        kind,
        tuple(Step(dict(new), shares, dict(old)) for shares in _shifts(kind, shift, new)),
        wait=float(shift.get("WaitIntervalInSeconds", 0)),
        keep=float(policy.get("TerminationWaitInSeconds", 0)),
        limit=float(policy.get("MaximumExecutionTimeoutInSeconds", 0)),
        alarms=alarms,
        regression=regression,
        since=now,
    )


def _shifts(kind: str, shift: Mapping[str, Any], new: Counts) -> list[dict[str, float]]:
    """The new fleet's shares after each step of a blue/green deployment."""
    whole = dict.fromkeys(new, 1.0)
    if kind == CANARY:
        return [{name: part_of(shift["CanarySize"], count) for name, count in new.items()}, whole]
    if kind == LINEAR:
        parts = {name: part_of(shift["LinearStepSize"], count) for name, count in new.items()}
        steps = max(math.ceil(1 / part - 1e-9) for part in parts.values())
        return [{name: min(1.0, part * number) for name, part in parts.items()} for number in range(1, steps)] + [whole]
    return [whole]


def _batches(size: Size, old: Counts, new: Counts) -> tuple[Step, ...]:
    """Steps of a rolling deployment. The old fleet keeps as much as its share of the traffic needs; the last of it goes with the end."""
    batch = {name: batch_of(size, count) for name, count in new.items()}
    number = max(1, *(math.ceil(count / batch[name]) for name, count in new.items()))
    steps: list[Step] = []
    left = dict(old)
    for done in range(1, number + 1):
        wanted = {name: min(count, batch[name] * done) for name, count in new.items()}
        shares = {name: wanted[name] / count if count else 1.0 for name, count in new.items()}
        if done < number:
            overall = sum(shares.values()) / len(shares)
            left = {name: math.ceil(count * (1 - shares.get(name, overall)) - 1e-9) for name, count in old.items()}
        steps.append(Step(wanted, shares, dict(left)))
    return tuple(steps)


def going_back(rollout: Rollout, config: Mapping[str, Any], old: Counts, new: Counts, now: float) -> Rollout:
    """The way back from a rolling deployment that had given part of the old fleet up. `old` and `new` are whole fleets.

    RollbackMaximumBatchSize at a time (all at once by default) the old fleet grows again, and takes its traffic back."""
    size = (config.get("RollingUpdatePolicy") or {}).get("RollbackMaximumBatchSize")
    have = rollout.left or old
    batch = {name: batch_of(size, count) if size else max(1, count) for name, count in old.items()}
    missing = {name: count - have.get(name, count) for name, count in old.items()}
    number = max(1, *(math.ceil(missing[name] / batch[name]) for name in old))
    begin = {name: rollout.share(name) for name in new}
    steps = []
    for done in range(1, number + 1):
        wanted = {name: min(count, have.get(name, count) + batch[name] * done) for name, count in old.items()}
        part = 1 - done / number
        shares = {name: share * part for name, share in begin.items()}
        left = {name: math.ceil(count * shares[name] - 1e-9) for name, count in new.items()}
        steps.append(Step(wanted, shares, left))
    return replace(
        rollout,
        steps=tuple(steps),
        step=-1,
        phase=RolloutPhase.STARTING.value,
        since=now,
        back=True,
        begin=begin,
        wait=0.0,
        keep=0.0,
        evidence={},
    )


def part_of(size: Size, count: int) -> float:
    """The share of the traffic that a CapacitySize means for a variant of so many replicas."""
    if size["Type"] == "CAPACITY_PERCENT":
        return float(min(1.0, size["Value"] / 100))
    return min(1.0, size["Value"] / count) if count else 1.0


def batch_of(size: Size, count: int) -> int:
    """How many replicas a CapacitySize means, at least one."""
    if size["Type"] == "CAPACITY_PERCENT":
        return int(max(1, math.ceil(count * size["Value"] / 100 - 1e-9)))
    return max(1, int(size["Value"]))


# -- progress ---------------------------------------------------------------------------------------------------------------------


def due(rollout: Rollout) -> float | None:
    """When the present phase ends by time; None: it does not."""
    if rollout.phase == RolloutPhase.BAKING:
        return rollout.since + rollout.wait
    if rollout.phase == RolloutPhase.KEEPING:
        return rollout.since + rollout.keep
    return None


def fact_of(rollout: Rollout, ready: bool, told: bool, now: float) -> RolloutFact | None:
    """What happened that moves the rollout on; None: nothing yet. `ready`: the growing fleet has what `wanted` says. `told`: the
    front routes by the present step. Where no wait follows, nobody has to be told first."""
    match RolloutPhase(rollout.phase):
        case RolloutPhase.STARTING:
            return RolloutFact.READY if ready else None
        case RolloutPhase.SHIFTING:
            waits = rollout.wait or (rollout.last and rollout.keep)
            return RolloutFact.TOLD if told or not waits else None
        case RolloutPhase.BAKING if now >= rollout.since + rollout.wait:
            return RolloutFact.LAST_WAITED if rollout.last else RolloutFact.WAITED
        case RolloutPhase.KEEPING if now >= rollout.since + rollout.keep:
            return RolloutFact.KEPT
    return None


def advance(rollout: Rollout, fact: RolloutFact, now: float) -> Rollout:
    """The rollout after that fact. IllegalTransition when it does not belong to the phase."""
    phase = move(ROLLOUT, rollout.phase, fact)
    step = rollout.step + (fact is RolloutFact.READY)
    return replace(rollout, phase=phase.value, step=step, since=now)


def seconds_of(rollout: Rollout) -> float:
    """How long it waits in all: what MaximumExecutionTimeoutInSeconds must exceed."""
    return rollout.wait * len(rollout.steps) + rollout.keep
