"""What a job or an endpoint had of the machine: vCPU-seconds, GB-seconds, GPU-seconds and bytes of data. Pure.

A GB of memory is 2^30 bytes, as AWS counts it. What is counted is what was given, not what was busy of it: as AWS bills an instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clary.domain.machine.instances import GIB


@dataclass(frozen=True, slots=True)
class Use:
    """`seconds` are billed ones: of a job BillableTimeInSeconds, of an endpoint those of all its replicas. `bytes`: data that a job read
    from S3 and stored there."""

    seconds: float = 0.0
    vcpu_seconds: float = 0.0
    gb_seconds: float = 0.0
    gpu_seconds: float = 0.0
    bytes: int = 0

    def plus(self, other: Use) -> Use:
        """Both together."""
        return Use(**{name: getattr(self, name) + getattr(other, name) for name in NAMES})

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in NAMES}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Use:
        return Use(**{name: stored[name] for name in NAMES if name in stored})


NAMES = ("seconds", "vcpu_seconds", "gb_seconds", "gpu_seconds", "bytes")


@dataclass(frozen=True, slots=True)
class UseRow:
    """What one job or endpoint used. `kind` as users know it, `at`: epoch seconds of the job's end, or of the first moment of the UTC day
    that this is of."""

    kind: str
    name: str
    account: str
    region: str
    at: float
    use: Use
    tags: Mapping[str, str] = field(default_factory=dict)


def given(seconds: float, cpu: float, memory: int, gpus: int) -> Use:
    """What something of that size had in so many seconds."""
    return Use(seconds, cpu * seconds, memory / GIB * seconds, gpus * seconds)


def total(uses: Iterable[Use]) -> Use:
    """All together."""
    whole = Use()
    for use in uses:
        whole = whole.plus(use)
    return whole


def tags_of(document: Mapping[str, Any]) -> dict[str, str]:
    """A record's tags by key."""
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in document.get("tags") or ()}
