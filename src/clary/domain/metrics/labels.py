"""Labels of GetMetricData's results with values in them: `${LABEL} [max: ${MAX} at ${MAX_TIME}]`. Pure (AWS's user guide, "Use dynamic
labels"). What is no value that is known stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import Series

Points = Sequence[tuple[float, float]]  # in order of time
_VALUE = re.compile(r"\$\{\s*(?:([A-Z_]+)|PROP\(\s*(?:'([^']*)'|\"([^\"]*)\")\s*\))\s*\}")
_ZONE = re.compile(r"([+-])(\d{2})([0-5]\d)")
_PLACES = {"FIRST": 0, "LAST": -1}


@dataclass(frozen=True, slots=True)
class Labels:
    """What labels of one request go by: its time, the time zone they are written in, and whose it is."""

    now: float = 0.0
    zone: tzinfo = UTC
    account: str = ""
    region: str = ""


PLAIN = Labels()


@dataclass(frozen=True, slots=True)
class Source:
    """What a result was read from; of an expression, nothing but its period."""

    label: str
    period: int
    stat: str = ""
    series: Series | None = field(default=None)


def zone_of(text: str) -> tzinfo:
    """Of LabelOptions.Timezone, such as +0130."""
    match = _ZONE.fullmatch(text)
    if match is None or int(match[2]) > 23:
        raise Invalid(f"LabelOptions.Timezone {text!r} is not valid: it is + or - and four digits, such as +0130.")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset)


def is_dynamic(label: str) -> bool:
    return _VALUE.search(label) is not None


def filled(label: str, source: Source, points: Points, labels: Labels) -> str:
    """The label, with its values."""

    def value(match: re.Match[str]) -> str:
        name, prop = match[1], match[2] if match[2] is not None else match[3]
        found = _property(prop, source, labels) if prop is not None else _told(name, source, points, labels)
        return match[0] if found is None else found

    return _VALUE.sub(value, label)


def _property(name: str, source: Source, labels: Labels) -> str | None:
    series = source.series
    held: Mapping[str, str] = {"AccountId": labels.account, "Region": labels.region, "Period": str(source.period)}
    if series is not None:
        held = {**held, "MetricName": series.metric, "Namespace": series.namespace, "Stat": source.stat}
        held |= {f"Dim.{dimension}": text for dimension, text in series.dimensions}
    return held.get(name)


def _told(name: str, source: Source, points: Points, labels: Labels) -> str | None:
    if name == "LABEL":
        return source.label
    if name == "DATAPOINT_COUNT":
        return str(len(points))
    for ending in ("_TIME_RELATIVE", "_TIME_RANGE", "_TIME", "_RANGE"):
        if name.endswith(ending):
            return _ending(ending, name.removesuffix(ending).split("_"), points, labels)
    values = [value for _, value in points]
    if name in ("AVG", "SUM"):
        total = sum(values)
        return _number(total if name == "SUM" or not values else total / len(values), values)
    place = _place(name, points)
    return None if place is None else _number(points[place][1] if points else 0.0, values)


def _ending(ending: str, names: list[str], points: Points, labels: Labels) -> str | None:
    """A time, or what lies between two points (`FIRST_LAST`, `MIN_MAX`)."""
    pair = ending in ("_RANGE", "_TIME_RANGE")
    places = [_place(name, points) for name in names]
    if len(names) != 1 + pair or None in places or (pair and names not in (["FIRST", "LAST"], ["MIN", "MAX"])):
        return None
    if not points:
        return "--"
    found = [points[place] for place in places if place is not None]
    if ending == "_RANGE":
        return _number(abs(found[1][1] - found[0][1]), [1.0])
    if ending == "_TIME_RANGE":
        return _span(abs(found[1][0] - found[0][0]))
    if ending == "_TIME_RELATIVE":
        return _span(abs(labels.now - found[0][0]))
    return datetime.fromtimestamp(found[0][0], labels.zone).strftime("%Y-%m-%d %H:%M:%S UTC%z").removesuffix("+0000")


def _place(name: str, points: Points) -> int | None:
    """Where the point is; None for a name that is none."""
    if name in _PLACES:
        return _PLACES[name]
    if name not in ("MIN", "MAX"):
        return None
    pick = min if name == "MIN" else max
    return pick(range(len(points)), key=lambda at: points[at][1], default=0)


def _number(value: float, values: Sequence[float]) -> str:
    """Three digits behind the point at most; `--` where there is no datapoint."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if values else "--"


def _span(seconds: float) -> str:
    """2d 3h 4m 5s"""
    left, words = round(seconds), []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words) or "0s"
