"""OpenMetrics 1.0: families of metrics as the text that Prometheus scrapes. Pure, and knows nothing of what is measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
_FOREIGN = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(slots=True)
class Family:
    """Samples of one name. `kind`: counter | gauge | histogram. `unit` is the end of the name, or ""."""

    name: str
    kind: str
    help: str
    unit: str = ""
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)  # suffix, labels, value
    _held: set[Labels] = field(default_factory=set)

    def add(self, labels: Labels, value: float) -> bool:
        """One value; False when there is one with these labels already: it stays."""
        if labels in self._held:
            return False
        self._held.add(labels)
        self.samples.append(("_total" if self.kind == "counter" else "", labels, value))
        return True

    def spread(self, labels: Labels, bounds: Sequence[float], counts: Sequence[float], total: float) -> None:
        """One distribution: how many values are at most each bound, how many there are at all (the last of `counts`), their sum."""
        if labels in self._held:
            return
        self._held.add(labels)
        whole = [round(count) for count in counts]
        for bound, count in zip((*map(repr, map(float, bounds)), "+Inf"), whole, strict=True):
            self.samples.append(("_bucket", (*labels, ("le", bound)), count))
        self.samples += [("_count", labels, whole[-1]), ("_sum", labels, total)]


def labels(values: Mapping[str, str]) -> Labels:
    """Labels with these values, under names that may stand there; those that are empty are left out. Of two names that come out
    alike the later gets a number."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if value:
            plain = unique = name_of(name)
            number = 2
            while unique in found:
                unique, number = f"{plain}_{number}", number + 1
            found[unique] = value
    return tuple(found.items())


def name_of(text: str) -> str:
    """The text as a name of a label."""
    plain = _FOREIGN.sub("_", text)
    return f"_{plain}" if plain[:1].isdigit() or not plain else plain


def render(families: Iterable[Family]) -> str:
    """The whole exposition; families without samples are left out."""
    lines = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# TYPE {family.name} {family.kind}")
        if family.unit:
            lines.append(f"# UNIT {family.name} {family.unit}")
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        for suffix, pairs, value in family.samples:
            inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in pairs)
            lines.append(f"{family.name}{suffix}{{{inside}}} {_number(value)}")
    return "\n".join([*lines, "# EOF", ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value)).replace("inf", "Inf").replace("nan", "NaN")
