"""Parameters of a pipeline: their types, defaults, and the values that an execution is given as text. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid


@dataclass(frozen=True, slots=True)
class PipelineParameter:
    """`default` None: an execution must give a value. `allowed` empty: any value."""

    name: str
    type: str
    default: Any = None
    allowed: tuple[Any, ...] = ()


def _integer(text: str) -> int:
    return int(text, 10)


def _float(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(text)
    return found


def _boolean(text: str) -> bool:
    found = {"true": True, "false": False}.get(text.lower())
    if found is None:
        raise ValueError(text)
    return found


_READ: Mapping[str, Callable[[str], Any]] = {"String": str, "Integer": _integer, "Float": _float, "Boolean": _boolean}
_TYPES: Mapping[str, type | tuple[type, ...]] = {"String": str, "Integer": int, "Float": (int, float), "Boolean": bool}
TYPES = tuple(_READ)


def typed(kind: str, text: str) -> str | int | float | bool:
    """A text as a value of that type. ValueError when it is none."""
    found: str | int | float | bool = _READ[kind](text)
    return found


def parse(declared: Any) -> dict[str, PipelineParameter]:
    """Parameters of a definition, by name. Invalid for a name twice, an unknown type, a default of another type."""
    if not isinstance(declared, list):
        raise Invalid("Parameters must be a list.")
    found: dict[str, PipelineParameter] = {}
    for each in declared:
        name = each.get("Name") if isinstance(each, dict) else None
        if not isinstance(name, str) or not name:
            raise Invalid(f"Every parameter needs a Name; one is {str(each)[:80]}.")
        if name in found:
            raise Invalid(f"Parameter names must be unique; '{name}' is used more than once.")
        if each.get("Type") not in _READ:
            raise Invalid(
                f"Parameter '{name}' has the type {each.get('Type')!r}; it must be one of {', '.join(TYPES)}."
            )
        values = each.get("EnumValues") or ()
        found[name] = PipelineParameter(name, each["Type"], each.get("DefaultValue"), tuple(values))
        if found[name].default is not None:
            _check(found[name], found[name].default, "DefaultValue")
    return found


def _check(parameter: PipelineParameter, value: Any, what: str) -> None:
    fits = isinstance(value, _TYPES[parameter.type]) and isinstance(value, bool) == (parameter.type == "Boolean")
    if not fits:
        raise Invalid(f"The {what} of parameter '{parameter.name}' must be of type {parameter.type}; it is {value!r}.")
    if parameter.allowed and value not in parameter.allowed:
        allowed = ", ".join(map(str, parameter.allowed))
        raise Invalid(f"The {what} of parameter '{parameter.name}' is {value!r}; it must be one of {allowed}.")


def resolve(
    declared: Mapping[str, PipelineParameter], given: Sequence[Mapping[str, str]]
) -> dict[str, str | int | float | bool]:
    """The typed value of every parameter. Invalid for names that are unknown or given twice, for values that cannot be converted, and for
    those that are missing."""
    texts: dict[str, str] = {}
    for each in given:
        if each["Name"] in texts:
            raise Invalid(f"Parameter '{each['Name']}' is given more than once.")
        texts[each["Name"]] = each["Value"]
    unknown = sorted(set(texts) - set(declared))
    if unknown:
        known = ", ".join(declared) or "none"
        raise Invalid(f"The pipeline has no parameter named '{', '.join(unknown)}'. Its parameters: {known}.")
    found: dict[str, str | int | float | bool] = {}
    for name, parameter in declared.items():
        if name in texts:
            try:
                found[name] = _READ[parameter.type](texts[name])
            except ValueError:
                raise Invalid(
                    f"The value {texts[name]!r} of parameter '{name}' cannot be converted to {parameter.type}."
                ) from None
            _check(parameter, found[name], "value")
        elif parameter.default is None:
            raise Invalid(f"Parameter '{name}' has no default value: give one to this execution.")
        else:
            found[name] = float(parameter.default) if parameter.type == "Float" else parameter.default
    return found
