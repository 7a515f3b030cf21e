"""What the same time of day usually needs: a floor under the fleet, never a reason to remove (scaling reference 2.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from clary.domain.scaling.staffing import staffing

DAYS = 14
TRUST = 0.9
FEWEST = 3  # days that make something usual


def floor(rates: Sequence[float], service: float, patience: float, variation: float, share: float, ready: int) -> int:
    """Replicas of `ready` workers for the usual rate at this time of day, of the rates then on the last days, newest last. 0 while
    there are too few of them. The caller looks a start's time ahead."""
    recent = rates[-DAYS:]
    if len(recent) < FEWEST or service <= 0.0:
        return 0
    workers = staffing(median(recent) * service, patience, variation, share)
    return math.ceil(TRUST * workers / ready)
