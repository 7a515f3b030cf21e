"""Values of Clary's own in AWS's fields: the one table of them. Request validation lets them through, `docs/extensions.md`
lists them. A value that is not here is refused as AWS refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from clary.domain.errors import Invalid

LONGEST_OBJECTIVE = 3_600_000.0  # milliseconds


@dataclass(frozen=True, slots=True)
class Extension:
    """`shape` is botocore's name of the field's type, `available` whether something acts on the value yet."""

    service: str
    shape: str
    value: str
    meaning: str
    available: bool


EXTENSIONS: tuple[Extension, ...] = (
    Extension(
        "application-autoscaling",
        "ScalableDimension",
        "clary:variant:DesiredMillicpuPerInstance",
        "vertical size of a variant's replicas, in thousandths of a vCPU: changed in place, the endpoint stays InService. MinCapacity is "
        "10 at least; what the machine lacks is a failed scaling activity that says so",
        True,
    ),
    Extension(
        "application-autoscaling",
        "MetricType",
        "ClaryLatencyObjective",
        "target tracking on a latency objective of a variant: TargetValue is the p99 in milliseconds. Clary's own policy decides each "
        "second, without alarms, over workers, sizes and replicas within the ranges of both dimensions; ScaleInCooldown is how long "
        "capacity outlives the need for it (20 minutes), ScaleOutCooldown has no effect",
        True,
    ),
)


@dataclass(frozen=True, slots=True)
class OwnTag:
    """A tag that means something. `user`: users set it; else Clary does, and nobody else can."""

    kind: str
    key: str
    meaning: str
    user: bool


TAGS: tuple[OwnTag, ...] = (
    OwnTag(
        "endpoint-config",
        "clary:rollback-on-regression",
        "an update to this config rolls back when the new fleet fails, or is slow, more often than the old one while both serve; the "
        "value is the false alarm rate, above 0 and at most 0.5, such as `0.01`. Without the tag the setting `rollback_on_regression` "
        "counts",
        True,
    ),
    OwnTag(
        "endpoint-config",
        "clary:latency-objective-ms",
        "variants of an endpoint of this config scale by themselves, as with a policy on `ClaryLatencyObjective`: the value is the p99 in "
        "milliseconds. ManagedInstanceScaling's counts are the range (else 1 to as many as the machine has CPUs); a scalable target's "
        "go before. Without the tag the setting `latency_objective_ms` counts",
        True,
    ),
    OwnTag(
        "endpoint",
        "aws:clary:sizes",
        "variants whose replicas have other CPU or memory than their instance type's own, such as `AllTraffic=at 1500 millicpu`: by "
        "`clary:variant:DesiredMillicpuPerInstance`, or because the model needed more memory",
        False,
    ),
    OwnTag(
        "endpoint",
        "aws:clary:last-change",
        "the last step of the endpoint's history: when, what, why. It counts towards no limit of tags, like every `aws:` tag",
        False,
    ),
)


def figure(text: str, most: float, must: str) -> float:
    """The number above 0 that a tag of `TAGS` or its setting gives; 0 for "", which asks for nothing. Invalid, `must` with the text,
    for what is none, or more than `most`."""
    if not text.strip():
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= most:
        raise Invalid(f"{must}, not '{text}'.")
    return value


def milliseconds(text: str, where: str) -> float:
    """The latency objective that a tag or its setting gives; 0 for "", which asks for none. Invalid for what is none."""
    longest = f"{LONGEST_OBJECTIVE:.10g}"
    return figure(text, LONGEST_OBJECTIVE, f"{where} must be a p99 in milliseconds, above 0 and at most {longest}")


VALUES: Mapping[str, tuple[str, ...]] = {
    shape: tuple(e.value for e in EXTENSIONS if e.shape == shape and e.available)
    for shape in dict.fromkeys(e.shape for e in EXTENSIONS)
}
"""What validation lets through: shape name -> values. A value that nothing acts on yet is refused like any other."""


def render() -> str:
    """`docs/extensions.md`."""
    lines = [
        "# Values of Clary's own in AWS's fields",
        "",
        "Made from `clary/domain/extensions.py`; do not edit. Unmodified clients can send them: they are plain texts in AWS's fields.",
        "",
        "| service | field's type | value | meaning | today |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {e.service} | `{e.shape}` | `{e.value}` | {e.meaning} | {'works' if e.available else 'refused: not available yet'} |"
        for e in EXTENSIONS
    ]
    lines += ["", "# Tags with a meaning", "", "| of | key | set by | meaning |", "|---|---|---|---|"]
    lines += [f"| {t.kind} | `{t.key}` | {'you' if t.user else 'Clary'} | {t.meaning} |" for t in TAGS]
    return "\n".join(lines) + "\n"
