"""The calls of the port `Backend` as JSON: what is asked, and what is answered, both ways. Pure.

The port itself is the table: each of its coroutines crosses the wire by its own name, with its own types. A workload crosses as it is; the
node plans it, as its machine does. Only workloads by value may cross: a path of one host means nothing on another.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_type_hints

from clary.domain import errors
from clary.domain.errors import ClaryError, Invalid, Unavailable
from clary.domain.machine.workload import Workload
from clary.domain.stored import dumped, loaded_as
from clary.ports import Backend

_ERRORS = MappingProxyType(
    {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, ClaryError) and kind is not ClaryError
    }
)


@dataclass(frozen=True, slots=True)
class PortCall:
    """A coroutine of the port: the types of its arguments by name, and of its answer."""

    arguments: Mapping[str, Any]
    answer: Any

    def asked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as JSON."""
        return {name: _plain(value) for name, value in given.items()}

    def given(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that `asked` made this of. Invalid for those of another release of Clary."""
        if unknown := set(asked) - set(self.arguments):
            raise Invalid(f"this node does not know {', '.join(sorted(unknown))}: give all machines the same Clary")
        return {name: loaded_as(self.arguments[name], value) for name, value in asked.items()}

    def answered(self, answer: Any) -> Any:
        """The answer as JSON."""
        return _plain(answer)

    def told(self, answered: Any) -> Any:
        """The answer that `answered` made this of."""
        return loaded_as(self.answer, answered)


def failure(error: ClaryError) -> dict[str, str]:
    """An error as JSON."""
    return {"error": type(error).__name__, "message": error.message}


def error_of(told: Mapping[str, str]) -> ClaryError:
    """The error that `failure` made this of; one that is not known here is the node's fault."""
    return _ERRORS.get(told["error"], Unavailable)(told["message"])


def _plain(value: Any) -> Any:
    if isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping)):
        return dumped(tuple(value))
    return dumped(value)


def _of(method: Any) -> PortCall:
    hints = get_type_hints(method)
    answer = hints.pop("return")
    return PortCall({name: Workload if name == "request" else hint for name, hint in hints.items()}, answer)


CALLS: Mapping[str, PortCall] = MappingProxyType(
    {name: _of(method) for name, method in vars(Backend).items() if inspect.iscoroutinefunction(method)}
)
