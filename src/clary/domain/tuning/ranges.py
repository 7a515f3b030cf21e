"""The ranges of hyperparameters that a tuning job searches: read and checked, as the sampler takes them, and as texts for the jobs.

AWS's rules ("Define hyperparameter ranges"): numbers are texts; Auto is Logarithmic where the range starts above 0 and spans three decades
or more, else Linear; Logarithmic needs values above 0, ReverseLogarithmic continuous ones in [0, 1). A ReverseLogarithmic x is
sampled as 1 - x on a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid

MOST_VALUES = 30  # of one categorical hyperparameter
MOST_TUNED = 30
_DECADES = 1000.0  # Auto: max / min from which on the scale is logarithmic

Raw = float | int | str


@dataclass(frozen=True, slots=True)
class Range:
    """One tuned hyperparameter. `kind`: float | int | categorical; `scale`: linear | log | reverse."""

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    scale: str = "linear"
    choices: tuple[str, ...] = ()

    def sampled(self) -> dict[str, Any]:
        """As the sampler takes it (`toolkit/tuning_sampler.py`)."""
        low, high = (1 - self.high, 1 - self.low) if self.scale == "reverse" else (self.low, self.high)
        whole = self.kind == "int"
        return {
            "name": self.name,
            "kind": self.kind,
            "low": int(low) if whole else low,
            "high": int(high) if whole else high,
            "log": self.scale != "linear",
            "choices": list(self.choices),
        }

    def text(self, raw: Raw) -> str:
        """What the job gets: `0.01`, `3`, a value of the list as it was given."""
        if self.kind == "categorical":
            return str(raw)
        if self.kind == "int":
            return str(int(raw))
        value = 1 - float(raw) if self.scale == "reverse" else float(raw)
        return repr(float(min(self.high, max(self.low, value))))

    def raw(self, text: str) -> Raw | None:
        """The sampler's value of such a text (a trial of another tuning job); None where it is outside of the range."""
        if self.kind == "categorical":
            return text if text in self.choices else None
        try:
            value = float(text)
        except ValueError:
            return None
        if not self.low <= value <= self.high or (self.kind == "int" and value != int(value)):
            return None
        if self.kind == "int":
            return int(value)
        return 1 - value if self.scale == "reverse" else value


def of(ranges: Mapping[str, Any] | None, autotune: bool = False) -> tuple[Range, ...]:
    """From ParameterRanges: integers, then continuous ones, then categorical ones, then those of Autotune. Invalid says what is wrong."""
    given = ranges or {}
    found = [_number(entry, "int") for entry in given.get("IntegerParameterRanges") or ()]
    found += [_number(entry, "float") for entry in given.get("ContinuousParameterRanges") or ()]
    found += [_categorical(entry) for entry in given.get("CategoricalParameterRanges") or ()]
    auto = given.get("AutoParameters") or ()
    if auto and not autotune:
        raise Invalid("ParameterRanges.AutoParameters needs Autotune with Mode Enabled.")
    found += [_hinted(entry["Name"], entry["ValueHint"]) for entry in auto]
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Invalid(f"The hyperparameter '{twice}' has more than one range.")
    if len(names) > MOST_TUNED:
        raise Invalid(f"At most {MOST_TUNED} hyperparameters can be tuned; these are {len(names)}.")
    return tuple(found)


def _parsed(name: str, member: str, text: str, kind: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (kind == "int" and value != int(value)):
        what = "an integer" if kind == "int" else "a number"
        raise Invalid(f"{member} '{text}' of the hyperparameter '{name}' is not {what}.")
    return value


def _number(entry: Mapping[str, Any], kind: str) -> Range:
    name = entry["Name"]
    low = _parsed(name, "MinValue", entry["MinValue"], kind)
    high = _parsed(name, "MaxValue", entry["MaxValue"], kind)
    if low > high:
        raise Invalid(
            f"The MinValue {entry['MinValue']} of the hyperparameter '{name}' is greater than its MaxValue {entry['MaxValue']}. "
            "Give the smaller one as MinValue."
        )
    return Range(name, kind, low, high, _scale(name, entry.get("ScalingType") or "Auto", kind, low, high))


def _scale(name: str, asked: str, kind: str, low: float, high: float) -> str:
    if asked == "Auto":
        return "log" if low > 0 and high / low >= _DECADES else "linear"
    if asked == "Logarithmic":
        if low <= 0:
            raise Invalid(
                f"The range of the hyperparameter '{name}' has the ScalingType Logarithmic: its values must be greater than 0."
            )
        return "log"
    if asked == "ReverseLogarithmic":
        if kind == "int":
            raise Invalid(f"ReverseLogarithmic is for continuous ranges, and '{name}' is an integer.")
        if low < 0 or high >= 1:
            raise Invalid(
                f"The range of the hyperparameter '{name}' has the ScalingType ReverseLogarithmic: its values must be within "
                "0 <= x < 1."
            )
        return "reverse"
    return "linear"


def _categorical(entry: Mapping[str, Any]) -> Range:
    name, values = entry["Name"], list(entry["Values"])
    if not values:
        raise Invalid(f"The categorical hyperparameter '{name}' needs at least one value.")
    if len(values) > MOST_VALUES:
        raise Invalid(
            f"The categorical hyperparameter '{name}' has {len(values)} values; at most {MOST_VALUES} are allowed."
        )
    if len(set(values)) < len(values):
        raise Invalid(f"The categorical hyperparameter '{name}' has a value more than once.")
    return Range(name, "categorical", choices=tuple(values))


def _hinted(name: str, hint: str) -> Range:
    """Autotune: from a tenth of the hint to ten times of it."""
    try:
        value = float(hint)
    except ValueError:
        value = 0.0
    if not math.isfinite(value) or value == 0:
        raise Invalid(
            f"Autotune cannot find a range for the hyperparameter '{name}' from the ValueHint '{hint}': Clary takes numbers other "
            "than 0. Give it a range in ParameterRanges."
        )
    whole = value == int(value) and not any(sign in hint for sign in ".eE")
    low, high = sorted((value / 10, value * 10))
    if whole:
        low, high = (float(math.ceil(low)), high) if value > 0 else (low, float(math.floor(high)))
        return Range(name, "int", low, high, _scale(name, "Auto", "int", low, high))
    return Range(name, "float", low, high, "log" if low > 0 else "linear")


def combinations(ranges: Sequence[Range]) -> int:
    """How many trials a grid of categorical ranges has."""
    return math.prod(len(each.choices) for each in ranges)


def combination(ranges: Sequence[Range], number: int) -> dict[str, str]:
    """Trial `number` (from 0) of the grid: the last hyperparameter changes fastest."""
    found: dict[str, str] = {}
    for each in reversed(ranges):
        number, place = divmod(number, len(each.choices))
        found[each.name] = each.choices[place]
    return {each.name: found[each.name] for each in ranges}
