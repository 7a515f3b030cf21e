"""The rooms of the control plane beside training and serving: each noun that has a loop of its own is a function in a module of its own.

A room is built from `Given` and answers the work that must not end; its wake-ups it wires itself. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from clary.app import (
    costs,
    drift,
    events,
    feature_stores,
    functions,
    inference_experiments,
    inference_recommendations,
    leftovers,
    lineage,
    message_queues,
    mlflow,
    monitoring,
    pipelines,
    registry,
    retraining,
    transform,
    tuning,
)
from clary.app.given import Given, Room

ROOMS: tuple[Room, ...] = (
    costs.room,
    drift.room,
    events.room,
    feature_stores.room,
    functions.room,
    inference_experiments.room,
    inference_recommendations.room,
    leftovers.room,
    lineage.room,
    message_queues.room,
    mlflow.room,
    monitoring.room,
    pipelines.room,
    registry.room,
    retraining.room,
    transform.room,
    tuning.room,
)
LIVING = (*transform.LIVING,)  # kinds of records with runs of their own, and the statuses in which they may have some


def work(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """The work of all rooms."""
    return tuple(each for room in ROOMS for each in room(given))
