"""What the hosts of a job use, as AWS tells it: CPUUtilization, MemoryUtilization and DiskUtilization by `Host`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clary.domain.jobs.kinds import spec_of
from clary.domain.machine.usage import Usage
from clary.domain.machine.workload import Observation, RunState
from clary.domain.metrics.datapoints import Datapoint, Series, single
from clary.domain.metrics.utilization import utilization
from clary.domain.resources import Record

YOUNG = 60.0  # seconds: of a run no older than this, the first figure is of all its life


@dataclass(frozen=True, slots=True)
class HostUsage:
    """One host at a moment. `name` is `<job>/algo-N`, `namespace` where its figures are told;
    `disk` and `volume` in bytes, None where nobody measures."""

    name: str
    namespace: str
    usage: Usage
    disk: int | None = None
    volume: int | None = None


def observed(
    record: Record, runs: Mapping[str, Observation | None], volume: int | None, now: float
) -> Iterator[HostUsage]:
    """The hosts of a job that run. AWS names their namespace as it names their log group. `volume`: bytes of disk that each may use."""
    fits = record.document["fits"]
    spec = spec_of(record)
    for host in spec.hosts:
        run = runs.get(host.name)
        if run is None or run.state is not RunState.RUNNING or run.started_at is None:
            continue
        limit = int(fits[host.instance_type]["memory"])
        used = Usage(run.started_at, now, run.cpu_seconds, run.memory_bytes, limit)
        yield HostUsage(f"{record.name}/{host.name}", spec.log_group, used, run.disk_bytes, volume)


def datapoints(before: HostUsage | None, now: HostUsage) -> list[Datapoint]:
    """What the host used since `before`."""
    where, started = {"Host": now.name}, now.usage.started
    then = before.usage if before is not None and before.usage.started == started else None
    if then is None and now.usage.at - started <= YOUNG:
        then = Usage(started, started, 0.0, 0, 0)
    made = utilization(now.namespace, where, now.usage.at, *now.usage.shares(then))
    if now.disk is not None and now.volume:
        series = Series.of(now.namespace, "DiskUtilization", where, "Percent")
        made.append(Datapoint(series, now.usage.at, single(100 * now.disk / now.volume), fine=True))
    return made
