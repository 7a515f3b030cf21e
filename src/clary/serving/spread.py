"""Which replica serves a model: rendezvous hashing with bounded loads. Pure.

Each model ranks all replicas by a hash of both names and lives on the first. So a model is loaded in few places, every front agrees
without a word, and a replica that comes or goes moves only the models whose first place it is or was. The bound (consistent hashing
with bounded loads, Mirrokni, Thorup and Zadimoghaddam 2018): a replica that has more than `BOUND` times its share of what is in
flight is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b

BOUND = 1.25
HOT_SECONDS = 0.1  # a request that waits so long behind others makes its model hot: it gets one more place
PAUSE_SECONDS = 0.5  # between two such places of one model


def ranked(model: str, replicas: Iterable[str]) -> list[str]:
    """The replicas in this model's order."""

    def weight(replica: str) -> bytes:
        return blake2b(f"{replica}\0{model}".encode(), digest_size=8).digest()

    return sorted(replicas, key=weight, reverse=True)


def first(model: str, loads: Mapping[str, int]) -> str | None:
    """Where a model that is loaded nowhere goes. `loads`: replica -> requests in flight and waiting there."""
    if not loads:
        return None
    most = math.ceil(BOUND * (sum(loads.values()) + 1) / len(loads))
    return next(replica for replica in ranked(model, loads) if loads[replica] < most)


def further(model: str, places: Mapping[str, tuple[int, int]]) -> str | None:
    """Where a hot model goes besides. `places`: replica -> (its processes of the model, how many there may be). First to replicas
    that have none, then where another process may be; None when it is everywhere."""
    order = ranked(model, places)
    for replica in order:
        if not places[replica][0]:
            return replica
    return min((r for r in order if places[r][0] < places[r][1]), key=lambda r: places[r][0], default=None)
