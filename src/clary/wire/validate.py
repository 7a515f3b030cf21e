"""The constraints of a model that clients leave to the service, with the words that AWS has for them.

Owns: required, length, range, pattern, enum, and the message of AWS's framework (``1 validation error detected: Value
'x' at 'trainingJobName' failed to satisfy constraint: …``). Does not know: what any value means; values of Clary's own
in AWS's fields come in as ``extra_values``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from clary.wire.errors import ValidationError
from clary.wire.patterns import fits
from clary.wire.shapes import members

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape

_LONGEST_SHOWN = 1024
_LARGEST_FLOAT = 3.4028235e38
_CODES = {
    "sagemaker-runtime": "ValidationError",
    "sagemaker-featurestore-runtime": "ValidationError",
    "logs": "InvalidParameterException",
    "ecr": "InvalidParameterException",
}

ExtraValues = Mapping[str, Collection[str]]


class Violation(NamedTuple):
    """One constraint that a value does not meet; ``value`` is how AWS would show it, None where it must not be shown."""

    path: str
    value: str | None
    constraint: str

    def __str__(self) -> str:
        shown = "Value" if self.value is None else f"Value {self.value}"
        return f"{shown} at '{self.path}' failed to satisfy constraint: {self.constraint}"


def validate(
    operation_model: OperationModel,
    params: Mapping[str, Any],
    *,
    extra_values: ExtraValues | None = None,
    exempt: Collection[str] = (),
) -> None:
    """Raise ValidationError, with AWS's message and the code that the service uses, unless all constraints are met.

    ``extra_values`` adds values to the enums and patterns of shapes by shape name; ``exempt`` names blob shapes whose length is left
    to the reader of the body.
    """
    shape = operation_model.input_shape
    if shape is None:
        return
    found = list(violations(shape, params, extra_values=extra_values, exempt=exempt))
    if found:
        raise ValidationError(explain(found), code_of(operation_model))


def code_of(operation_model: OperationModel) -> str:
    """The error code that a service gives to a broken constraint."""
    service = operation_model.service_model
    if "query" in (service.metadata.get("protocols") or [service.metadata["protocol"]]):
        return "ValidationError"
    return _CODES.get(service._service_name or "", "ValidationException")


def explain(found: list[Violation]) -> str:
    """AWS's message for one or several violations."""
    errors = "1 validation error" if len(found) == 1 else f"{len(found)} validation errors"
    return f"{errors} detected: {'; '.join(map(str, found))}"


def violations(
    shape: Any, params: Any, *, extra_values: ExtraValues | None = None, exempt: Collection[str] = ()
) -> Iterator[Violation]:
    """Every constraint of ``shape`` that ``params`` breaks, in the model's order."""
    yield from _Walk(extra_values or {}, exempt).structure(shape, params, "")


class _Rules(NamedTuple):
    """The constraints of a scalar, list or map shape, kept so that a request looks nothing up twice."""

    smallest: float | None
    largest: float | None
    pattern: str | None
    enum: tuple[str, ...]
    sensitive: bool

    @property
    def any(self) -> bool:
        return bool(self.smallest is not None or self.largest is not None or self.pattern or self.enum)


_rules: WeakKeyDictionary[Shape, _Rules] = WeakKeyDictionary()


def _rules_of(shape: Any) -> _Rules:
    found = _rules.get(shape)
    if found is None:
        meta = shape.metadata
        smallest, largest = meta.get("min"), meta.get("max")
        if smallest is not None and largest is None and shape.type_name == "float":
            largest = _LARGEST_FLOAT  # what has a bound is a number: no infinity, in AWS's 32 bits
        found = _rules[shape] = _Rules(
            smallest, largest, meta.get("pattern"), tuple(meta.get("enum", ())), bool(meta.get("sensitive"))
        )
    return found


