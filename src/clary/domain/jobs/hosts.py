"""The hosts of a job: their names, sizes, addresses and log streams. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from clary.domain.errors import Invalid
from clary.domain.jobs.channels import Channel
from clary.domain.machine.instances import Size, find

_BLOCKS = 250 * 250  # of 250 loopback addresses each, from 127.2.1.1 on


@dataclass(frozen=True, slots=True)
class Host:
    """`algo-N`, the type it asks for, and its instance group."""

    name: str
    instance_type: str
    group: str = ""


def stream(job: str, host: str, started: float) -> str:
    """The host's log stream: `<job>/algo-N-<epoch>`. `started`: when the job got its place."""
    return f"{job}/{host}-{int(started)}"


def size_of(host: Host) -> Size:
    """Invalid for a type that is not known."""
    size = find(host.instance_type)
    if size is None:
        raise Invalid(f"Clary does not know the instance type {host.instance_type}.")
    return size


def address(job: str, number: int) -> str:
    """The loopback address of host number `number` (from 0) of the job with that id: hosts of one machine share its network, and two
    jobs may well use the same port of their `algo-1`."""
    block = zlib.crc32(job.encode()) % _BLOCKS + number // 250
    return f"127.{2 + block // 250}.{1 + block % 250}.{1 + number % 250}"


def receivers(channel: Channel, of: Sequence[Host]) -> tuple[Host, ...]:
    """The hosts that get this channel (InstanceGroupNames, or all)."""
    if not channel.groups:
        return tuple(of)
    unknown = [name for name in channel.groups if all(host.group != name for host in of)]
    if unknown:
        raise Invalid(
            f"Channel {channel.name!r} names the instance group {unknown[0]!r}, which ResourceConfig does not have."
        )
    return tuple(host for host in of if host.group in channel.groups)
