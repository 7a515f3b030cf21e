"""Values of Clary's own in AWS's fields: the one table of them. Request validation lets them through, `docs/extensions.md`
lists them. A value that is not here is refused as AWS refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
        "vertical size of a variant's replicas, in thousandths of a vCPU",
        False,
    ),
    Extension(
        "application-autoscaling",
        "MetricType",
        "ClaryLatencyObjective",
        "target tracking on a latency objective: TargetValue is the p99 in milliseconds",
        False,
    ),
)

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
    return "\n".join(lines) + "\n"
