"""A variant that may be without any replica while requests wait, and then calls for one.

Owns the call: at most one a second. Does not know when it is due.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from clary.domain.endpoints.routes import VariantRoute
from clary.serving.answers import ModelErrors
from clary.serving.around import Around
from clary.serving.queue import Variant

TELL_AGAIN = 1.0  # seconds between calls for a replica


class CallingVariant(Variant):
    """`demand` tells the control plane that the variant needs a replica."""

    def __init__(self, route: VariantRoute, errors: ModelErrors, around: Around, demand: Callable[[], None]) -> None:
        super().__init__(route, errors, around)
        self._demand = demand
        self._told = -TELL_AGAIN

    def _tell(self) -> None:
        """Say so, unless it was said a moment ago."""
        now = perf_counter()
        if now - self._told >= TELL_AGAIN:
            self._told = now
            self._demand()
