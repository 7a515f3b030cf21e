"""CPUUtilization and MemoryUtilization, as AWS names them for endpoints and jobs alike. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from clary.domain.metrics.datapoints import Datapoint, Series, single


def utilization(
    namespace: str, where: Mapping[str, str], at: float, cpus: float | None, memory: float | None
) -> list[Datapoint]:
    """CPUUtilization (100 for each vCPU that was busy all the time) and MemoryUtilization (100 for all of the limit), of what is
    known. `cpus` in vCPUs, `memory` a share of the limit, `at` in epoch seconds."""
    found = (("CPUUtilization", cpus), ("MemoryUtilization", memory))
    return [
        Datapoint(Series.of(namespace, name, where, "Percent"), at, single(_short(100 * share)), True)
        for name, share in found
        if share is not None
    ]


def _short(percent: float) -> float:
    """To a 64th, which sums stay exact with and which takes a third of the disk."""
    return round(percent * 64) / 64
