"""Dataclasses as JSON, in a record or in a file. What has its default is left out; what a later Clary wrote beside is passed over. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def dumped(value: Any) -> Any:
    """A value of dataclasses, tuples, mappings and bytes as JSON; what has its default is left out."""
    if is_dataclass(value):
        return {
            each.name: dumped(found)
            for each in fields(value)
            if (found := getattr(value, each.name)) != each.default
            and (each.default_factory is MISSING or found != each.default_factory())
        }
    if isinstance(value, tuple):
        return [dumped(each) for each in value]
    if isinstance(value, Mapping):
        return {name: dumped(each) for name, each in value.items()}
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def loaded(kind: type[T], stored: Mapping[str, Any]) -> T:
    """The dataclass that `dumped` made this of. Members that it does not know (of a later Clary) are passed over."""
    known = _hints(cast(Any, kind))
    return kind(**{name: loaded_as(known[name], value) for name, value in stored.items() if name in known})


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def loaded_as(hint: Any, value: Any) -> Any:
    """The value of that type (as `typing` writes it) that `dumped` made this of."""
    if get_origin(hint) is UnionType:
        if value is None:
            return None
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if is_dataclass(hint) and isinstance(hint, type):
        return loaded(hint, value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if get_origin(hint) is tuple:
        return tuple(loaded_as(get_args(hint)[0], each) for each in value)
    if get_origin(hint) is Mapping:
        return {name: loaded_as(get_args(hint)[1], each) for name, each in value.items()}
    return base64.b64decode(value) if hint is bytes else value
