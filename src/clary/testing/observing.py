"""`observe` of a loop's subject touches nothing: ports that refuse writes while it runs, and the subject that says when.

A test harness says it once, of its subject and its fakes (`observing`); then every test that it runs shows it, in whatever state records
get.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from clary.domain.resources import Record

P = TypeVar("P")
S = TypeVar("S")

READS = frozenset(
    {
        *("get", "by_arn", "made", "page", "count", "granted"),  # Store, Grants
        *("observe", "handles", "plan", "address", "content", "names"),  # Backend, Fronts
        *("counts", "of", "find", "exists", "head", "read"),  # Fronts, Artifacts, Keys
        *("resolve", "digest", "all", "built"),  # Runtimes
        *("path", "tail", "groups", "group", "streams", "search", "marks", "regions"),  # Logs, Datapoints
        "waiting",  # FeatureRecords
        *("now", "monotonic"),
    }
)
_GUARDED = "Guarded"
_OBSERVING: ContextVar[bool] = ContextVar("observing", default=False)


def guard(port: P) -> P:
    """The same object, which fails on any call but a read that comes from an `observe`, also from a thread or task that it began."""
    kind = type(port)
    if kind.__name__.startswith(_GUARDED):
        return port
    names = [name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))]
    refusing = {name: _refusing(kind, name) for name in names if name not in READS}
    port.__class__ = type(_GUARDED + kind.__name__, (kind,), refusing)
    return port


def _refusing(kind: type[Any], name: str) -> Callable[..., Any]:
    method = getattr(kind, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _OBSERVING.get():
            raise AssertionError(f"observe touches nothing, and called {kind.__name__}.{name}")
        return method(self, *args, **kwargs)

    return call


def observing(subject: S, *ports: Any) -> S:
    """The same subject, whose `observe` may only read from these ports."""
    for port in ports:
        guard(port)
    kind: Any = type(subject)

    async def observe(self: Any, record: Record) -> Any:
        token = _OBSERVING.set(True)
        try:
            return await kind.observe(self, record)
        finally:
            _OBSERVING.reset(token)

    subject.__class__ = type(f"Observing{kind.__name__}", (kind,), {"observe": observe})
    return subject


def ports_of(bundle: Any) -> list[Any]:
    """The objects in a bundle of ports; functions have nothing to write to."""
    held = (getattr(bundle, field.name) for field in dataclasses.fields(bundle))
    return [port for port in held if type(port).__module__.startswith(("clary.testing", "tests."))]
