"""What a record of a feature group may hold: types, event times, sizes. Values are text both ways: what was sent is what is read back.

Source: PutRecord's page and the guide's data types (reference/lifecycle.md 9.2).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.features.groups import Feature, Group

Values = Mapping[str, Any]  # feature name -> its text, or a list of texts

LARGEST = 350 << 10  # bytes of a record
LONGEST_IDENTIFIER = 1024
_INTEGRAL = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?|NaN|[+-]?Infinity")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_LAST = 253_402_300_800.0  # the end of the year 9999


def checked(group: Group, record: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], float]:
    """The values by feature, and the event time in epoch seconds. Invalid names the feature and what is wrong with it."""
    values: dict[str, Any] = {}
    for entry in record:
        name = entry["FeatureName"]
        feature = group.features.get(name)
        if feature is None:
            raise Invalid(f"Validation Error: FeatureName [{name}] is not defined in FeatureGroup [{group.name}].")
        if name in values:
            raise Invalid(f"Validation Error: FeatureName [{name}] stands in the record twice.")
        values[name] = _value(feature, entry)
    for needed, what in ((group.identifier, "record identifier"), (group.event_time, "event time")):
        if not values.get(needed):
            raise Invalid(f"Validation Error: the record has no value for its {what} feature [{needed}].")
    if len(values[group.identifier]) > LONGEST_IDENTIFIER:
        raise Invalid(f"Validation Error: the record identifier is longer than {LONGEST_IDENTIFIER} characters.")
    check_size(values)
    return values, event_time(group, values[group.event_time])


def partial(group: Group, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values that UpdateRecord changes."""
    values: dict[str, Any] = {}
    for entry in features:
        feature = group.features.get(entry["FeatureName"])
        if feature is None:
            raise Invalid(
                f"Validation Error: FeatureName [{entry['FeatureName']}] is not defined in FeatureGroup [{group.name}]."
            )
        if feature.name == group.identifier:
            raise Invalid(f"Validation Error: the record identifier feature [{feature.name}] cannot be updated.")
        if feature.name in values:
            raise Invalid(f"Validation Error: FeatureName [{feature.name}] stands in the request twice.")
        values[feature.name] = _value(feature, entry)
    return values


def check_size(values: Values) -> None:
    size = len(json.dumps(values, ensure_ascii=False).encode())
    if size > LARGEST:
        raise Invalid(f"Validation Error: the record has {size} bytes; {LARGEST} are the most.")


def event_time(group: Group, text: str) -> float:
    """Epoch seconds of an event time as the group writes it. Invalid otherwise."""
    feature = group.features[group.event_time]
    if feature.type == "Fractional":
        at = float(text) if _NUMBER.fullmatch(text) else math.nan
    else:
        at = _at(text) if _TIME.fullmatch(text) else math.nan
    if not 0 <= at < _LAST:
        wanted = (
            "Unix seconds" if feature.type == "Fractional" else "yyyy-MM-dd'T'HH:mm:ssZ or yyyy-MM-dd'T'HH:mm:ss.SSSZ"
        )
        raise Invalid(
            f"Validation Error: [{text[:100]}] is no event time of feature [{feature.name}]: it must be {wanted}."
        )
    return at


def _at(text: str) -> float:
    try:
        return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return math.nan


def _value(feature: Feature, entry: Mapping[str, Any]) -> Any:
    one, many = entry.get("ValueAsString"), entry.get("ValueAsStringList")
    if (one is None) == (many is None):
        raise Invalid(
            f"Validation Error: feature [{feature.name}] needs either ValueAsString or ValueAsStringList, and only one of them."
        )
    if not feature.collection:
        if one is None:
            raise Invalid(f"Validation Error: feature [{feature.name}] is no collection; give ValueAsString.")
        return _single(feature, one)
    if many is None:
        raise Invalid(f"Validation Error: feature [{feature.name}] is a {feature.collection}; give ValueAsStringList.")
    if feature.collection == "Vector" and len(many) != feature.dimension:
        raise Invalid(
            f"Validation Error: feature [{feature.name}] is a Vector of {feature.dimension} values; {len(many)} were given."
        )
    if feature.collection == "Set" and len(set(many)) != len(many):
        raise Invalid(f"Validation Error: feature [{feature.name}] is a Set; a value stands in it twice.")
    return [_single(feature, each) for each in many]


def _single(feature: Feature, text: str) -> str:
    if not _FITS[feature.type](text):
        raise Invalid(
            f"Validation Error: [{text[:100]}] is no {feature.type} value, as feature [{feature.name}] wants it."
        )
    return text


def _integral(text: str) -> bool:
    return _INTEGRAL.fullmatch(text) is not None and -(2**63) <= int(text) < 2**63


_FITS: Mapping[str, Callable[[str], bool]] = {
    "Integral": _integral,
    "Fractional": lambda text: _NUMBER.fullmatch(text) is not None,
    "String": lambda text: True,
}


def shown(group: Group, values: Values, names: Sequence[str]) -> list[dict[str, Any]]:
    """A record as it is answered: those features that it has values for, in the group's order; with `names` only those."""
    wanted = set(names) or group.features.keys()
    found = []
    for name in group.features:
        if name in wanted and name in values:
            key = "ValueAsStringList" if isinstance(values[name], list) else "ValueAsString"
            found.append({"FeatureName": name, key: values[name]})
    return found


def check_names(group: Group, names: Sequence[str]) -> None:
    """Invalid for a feature that the group does not have."""
    unknown = [name for name in names if name not in group.features]
    if unknown:
        raise Invalid(f"Validation Error: FeatureGroup [{group.name}] has no feature [{unknown[0]}].")
