"""Sentences of reasons."""

from __future__ import annotations

import pytest

from clary.domain.scaling.signals import Desired, Reason, Term
from clary.domain.scaling.words import sentence


@pytest.mark.parametrize(
    ("queued", "since", "told"),
    [
        (3.0, 4.0, "3 requests wait"),
        (1.0, 4.0, "1 request waits"),
        (0.0, 4.0, "the last one was removed 4 s ago, and one goes each 10 s, when no worker is boosted"),
        (0.0, 1_800_000_000.0, "one goes each 10 s, when no worker is boosted"),
    ],
)
def test_why_no_replica_goes(queued: float, since: float, told: str) -> None:
    calm = Reason("calm", (Term("calm", 3, (("queued", queued), ("since", since))),))
    assert sentence(Desired(3, 8, 2, 1.0, calm), 3) == f"Keep 3 replicas: {told}."
