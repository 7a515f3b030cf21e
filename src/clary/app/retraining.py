"""The room of retraining: the loop over endpoints that retrain themselves, and what notices them."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from clary.app.drift import FOLDER
from clary.app.given import Given
from clary.domain.monitoring.retraining import RetrainingCommand, SeenForRetraining
from clary.domain.resources import Record, Scope
from clary.loops.core.loop import Loop
from clary.loops.monitoring.retraining import RetrainingBeginner, RetrainingSubject
from clary.stores import drift as kept


def room(given: Given) -> tuple[Coroutine[Any, Any, None], ...]:
    """What must not end."""
    api, folder = given.ports, given.settings.root / FOLDER
    own = Scope(given.settings.account, given.settings.region)
    subject = RetrainingSubject(given.parents, partial(_watched, folder))
    loop: Loop[RetrainingCommand, SeenForRetraining] = Loop(subject, api.store, api.clock, given.owner)
    return loop.run(), RetrainingBeginner(api.store, api.clock, partial(_scopes, folder, own)).run()


def _watched(folder: Path, endpoint: Record) -> Sequence[Mapping[str, Any]]:
    return kept.look(folder, endpoint.scope.account, endpoint.scope.region, endpoint.name)


def _scopes(folder: Path, own: Scope) -> Sequence[Scope]:
    """Where endpoints are watched."""
    return [*{own, *(Scope(of.account, of.region) for of, _ in kept.labelled(folder))}]
