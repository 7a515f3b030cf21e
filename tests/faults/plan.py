"""What is done to Clary, one thing after another: the same for the same seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

KILLS: Mapping[str, int] = {  # how often each, in proportion
    "control": 6,
    "objects": 6,
    "front": 6,
    "nginx master": 3,
    "nginx worker": 3,
    "worker": 5,
    "zygote": 3,
    "replica's shim": 3,
    "job's shim": 1,
    "job": 2,
    "clary up": 1,
}
PAUSES: Mapping[str, int] = {"control": 1, "objects": 1, "front": 1, "nginx worker": 1, "worker": 1, "zygote": 1}
CLOCK, SLOW, FULL = "clock step", "slow disk", "full disk"
LONGEST_STEP = 100.0  # seconds: a signature may be 300 s old, and two steps may add up


@dataclass(frozen=True)
class Act:
    """`kind` is what the history calls it; `whom` one of KILLS; `pick` (0 to 1) chooses among several. `seconds`: how long it lasts, or by
    how much the clock jumps. `pause`: seconds before it."""

    kind: str
    whom: str
    pick: float
    seconds: float
    pause: float

    @property
    def kills(self) -> bool:
        return self.kind.startswith("kill")


def acts(seed: int, others: Sequence[str] = (), kills: Mapping[str, int] = KILLS) -> Iterator[Act]:
    """Without end. `others`: which of CLOCK, SLOW and FULL can be done here. One act in six is no kill."""
    chance = random.Random(seed)
    kinds = [*(["pause"] * 3), *others]
    while True:
        pick, pause = chance.random(), chance.uniform(0.0, 0.4)
        kind = chance.choice(kinds) if chance.random() < 1 / 6 else "kill"
        if kind in ("kill", "pause"):
            weights = kills if kind == "kill" else PAUSES
            whom = chance.choices(list(weights), list(weights.values()))[0]
            yield Act(f"{kind} {whom}", whom, pick, chance.uniform(0.3, 3.0) if kind == "pause" else 0.0, pause)
        elif kind == CLOCK:
            yield Act(kind, "", pick, chance.uniform(-LONGEST_STEP, LONGEST_STEP), pause)
        else:
            yield Act(kind, "", pick, chance.uniform(1.0, 4.0), pause)