class _Walk:
    def __init__(self, extra: ExtraValues, exempt: Collection[str]) -> None:
        self._extra = extra
        self._exempt = exempt

    def structure(self, shape: Any, value: Any, path: str) -> Iterator[Violation]:
        required = shape.required_members
        for name in required:
            if value.get(name) is None and not _is_raw_payload(shape, name):
                yield Violation(_join(path, name), "null", "Member must not be null")
        for name, _, member in members(shape):
            item = value.get(name)
            if item is not None:
                yield from self.value(member, item, _join(path, name))

    def value(self, shape: Any, value: Any, path: str) -> Iterator[Violation]:
        kind = shape.type_name
        if kind == "structure":
            if not shape.metadata.get("document") and isinstance(value, Mapping):
                yield from self.structure(shape, value, path)
            return
        rules = _rules_of(shape)
        for constraint in self._broken(shape, rules, value):
            yield Violation(path, None if rules.sensitive else _shown(value), constraint)
        if kind == "list":
            yield from self._list(shape, value, path)
        elif kind == "map":
            yield from self._map(shape, value, path)

    def _list(self, shape: Any, value: Any, path: str) -> Iterator[Violation]:
        member = shape.member
        if member.type_name in ("structure", "list", "map"):
            if any(item is None for item in value):
                yield self._of_all(member, value, path, "Member must satisfy constraint")
            for at, item in enumerate(value, 1):
                if item is not None:
                    yield from self.value(member, item, f"{path}.{at}.member")
        elif any(item is None or any(self._broken(member, _rules_of(member), item)) for item in value):
            yield self._of_all(member, value, path, "Member must satisfy constraint")

    def _map(self, shape: Any, value: Any, path: str) -> Iterator[Violation]:
        if any(any(self._broken(shape.key, _rules_of(shape.key), key)) for key in value):
            yield self._of_all(shape.key, value, path, "Map keys must satisfy constraint")
        inner = shape.value
        if inner.type_name in ("structure", "list", "map"):
            if any(item is None for item in value.values()):
                yield self._of_all(inner, value, path, "Map value must satisfy constraint")
            for key, item in value.items():
                if item is not None:
                    yield from self.value(inner, item, f"{path}.{key}.member")
        elif any(item is None or any(self._broken(inner, _rules_of(inner), item)) for item in value.values()):
            yield self._of_all(inner, value, path, "Map value must satisfy constraint")

    def _of_all(self, shape: Any, value: Any, path: str, words: str) -> Violation:
        rules = _rules_of(shape)
        constraints = ", ".join(self._all(shape, rules)) or "Member must not be null"
        return Violation(path, None if rules.sensitive else _shown(value), f"{words}: [{constraints}]")

    def _broken(self, shape: Any, rules: _Rules, value: Any) -> Iterator[str]:
        if not rules.any or shape.name in self._exempt:
            return
        kind = shape.type_name
        if rules.smallest is not None or rules.largest is not None:
            if kind in ("string", "blob", "list", "map"):
                size, what = len(value), "length"
            else:
                size, what = value, "value"
            if rules.largest is not None and size > rules.largest:
                yield _most(rules, what)
            if rules.smallest is not None and not size >= rules.smallest:  # NaN is not
                yield _least(rules, what)
        extra = self._extra.get(shape.name, ())
        if (
            rules.pattern is not None
            and isinstance(value, str)
            and not fits(rules.pattern, value)
            and value not in extra
        ):
            yield f"Member must satisfy regular expression pattern: {rules.pattern}"
        if rules.enum and value not in rules.enum and value not in extra:
            yield self._one_of(shape, rules)

    def _all(self, shape: Any, rules: _Rules) -> Iterator[str]:
        what = "length" if shape.type_name in ("string", "blob") else "value"
        if rules.largest is not None:
            yield _most(rules, what)
        if rules.smallest is not None:
            yield _least(rules, what)
        if rules.pattern is not None:
            yield f"Member must satisfy regular expression pattern: {rules.pattern}"
        if rules.enum:
            yield self._one_of(shape, rules)

    def _one_of(self, shape: Any, rules: _Rules) -> str:
        known = ", ".join([*rules.enum, *self._extra.get(shape.name, ())])
        return f"Member must satisfy enum value set: [{known}]"


def _most(rules: _Rules, what: str) -> str:
    return f"Member must have {what} less than or equal to {rules.largest}"


def _least(rules: _Rules, what: str) -> str:
    return f"Member must have {what} greater than or equal to {rules.smallest}"


def _is_raw_payload(shape: Any, name: str) -> bool:
    # An empty body is no body on the wire, and a raw payload that is required may be empty.
    return shape.serialization.get("payload") == name and shape.members[name].type_name in ("blob", "string")


def _join(path: str, name: str) -> str:
    camel = name[:1].lower() + name[1:]
    return f"{path}.{camel}" if path else camel


def _shown(value: Any) -> str:
    return f"'{_plain(value):.{_LONGEST_SHOWN}}'"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}={_plain(item)}" for name, item in list(value.items())[:100]) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_plain(item) for item in value[:100]) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"({len(value)} bytes)" if isinstance(value, bytes) else str(value)
