"""No member of a request is dropped in silence: in a request that is answered, every member that was given was looked at by somebody, or
stands in docs/fields.md as one that is ignored."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.bases import BASES
from tests.api.house import house
from tests.api.requests import mutations, requests
from tests.api.test_walk import OPERATIONS, filled

from clary.api import registry
from clary.domain.errors import ClaryError
from clary.domain.fields.table import ELSEWHERE, Use
from clary.domain.fields.table import OPERATIONS as CLASSIFIED
from clary.wire.validate import violations

# Tokens of pages are bound to all parameters: that is no use of them.
_SEALS = frozenset({"_seal", "_bound", "_listed"})


class Watched(dict[str, Any]):
    """A structure that remembers which of its members were asked for."""

    def __init__(self, value: Mapping[str, Any], path: str, seen: set[str]) -> None:
        self.path, self.seen = path, seen
        super().__init__({key: watched(each, self.below(key), seen) for key, each in value.items()})

    def below(self, key: object) -> str:
        return f"{self.path}.{key}" if self.path else str(key)

    def __getitem__(self, key: str) -> Any:
        self.seen.add(self.below(key))
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(self.below(key))
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.seen.add(self.below(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def items(self) -> Any:
        if sys._getframe(1).f_code.co_name not in _SEALS:
            self._all()
        return super().items()

    def values(self) -> Any:
        self._all()
        return super().values()

    def _all(self) -> None:
        self.seen.update(self.below(key) for key in dict.keys(self))


def watched(value: Any, path: str, seen: set[str]) -> Any:
    if isinstance(value, dict):
        return Watched(value, path, seen)
    return [watched(each, f"{path}[]", seen) for each in value] if isinstance(value, list) else value


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Every member that a request gives something for."""
    if isinstance(value, dict):
        for key, each in value.items():
            if each not in ("", [], {}, None, False):
                below = f"{path}.{key}" if path else key
                yield below
                yield from paths(each, below)
    elif isinstance(value, list):
        for each in value:
            yield from paths(each, f"{path}[]")


def is_told(service: str, operation: str, path: str) -> bool:
    """Whether docs/fields.md says that the member, or one above it, is ignored."""
    table = ELSEWHERE.get(f"{service} {operation}", {})
    above = [path[:at] for at, mark in enumerate(path) if mark == "."]
    return any(each.removesuffix("[]") in table for each in [*above, path])


class Watch:
    """What requests to one operation gave, and what of it was looked at. One may end early: it counts what any of them looks at."""

    def __init__(self, service: str, operation: str) -> None:
        self.service, self.operation = service, operation
        self.shape = registry.operation_model(service, operation).input_shape
        self.given: set[str] = set()
        self.seen: set[str] = set()

    async def ask(self, params: dict[str, Any]) -> None:
        """Refused requests count for nothing: that is not silent."""
        if self.shape is None or list(violations(self.shape, params)):
            return
        seen: set[str] = set()
        world = await house()
        try:
            await world.ask(self.service, self.operation, watched(params, "", seen))
        except ClaryError:
            return
        self.given.update(paths(params))
        self.seen |= seen

    @property
    def dropped(self) -> list[str]:
        """Members that nobody looked at, topmost only."""
        lost = {each for each in self.given - self.seen if not is_told(self.service, self.operation, each)}
        return sorted(each for each in lost if each.rpartition(".")[0].removesuffix("[]") not in lost)


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_no_member_is_dropped_in_silence(service: str, operation: str) -> None:
    watch = Watch(service, operation)
    for owner, name, base in BASES:
        if (owner, name) == (service, operation):
            _walk(watch, st.one_of(st.just(filled(base)), mutations(watch.shape, filled(base))), 40)
    if watch.shape is not None:
        _walk(watch, requests(watch.shape), 30)
    assert watch.dropped == []


def _walk(watch: Watch, strategy: st.SearchStrategy[dict[str, Any]], count: int) -> None:
    @settings(max_examples=count, derandomize=True, database=None)
    @given(strategy)
    def walk(params: dict[str, Any]) -> None:
        asyncio.run(watch.ask(params))

    walk()


async def test_what_nobody_looks_at_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(call: Any, params: dict[str, Any]) -> dict[str, Any]:
        return {"TopicArn": params["Name"]}

    await house()  # which needs the real one
    monkeypatch.setitem(registry._OPERATIONS, ("sns", "CreateTopic"), registry.Operation("sns", "CreateTopic", deaf))
    watch = Watch("sns", "CreateTopic")
    await watch.ask({"Name": "t", "Tags": [{"Key": "k", "Value": "v"}]})
    assert watch.dropped == ["Tags"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_told_of_other_operations_is_of_their_models(name: str) -> None:
    service, operation = name.split()
    assert (service, operation) in OPERATIONS
    assert service != "sagemaker" or operation not in CLASSIFIED
    for field in ELSEWHERE[name].values():
        shape: Any = registry.operation_model(service, operation).input_shape
        for step in field.path.split("."):
            shape = shape.members[step.removesuffix("[]")]
            shape = shape.member if step.endswith("[]") else shape
        assert field.why
        assert field.use in (Use.RECORDED, Use.REFUSED, Use.IGNORED)
